/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tracks which plugin devices are in use, from kubelet's Allocate calls and its podresources lists.
 * Pure; the caller passes the time.
 *
 * The classic device plugin API has no call for "released". So a device is held from Allocate on,
 * although kubelet lists it only milliseconds later. A device that vanishes from the list stays
 * held until its container has gone: on a forced deletion kubelet forgets it at once, while its
 * container lives on for seconds. The pod's cgroup shows when it has gone; if the cgroup is
 * unknown, a grace period decides. Every ID that kubelet lists under our resource name counts, even
 * one that a foreign plugin handed out.
 */
#pragma once

#include "base/memory.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct holdings;
struct plugin_holder;

/* An Allocate whose device is not listed after this time (20 ms were measured) has failed: kubelet
 * refused the pod afterwards, or the pod was deleted before we asked. */
#define HOLDINGS_IN_FLIGHT_MS 5000
/* Grace period without a known cgroup, from the first list without the device until its container
 * is certainly gone (2.0 s were measured). */
#define HOLDINGS_LINGER_MS 4000
/* Poll interval with a known cgroup. */
#define HOLDINGS_LOOK_MS 250
/* Two Allocates of one device within this time are for containers of one pod: kubelet gives an init
 * container's devices to the next container. After this time kubelet has written its checkpoint,
 * which decides about later Allocates (holdings_confirm()). */
#define HOLDINGS_SAME_POD_MS 100
/* A pod in admission keeps its device for this long while kubelet's checkpoint names it: kubelet
 * asks other device plugins between its containers, and podresources does not list init containers
 * (pkg/kubelet/apis/podresources/server_v1.go). The checkpoint still names a pod that was refused
 * or deleted in that time, so this and HOLDINGS_LINGER_MS are less than a claim waits in Prepare.
 */
#define HOLDINGS_ADMISSION_MS 20000

/* is_running: whether a container of the pod with this cgroup may still run. Once false, it stays
 * false. Only called with cgroups that holdings_place() or holdings_restore() passed in. */
struct holdings *holdings_new(bool (*is_running)(const char *cgroup));
void holdings_free(struct holdings *holdings);
DEFINE_CLEANUP(struct holdings, holdings, holdings_free);

/* TDs in use by plugin devices, lingering ones included. */
size_t holdings_n(const struct holdings *holdings);

enum holdings_state {
        HOLDINGS_FREE,
        HOLDINGS_HELD,     /* a pod has it, as far as kubelet knows: never report it Unhealthy */
        HOLDINGS_LINGERING /* kubelet has forgotten it, but its container may still run: do not
                              offer it */
};

enum holdings_state holdings_state(const struct holdings *holdings, const char *id);

/* kubelet is about to give these IDs away, so it has forgotten their holders. Frees those whose
 * pods have ended according to their cgroups, and every lingering device whose pod has, without
 * waiting for the next list. Returns whether anything changed. */
bool holdings_drop_ended(struct holdings *holdings, const char *const *ids, size_t n);

/* How many of these IDs would add to holdings_n(). Each counts once. */
size_t holdings_n_new(const struct holdings *holdings, const char *const *ids, size_t n,
                      uint64_t now_ms);

/* Allocate gives these IDs to a pod. If another pod holds one of them, that holder lingers from now
 * on. */
void holdings_allocate(struct holdings *holdings, const char *const *ids, size_t n,
                       uint64_t now_ms);

/* kubelet has listed these IDs. A missing ID means something only if is_complete: a kubelet that
 * has just started may not know its pods yet. Returns whether anything changed. */
bool holdings_observe(struct holdings *holdings, const char *const *ids, size_t n, bool is_complete,
                      uint64_t now_ms);

/* Take in which pod holds holder->id, and the pod's cgroup if known; copied. Returns whether
 * anything changed. No-op if the ID is not held, if its cgroup is known already, or if that pod has
 * a lingering device (the source was stale). */
bool holdings_place(struct holdings *holdings, const struct plugin_holder *holder);
/* Whether this ID was allocated and has not been listed since: its pod may still be in admission.
 */
bool holdings_is_in_flight(const struct holdings *holdings, const char *id);
/* Take in whether kubelet still assigns this ID in flight (NULL: all of them) to the pod that it
 * was allocated to. If it does, the next Allocate is for another container of that pod, however
 * late it comes, unless a container of the pod runs already: containers start only after the whole
 * pod has been admitted. */
void holdings_confirm(struct holdings *holdings, const char *id, bool is_kept);
/* Whether the pod's cgroup is still unknown, for this held device or for any (NULL). */
bool holdings_is_unplaced(const struct holdings *holdings, const char *id);

/* Release devices that have lingered long enough. Returns whether anything changed. */
bool holdings_expire(struct holdings *holdings, uint64_t now_ms);
/* When to call holdings_expire() next; UINT64_MAX: not until something changes. */
uint64_t holdings_next_expiry_ms(const struct holdings *holdings);

/* Iterates over the held IDs (not the lingering ones), each once, in no order. Pass NULL to start;
 * NULL is the end. Borrowed. */
const char *holdings_next(const struct holdings *holdings, const char *previous);
/* Calls on_holder for every device in use: the lingering ones, the oldest first, then the held
 * ones. An ID may come twice. holdings_restore() expects this order. */
void holdings_each(const struct holdings *holdings,
                   void (*on_holder)(void *owner, const struct plugin_holder *holder), void *owner);

/* Take in a device that was in use before a restart (copied). It is held until a complete list
 * lacks it. Then it lingers until its pod's cgroup shows the end, or for HOLDINGS_LINGER_MS if the
 * cgroup is unknown. If two have the same ID, the first one lingers. */
void holdings_restore(struct holdings *holdings, const struct plugin_holder *holder,
                      uint64_t now_ms);
