/* SPDX-License-Identifier: Apache-2.0 */
#include "claims/reconcile.h"

#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "claims/prepare.h"
#include "config.h"
#include "kube/api.h"
#include "kube/claim.h"
#include "ledger.h"

#include <stdbool.h>
#include <string.h>

struct reconcile {
        uv_timer_t timer;
        struct kube_api *api;
        const struct ledger *ledger;
        struct prepare *prepare;
        struct kube_call *get;
        struct prepare_request release;
        uint64_t after_ms;
        char *boot_id;
        uint64_t (*kubelet_age_ms)(void *owner);
        void *owner;
        char **uids; /* still to be looked at, from the last down: those of earlier boots come first
                      */
        size_t n_uids;
        size_t n_of_this_boot; /* the first of them */
        size_t n_gone; /* the first of those: did not exist, and are to be looked at once more */
        bool has_waited;
        bool is_second_look;
};

static void next(struct reconcile *reconcile);

static void on_released(void *owner, const struct ledger_claim *claim, const struct error *error)
{
}

/* One claim is done with. */
static void skip(struct reconcile *reconcile)
{
        free(reconcile->uids[--reconcile->n_uids]);
}

static bool is_of_this_boot(const struct reconcile *reconcile, const struct ledger_claim *claim)
{
        return claim->boot_id && strcmp(claim->boot_id, reconcile->boot_id) == 0;
}

/* It was restored as one of an earlier boot, and kubelet has prepared it again since. */
static bool is_prepared_again(const struct reconcile *reconcile, const struct ledger_claim *held)
{
        return reconcile->n_uids > reconcile->n_of_this_boot && is_of_this_boot(reconcile, held);
}

/* It may have been deleted by force just now, and its container live on for seconds; kubelet will
 * unprepare it. */
static void look_again_later(struct reconcile *reconcile)
{
        char **last = &reconcile->uids[reconcile->n_uids - 1];
        char **gone = &reconcile->uids[reconcile->n_gone++], *uid = *gone;

        *gone = *last;
        *last = uid;
}

static void on_timer(uv_timer_t *timer)
{
        next(timer->data);
}

static void on_claim(void *owner, const struct kube_reply *reply)
{
        _cleanup_(claim) struct claim seen = CLAIM_NULL;
        struct reconcile *reconcile = owner;
        const char *uid = reconcile->uids[reconcile->n_uids - 1];
        const struct ledger_claim *held = ledger_find(reconcile->ledger, uid);
        bool is_gone = reply->outcome == KUBE_NOT_FOUND;

        reconcile->get = NULL;
        /* Whatever else keeps us from reading it may pass, too: a permission, an upgrade. */
        if (reply->outcome != KUBE_OK && !is_gone) {
                uv_timer_start(&reconcile->timer, on_timer, reconcile->after_ms, 0);
                return;
        }
        if (reply->outcome == KUBE_OK && claim_parse(reply->object, DRIVER_NAME, &seen, NULL) == 0)
                is_gone = seen.uid && strcmp(seen.uid, uid) != 0;
        is_gone = is_gone && held && !is_prepared_again(reconcile, held);
        if (is_gone && is_of_this_boot(reconcile, held) && !reconcile->is_second_look) {
                look_again_later(reconcile);
                uv_timer_start(&reconcile->timer, on_timer, 0, 0);
                return;
        }
        if (is_gone) {
                const struct prepare_claim_id id = { held->namespace_, held->name, uid };

                log_warn("a claim held from before the restart does not exist any more, releasing "
                         "it",
                         log_str("namespace", held->namespace_), log_str("claim", held->name),
                         log_str("uid", uid));
                prepare_cancel(&reconcile->release);
                prepare_release(reconcile->prepare, &reconcile->release, &id);
        }
        skip(reconcile);
        uv_timer_start(&reconcile->timer, on_timer, 0, 0);
}

/* Nobody is asked before kubelet has had its time, neither at first nor for the second look. */
static bool has_to_wait(struct reconcile *reconcile)
{
        if (reconcile->n_uids > reconcile->n_of_this_boot)
                return false;
        if (!reconcile->has_waited)
                return reconcile->has_waited = true;
        if (reconcile->kubelet_age_ms(reconcile->owner) < reconcile->after_ms)
                return true;
        if (reconcile->n_uids > reconcile->n_gone)
                return false;
        reconcile->n_gone = 0;
        return reconcile->is_second_look = true;
}

static void next(struct reconcile *reconcile)
{
        for (; reconcile->n_uids; skip(reconcile)) {
                const struct ledger_claim *held;

                if (has_to_wait(reconcile)) {
                        uv_timer_start(&reconcile->timer, on_timer, reconcile->after_ms, 0);
                        return;
                }
                held = ledger_find(reconcile->ledger, reconcile->uids[reconcile->n_uids - 1]);
                /* An unreadable record names no claim to ask for; kubelet will, by its UID. */
                if (held && !held->is_uncertain && !is_prepared_again(reconcile, held)) {
                        __attribute__((cleanup(cleanup_free))) char *path =
                                kube_path_claim(held->namespace_, held->name);

                        reconcile->get = kube_get(reconcile->api, path, "ResourceClaim", on_claim,
                                                  reconcile);
                        return;
                }
        }
}

static void remember(struct reconcile *reconcile, bool of_this_boot)
{
        const struct ledger *ledger = reconcile->ledger;

        for (const struct ledger_claim *claim = ledger_next(ledger, NULL); claim;
             claim = ledger_next(ledger, claim))
                if (is_of_this_boot(reconcile, claim) == of_this_boot)
                        reconcile->uids[reconcile->n_uids++] = xstrdup(claim->uid);
}

struct reconcile *reconcile_start(uv_loop_t *loop, struct kube_api *api,
                                  const struct ledger *ledger, struct prepare *prepare,
                                  const char *boot_id, uint64_t after_ms,
                                  uint64_t (*kubelet_age_ms)(void *owner), void *owner)
{
        struct reconcile *reconcile = xcalloc(1, sizeof(*reconcile));

        reconcile->api = api;
        reconcile->ledger = ledger;
        reconcile->prepare = prepare;
        reconcile->after_ms = after_ms;
        reconcile->boot_id = xstrdup(boot_id);
        reconcile->kubelet_age_ms = kubelet_age_ms;
        reconcile->owner = owner;
        reconcile->release = (struct prepare_request){ .on_done = on_released };
        reconcile->uids = xcalloc(ledger_n_claims(ledger), sizeof(*reconcile->uids));
        remember(reconcile, true);
        reconcile->n_of_this_boot = reconcile->n_uids;
        remember(reconcile, false);
        uv_timer_init(loop, &reconcile->timer);
        reconcile->timer.data = reconcile;
        if (reconcile->n_uids)
                uv_timer_start(&reconcile->timer, on_timer, 0, 0);
        return reconcile;
}

static void on_timer_closed(uv_handle_t *handle)
{
        struct reconcile *reconcile = handle->data;

        free(reconcile->uids);
        free(reconcile->boot_id);
        free(reconcile);
}

void reconcile_free(struct reconcile *reconcile)
{
        if (!reconcile)
                return;
        if (reconcile->get)
                kube_cancel(reconcile->get);
        prepare_cancel(&reconcile->release);
        while (reconcile->n_uids)
                skip(reconcile);
        uv_close((uv_handle_t *)&reconcile->timer, on_timer_closed);
}
