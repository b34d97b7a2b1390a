/* SPDX-License-Identifier: Apache-2.0 */
#include "claims/reconcile.h"

#include "base/error.h"
#include "base/list.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/timer.h"
#include "claims/allocation.h"
#include "claims/prepare.h"
#include "claims/rebuild.h"
#include "config.h"
#include "kube/api.h"
#include "kube/claim.h"
#include "ledger.h"

#include <stdbool.h>
#include <string.h>

/* A claim that one look has found gone. */
struct suspect {
        struct list link;
        char *uid;
        uint64_t since_ms;
};

struct reconcile {
        struct reconcile_options options;
        char *pool;
        char *boot_id;
        struct timer *timer;
        struct kube_call *get;
        struct prepare_request release;
        struct list suspects;
        char **uids; /* still to check in this round, from the last down */
        size_t n_uids;
        bool has_begun;    /* a round has begun: kubelet's list has arrived by now */
        unsigned n_rounds; /* rounds since kubelet has run for after_ms */
        uint64_t kubelet_age_ms;
};

static void look_at_next(struct reconcile *reconcile);

static void on_due(void *owner)
{
        look_at_next(owner);
}

/* No caller waits: prepare_release() logs the release, and a failed one is tried at the next round.
 */
static void on_released(void *owner, const struct ledger_claim *claim, const struct error *error)
{
}

static bool is_of_this_boot(const struct reconcile *reconcile, const struct ledger_claim *claim)
{
        return claim->boot_id && strcmp(claim->boot_id, reconcile->boot_id) == 0;
}

/* ---- suspects ---- */

static void suspect_free(struct suspect *suspect)
{
        list_unlink(&suspect->link);
        free(suspect->uid);
        free(suspect);
}

static struct suspect *find_suspect(const struct reconcile *reconcile, const char *uid)
{
        struct list *position;

        list_for_each (position, &reconcile->suspects) {
                struct suspect *suspect = container_of(position, struct suspect, link);

                if (strcmp(suspect->uid, uid) == 0)
                        return suspect;
        }
        return NULL;
}

static void clear_suspicion(struct reconcile *reconcile, const char *uid)
{
        struct suspect *suspect = find_suspect(reconcile, uid);

        if (suspect)
                suspect_free(suspect);
}

/* True if an earlier look, at least after_ms ago, found the claim gone, too. */
static bool is_confirmed(struct reconcile *reconcile, const char *uid)
{
        uint64_t now_ms = uv_now(reconcile->options.loop);
        struct suspect *suspect = find_suspect(reconcile, uid);

        if (suspect)
                return now_ms - suspect->since_ms >= reconcile->options.after_ms;
        suspect = xcalloc(1, sizeof(*suspect));
        suspect->uid = xstrdup(uid);
        suspect->since_ms = now_ms;
        list_add_tail(&reconcile->suspects, &suspect->link);
        return false;
}

/* One request is enough: cancelling a previous one that is still being written does not stop it. */
static void release(struct reconcile *reconcile, const struct ledger_claim *held, const char *why)
{
        const struct prepare_claim_id id = { held->namespace_, held->name, held->uid };

        log_warn(why, log_str("namespace", held->namespace_), log_str("claim", held->name),
                 log_str("uid", held->uid));
        clear_suspicion(reconcile, held->uid);
        prepare_cancel(&reconcile->release);
        prepare_release(reconcile->options.prepare, &reconcile->release, &id);
}

/* ---- one claim ---- */

static void skip(struct reconcile *reconcile)
{
        free(reconcile->uids[--reconcile->n_uids]);
}

static void judge(struct reconcile *reconcile, const struct ledger_claim *held,
                  const struct claim *seen) /* NULL: no claim has that name */
{
        bool is_missing = !seen || (seen->uid && strcmp(seen->uid, held->uid) != 0);

        if (!is_missing && allocation_is_here(seen, reconcile->pool)) {
                clear_suspicion(reconcile, held->uid);
                return;
        }
        /* After a forced deletion the container may live on for seconds, and kubelet still
         * unprepares the claim: wait for the second look. A claim of an earlier boot has no
         * container. */
        if (!(is_missing && !is_of_this_boot(reconcile, held)) &&
            !is_confirmed(reconcile, held->uid))
                return;
        release(reconcile, held,
                is_missing ? "a claim that is held does not exist any more, releasing it"
                           : "a claim that is held has no device of this node any more, releasing "
                             "it");
}

/* The record names no claim: all the API server says is that kubelet can know its pods. */
static void judge_unreadable(struct reconcile *reconcile, const struct ledger_claim *held)
{
        if (is_confirmed(reconcile, held->uid))
                release(reconcile, held,
                        "kubelet has not asked for a claim of an earlier boot whose record is not "
                        "readable, releasing it");
}

static void end_round(struct reconcile *reconcile)
{
        while (reconcile->n_uids)
                skip(reconcile);
        timer_start(reconcile->timer, reconcile->options.after_ms);
}

static void on_reply(void *owner, const struct kube_reply *reply)
{
        _cleanup_(claim) struct claim seen = CLAIM_NULL;
        struct reconcile *reconcile = owner;
        const struct ledger_claim *held =
                ledger_find(reconcile->options.ledger, reconcile->uids[reconcile->n_uids - 1]);

        reconcile->get = NULL;
        /* Any other failure may be temporary: a missing permission, an upgrade. Release nothing on
         * it. */
        if (reply->outcome != KUBE_OK && reply->outcome != KUBE_NOT_FOUND) {
                end_round(reconcile);
                return;
        }
        if (held && held->is_uncertain)
                judge_unreadable(reconcile, held);
        else if (held && reply->outcome == KUBE_NOT_FOUND)
                judge(reconcile, held, NULL);
        else if (held && claim_parse(reply->object, DRIVER_NAME, &seen, NULL) == 0)
                judge(reconcile, held, &seen);
        skip(reconcile);
        if (reconcile->n_uids)
                /* Return to the loop between two GETs, so that a long round delays no other work.
                 */
                timer_start(reconcile->timer, 0);
        else
                end_round(reconcile);
}

/* True if the API server must be asked about the claim. */
static bool is_to_be_compared(struct reconcile *reconcile, const struct ledger_claim *held)
{
        bool has_had_its_time = reconcile->n_rounds > 0;
        enum rebuild_answer answer;

        if (held->is_unidentified)
                return false; /* kubelet's list decides */
        if (held->is_uncertain)
                return has_had_its_time && held->boot_id && *held->boot_id &&
                       !is_of_this_boot(reconcile, held);
        if (!is_of_this_boot(reconcile, held))
                return true;
        answer = rebuild_lists(reconcile->options.rebuild, held->namespace_, held->name);
        if (has_had_its_time && answer == REBUILD_UNLISTED)
                return true;
        if (has_had_its_time && answer == REBUILD_UNKNOWN)
                /* Two rounds in a row, because a release takes two looks. */
                return (reconcile->n_rounds - 1) % RECONCILE_BLIND_ROUNDS <= 1;
        clear_suspicion(reconcile, held->uid);
        return false;
}

/* ---- rounds ---- */

static void begin_round(struct reconcile *reconcile)
{
        const struct ledger *ledger = reconcile->options.ledger;
        uint64_t age_ms = reconcile->options.kubelet_age_ms(reconcile->options.owner);

        /* A kubelet younger than at the last round has restarted, and gets its time to clean up
         * again. */
        if (!reconcile->has_begun || age_ms < reconcile->kubelet_age_ms ||
            age_ms < reconcile->options.after_ms)
                reconcile->n_rounds = 0;
        else
                ++reconcile->n_rounds;
        reconcile->has_begun = true;
        reconcile->kubelet_age_ms = age_ms;
        free(reconcile->uids);
        /* Copy the UIDs: the ledger changes while the GETs of a round are in flight. */
        reconcile->uids = xcalloc(ledger_n_claims(ledger), sizeof(*reconcile->uids));
        for (const struct ledger_claim *claim = ledger_next(ledger, NULL); claim;
             claim = ledger_next(ledger, claim))
                reconcile->uids[reconcile->n_uids++] = xstrdup(claim->uid);
}

static void look_at_next(struct reconcile *reconcile)
{
        if (!reconcile->n_uids)
                begin_round(reconcile);
        for (; reconcile->n_uids; skip(reconcile)) {
                const struct ledger_claim *held = ledger_find(
                        reconcile->options.ledger, reconcile->uids[reconcile->n_uids - 1]);
                _cleanup_(free) char *path = NULL;

                if (!held || !is_to_be_compared(reconcile, held))
                        continue;
                path = held->is_uncertain ? kube_path_node(reconcile->pool)
                                          : kube_path_claim(held->namespace_, held->name);
                reconcile->get = kube_get(reconcile->options.api, path,
                                          held->is_uncertain ? "Node" : "ResourceClaim", on_reply,
                                          reconcile);
                return;
        }
        end_round(reconcile);
}

struct reconcile *reconcile_start(const struct reconcile_options *options)
{
        struct reconcile *reconcile = xcalloc(1, sizeof(*reconcile));

        reconcile->options = *options;
        reconcile->pool = xstrdup(options->pool);
        reconcile->boot_id = xstrdup(options->boot_id);
        reconcile->release = (struct prepare_request){ .on_done = on_released };
        list_init(&reconcile->suspects);
        reconcile->timer = timer_new(options->loop, on_due, reconcile);
        timer_start(reconcile->timer, 0);
        return reconcile;
}

void reconcile_free(struct reconcile *reconcile)
{
        if (!reconcile)
                return;
        if (reconcile->get)
                kube_cancel(reconcile->get);
        prepare_cancel(&reconcile->release);
        while (!list_is_empty(&reconcile->suspects))
                suspect_free(container_of(reconcile->suspects.next, struct suspect, link));
        while (reconcile->n_uids)
                skip(reconcile);
        timer_free(reconcile->timer);
        free(reconcile->uids);
        free(reconcile->pool);
        free(reconcile->boot_id);
        free(reconcile);
}
