/* SPDX-License-Identifier: Apache-2.0 */
#include "claims/job.h"

#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/timer.h"
#include "claims/allocation.h"
#include "claims/records.h"
#include "config.h"
#include "kube/api.h"
#include "kube/claim.h"
#include "ledger.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define HOLDERS_NAMED 4 /* named in a refusal; a person reads it in a pod's Event */

static void job_read(struct job *job);
static void on_due(void *owner);

void job_free(struct job *job)
{
        table_remove(&job->prepare->jobs, &job->node);
        list_unlink(&job->waiting);
        if (job->get)
                kube_cancel(job->get);
        if (job->claim)
                ledger_claim_free(job->claim);
        timer_free(job->timer);
        free(job->uid);
        free(job->namespace_);
        free(job->name);
        free(job);
}

struct job *job_new(struct prepare *prepare, const struct prepare_claim_id *id)
{
        struct job *job = xcalloc(1, sizeof(*job));

        job->prepare = prepare;
        job->uid = xstrdup(id->uid);
        job->namespace_ = xstrdup(id->namespace_);
        job->name = xstrdup(id->name);
        job->state = JOB_SETTLED;
        job->backoff = (struct backoff){ .first_ms = 100, .cap_ms = 3000 };
        list_init(&job->prepares);
        list_init(&job->releases);
        list_init(&job->again);
        list_init(&job->waiting);
        job->timer = timer_new(prepare->options.loop, on_due, job);
        table_insert(&prepare->jobs, &job->node, job->uid);
        return job;
}

/* ---- answering ---- */

/* Unlink each request before its callback, which may free it. */
static void answer_all(struct list *requests, const struct ledger_claim *claim,
                       const struct error *error)
{
        while (!list_is_empty(requests)) {
                struct prepare_request *request =
                        container_of(requests->next, struct prepare_request, link);

                list_unlink(&request->link);
                request->job = NULL;
                request->on_done(request->owner, claim, error);
        }
}

/* Answer that the claim was unprepared meanwhile. */
static void answer_overtaken(struct list *requests)
{
        static const struct error unprepared = {
                -ECANCELED, "the claim was unprepared while it was being prepared"
        };

        answer_all(requests, NULL, &unprepared);
}

void job_forget_again(struct job *job)
{
        answer_overtaken(&job->again);
}

static void log_refusal(const struct job *job, const struct error *error)
{
        log_warn("claim refused", log_str("claim", job->name),
                 log_str("namespace", job->namespace_), log_str("uid", job->uid),
                 log_str("reason", error->text));
}

static void job_fail(struct job *job, const struct error *error)
{
        log_refusal(job, error);
        answer_all(&job->prepares, NULL, error);
}

/* The claim is held and recorded. False: no container could be given its devices, so the Prepare
 * was refused; the claim stays held. */
static bool job_answer_held(struct job *job, const struct ledger_claim *claim)
{
        struct error error = ERROR_NULL;

        /* At every answer, rather than at the timer alone: a container that starts without its CDI
         * device fails, and kubelet starts it right after this answer. */
        if (job->prepare->options.on_answering(job->prepare->options.owner, &error) < 0) {
                job_fail(job, &error);
                return false;
        }
        answer_all(&job->prepares, claim, &error);
        return true;
}

/* A save or a removal cannot be stopped, and its callback needs the job: callers leave those alone.
 */
void job_settle(struct job *job)
{
        assert(job->state != JOB_SAVING && job->state != JOB_REMOVING);
        timer_stop(job->timer);
        list_unlink(&job->waiting);
        if (job->get)
                kube_cancel(take_ptr(job->get));
        if (job->claim)
                ledger_claim_free(take_ptr(job->claim));
        job->state = JOB_SETTLED;
}

static void job_give_up(struct job *job, const struct error *error)
{
        job_settle(job);
        job_fail(job, error);
        job_advance(job);
}

/* ---- room ---- */

/* The text becomes the pod's Event: say what a person can do, or that kubelet retries by itself. */
static void explain_full(struct job *job, int outcome, struct error *error)
{
        _cleanup_(text) struct text holders = TEXT_NULL;
        const struct ledger *ledger = job->prepare->options.ledger;

        if (outcome == LEDGER_TOO_LARGE) {
                error_set(error, -ENOSPC,
                          "the claim wants %u TDs and this node runs %u: choose another node",
                          ledger_claim_weight(job->claim), ledger_total(ledger));
                return;
        }
        if (!ledger_is_total_known(ledger)) {
                error_set(error, -EAGAIN,
                          "it is not known yet how many TDs are free here (see the driver's log); "
                          "kubelet tries again by itself");
                return;
        }
        if (ledger_is_incomplete(ledger)) {
                error_set(error, -EAGAIN,
                          "kubelet has not told yet which claims it has prepared (podresources); "
                          "kubelet tries again by itself");
                return;
        }
        ledger_describe_holders(ledger, HOLDERS_NAMED, &holders);
        error_set(error, -ENOSPC,
                  "no TD is free: %u of %u held. Choose another node, or delete a pod of those "
                  "that hold them: %s",
                  ledger_held(ledger) + ledger_elsewhere(ledger), ledger_total(ledger),
                  holders.bytes ? holders.bytes : "none");
}

/* The latest deadline of all callers; 0: there is none. */
static uint64_t last_deadline_ms(const struct job *job)
{
        struct list *position;
        uint64_t last_ms = 0;

        list_for_each (position, &job->prepares) {
                uint64_t ms = container_of(position, struct prepare_request, link)->deadline_ms;

                last_ms = ms > last_ms ? ms : last_ms;
        }
        return last_ms;
}

/* Refuse requests whose deadline has passed, naming the holders. Deadlines are per caller. */
static void refuse_due(struct job *job, uint64_t now)
{
        struct list *position, *following, due;
        struct error error = ERROR_NULL;

        list_init(&due);
        list_for_each_safe (position, following, &job->prepares)
                if (container_of(position, struct prepare_request, link)->deadline_ms <= now) {
                        list_unlink(position);
                        list_add_tail(&due, position);
                }
        if (list_is_empty(&due))
                return;
        explain_full(job, LEDGER_FULL, &error);
        log_refusal(job, &error);
        answer_all(&due, NULL, &error);
}

/* The timer is set for the earliest deadline, so that each caller is refused at its own. */
void job_wait(struct job *job)
{
        uint64_t now = uv_now(job->prepare->options.loop), next_ms = UINT64_MAX;
        struct list *position;

        refuse_due(job, now);
        if (list_is_empty(&job->prepares)) {
                job_settle(job);
                job_advance(job);
                return;
        }
        list_for_each (position, &job->prepares) {
                uint64_t ms = container_of(position, struct prepare_request, link)->deadline_ms;

                next_ms = ms < next_ms ? ms : next_ms;
        }
        timer_start(job->timer, next_ms - now);
}

static void on_saved(void *owner, const struct error *error)
{
        struct job *job = owner;
        struct prepare *prepare = job->prepare;
        struct ledger *ledger = prepare->options.ledger;

        job->state = JOB_SETTLED;
        if (error->code) {
                /* A claim held before stays held, and is recorded when kubelet asks again. */
                if (!job->is_replacing) {
                        /* The record may exist nevertheless, if the sync failed after the rename.
                         */
                        leftovers_add(&prepare->leftovers, job->uid);
                        ledger_claim_free(ledger_release(ledger, job->uid));
                        prepare->options.on_held_changed(prepare->options.owner);
                }
                job_fail(job, error);
                job_retry_waiting(prepare);
        } else {
                const struct ledger_claim *claim = ledger_find(ledger, job->uid);

                ledger_set_recorded(ledger, job->uid);
                if (job_answer_held(job, claim))
                        log_info("claim prepared", log_str("claim", job->name),
                                 log_str("namespace", job->namespace_), log_str("uid", job->uid),
                                 log_int("tds", ledger_claim_weight(claim)),
                                 log_int("held", ledger_held(ledger)),
                                 log_int("total", ledger_total(ledger)));
        }
        job_advance(job);
}

/* Give the claim's devices the slots of the previous grant, in order, so that a container that is
 * still running keeps its CDI devices. */
static void inherit_slots(struct ledger_claim *claim, const struct ledger_claim *previous)
{
        size_t j = 0;

        for (size_t i = 0; i < claim->n_devices; ++i) {
                if (claim->devices[i].is_admin_access)
                        continue;
                while (j < previous->n_devices && previous->devices[j].is_admin_access)
                        ++j;
                if (j < previous->n_devices)
                        claim->devices[i].slot = previous->devices[j++].slot;
        }
}

/* Add the claim to the ledger. It replaces what the ledger already has for it: a grant from before
 * a reboot, an unreadable record, a claim known only by name, or an unrecorded one. What is held
 * stays held, even if there is less room now. */
static int job_hold(struct job *job)
{
        struct ledger *ledger = job->prepare->options.ledger;
        _cleanup_(ledger_claim) struct ledger_claim *previous = ledger_release(ledger, job->uid);
        int r;

        if (!previous)
                previous = ledger_release_unidentified(ledger, job->namespace_, job->name);

        job->is_replacing = previous != NULL;
        job->claim->is_unrecorded = true;
        if (previous && !previous->is_uncertain &&
            ledger_claim_weight(job->claim) <= ledger_claim_weight(previous)) {
                inherit_slots(job->claim, previous);
                ledger_restore(ledger, job->claim);
                return 0;
        }
        r = ledger_hold(ledger, job->claim);
        if (r && previous)
                ledger_restore(ledger, take_ptr(previous));
        return r;
}

/* On success the job is JOB_SAVING. Otherwise returns an outcome of ledger_hold() and changes
 * nothing. */
static int job_try_hold(struct job *job)
{
        struct prepare *prepare = job->prepare;
        const struct ledger_claim *claim = job->claim;
        int r;

        r = job_hold(job);
        if (r)
                return r;
        job->claim = NULL; /* the ledger owns it now */
        timer_stop(job->timer);
        list_unlink(&job->waiting);
        job->state = JOB_SAVING;
        /* The claim counts as held while its record is being written: no other claim can take its
         * TDs meanwhile. */
        records_save(prepare->records, claim, on_saved, job);
        prepare->options.on_held_changed(prepare->options.owner);
        return 0;
}

static void job_find_room(struct job *job)
{
        struct prepare *prepare = job->prepare;
        struct error error = ERROR_NULL;
        int r;

        r = job_try_hold(job);
        if (!r)
                return;
        if (r == LEDGER_FULL) {
                log_info(ledger_is_incomplete(prepare->options.ledger)
                                 ? "claim waits until kubelet tells which claims it has prepared"
                                 : "claim waits for a TD",
                         log_str("claim", job->name), log_str("namespace", job->namespace_),
                         log_int("held", ledger_held(prepare->options.ledger)),
                         log_int("total", ledger_total(prepare->options.ledger)));
                job->state = JOB_WAITING;
                list_add_tail(&prepare->waiting, &job->waiting);
                job_wait(job);
                return;
        }
        /* Waiting cannot help a claim that is larger than the node. */
        explain_full(job, r, &error);
        job_give_up(job, &error);
}

void job_retry_waiting(struct prepare *prepare)
{
        struct list *position, *following;

        /* Admit every claim that fits, even past a larger one that does not: no TD may stay idle
         * while a claim waits for it. */
        list_for_each_safe (position, following, &prepare->waiting) {
                struct job *job = container_of(position, struct job, waiting);
                struct error error = ERROR_NULL;

                if (job_try_hold(job) != LEDGER_TOO_LARGE)
                        continue;
                explain_full(job, LEDGER_TOO_LARGE, &error);
                job_give_up(job, &error);
        }
}

/* ---- reading the claim ---- */

static void on_due(void *owner)
{
        struct job *job = owner;

        if (job->state == JOB_WAITING)
                job_wait(job);
        else
                job_read(job);
}

static void on_claim(void *owner, const struct kube_reply *reply)
{
        _cleanup_(claim) struct claim claim = CLAIM_NULL;
        struct job *job = owner;
        uint64_t now = uv_now(job->prepare->options.loop);
        struct error error = reply->error;

        job->get = NULL;
        if (reply->outcome == KUBE_TRY_AGAIN && now < last_deadline_ms(job)) {
                uint64_t pause_ms =
                        backoff_next_ms(&job->backoff, reply->retry_after_ms, backoff_random());

                /* Retry only if a caller will still be waiting; otherwise refuse at once, with the
                 * server's error.
                 */
                if (pause_ms < last_deadline_ms(job) - now) {
                        timer_start(job->timer, pause_ms);
                        return;
                }
        }
        if (reply->outcome != KUBE_OK) {
                error_prefix(&error, "cannot read the claim");
                job_give_up(job, &error);
                return;
        }
        if (claim_parse(reply->object, DRIVER_NAME, &claim, &error) < 0 ||
            allocation_check(&claim, job->uid, job->prepare->options.pool, &error) < 0) {
                job_give_up(job, &error);
                return;
        }
        job->claim = allocation_to_ledger(&claim, job->uid, job->namespace_, job->name,
                                          job->prepare->boot_id);
        job_find_room(job);
}

static void job_read(struct job *job)
{
        _cleanup_(free) char *path = kube_path_claim(job->namespace_, job->name);
        struct error error = ERROR_NULL;

        job->state = JOB_READING;
        if (!job->prepare->options.api) {
                error_set(&error, -ENOTCONN,
                          "the claim cannot be read: no API server is configured (--api-server, or "
                          "run in a pod)");
                job_give_up(job, &error);
                return;
        }
        job->get = kube_get(job->prepare->options.api, path, "ResourceClaim", on_claim, job);
}

/* ---- releasing ---- */

static void job_release_in_ledger(struct job *job)
{
        struct prepare *prepare = job->prepare;

        ledger_claim_free(ledger_release(prepare->options.ledger, job->uid));
        /* kubelet may unprepare a claim that is held by name only, because its record was lost. */
        ledger_claim_free(
                ledger_release_unidentified(prepare->options.ledger, job->namespace_, job->name));
        if (prepare->options.on_released)
                prepare->options.on_released(prepare->options.owner, job->namespace_, job->name);
        log_info("claim unprepared", log_str("claim", job->name),
                 log_str("namespace", job->namespace_), log_str("uid", job->uid),
                 log_int("held", ledger_held(prepare->options.ledger)),
                 log_int("total", ledger_total(prepare->options.ledger)));
        prepare->options.on_held_changed(prepare->options.owner);
}

static void on_removed(void *owner, const struct error *error)
{
        const struct error success = ERROR_NULL;
        struct job *job = owner;
        struct prepare *prepare = job->prepare;

        /* Refusing would keep the pod in Terminating for as long as the disk is broken. Remove the
         * record at a later poll instead. If the driver is killed before that, the next start holds
         * the claim again, until reconcile finds it gone or allocated elsewhere: one TD too many is
         * held, never one too few. */
        if (error->code) {
                log_error("the record of an unprepared claim cannot be removed, trying again later",
                          log_str("uid", job->uid), log_str("reason", error->text));
                leftovers_add(&prepare->leftovers, job->uid);
        }
        job->state = JOB_SETTLED;
        job_release_in_ledger(job);
        answer_all(&job->releases, NULL, &success);
        list_splice_tail(&job->prepares, &job->again);
        job_retry_waiting(prepare);
        job_advance(job);
}

/* ---- the job's one place of decision ---- */

/* The ledger alone can answer for the claim. Not for a grant from before a reboot: no TD of it
 * runs, and the claim may have been reallocated while the node was down. */
static bool is_current(const struct prepare *prepare, const struct ledger_claim *held)
{
        return !held->is_uncertain && !held->is_unrecorded && held->boot_id &&
               strcmp(held->boot_id, prepare->boot_id) == 0;
}

/* Releases come first: an Unprepare voids every Prepare before it, and a later Prepare must see the
 * release done. */
void job_advance(struct job *job)
{
        static const struct error stopping = {
                -ESHUTDOWN, "the driver is stopping; kubelet tries again by itself"
        };
        const struct error success = ERROR_NULL;
        struct prepare *prepare = job->prepare;
        const struct ledger_claim *held = ledger_find(prepare->options.ledger, job->uid);

        if (job->state != JOB_SETTLED && job->state != JOB_HELD)
                return;
        job->state = JOB_SETTLED;
        if (prepare->is_stopping) {
                answer_all(&job->prepares, NULL, &stopping);
                answer_all(&job->releases, NULL, &stopping);
                answer_all(&job->again, NULL, &stopping);
        } else if (!prepare->is_active) {
                job->state = JOB_HELD;
                return;
        }
        if (!list_is_empty(&job->releases)) {
                answer_overtaken(&job->prepares);
                if (held || leftovers_has(&prepare->leftovers, job->uid)) {
                        job->state = JOB_REMOVING;
                        records_remove(prepare->records, job->uid, on_removed, job);
                        return;
                }
                if (ledger_find_unidentified(prepare->options.ledger, job->namespace_, job->name))
                        job_release_in_ledger(job);
                answer_all(&job->releases, NULL, &success);
                list_splice_tail(&job->prepares, &job->again);
        }
        if (!list_is_empty(&job->prepares)) {
                if (!held || !is_current(prepare, held)) {
                        job_read(job);
                        return;
                }
                (void)job_answer_held(job, held);
        }
        job_free(job);
}
