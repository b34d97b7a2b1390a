/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Divides one capacity between two allocation paths that Kubernetes does not reconcile (KEP-5004).
 * Pure; the caller passes the time, in milliseconds of any monotonic clock.
 *
 * Claims (the ledger) and plugin devices (the holdings) together never hold more than the total.
 * Each side is offered what the other does not hold. Only unheld TDs are withdrawn. A device that a
 * pod holds is never reported Unhealthy, because kubelet would fail the pod at its next restart.
 */
#pragma once

#include "base/memory.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct ledger;
struct plugin_holder;
struct sharing;

/* Poll interval while anything is held (podresources does not notify) or kubelet does not answer.
 */
#define SHARING_POLL_MS 5000
#define SHARING_AFTER_ALLOCATE_MS \
        300 /* kubelet lists a device some 20 ms after Allocate returned */
/* Poll interval while the holders are unknown, or kubelet does not answer or has just started. */
#define SHARING_RETRY_MS 1000
#define SHARING_KUBELET_SETTLE_MS \
        5000                          /* after its start kubelet lists nothing for up to a second */
#define SHARING_PODS_SETTLE_MS   3000 /* from the first pod that a kubelet lists to the last */
#define SHARING_IGNORANCE_MAX_MS 10000 /* after our start; then the record is used instead */

/* How many TDs of a total plugin devices may hold, if `split` TDs are reserved for DRA (-1: none,
 * all are offered to both) and claims hold n_claims_held. */
unsigned sharing_plugin_limit(unsigned total, int64_t split, unsigned n_claims_held);
/* The TDs that claims cannot have while plugin devices hold n_plugin_held. */
unsigned sharing_elsewhere(unsigned total, int64_t split, unsigned n_plugin_held);

/* ledger is borrowed; only this module sets its elsewhere and kept. Foreign TDs
 * (ledger_set_foreign()) reduce the plugin's part of a split before the claims' part. is_running:
 * see holdings_new(). */
struct sharing *sharing_new(struct ledger *ledger, int64_t split,
                            bool (*is_running)(const char *cgroup), uint64_t now_ms);
void sharing_free(struct sharing *sharing);
DEFINE_CLEANUP(struct sharing, sharing, sharing_free);

/* Whether the TDs that plugin devices hold are known. Until then offer and admit nothing, on either
 * side. */
bool sharing_is_known(const struct sharing *sharing);
unsigned sharing_n_held(const struct sharing *sharing); /* TDs that plugin devices hold */

/* Take in a device that was recorded before a restart, as holdings_restore() does. */
void sharing_restore(struct sharing *sharing, const struct plugin_holder *holder);
/* As holdings_next(). */
const char *sharing_next_held(const struct sharing *sharing, const char *previous);
/* The devices to record, as holdings_each(): containers of lingering devices may outlive the
 * driver, too. */
void sharing_each(const struct sharing *sharing,
                  void (*on_holder)(void *owner, const struct plugin_holder *holder), void *owner);

/* kubelet is about to give these IDs to a pod: as holdings_drop_ended(). True: what plugin devices
 * hold has changed. */
bool sharing_drop_ended(struct sharing *sharing, const char *const *ids, size_t n);
/* kubelet wants to give these IDs to a pod; call sharing_confirm() for those in flight first. 0:
 * they are held. -ENOSPC or -EAGAIN with the reason: nothing changed. */
int sharing_allocate(struct sharing *sharing, const char *const *ids, size_t n, uint64_t now_ms,
                     struct error *err);

/*
 * kubelet has listed these IDs, and pods at all or none (has_pods), kubelet_age_ms after its start.
 * True: what plugin devices hold has changed, or is known for the first time.
 *
 * An unlisted device is released only if kubelet started SHARING_KUBELET_SETTLE_MS ago and has
 * listed pods for SHARING_PODS_SETTLE_MS: a kubelet that starts while the API server is away lists
 * no running pod until the server is back, and then adds them one by one. On a node without any pod
 * nothing is released.
 */
bool sharing_listed(struct sharing *sharing, const char *const *ids, size_t n, bool has_pods,
                    uint64_t kubelet_age_ms, uint64_t now_ms);
/* kubelet did not answer. True: as above. SHARING_IGNORANCE_MAX_MS after our start the record
 * counts instead. */
bool sharing_unanswered(struct sharing *sharing, uint64_t now_ms);
/* Time has passed. True: as above. */
bool sharing_expire(struct sharing *sharing, uint64_t now_ms);

/* As holdings_place(), holdings_is_unplaced(), holdings_is_in_flight() and holdings_confirm(). */
bool sharing_place(struct sharing *sharing, const struct plugin_holder *holder);
bool sharing_is_unplaced(const struct sharing *sharing, const char *id);
bool sharing_is_in_flight(const struct sharing *sharing, const char *id);
void sharing_confirm(struct sharing *sharing, const char *id, bool is_kept);

/* When to ask kubelet next, and when to call sharing_expire(); UINT64_MAX: not until something
 * changes. */
uint64_t sharing_next_question_ms(const struct sharing *sharing);
uint64_t sharing_next_expiry_ms(const struct sharing *sharing);

/* If closed, offer no free device. Held devices stay Healthy. */
void sharing_close(struct sharing *sharing, bool is_closed);

/* The ledger's total, its foreign TDs or its held claims have changed. */
void sharing_update(struct sharing *sharing);

struct sharing_device {
        const char *id; /* borrowed until the next call of any function here */
        bool is_healthy;
};

/* The plugin's offer: IDs tdx0 ... tdx<total-1> in that order, then every other held ID. Held
 * devices are Healthy, and so are as many free ones as there is room for, the lowest first. The
 * array is the caller's. */
struct sharing_device *sharing_offer(struct sharing *sharing, size_t *ret_n);
