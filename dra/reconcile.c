/* SPDX-License-Identifier: Apache-2.0 */
#include "reconcile.h"

#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "config.h"
#include "kube/api.h"
#include "kube/claim.h"
#include "ledger.h"
#include "prepare.h"

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
        char **uids; /* still to be looked at, from the last down: those of earlier boots come first
                      */
        size_t n_uids;
        size_t n_of_this_boot;
        bool has_waited;
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
        if (held && is_gone) {
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

static void next(struct reconcile *reconcile)
{
        if (reconcile->n_uids == reconcile->n_of_this_boot && !reconcile->has_waited) {
                reconcile->has_waited = true;
                uv_timer_start(&reconcile->timer, on_timer, reconcile->after_ms, 0);
                return;
        }
        while (reconcile->n_uids) {
                const struct ledger_claim *held =
                        ledger_find(reconcile->ledger, reconcile->uids[reconcile->n_uids - 1]);

                /* An unreadable record names no claim to ask for; kubelet will, by its UID. */
                if (held && !held->is_uncertain) {
                        __attribute__((cleanup(cleanup_free))) char *path =
                                kube_path_claim(held->namespace_, held->name);

                        reconcile->get = kube_get(reconcile->api, path, "ResourceClaim", on_claim,
                                                  reconcile);
                        return;
                }
                skip(reconcile);
        }
}

static void remember(struct reconcile *reconcile, const char *boot_id, bool is_of_this_boot)
{
        const struct ledger *ledger = reconcile->ledger;

        for (const struct ledger_claim *claim = ledger_next(ledger, NULL); claim;
             claim = ledger_next(ledger, claim))
                if ((claim->boot_id && strcmp(claim->boot_id, boot_id) == 0) == is_of_this_boot)
                        reconcile->uids[reconcile->n_uids++] = xstrdup(claim->uid);
}

struct reconcile *reconcile_start(uv_loop_t *loop, struct kube_api *api,
                                  const struct ledger *ledger, struct prepare *prepare,
                                  const char *boot_id, uint64_t after_ms)
{
        struct reconcile *reconcile = xcalloc(1, sizeof(*reconcile));

        reconcile->api = api;
        reconcile->ledger = ledger;
        reconcile->prepare = prepare;
        reconcile->after_ms = after_ms;
        reconcile->release = (struct prepare_request){ .on_done = on_released };
        reconcile->uids = xcalloc(ledger_n_claims(ledger), sizeof(*reconcile->uids));
        remember(reconcile, boot_id, true);
        reconcile->n_of_this_boot = reconcile->n_uids;
        remember(reconcile, boot_id, false);
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
