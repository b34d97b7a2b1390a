/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Claims that were restored from disk and that nobody will ever unprepare.
 *
 * kubelet unprepares by its own checkpoint. Where that was lost (a node reinstalled under our
 * state, kubelet's files deleted), a restored claim would be held for ever. So once, when kubelet
 * has had time for its own clean-up, every restored claim is compared with the API server's: one
 * that does not exist any more, or exists under another UID, and still does not as long again
 * later, is released. Claims of an earlier boot, of which no TD runs, are compared at once, and
 * released at the first look. An API server that cannot be asked releases nothing, nor does a
 * kubelet that is away: containers run on without it, also of pods that do not exist any more.
 */
#pragma once

#include <uv.h>

struct kube_api;
struct ledger;
struct prepare;
struct reconcile;

#define RECONCILE_AFTER_MS 60000 /* kubelet's own loop (cm/dra/manager.go) runs every 60 s */

/* Remembers the claims the ledger holds now, and starts the clock. boot_id is this boot's;
 * kubelet_age_ms tells how long ago kubelet started, 0 where it is not there. The rest is borrowed.
 */
struct reconcile *reconcile_start(uv_loop_t *loop, struct kube_api *api,
                                  const struct ledger *ledger, struct prepare *prepare,
                                  const char *boot_id, uint64_t after_ms,
                                  uint64_t (*kubelet_age_ms)(void *owner), void *owner);
/* Stops; the memory goes when the loop has turned. NULL is fine. */
void reconcile_free(struct reconcile *reconcile);
