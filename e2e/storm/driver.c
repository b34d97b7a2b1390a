/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver's process: dra/claims/prepare, dra/plugin/plugin and dra/claims/reconcile as they are,
 * wired as dra/daemon.c wires them. Each function here names the one of daemon.c that it repeats.
 * The publisher is a model of dra/offer/publisher.c around the real dra/offer/sliceplan.
 */
#include "base/backoff.h"
#include "base/error.h"
#include "base/memory.h"
#include "claims/reconcile.h"
#include "e2e/storm/world.h"
#include "kube/api.h"
#include "ledger.h"
#include "offer/inventory.h"
#include "offer/publisher.h"
#include "offer/sliceplan.h"
#include "plugin/plugin.h"

#include <inttypes.h>
#include <stdio.h>

#define POLL_INTERVAL_MS 30000U /* --poll-interval */
#define PREPARE_WAIT_MS  30000U /* --prepare-wait */

struct driver driver;
struct host host;

static uv_loop_t loop; /* only its address is used */
static char nothing;   /* where the modules want a pointer that is not NULL */
static struct {
        struct event call;
        struct event pause;
        struct event watch; /* tells of somebody else's write, or lists all slices anew */
        struct sliceplan_step step;
        struct backoff backoff, watch_backoff;
        bool is_listed;
        bool is_watching; /* the stream is up */
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
                                            slice_contents(step->index) };
        cluster_slices_changed();
}

/* kube/watch.c: a list, then what the stream tells. Without an answer it tries again later. */
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
                                                        slice->devices == slice_contents(i) };
        }
        publisher.step = sliceplan_next(slices, n, n_slices_wanted());
        if (publisher.step.verb == SLICEPLAN_NOTHING)
                return;
        if (publisher.step.verb == SLICEPLAN_DELETE)
                publisher.step.observed = at[publisher.step.observed];
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
        for (size_t i = 0; i < inventory->n_devices; ++i) {
                if (inventory->devices[i] >= 64)
                        trace_violation("device tdx%u is published", inventory->devices[i]);
                wanted |= UINT64_C(1) << inventory->devices[i];
        }
        driver.wanted = wanted;
        if (!driver.is_wanted_known)
                look_again();
        driver.is_wanted_known = true;
        work(NULL);
}

static void stop_publishing(void)
{
        if (clock_is_planned(&publisher.call) && cluster.is_up && chance_percent(50))
                carry_out(&publisher.step); /* it was on its way */
        clock_cancel(&publisher.call);
        clock_cancel(&publisher.pause);
        clock_cancel(&publisher.watch);
        driver.is_wanted_known = false;
}

/* The watch tells of somebody else's write, or loses its stream. */
void driver_slices_changed(void)
{
        if (driver.is_wanted_known && publisher.is_watching)
                clock_plan(&publisher.watch, chance_between(5, 50), on_watch, NULL);
}

/* ---- daemon.c ---- */

/* is_total_in_force() */
static bool is_total_in_force(void)
{
        return driver.is_capacity_known && plugin_is_known(driver.plugin);
}

/* publish() */
static void publish(void)
{
        const struct inventory_terms terms = { .is_known = is_total_in_force() };
        struct inventory inventory = INVENTORY_NULL;

        if (!driver.is_active)
                return;
        inventory_compute(driver.ledger, &terms, &inventory);
        want(&inventory);
        inventory_deinit(&inventory);
}

/* on_held_changed() */
static void on_held_changed(void *unused)
{
        plugin_update(driver.plugin);
        publish();
}

/* put_total_in_force() */
static void put_total_in_force(void)
{
        if (!is_total_in_force())
                return;
        ledger_set_total(driver.ledger, driver.total);
        plugin_update(driver.plugin);
        prepare_retry_waiting(driver.prepare);
        publish();
}

/* on_plugin_held_changed() */
static void on_plugin_held_changed(void *unused)
{
        if (!ledger_is_total_known(driver.ledger) || ledger_total(driver.ledger) != driver.total)
                put_total_in_force();
        prepare_retry_waiting(driver.prepare);
        publish();
}

/* read_capacity() and set_total() */
static void read_capacity(void)
{
        if (!host.is_readable || (driver.is_capacity_known && driver.total == host.capacity))
                return;
        driver.is_capacity_known = true;
        driver.total = host.capacity;
        truth_capacity_read(driver.total);
        put_total_in_force();
}

/* on_housekeeping() */
static void on_housekeeping(void *unused)
{
        clock_plan(&driver.housekeeping, POLL_INTERVAL_MS, on_housekeeping, NULL);
        plugin_check(driver.plugin);
        prepare_retry_removals(driver.prepare);
        read_capacity();
}

/* on_registration_status(): publisher_resync() */
void driver_registered(void)
{
        if (driver.is_wanted_known)
                look_again();
}

static uint64_t kubelet_age_ms(void *unused)
{
        return kubelet.is_up ? clock_now() - kubelet.started_ms : 0;
}

/* set_up() */
static void set_up(void)
{
        const struct prepare_options prepare_options = { .loop = &loop,
                                                         .ledger = driver.ledger,
                                                         .cdi = (void *)&nothing,
                                                         .api = (void *)&nothing,
                                                         .pool = NODE,
                                                         .wait_ms = PREPARE_WAIT_MS,
                                                         .on_held_changed = on_held_changed };
        const struct plugin_options side_options = { .loop = &loop,
                                                     .ledger = driver.ledger,
                                                     .kubelet_dir = "/kubelet",
                                                     .device_plugin_dir = "/device-plugins",
                                                     .state_dir = "/state",
                                                     .split = driver.split,
                                                     .serves = true,
                                                     .on_changed = on_plugin_held_changed };

        driver.prepare = prepare_new(&prepare_options);
        prepare_set_mount_source(driver.prepare, "/run/qgs");
        driver.plugin = plugin_new(&side_options);
        plugin_set_mount(driver.plugin, "/run/qgs", "/run/qgs");
}

/* activate() */
static void activate(void)
{
        char boot_id[16];

        snprintf(boot_id, sizeof(boot_id), "boot-%u", host.boot);
        if (driver.fault != FAULT_FORGET)
                disk_load((void *)&nothing, driver.ledger);
        read_capacity();
        prepare_activate(driver.prepare, (void *)&nothing, boot_id);
        plugin_start(driver.plugin);
        driver.reconcile = reconcile_start(&loop, (void *)&nothing, driver.ledger, driver.prepare,
                                           boot_id, RECONCILE_AFTER_MS, kubelet_age_ms, NULL);
        publish();
}

void driver_start(void *unused)
{
        driver.is_up = true;
        driver.is_active = true;
        driver.is_capacity_known = false;
        driver.total = 0;
        driver.ledger = ledger_new();
        publisher.backoff = (struct backoff){ .first_ms = 200, .cap_ms = PUBLISHER_RETRY_MAX_MS };
        publisher.watch_backoff =
                (struct backoff){ .first_ms = 500, .cap_ms = PUBLISHER_RETRY_MAX_MS };
        if (driver.split < 0)
                trace("the driver starts, --share=dynamic");
        else
                trace("the driver starts, --share=split=%" PRId64, driver.split);
        truth_disturbed();
        set_up();
        activate();
        clock_plan(&driver.housekeeping, POLL_INTERVAL_MS, on_housekeeping, NULL);
        /* Its sockets are there: kubelet registers it. */
        driver_registered();
}

/* stop() and tear_down(). A process that is killed has no tear_down: here it has one that nobody
 * sees. */
void driver_stop(bool is_orderly, uint64_t down_ms, int64_t split)
{
        driver.is_active = is_orderly;
        if (driver.is_up) {
                driver.is_up = false;
                clock_cancel(&driver.housekeeping);
                if (is_orderly)
                        prepare_stop(driver.prepare);
                else
                        kubelet_driver_gone();
                reconcile_free(driver.reconcile);
                disk_settle(is_orderly);
                stop_publishing();
                kubelet_driver_gone();
                driver.is_active = false;
                plugin_stop(driver.plugin);
                prepare_free(driver.prepare);
                plugin_free(driver.plugin);
                clock_turn();
                ledger_free(driver.ledger);
        }
        driver.sharing = NULL;
        driver.split = split;
        clock_plan(&driver.start, down_ms, driver_start, NULL);
}

void driver_deinit(void)
{
        driver_stop(false, 0, driver.split);
        clock_cancel(&driver.start);
}
