/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Releases held claims that kubelet will never unprepare.
 *
 * kubelet unprepares from its own checkpoint. If that was lost (kubelet's files deleted, a node
 * reinstalled under our state, a pod removed by force: kubernetes/kubernetes#139772), a claim would
 * be held for ever. So every after_ms each claim that kubelet does not list as prepared is compared
 * with the API server. A claim is released if it no longer exists, exists under another UID, or has
 * no device in this pool, and if the next look after_ms later finds the same.
 *
 * Nothing is released while the API server is unreachable or kubelet is down: containers of deleted
 * pods may still be running. A kubelet younger than after_ms is left to clean up by itself (its own
 * loop, cm/dra/manager.go, runs every 60 s).
 *
 * A claim of an earlier boot has no running TD. If it no longer exists, one look suffices, whether
 * kubelet runs or not. An unreadable record of an earlier boot names no claim to compare with; it
 * is released if kubelet has neither prepared nor unprepared it by the second look, and the API
 * server answers a GET of the Node at both: without it kubelet does not know its pods either.
 */
#pragma once

#include <stdint.h>
#include <uv.h>

struct kube_api;
struct ledger;
struct prepare;
struct rebuild;
struct reconcile;

/* Without a list from kubelet each held claim costs a GET: do that in two of this many rounds. */
#define RECONCILE_BLIND_ROUNDS 10

/* All pointers are borrowed, except that the strings are copied. */
struct reconcile_options {
        uv_loop_t *loop;
        struct kube_api *api;
        const struct ledger *ledger;
        struct prepare *prepare;
        const struct rebuild *rebuild; /* for rebuild_lists(); may be NULL */
        const char *pool;
        const char *boot_id; /* this boot's */
        uint64_t after_ms;
        uint64_t (*kubelet_age_ms)(void *owner); /* since kubelet started; 0: it is down */
        void *owner;
};

struct reconcile *reconcile_start(const struct reconcile_options *options);
/* NULL is fine. */
void reconcile_free(struct reconcile *reconcile);
