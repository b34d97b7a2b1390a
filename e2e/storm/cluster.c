/* SPDX-License-Identifier: Apache-2.0 */
/* The API server and the scheduler. */
#include "base/memory.h"
#include "e2e/storm/world.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct cluster cluster;
struct list pods = { &pods, &pods };

unsigned count(uint64_t devices)
{
        return (unsigned)__builtin_popcountll(devices);
}

/* ---- pods ---- */

static bool is_name_taken(const char *name)
{
        const struct list *position;

        list_for_each (position, &pods)
                if (strcmp(container_of(position, struct pod, link)->name, name) == 0)
                        return true;
        return false;
}

struct pod *pod_new(bool is_claim, unsigned n_wanted)
{
        static unsigned n_made;
        struct pod *pod = xcalloc(1, sizeof(*pod));

        ++n_made;
        pod->is_claim = is_claim;
        pod->n_wanted = n_wanted;
        /* Names are reused, as a StatefulSet's are. */
        snprintf(pod->name, sizeof(pod->name), "%c%u", is_claim ? 'c' : 'p', n_made % 64);
        if (is_name_taken(pod->name))
                snprintf(pod->name, sizeof(pod->name), "%c%u", is_claim ? 'c' : 'p', n_made + 64);
        snprintf(pod->uid, sizeof(pod->uid), "%s-uid-%u", pod->name, n_made);
        pod->has_odd_cgroup = chance_percent(10);
        list_add_tail(&pods, &pod->link);
        return pod;
}

void pod_free_if_gone(struct pod *pod)
{
        if (pod->is_in_api || pod->stage != POD_UNSEEN || pod->holds)
                return;
        clock_cancel(&pod->news);
        clock_cancel(&pod->next);
        clock_cancel(&pod->patience);
        clock_cancel(&pod->container);
        list_unlink(&pod->link);
        free(pod);
}

/* ---- slices ---- */

/* The pool's untainted devices in its highest generation. False if that generation is incomplete.
 */
static bool find_pool(uint64_t *ret)
{
        const struct api_slice *slice, *end = cluster.slices + SLICES_MAX;
        int64_t generation = 0, n = 0, wanted = 0;
        uint64_t devices = 0;

        for (slice = cluster.slices; slice < end; ++slice)
                if (slice->exists && slice->generation > generation)
                        generation = slice->generation;
        for (slice = cluster.slices; slice < end; ++slice)
                if (slice->exists && slice->generation == generation) {
                        devices |= slice->is_tainted ? 0 : slice->devices;
                        wanted = slice->count;
                        ++n;
                }
        *ret = devices;
        return n && n == wanted;
}

uint64_t cluster_pool(void)
{
        uint64_t devices;

        if (find_pool(&devices))
                return devices;
        /* During a rewrite the previous complete pool. */
        return clock_now() - cluster.pool_lost_ms < REWRITE_MS ? cluster.last_pool : 0;
}

static void on_slices_seen(void *unused)
{
        uint64_t devices;

        cluster.seen_pool = find_pool(&devices) ? devices : 0;
        cluster_poke();
}

/* The scheduler sees a change within 50 ms, and so does the driver's watch. */
void cluster_slices_changed(void)
{
        uint64_t devices;

        if (find_pool(&devices))
                cluster.last_pool = devices;
        else if (cluster.is_pool_complete)
                cluster.pool_lost_ms = clock_now();
        cluster.is_pool_complete = find_pool(&devices);
        if (!clock_is_planned(&cluster.slices_seen))
                clock_plan(&cluster.slices_seen, chance_between(5, 50), on_slices_seen, NULL);
}

void cluster_wipe_slices(void)
{
        for (unsigned i = 0; i < SLICES_MAX; ++i)
                cluster.slices[i].exists = false;
        cluster_slices_changed();
        driver_slices_changed();
}

/* The API server restarts with DRADeviceTaints on or off. If it is off, stored taints are dropped.
 */
void cluster_drop_taints(bool drops_taints)
{
        cluster.drops_taints = drops_taints;
        for (unsigned i = 0; drops_taints && i < SLICES_MAX; ++i)
                cluster.slices[i].is_tainted = false;
        cluster_slices_changed();
        driver_slices_changed();
}

/* ---- the scheduler ---- */

uint64_t cluster_allocated(void)
{
        const struct list *position;
        uint64_t allocated = 0;

        list_for_each (position, &pods) {
                const struct pod *pod = container_of(position, struct pod, link);

                if (pod->is_in_api)
                        allocated |= pod->allocated;
        }
        return allocated;
}

static unsigned n_plain_bound(void)
{
        const struct list *position;
        unsigned n = 0;

        list_for_each (position, &pods) {
                const struct pod *pod = container_of(position, struct pod, link);

                if (!pod->is_claim && pod->is_in_api && pod->is_bound)
                        n += pod->n_wanted;
        }
        return n;
}

static uint64_t choose(uint64_t devices, unsigned n)
{
        bool is_random = chance_percent(30);
        uint64_t chosen = 0;

        while (n--) {
                unsigned skip = is_random ? chance_below(count(devices)) : 0;
                uint64_t rest = devices;

                while (skip--)
                        rest &= rest - 1;
                chosen |= rest & -rest;
                devices &= ~(rest & -rest);
        }
        return chosen;
}

static bool try_to_bind(struct pod *pod)
{
        uint64_t devices = cluster.seen_pool & ~cluster_allocated();

        if (!pod->is_claim)
                return n_plain_bound() + pod->n_wanted <= cluster.node_allocatable;
        if (count(devices) < pod->n_wanted)
                return false;
        pod->allocated = choose(devices, pod->n_wanted);
        return true;
}

static void on_schedule(void *unused)
{
        struct list *position;

        if (!cluster.is_up)
                return;
        list_for_each (position, &pods) {
                struct pod *pod = container_of(position, struct pod, link);

                if (!pod->is_in_api || pod->is_bound || pod->is_deleting || !try_to_bind(pod))
                        continue;
                pod->is_bound = true;
                kubelet_hear_of(pod, chance_between(5, 50));
        }
}

void cluster_poke(void)
{
        if (!clock_is_planned(&cluster.schedule))
                clock_plan(&cluster.schedule, chance_between(2, 30), on_schedule, NULL);
}

/* ---- what users do ---- */

struct pod *cluster_create_pod(bool is_claim, unsigned n_wanted)
{
        struct pod *pod = pod_new(is_claim, n_wanted);

        pod->is_in_api = true;
        cluster_poke();
        return pod;
}

void cluster_delete_pod(struct pod *pod, bool is_forced)
{
        pod->is_deleting = true;
        if (is_forced || !pod->is_bound) {
                pod->is_in_api = false; /* and its claim is deallocated within milliseconds */
                if (pod->stage == POD_STARTING) /* its container ended with the node */
                        truth_give_back(pod);
                cluster_poke();
        }
        kubelet_hear_of(pod, is_forced ? chance_between(4, 7) : chance_between(5, 50));
}

static void on_pod_over(void *owner)
{
        struct pod *pod = owner;

        if (!cluster.is_up) { /* kubelet reports it again */
                clock_plan(&pod->news, 1000, on_pod_over, pod);
                return;
        }
        pod->is_in_api = false;
        cluster_poke();
        pod_free_if_gone(pod);
}

void cluster_pod_over(struct pod *pod)
{
        pod->is_deleting = true;
        if (pod->is_in_api)
                clock_plan(&pod->news, chance_between(5, 100), on_pod_over, pod);
        else
                pod_free_if_gone(pod);
}

/* ---- outages ---- */

static void on_back(void *unused)
{
        cluster.is_up = true;
        trace("the API server is back");
        truth_disturbed();
        cluster_poke();
        kubelet_hear_of_api();
        driver_attestation_changed();
}

void cluster_fail(uint64_t ms)
{
        cluster.is_up = false;
        cluster.is_hanging = chance_percent(30);
        clock_plan(&cluster.outage, ms, on_back, NULL);
        driver_slices_changed();
}

void cluster_init(void)
{
        cluster.is_up = true;
}
