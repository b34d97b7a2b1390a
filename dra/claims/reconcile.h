/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Claims that are held and that kubelet will never unprepare.
 *
 * kubelet unprepares by its own checkpoint. If that was lost (kubelet's files deleted, a node
 * reinstalled under our state, a pod removed by force: kubernetes/kubernetes#139772), a claim would
 * be held for ever. So every after_ms each claim that kubelet does not list as prepared is compared
 * with the API server's. One that does not exist any more, exists under another UID, or has no
 * device of this pool, and still so at the next look after_ms later, is released.
 *
 * Nothing is released while the API server is unreachable or kubelet is down: containers of deleted
 * pods may still be running. A kubelet younger than after_ms is left to clean up by itself
 * (its own loop, cm/dra/manager.go, runs every 60 s). Of a
 * claim of an earlier boot no TD runs: if it does not exist any more, one look suffices, with or
 * without kubelet. An unreadable record of an earlier boot names no claim to compare with; it ends
 * if kubelet has not prepared or unprepared it by the second look.
 */
#pragma once

#include <stdint.h>
#include <uv.h>

struct kube_api;
struct ledger;
struct prepare;
struct rebuild;
struct reconcile;

/* If it is not known what kubelet lists, each claim costs a GET: two rounds of so many. */
#define RECONCILE_BLIND_ROUNDS 10

/* Everything is borrowed; the strings are copied. */
struct reconcile_options {
        uv_loop_t *loop;
        struct kube_api *api;
        const struct ledger *ledger;
        struct prepare *prepare;
        const struct rebuild *rebuild; /* what kubelet lists */
        const char *pool;
        const char *boot_id; /* this boot's */
        uint64_t after_ms;
        uint64_t (*kubelet_age_ms)(void *owner); /* since kubelet started; 0: it is down */
        void *owner;
};

struct reconcile *reconcile_start(const struct reconcile_options *options);
/* NULL is fine. */
void reconcile_free(struct reconcile *reconcile);
