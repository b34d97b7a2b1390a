/* SPDX-License-Identifier: Apache-2.0 */
#include "claims/prepare.h"

#include "base/memory.h"
#include "base/table.h"
#include "claims/job.h"
#include "claims/leftovers.h"
#include "claims/rewrite.h"
#include "ledger.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define ANSWER_MARGIN_MS                                                                   \
        2000 /* part of the caller's patience that is kept for recording the claim and for \
                answering */

struct prepare *prepare_new(const struct prepare_options *options)
{
        struct prepare *prepare = xcalloc(1, sizeof(*prepare));

        prepare->options = *options;
        list_init(&prepare->waiting);
        leftovers_init(&prepare->leftovers);
        return prepare;
}

void prepare_free(struct prepare *prepare)
{
        if (!prepare)
                return;
        assert(prepare_is_idle(prepare));
        leftovers_deinit(&prepare->leftovers);
        table_deinit(&prepare->jobs);
        free(prepare->boot_id);
        free(prepare);
}

/* Advance every job. Jobs are freed meanwhile, so copy the table first. */
static void advance_all(struct prepare *prepare)
{
        _cleanup_(free) struct job **jobs = xcalloc(prepare->jobs.n_nodes, sizeof(struct job *));
        size_t n = 0;

        for (struct table_node *node = table_next(&prepare->jobs, NULL); node;
             node = table_next(&prepare->jobs, node))
                jobs[n++] = container_of(node, struct job, node);
        for (size_t i = 0; i < n; ++i) {
                if (prepare->is_stopping &&
                    (jobs[i]->state == JOB_READING || jobs[i]->state == JOB_WAITING))
                        job_settle(jobs[i]);
                job_advance(jobs[i]);
        }
}

/* A job in JOB_REMOVING has already queued the removal: a save would bring the record back. */
static bool is_leaving(void *owner, const char *uid)
{
        const struct prepare *prepare = owner;
        const struct table_node *node = table_find(&prepare->jobs, uid);

        return node && container_of(node, struct job, node)->state == JOB_REMOVING;
}

void prepare_activate(struct prepare *prepare, struct records *records, const char *boot_id)
{
        prepare->records = records;
        prepare->boot_id = xstrdup(boot_id);
        prepare->rewrite = (struct rewrite){ .ledger = prepare->options.ledger,
                                             .records = records,
                                             .is_leaving = is_leaving,
                                             .owner = prepare };
        prepare->is_active = true;
        advance_all(prepare);
}

void prepare_stop(struct prepare *prepare)
{
        prepare->is_stopping = true;
        advance_all(prepare);
}

size_t prepare_n_waiting(const struct prepare *prepare)
{
        const struct list *position;
        size_t n = 0;

        list_for_each (position, &prepare->waiting)
                ++n;
        return n;
}

bool prepare_is_idle(const struct prepare *prepare)
{
        return prepare->jobs.n_nodes == 0;
}

/* Find the claim's job, or create it. */
static struct job *find_job(struct prepare *prepare, const struct prepare_claim_id *id)
{
        struct table_node *node = table_find(&prepare->jobs, id->uid);

        return node ? container_of(node, struct job, node) : job_new(prepare, id);
}

void prepare_claim(struct prepare *prepare, struct prepare_request *request,
                   const struct prepare_claim_id *id, uint64_t patience_ms)
{
        struct job *job = find_job(prepare, id);
        /* Answer before the caller's deadline: after it kubelet reports a bare timeout, not the
         * holders. */
        uint64_t wait_ms = patience_ms > ANSWER_MARGIN_MS ? patience_ms - ANSWER_MARGIN_MS : 0;

        if (wait_ms > prepare->options.wait_ms)
                wait_ms = prepare->options.wait_ms;
        request->deadline_ms = uv_now(prepare->options.loop) + wait_ms;
        request->job = job;
        /* kubelet's latest call decides: a Prepare that follows an Unprepare waits for it. */
        list_add_tail(list_is_empty(&job->releases) ? &job->prepares : &job->again, &request->link);
        if (job->state == JOB_WAITING)
                job_wait(job);
        else
                job_advance(job);
}

void prepare_release(struct prepare *prepare, struct prepare_request *request,
                     const struct prepare_claim_id *id)
{
        struct job *job = find_job(prepare, id);

        request->job = job;
        /* This release follows those Prepares, so they are void. */
        job_forget_again(job);
        list_add_tail(&job->releases, &request->link);
        if (job->state == JOB_READING || job->state == JOB_WAITING)
                job_settle(job);
        job_advance(job);
}

void prepare_cancel(struct prepare_request *request)
{
        struct job *job = request->job;

        if (!job)
                return;
        request->job = NULL;
        list_unlink(&request->link);
        if (!list_is_empty(&job->prepares) || !list_is_empty(&job->releases) ||
            !list_is_empty(&job->again))
                return;
        /* The write ends by itself, and kubelet's next call finds the claim held or gone. */
        if (job->state == JOB_SAVING || job->state == JOB_REMOVING)
                return;
        job_settle(job);
        job_free(job);
}

/* ---- what claims left behind ---- */

void prepare_retry_waiting(struct prepare *prepare)
{
        job_retry_waiting(prepare);
}

/* True if the claim has been prepared again, or is about to be: its record is then in use. */
static bool is_claimed(void *owner, const char *uid)
{
        const struct prepare *prepare = owner;

        return ledger_find(prepare->options.ledger, uid) || table_find(&prepare->jobs, uid);
}

void prepare_retry_removals(struct prepare *prepare)
{
        leftovers_retry(&prepare->leftovers, prepare->records, is_claimed, prepare);
}

bool prepare_keep_records(struct prepare *prepare)
{
        return rewrite_look(&prepare->rewrite);
}

void prepare_record_held(struct prepare *prepare)
{
        rewrite_all(&prepare->rewrite);
        (void)rewrite_look(&prepare->rewrite);
}

const char *prepare_record_trouble(const struct prepare *prepare)
{
        return rewrite_trouble(&prepare->rewrite);
}
