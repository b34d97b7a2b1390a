/* SPDX-License-Identifier: Apache-2.0 */
#include "plugin/sharing.h"

#include "base/error.h"
#include "device.h"
#include "ledger.h"
#include "plugin/holdings.h"

#include <errno.h>
#include <stdio.h>

struct sharing {
        struct ledger *ledger;
        struct holdings *holdings;
        int64_t split;
        bool is_known;
        bool is_closed;
        uint64_t started_ms;
        uint64_t next_question_ms;
        bool has_listed_pods;            /* this run of kubelet has listed a pod */
        uint64_t pods_first_ms;          /* when it first did */
        uint64_t pods_latest_ms;         /* when it last did */
        char (*names)[DEVICE_NAME_SIZE]; /* of all devices offered so far */
        unsigned n_names;
};

unsigned sharing_plugin_limit(unsigned total, int64_t split, unsigned n_claims_held)
{
        unsigned reserved = split < 0 ? 0 : split < total ? (unsigned)split : total;

        if (n_claims_held > reserved)
                reserved = n_claims_held;
        return total > reserved ? total - reserved : 0;
}

unsigned sharing_elsewhere(unsigned total, int64_t split, unsigned n_plugin_held)
{
        unsigned kept = split < 0 ? 0 : split < total ? total - (unsigned)split : 0;

        return n_plugin_held > kept ? n_plugin_held : kept;
}

struct sharing *sharing_new(struct ledger *ledger, int64_t split,
                            bool (*is_running)(const char *cgroup), uint64_t now_ms)
{
        struct sharing *sharing = xcalloc(1, sizeof(*sharing));

        sharing->ledger = ledger;
        sharing->holdings = holdings_new(is_running);
        sharing->split = split;
        sharing->started_ms = now_ms;
        sharing->next_question_ms = now_ms;
        return sharing;
}

void sharing_free(struct sharing *sharing)
{
        if (!sharing)
                return;
        holdings_free(sharing->holdings);
        free(sharing->names);
        free(sharing);
}

bool sharing_is_known(const struct sharing *sharing)
{
        return sharing->is_known;
}

unsigned sharing_n_held(const struct sharing *sharing)
{
        return (unsigned)holdings_n(sharing->holdings);
}

/* The plugin's part of n_tds. */
static unsigned limit(const struct sharing *sharing, unsigned n_tds)
{
        return sharing_plugin_limit(n_tds, sharing->split, ledger_held(sharing->ledger));
}

void sharing_close(struct sharing *sharing, bool is_closed)
{
        sharing->is_closed = is_closed;
}

void sharing_restore(struct sharing *sharing, const struct plugin_holder *holder)
{
        holdings_restore(sharing->holdings, holder, sharing->started_ms);
}

const char *sharing_next_held(const struct sharing *sharing, const char *previous)
{
        return holdings_next(sharing->holdings, previous);
}

void sharing_each(const struct sharing *sharing,
                  void (*on_holder)(void *owner, const struct plugin_holder *holder), void *owner)
{
        holdings_each(sharing->holdings, on_holder, owner);
}

void sharing_update(struct sharing *sharing)
{
        struct ledger *ledger = sharing->ledger;
        unsigned n_held = sharing_n_held(sharing);

        ledger_set_elsewhere(ledger,
                             sharing_elsewhere(ledger_total(ledger), sharing->split, n_held));
        ledger_set_kept(ledger, sharing_elsewhere(ledger_usable(ledger), sharing->split, n_held));
}

static bool take_in(struct sharing *sharing, bool is_changed)
{
        if (!sharing->is_known || !is_changed)
                return false;
        sharing_update(sharing);
        return true;
}

bool sharing_drop_ended(struct sharing *sharing, const char *const *ids, size_t n)
{
        return take_in(sharing, holdings_drop_ended(sharing->holdings, ids, n));
}

int sharing_allocate(struct sharing *sharing, const char *const *ids, size_t n, uint64_t now_ms,
                     struct error *err)
{
        size_t n_new = holdings_n_new(sharing->holdings, ids, n, now_ms);

        if (!sharing->is_known || ledger_is_incomplete(sharing->ledger))
                return error_set(err, -EAGAIN,
                                 "the driver has just started and does not know yet what is free");
        /* A request that adds no TD passes even above the limit: its pod holds the devices already.
         */
        if (n_new &&
            sharing_n_held(sharing) + n_new > limit(sharing, ledger_total(sharing->ledger)))
                return error_set(
                        err, -ENOSPC,
                        "no TD is free: claims hold %u and pods %u of %u TDs; choose another node",
                        ledger_held(sharing->ledger), sharing_n_held(sharing),
                        ledger_total(sharing->ledger));
        holdings_allocate(sharing->holdings, ids, n, now_ms);
        sharing->next_question_ms = now_ms + SHARING_AFTER_ALLOCATE_MS;
        sharing_update(sharing);
        return 0;
}

/* Plans the next question. is_urgent: the last answer, or its absence, does not show which devices
 * are free again. */
static void plan_question(struct sharing *sharing, bool is_urgent, uint64_t now_ms)
{
        if (!sharing->is_known || is_urgent)
                sharing->next_question_ms = now_ms + SHARING_RETRY_MS;
        else if (holdings_n(sharing->holdings))
                sharing->next_question_ms = now_ms + SHARING_POLL_MS;
        else
                /* Nothing is held: the next Allocate plans the next question. */
                sharing->next_question_ms = UINT64_MAX;
}

/* Whether kubelet knows its pods. False until it has listed pods for SHARING_PODS_SETTLE_MS. */
static bool is_aware(struct sharing *sharing, bool has_pods, uint64_t kubelet_age_ms,
                     uint64_t now_ms)
{
        if (kubelet_age_ms <= now_ms - sharing->pods_latest_ms)
                sharing->has_listed_pods = false; /* the previous kubelet did */
        if (has_pods && !sharing->has_listed_pods)
                sharing->pods_first_ms = now_ms;
        if (has_pods)
                sharing->pods_latest_ms = now_ms;
        sharing->has_listed_pods |= has_pods;
        return sharing->has_listed_pods &&
               now_ms - sharing->pods_first_ms >= SHARING_PODS_SETTLE_MS;
}

bool sharing_listed(struct sharing *sharing, const char *const *ids, size_t n, bool has_pods,
                    uint64_t kubelet_age_ms, uint64_t now_ms)
{
        bool is_settled = kubelet_age_ms >= SHARING_KUBELET_SETTLE_MS;
        bool is_complete = is_aware(sharing, has_pods, kubelet_age_ms, now_ms) && is_settled;
        bool is_changed = holdings_observe(sharing->holdings, ids, n, is_complete, now_ms);

        /* The record and the list together never miss a device in use. */
        if (!sharing->is_known &&
            ((is_settled && (sharing->has_listed_pods || !holdings_n(sharing->holdings))) ||
             now_ms - sharing->started_ms >= SHARING_IGNORANCE_MAX_MS)) {
                sharing->is_known = true;
                is_changed = true;
        }
        /* Ask again soon: the next list may be longer, and an incomplete list cannot release
         * devices, so freed TDs stay blocked until a complete one arrives. */
        plan_question(sharing, !is_settled || (!is_complete && holdings_n(sharing->holdings)),
                      now_ms);
        return take_in(sharing, is_changed);
}

bool sharing_unanswered(struct sharing *sharing, uint64_t now_ms)
{
        bool is_changed =
                !sharing->is_known && now_ms - sharing->started_ms >= SHARING_IGNORANCE_MAX_MS;

        sharing->is_known |= is_changed;
        plan_question(sharing, true, now_ms);
        /* If no device is known to be held, the question can wait. */
        if (sharing->is_known && !holdings_n(sharing->holdings))
                sharing->next_question_ms = now_ms + SHARING_POLL_MS;
        return take_in(sharing, is_changed);
}

bool sharing_place(struct sharing *sharing, const struct plugin_holder *holder)
{
        return holdings_place(sharing->holdings, holder);
}

bool sharing_is_in_flight(const struct sharing *sharing, const char *id)
{
        return holdings_is_in_flight(sharing->holdings, id);
}

void sharing_confirm(struct sharing *sharing, const char *id, bool is_kept)
{
        holdings_confirm(sharing->holdings, id, is_kept);
}

bool sharing_is_unplaced(const struct sharing *sharing, const char *id)
{
        return holdings_is_unplaced(sharing->holdings, id);
}

bool sharing_expire(struct sharing *sharing, uint64_t now_ms)
{
        return take_in(sharing, holdings_expire(sharing->holdings, now_ms));
}

uint64_t sharing_next_question_ms(const struct sharing *sharing)
{
        return sharing->next_question_ms;
}

uint64_t sharing_next_expiry_ms(const struct sharing *sharing)
{
        return holdings_next_expiry_ms(sharing->holdings);
}

static void name_devices(struct sharing *sharing, unsigned n)
{
        if (n <= sharing->n_names)
                return;
        sharing->names = xreallocarray(sharing->names, n, sizeof(*sharing->names));
        for (; sharing->n_names < n; ++sharing->n_names)
                device_print(sharing->names[sharing->n_names], sharing->n_names);
}

struct sharing_device *sharing_offer(struct sharing *sharing, size_t *ret_n)
{
        unsigned total = ledger_total(sharing->ledger), n_free = 0;
        unsigned n_offered = limit(sharing, ledger_usable(sharing->ledger));
        struct sharing_device *devices =
                xcalloc(total + holdings_n(sharing->holdings), sizeof(*devices));
        size_t n = 0;

        if (sharing->is_known && !sharing->is_closed && !ledger_is_incomplete(sharing->ledger) &&
            n_offered > sharing_n_held(sharing))
                n_free = n_offered - sharing_n_held(sharing);
        name_devices(sharing, total);
        for (unsigned i = 0; i < total; ++i) {
                const char *name = sharing->names[i];
                enum holdings_state state = holdings_state(sharing->holdings, name);

                devices[n++] =
                        (struct sharing_device){ name, state == HOLDINGS_HELD ||
                                                               (state == HOLDINGS_FREE && n_free) };
                n_free -= state == HOLDINGS_FREE && n_free;
        }
        /* Held devices beyond the total: the capacity has shrunk, or a foreign plugin has other
         * names. If they were missing, kubelet would fail their pods. */
        for (const char *id = holdings_next(sharing->holdings, NULL); id;
             id = holdings_next(sharing->holdings, id)) {
                unsigned index;

                if (device_parse(id, &index) == 0 && index < total)
                        continue;
                devices[n++] = (struct sharing_device){ id, true };
        }
        *ret_n = n;
        return devices;
}
