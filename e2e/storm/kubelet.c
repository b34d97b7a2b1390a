/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kubelet: its device manager, podresources, and its starts and stops, as measured on 1.36.
 * claims.c has its part in claims.
 */
#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"
#include "e2e/storm/world.h"
#include "plugin/service.h"

#include <inttypes.h>
#include <stdio.h>

#define STATUS_PERIOD_MS 10000U
#define START_MS         100U /* minimum for a container: its sandbox takes that long */

struct kubelet kubelet;

static void look(void *owner);

static struct pod *pod_at(struct list *position)
{
        return container_of(position, struct pod, link);
}

/* ---- the device manager ---- */

uint64_t kubelet_devices_in_use(void)
{
        struct list *position;
        uint64_t ids = 0;

        list_for_each (position, &pods)
                if (pod_at(position)->is_in_manager)
                        ids |= pod_at(position)->ids;
        return ids;
}

void kubelet_plugin_list(uint64_t healthy)
{
        kubelet.has_plugin = true;
        kubelet.healthy = healthy;
}

void kubelet_plugin_gone(void)
{
        kubelet.has_plugin = false;
        kubelet.healthy = 0;
}

char *kubelet_device_checkpoint(void)
{
        _cleanup_(text) struct text records = TEXT_NULL;
        const char *separator = "", *names[N_IDS];
        struct list *position;
        size_t n;

        text_add(&records, "{\"Data\":{\"PodDeviceEntries\":[");
        list_for_each (position, &pods) {
                const struct pod *pod = pod_at(position);

                if (!pod->is_in_manager)
                        continue;
                n = names_of(pod->ids, names);
                for (size_t i = 0; i < n; ++i) {
                        text_addf(&records,
                                  "%s{\"PodUID\":\"%s\",\"ResourceName\":\"%s\","
                                  "\"DeviceIDs\":{\"-1\":[\"%s\"]}}",
                                  separator, pod->uid, PLUGIN_SERVICE_RESOURCE, names[i]);
                        separator = ",";
                }
        }
        text_add(&records, "]}}");
        return text_take(&records);
}

/* Final for a bare pod; the user who made it removes it. */
static void refuse(struct pod *pod, const char *who, const char *reason)
{
        truth_refused(pod, who, reason);
        pod->stage = POD_UNSEEN;
        cluster_pod_over(pod);
}

/* kubelet may refuse the pod for topology or resources after the driver gave it a device. */
static void on_refused_after_all(void *owner)
{
        struct pod *pod = owner;

        trace("kubelet refuses %s after all", pod->name);
        truth_refused_after_all(pod);
        pod->is_in_manager = false;
        pod->stage = POD_UNSEEN;
        cluster_pod_over(pod);
}

static void on_listed(void *owner)
{
        struct pod *pod = owner;

        pod->is_listed = true;
}

static uint64_t pick(uint64_t free, unsigned n)
{
        uint64_t ids = 0;

        while (n--) {
                unsigned skip = chance_percent(50) ? chance_below(count(free)) : 0;
                uint64_t rest = free;

                while (skip--)
                        rest &= rest - 1;
                ids |= rest & -rest;
                free &= ~(rest & -rest);
        }
        return ids;
}

static void allocate(void *owner)
{
        struct error error = ERROR_NULL;
        struct pod *pod = owner;
        uint64_t free = kubelet.healthy & ~kubelet_devices_in_use();

        if (count(free) < pod->n_wanted) {
                refuse(pod, "kubelet", "no healthy device is present");
                return;
        }
        pod->ids = pick(free, pod->n_wanted);
        if (seam_allocate(pod->ids, &error) < 0) {
                refuse(pod, "the driver", error.text);
                return;
        }
        ++figures.tallies[TALLY_ALLOCATED];
        trace("%s gets plugin devices %" PRIx64, pod->name, pod->ids);
        pod->stage = POD_RUNNING;
        pod->is_in_manager = true;
        pod->has_cdi_names = driver.flags.is_injecting_cdi;
        truth_take(pod);
        /* Its own checkpoint is on the same disk. */
        if (chance_percent(3) || host.is_disk_full) {
                clock_plan(&pod->next, chance_between(1, 10), on_refused_after_all, pod);
        } else if (chance_percent(1)) {
                trace_operation(TALLY_LOST_ALLOCATE, "kubelet dies before it has taken the answer");
                pod->is_in_manager = false;
                pod->stage = POD_STARTING;
                truth_give_back(pod);
                kubelet_kill(chance_between(100, 3000));
        } else {
                clock_plan(&pod->next, chance_between(2, 20), on_listed, pod);
        }
}

/* ---- the end of a pod ---- */

/* kubelet sees that the container has gone. */
static void after_container(struct pod *pod, uint64_t delay_ms)
{
        pod->is_listed = false;
        pod->is_in_manager = false;
        clock_cancel(&pod->next);
        if (pod->is_claim) {
                claim_end(pod, delay_ms);
                return;
        }
        pod->stage = POD_UNSEEN;
        cluster_pod_over(pod);
}

static void on_container_gone(void *owner)
{
        struct pod *pod = owner;

        truth_give_back(pod);
        if (kubelet.is_aware)
                after_container(pod, chance_between(10, 150));
}

static void stop(struct pod *pod)
{
        bool is_forced = !pod->is_in_api;
        bool has_started = clock_now() - pod->since_ms >= START_MS;

        claim_abandon(pod);
        clock_cancel(&pod->next);
        if (pod->stage == POD_STARTING) /* its container, if there was one, ended with the node */
                truth_give_back(pod);
        pod->stage = POD_STOPPING;
        if (is_forced) { /* forgotten at once, although the container lives on */
                pod->is_listed = false;
                pod->is_in_manager = false;
        }
        if (!pod->holds)
                after_container(pod, chance_between(10, 150));
        else if (!clock_is_planned(&pod->container))
                clock_plan(&pod->container,
                           !has_started ? 0
                           : is_forced  ? chance_between(1500, 2500)
                                        : chance_between(200, 3000),
                           on_container_gone, pod);
}

/* ---- how kubelet reacts to news ---- */

/* The pod has changed at the API server, or kubelet has just learnt of it. */
static void look(void *owner)
{
        struct pod *pod = owner;

        if (!kubelet.is_aware || !cluster.is_up)
                return; /* on_aware() will look at all pods later */
        if (pod->stage == POD_UNSEEN && (!pod->is_in_api || pod->is_deleting)) {
                cluster_pod_over(pod);
        } else if (pod->stage == POD_UNSEEN && pod->is_bound) {
                pod->stage = POD_STARTING;
                if (pod->is_claim)
                        claim_begin(pod, chance_between(5, 50));
                else
                        clock_plan(&pod->next, chance_between(1, 10), allocate, pod);
        } else if (pod->stage == POD_STARTING || pod->stage == POD_RUNNING) {
                if (!pod->is_in_api || pod->is_deleting)
                        stop(pod);
        } else if (pod->stage == POD_STOPPING && !pod->is_in_api) {
                pod->is_listed = false; /* forced, after an orderly deletion had begun */
                pod->is_in_manager = false;
        }
}

void kubelet_hear_of(struct pod *pod, uint64_t delay_ms)
{
        clock_plan(&pod->news, delay_ms, look, pod);
}

void kubelet_poke(struct pod *pod)
{
        if (kubelet.is_aware && pod->is_claim)
                claim_poke(pod);
}

void kubelet_driver_gone(void)
{
        struct list *position, *following;

        kubelet_plugin_gone();
        list_for_each_safe (position, following, &pods) {
                struct pod *pod = pod_at(position);

                if (!pod->is_asking)
                        continue;
                prepare_cancel(&pod->request);
                pod->is_asking = false;
                clock_cancel(&pod->patience);
                if (pod->stage == POD_STARTING)
                        claim_begin(pod, chance_between(60000, 90000));
                else
                        claim_end(pod, chance_between(60000, 90000));
        }
}

/* ---- kubelet starts and stops ---- */

static void on_status(void *unused)
{
        clock_plan(&kubelet.status, STATUS_PERIOD_MS, on_status, NULL);
        if (!cluster.is_up)
                return;
        cluster.node_allocatable = count(kubelet.healthy);
        cluster_poke();
}

/* A pod as kubelet finds it after its start. */
static void find(struct pod *pod)
{
        if (pod->stage == POD_STARTING && !pod->is_claim) {
                pod->stage =
                        POD_UNSEEN; /* kubelet does not remember an Allocate without an answer */
        } else if (pod->stage == POD_RUNNING) {
                if (pod->is_in_manager && pod->is_in_api) /* kubelet admits its pods one by one */
                        clock_plan(&pod->next, chance_between(0, 300), on_listed, pod);
                if (!pod->holds) /* it ended while kubelet was away: the node has booted */
                        after_container(pod, chance_between(200, 2000));
        } else if (pod->stage == POD_STARTING && pod->is_in_api && !pod->is_deleting) {
                claim_begin(pod, chance_between(50, 1000));
        } else if (pod->stage == POD_STOPPING) {
                pod->is_listed = pod->is_in_manager && pod->is_in_api && pod->holds;
                if (!pod->holds) {
                        after_container(pod, chance_between(100, 60000));
                } else if (!clock_is_planned(&pod->container)) {
                        clock_plan(&pod->container, chance_between(500, 3000), on_container_gone,
                                   pod);
                }
        } else if (pod->stage == POD_STOPPED) {
                claim_end(pod, chance_between(100, 60000));
        }
}

/* kubelet has its pods from the API server. Until then it lists none and stops none. */
static void on_aware(void *unused)
{
        struct list *position, *following;

        if (!cluster.is_up)
                return;
        kubelet.is_aware = true;
        trace("kubelet knows its pods");
        list_for_each_safe (position, following, &pods)
                find(pod_at(position));
        list_for_each_safe (position, following, &pods)
                look(pod_at(position));
        cluster_wipe_slices();
        driver_registered();
}

static void on_start(void *unused)
{
        kubelet.is_up = true;
        ++kubelet.incarnation;
        kubelet.started_ms = clock_now();
        trace("kubelet starts");
        truth_disturbed();
        clock_plan(&kubelet.status, 0, on_status, NULL);
        clock_plan(&kubelet.awareness, chance_between(100, 1000), on_aware, NULL);
        seam_kubelet_socket_changed();
}

void kubelet_kill(uint64_t down_ms)
{
        struct list *position;

        kubelet.is_up = false;
        kubelet.is_aware = false;
        kubelet_plugin_gone();
        clock_cancel(&kubelet.status);
        clock_cancel(&kubelet.awareness);
        list_for_each (position, &pods) {
                struct pod *pod = pod_at(position);

                pod->is_listed = false;
                clock_cancel(&pod->next);
                clock_cancel(&pod->patience);
                if (pod->is_asking)
                        prepare_cancel(&pod->request);
                pod->is_asking = false;
        }
        clock_plan(&kubelet.start, down_ms, on_start, NULL);
}

/* Removing the checkpoint is the usual advice for wrong device counts (kubernetes#116125). kubelet
 * gives a container that runs no new devices, and no longer lists the ones that it has. */
bool kubelet_lose_checkpoint(uint64_t down_ms)
{
        struct list *position;

        list_for_each (position, &pods) {
                const struct pod *pod = pod_at(position);

                if (!pod->is_claim && pod->holds &&
                    (!pod->has_cgroup_known || !disk_has_cgroup(pod->uid)))
                        return false;
        }
        kubelet_kill(down_ms);
        list_for_each (position, &pods)
                pod_at(position)->is_in_manager = false;
        return true;
}

void kubelet_hear_of_api(void)
{
        struct list *position, *following;

        if (!kubelet.is_up)
                return;
        if (!kubelet.is_aware) {
                clock_plan(&kubelet.awareness, chance_between(100, 1000), on_aware, NULL);
                return;
        }
        list_for_each_safe (position, following, &pods)
                look(pod_at(position));
}

static void on_answering_again(void *unused)
{
        kubelet.is_silent = false;
        trace("podresources answers again");
        truth_disturbed();
}

void kubelet_be_silent(uint64_t ms)
{
        kubelet.is_silent = true;
        kubelet.is_hanging = chance_percent(30);
        clock_plan(&kubelet.silence, ms, on_answering_again, NULL);
}

/* Every container ends. A pod with restartPolicy Always keeps its TD, because it will run again. */
void node_reboot(uint64_t down_ms)
{
        struct list *position;

        kubelet_kill(down_ms + chance_between(0, 3000));
        driver_stop(false, down_ms + chance_between(0, 5000), driver.flags);
        disk_reboot();
        host_remove_spec(); /* /run is a tmpfs */
        list_for_each (position, &pods) {
                struct pod *pod = pod_at(position);

                bool will_run_again = pod->is_claim && pod->stage == POD_RUNNING &&
                                      pod->is_always && pod->is_in_api && !pod->is_deleting;

                clock_cancel(&pod->container);
                if (will_run_again)
                        pod->stage = POD_STARTING;
                /* An unreadable record names no claim, so it holds until the reboot at most. */
                if (!will_run_again || disk_is_damaged(pod->uid))
                        truth_give_back(pod);
        }
        ++host.boot;
        host.n_foreign = 0;
        host.n_leaked = 0;
}

void kubelet_init(void)
{
        on_start(NULL);
}
