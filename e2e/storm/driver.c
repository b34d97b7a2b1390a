/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver's process: the real dra/node, with the lock and the timer of dra/daemon.c around it.
 * The publisher is a model of dra/offer/publisher.c around the real dra/offer/sliceplan.
 */
#include "attestation_facts.h"
#include "base/backoff.h"
#include "base/error.h"
#include "base/memory.h"
#include "config.h"
#include "e2e/storm/world.h"
#include "kube/api.h"
#include "node.h"
#include "offer/inventory.h"
#include "offer/publisher.h"
#include "offer/sliceplan.h"

#include <inttypes.h>
#include <stdio.h>

#define POLL_INTERVAL_MS 30000U /* --poll-interval */
#define PREPARE_WAIT_MS  30000U /* --prepare-wait */

struct driver driver;
struct host host;

static uv_loop_t loop; /* only its address is used */
static char nothing;   /* for modules that want a pointer other than NULL */
static struct config config;
static struct {
        struct event call;
        struct event pause;
        struct event watch; /* reports another client's write, or lists all slices again */
        struct sliceplan_step step;
        struct backoff backoff, watch_backoff;
        bool is_listed;
        bool is_watching; /* the watch stream is open */
        bool has_sent_taint;
        struct event wipe; /* kubelet's removal of the slices of a driver that is gone */
} publisher;

/* ---- publisher.c ---- */

static void work(void *unused);

static unsigned n_slices_wanted(void)
{
        unsigned n = (count(driver.wanted) + SLICE_DEVICES - 1) / SLICE_DEVICES;

        return n ? n : 1;
}

/* build(): the devices of one slice, in order. */
static uint64_t slice_contents(unsigned index)
{
        uint64_t rest = driver.wanted, contents = 0;

        for (unsigned i = 0; rest && i < (index + 1) * SLICE_DEVICES; ++i, rest &= rest - 1)
                if (i >= index * SLICE_DEVICES)
                        contents |= rest & -rest;
        return contents;
}

static void carry_out(const struct sliceplan_step *step)
{
        if (step->verb == SLICEPLAN_DELETE)
                cluster.slices[step->observed].exists = false;
        else
                cluster.slices[step->index] =
                        (struct api_slice){ true, step->generation, n_slices_wanted(),
                                            slice_contents(step->index),
                                            publisher.has_sent_taint && !cluster.drops_taints };
        cluster_slices_changed();
}

/* kube/watch.c: a list, then the events of the stream. Without an answer it tries again later. */
static void on_watch(void *unused)
{
        if (!cluster.is_up) {
                publisher.is_watching = false;
                clock_plan(&publisher.watch, backoff_next_ms(&publisher.watch_backoff, 0, chance()),
                           on_watch, NULL);
                return;
        }
        publisher.is_watching = true;
        publisher.is_listed = true;
        backoff_reset(&publisher.watch_backoff);
        work(NULL);
}

/* look_again() and kube_watch_resync() */
static void look_again(void)
{
        publisher.is_listed = false;
        publisher.is_watching = false;
        backoff_reset(&publisher.watch_backoff);
        clock_plan(&publisher.watch,
                   !cluster.is_up && cluster.is_hanging ? KUBE_TIMEOUT_MS : chance_between(5, 50),
                   on_watch, NULL);
}

/* on_written() */
static void on_written(void *unused)
{
        if (cluster.is_up) {
                carry_out(&publisher.step);
                backoff_reset(&publisher.backoff);
                if (publisher.step.verb != SLICEPLAN_DELETE && publisher.has_sent_taint &&
                    cluster.drops_taints)
                        node_taints_dropped(driver.node);
                work(NULL);
                return;
        }
        look_again();
        clock_plan(&publisher.pause, backoff_next_ms(&publisher.backoff, 0, chance()), work, NULL);
}

/* work() and plan(); a slice's place in the cluster's array is its index. */
static void work(void *unused)
{
        struct sliceplan_slice slices[SLICES_MAX];
        unsigned at[SLICES_MAX], n = 0;

        if (!driver.is_wanted_known || !publisher.is_listed || clock_is_planned(&publisher.call) ||
            clock_is_planned(&publisher.pause))
                return;
        for (unsigned i = 0; i < SLICES_MAX; ++i) {
                const struct api_slice *slice = &cluster.slices[i];

                if (!slice->exists)
                        continue;
                at[n] = i;
                slices[n++] = (struct sliceplan_slice){ i, slice->generation, slice->count,
                                                        slice->devices == slice_contents(i) &&
                                                                slice->is_tainted ==
                                                                        driver.is_taint_wanted };
        }
        publisher.step = sliceplan_next(slices, n, n_slices_wanted());
        if (publisher.step.verb == SLICEPLAN_NOTHING)
                return;
        if (publisher.step.verb == SLICEPLAN_DELETE)
                publisher.step.observed = at[publisher.step.observed];
        publisher.has_sent_taint = driver.is_taint_wanted;
        clock_plan(&publisher.call,
                   !cluster.is_up && cluster.is_hanging ? KUBE_TIMEOUT_MS : chance_between(2, 20),
                   on_written, NULL);
}

/* publisher_set() */
static void want(const struct inventory *inventory)
{
        uint64_t wanted = 0;

        if (!inventory->terms.is_known)
                return;
        for (size_t i = 0; i < inventory_n_listed(inventory); ++i) {
                if (inventory->devices[i] >= 64)
                        trace_violation("device tdx%u is published", inventory->devices[i]);
                wanted |= UINT64_C(1) << inventory->devices[i];
        }
        driver.wanted = wanted;
        driver.is_withdrawing = inventory->terms.taint && inventory->terms.is_withdrawing;
        driver.is_taint_wanted = inventory->terms.taint && !inventory->terms.is_withdrawing &&
                                 driver.fault != FAULT_NO_TAINT;
        if (!driver.is_wanted_known)
                look_again();
        driver.is_wanted_known = true;
        work(NULL);
}

static void stop_publishing(void)
{
        if (clock_is_planned(&publisher.call) && cluster.is_up && chance_percent(50))
                carry_out(&publisher.step); /* it was in flight */
        clock_cancel(&publisher.call);
        clock_cancel(&publisher.pause);
        clock_cancel(&publisher.watch);
        driver.is_wanted_known = false;
}

/* The watch reports another client's write, or loses its stream. */
void driver_slices_changed(void)
{
        if (driver.is_wanted_known && publisher.is_watching)
                clock_plan(&publisher.watch, chance_between(5, 50), on_watch, NULL);
}

/* ---- the process around the node ---- */

static void on_offer(void *unused, const struct inventory *inventory, bool is_schedulable,
                     const char *words)
{
        if (driver.is_active)
                want(inventory);
}

static void on_event(void *unused, bool is_warning, const char *reason, const char *text)
{
        if (driver.is_active)
                trace("driver: Event %s: %s", reason, text);
}

static void read_capacity(void)
{
        if (!host.is_readable || (driver.is_capacity_known && driver.total == host.capacity))
                return;
        driver.is_capacity_known = true;
        driver.total = host.capacity;
        truth_capacity_read(driver.total);
        node_set_total(driver.node, driver.total);
}

static const struct misc_tree *read_running(void *unused, uint64_t *ret_now_ms)
{
        const struct misc_tree *running = host.is_readable ? host_running() : NULL;

        if (!running)
                return NULL;
        truth_running_read(!driver.is_running_known, host.n_foreign, host.n_leaked);
        driver.is_running_known = true;
        *ret_now_ms = clock_now();
        return running;
}

static void on_housekeeping(void *unused)
{
        clock_plan(&driver.housekeeping, POLL_INTERVAL_MS, on_housekeeping, NULL);
        node_check(driver.node);
        read_capacity();
        node_measure(driver.node);
}

/* kubelet has registered the driver: publisher_resync(). */
void driver_registered(void)
{
        if (driver.is_wanted_known)
                look_again();
}

static uint64_t kubelet_age_ms(void *unused)
{
        return kubelet.is_up ? clock_now() - kubelet.started_ms : 0;
}

/* ---- attestation, in place of dra/attestation ---- */

static bool works(enum attestation_means means)
{
        return driver.qgs == QGS_WELL || (driver.qgs == QGS_OF_A_GROUP && means == ATTESTATION_CDI);
}

bool driver_is_open(bool for_claims)
{
        bool is_cdi = for_claims || driver.flags.is_injecting_cdi;

        return driver.is_judged &&
               (!driver.is_enforced || works(is_cdi ? ATTESTATION_CDI : ATTESTATION_MOUNTS));
}

static void tell_attestation(void)
{
        static const char *const states[] = { "answering", "answering", "absent" };
        struct attestation_facts facts = { .is_known = driver.is_judged,
                                           .group = driver.qgs == QGS_OF_A_GROUP ? 107 : 0,
                                           .state = states[driver.qgs],
                                           .description = states[driver.qgs],
                                           .host_directory = "/run/qgs",
                                           .seen_directory = "/run/qgs",
                                           .vm_directory = "/run/qgs" };

        for (int means = 0; means < ATTESTATION_N_MEANS; ++means) {
                facts.works[means] = works((enum attestation_means)means);
                facts.is_schedulable[means] =
                        driver.is_judged && (!driver.is_enforced || facts.works[means]);
        }
        node_set_attestation(driver.node, &facts);
}

/* The settings come from the API server while it answers. At a start without it the last known ones
 * apply. */
static void on_verdict(void *unused)
{
        driver.is_judged = true;
        driver.qgs = host.qgs;
        if (cluster.is_up)
                driver.is_enforced = cluster.is_enforced;
        trace("the driver judges: QGS %s, attestation %s",
              driver.qgs == QGS_AWAY ? "is away" : "answers",
              driver.is_enforced ? "enforced" : "optional");
        truth_disturbed();
        tell_attestation();
}

void driver_attestation_changed(void)
{
        if (driver.is_up)
                clock_plan(&driver.verdict, chance_between(5, 12000), on_verdict, NULL);
}

/* ---- life ---- */

static void on_settled(void *unused)
{
        node_look(driver.node);
}

void driver_directory_changed(void)
{
        if (driver.is_up)
                clock_plan(&driver.settling, 20, on_settled, NULL);
}

/* kubelet removes a driver's slices once it has not reached the driver for 30 s. */
static void on_wipe(void *unused)
{
        if (cluster.is_up && kubelet.is_aware)
                cluster_wipe_slices();
        else
                clock_plan(&publisher.wipe, 1000, on_wipe, NULL);
}

bool driver_serves_claims(void)
{
        return driver.is_up && driver.flags.serves_dra;
}

static void set_up(void)
{
        const struct node_options options = { .loop = &loop,
                                              .config = &config,
                                              .api = (void *)&nothing,
                                              .kubelet_age_ms = kubelet_age_ms,
                                              .read_running = read_running,
                                              .on_offer = on_offer,
                                              .on_event = on_event };

        config = (struct config){ .node_name = (char *)NODE,
                                  .kubelet_dir = (char *)"/kubelet",
                                  .device_plugin_dir = (char *)"/device-plugins",
                                  .state_dir = (char *)"/state",
                                  .cdi_dir = (char *)"/cdi",
                                  .host_root = (char *)"",
                                  .cgroup_root = (char *)"/cgroup",
                                  .reconcile_after_ms = 60000,
                                  .serves_dra = driver.flags.serves_dra,
                                  .serves_plugin = driver.flags.serves_plugin,
                                  .split = driver.flags.split,
                                  .is_injecting_cdi = driver.flags.is_injecting_cdi,
                                  .is_ignoring_foreign = driver.fault == FAULT_IGNORE_FOREIGN,
                                  .prepare_wait_ms = PREPARE_WAIT_MS,
                                  .poll_interval_ms = POLL_INTERVAL_MS };
        driver.node = node_new(&options);
        driver.prepare = node_prepare(driver.node);
        driver.is_judged = chance_percent(10);
        driver.qgs = host.qgs;
        tell_attestation();
        if (!driver.is_judged)
                clock_plan(&driver.verdict, chance_between(5, 12000), on_verdict, NULL);
}

void driver_start(void *unused)
{
        struct error error = ERROR_NULL;

        driver.is_up = true;
        driver.is_active = true;
        driver.is_capacity_known = false;
        driver.is_running_known = false;
        driver.total = 0;
        publisher.backoff = (struct backoff){ .first_ms = 200, .cap_ms = PUBLISHER_RETRY_MAX_MS };
        publisher.watch_backoff =
                (struct backoff){ .first_ms = 500, .cap_ms = PUBLISHER_RETRY_MAX_MS };
        trace("the driver starts, --serve=%s --share=split=%" PRId64 " --plugin-inject=%s",
              !driver.flags.serves_plugin ? "dra"
              : driver.flags.serves_dra   ? "both"
                                          : "plugin",
              driver.flags.split, driver.flags.is_injecting_cdi ? "cdi" : "mounts");
        if (driver.flags.serves_dra)
                clock_cancel(&publisher.wipe);
        truth_disturbed();
        driver.is_spec_refused = false;
        set_up();
        read_capacity();
        if (node_activate(driver.node, &error) < 0)
                trace_violation("the driver does not start: %s", error.text);
        clock_plan(&driver.housekeeping, POLL_INTERVAL_MS, on_housekeeping, NULL);
        /* The driver's sockets are there, so kubelet registers it. */
        driver_registered();
}

static void stop(bool is_orderly)
{
        driver.is_up = false;
        clock_cancel(&driver.housekeeping);
        clock_cancel(&driver.settling);
        clock_cancel(&driver.verdict);
        if (driver.flags.serves_dra)
                clock_plan(&publisher.wipe, 30000, on_wipe, NULL);
        if (!is_orderly)
                kubelet_driver_gone();
        stop_publishing();
        node_stop(driver.node);
        disk_settle(is_orderly);
        kubelet_driver_gone();
        driver.is_active = false;
        node_free(driver.node);
        clock_turn();
}

/* A killed process frees nothing. Here it does, but its effects are cut off first. */
void driver_stop(bool is_orderly, uint64_t down_ms, struct driver_flags flags)
{
        driver.is_active = is_orderly;
        clock_block_loop(false);
        if (driver.is_up)
                stop(is_orderly);
        driver.sharing = NULL;
        driver.flags = flags;
        clock_plan(&driver.start, down_ms, driver_start, NULL);
}

void driver_deinit(void)
{
        driver_stop(false, 0, driver.flags);
        clock_cancel(&driver.start);
}
