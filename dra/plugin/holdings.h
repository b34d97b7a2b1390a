/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which plugin devices are in use, learnt from what kubelet asks (Allocate) and what it lists
 * (podresources): pure, time is given.
 *
 * The classic device plugin API has no word for "released". So a device is held from Allocate on,
 * although kubelet lists it only milliseconds later; and one that vanishes from the list stays held
 * until its container has gone, because on a forced deletion kubelet forgets it at once while its
 * container lives on for seconds: where its pod's cgroup is known that tells, and otherwise time.
 * IDs are kubelet's: any it lists under our resource name counts, whoever handed it out.
 */
#pragma once

#include "base/memory.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct holdings;

/* An Allocate whose device is not listed this long after (20 ms were measured) was for nothing, for
 * kubelet refused the pod afterwards, or its pod was deleted before we asked. */
#define HOLDINGS_IN_FLIGHT_MS 5000
/* From the moment a device is no longer listed until its container is certainly gone (2.0 s were
 * measured), for a pod whose cgroup is not known; */
#define HOLDINGS_LINGER_MS 4000
/* and how often one that is known is looked at. */
#define HOLDINGS_LOOK_MS 250
/* Two Allocates of one device within this time are for containers of one pod: an init container's
 * devices are handed on. Later ones say that kubelet has forgotten the pod before. */
#define HOLDINGS_SAME_POD_MS 100

/* is_running: whether a container of the pod with this cgroup may still run. Once false it stays
 * so. Only asked for what holdings_place() has named. */
struct holdings *holdings_new(bool (*is_running)(const char *cgroup));
void holdings_free(struct holdings *holdings);
DEFINE_CLEANUP(struct holdings, holdings, holdings_free);

/* TDs in use by plugin devices, lingering ones included. */
size_t holdings_n(const struct holdings *holdings);

enum holdings_state {
        HOLDINGS_FREE,
        HOLDINGS_HELD, /* a pod has it, as far as kubelet knows: never to be reported Unhealthy */
        HOLDINGS_LINGERING /* kubelet has forgotten it, its container may still run: not to be
                              offered */
};

enum holdings_state holdings_state(const struct holdings *holdings, const char *id);

/* kubelet is about to give these IDs away, so it has forgotten who had them. Those whose pods have
 * ended, as their cgroups tell, are free before it has listed its pods again, and so are lingering
 * ones. Whether anything changed. */
bool holdings_drop_ended(struct holdings *holdings, const char *const *ids, size_t n);

/* How many of these IDs would add to holdings_n(). Each counts once. */
size_t holdings_n_new(const struct holdings *holdings, const char *const *ids, size_t n,
                      uint64_t now_ms);

/* kubelet has been given these IDs. One that is held already has changed hands, and from now on the
 * pod before lingers. */
void holdings_allocate(struct holdings *holdings, const char *const *ids, size_t n,
                       uint64_t now_ms);

/* kubelet has listed these IDs. Unless is_complete (kubelet has just started, and may not know its
 * pods yet) one that is not listed says nothing. Whether anything changed. */
bool holdings_observe(struct holdings *holdings, const char *const *ids, size_t n, bool is_complete,
                      uint64_t now_ms);

/* The pod that holds this ID has this cgroup (copied). Nothing happens where the ID is not held or
 * has one already, or a lingering device has that one: what told it was behind then. */
void holdings_place(struct holdings *holdings, const char *id, const char *cgroup);
/* Whether a held device is to be placed yet, this one or any (NULL). */
bool holdings_is_unplaced(const struct holdings *holdings, const char *id);

/* Give up what has lingered long enough. Whether anything changed. */
bool holdings_expire(struct holdings *holdings, uint64_t now_ms);
/* When holdings_expire() has something to do next; UINT64_MAX: never, as things stand. */
uint64_t holdings_next_expiry_ms(const struct holdings *holdings);

/* Every held ID (not the lingering ones) once, in no order. NULL starts and ends. Borrowed. */
const char *holdings_next(const struct holdings *holdings, const char *previous);
/* Every lingering one, the oldest first; an ID may come again, and be held, too. previous is what
 * this function returned, not a copy. */
const char *holdings_next_lingering(const struct holdings *holdings, const char *previous);

/* What was in use before a restart, held or lingering: held until a complete list says otherwise. A
 * second one of the same ID lingers. */
void holdings_restore(struct holdings *holdings, const char *id, uint64_t now_ms);
