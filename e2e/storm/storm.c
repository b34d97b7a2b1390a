/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A seeded random scenario on a virtual clock: pods and claims come and go on both paths, kubelet,
 * driver, API server, podresources, disk and capacity fail, and after every step it is checked that
 * the promises hold. `storm --help` tells the options.
 *
 * Of the driver, dra/node and the modules below it run as they are; the modules' ways to the world
 * are stood in for (seams.c, disk.c, clock.c), and so is the process around the node (driver.c). An
 * operation is one thing that somebody does, a step is anything that happens, with all it leads to
 * at once.
 *
 * Who holds is the storm's own book-keeping. A plain pod holds from the moment the driver said yes
 * to Allocate until its container has gone, or kubelet has refused it after all. A claim holds from
 * the moment the driver writes it down until its record is removed. T is the capacity the driver
 * has read last. Quiet is: nothing is down, and for 15 s nothing has come back, started or changed
 * its capacity. What is checked:
 *
 *   - Holders never exceed T. Where T shrank below them, they only decrease until they fit: then,
 *     too, nobody new is let in.
 *   - Nothing held is forgotten: what a running plain pod has is held or lingering in the driver,
 *     and counted, as soon as the driver says that it knows; a claim in use is in the ledger and on
 *     the disk, at any time. Neither is withdrawn: the one is Healthy, the other in the slices.
 *   - With --share=split no admission goes beyond the part of its path.
 *   - When it is quiet, a TD that was given back more than 15 s ago is offered on each path that
 *     may have it: to kubelet and, in a complete pool, to the scheduler. The 15 s begin when the
 *     container has gone, or the claim's record has.
 *   - When it is quiet, no claim or pod is refused, neither by the driver nor by kubelet for want
 *     of a healthy device, while so many TDs as it wants have been free for its path for 15 s. So
 *     a plain pod that a node status of some seconds ago brought here may be refused only where the
 *     TD is really held, or was until just now by a pod whose cgroup the driver does not know: of
 *     the others it sees the end at once.
 */
#include "base/memory.h"
#include "base/parse.h"
#include "e2e/storm/world.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

static struct {
        uint64_t n_operations;
        uint64_t seed;
        enum fault fault;
        bool is_tracing;
} options = { .n_operations = 10000 };

/* ---- what may be done ---- */

static unsigned n_pods(void)
{
        const struct list *position;
        unsigned n = 0;

        list_for_each (position, &pods)
                ++n;
        return n;
}

static struct pod *any_pod(bool is_deleting_too)
{
        unsigned skip = chance_below(n_pods());
        struct list *position;

        list_for_each (position, &pods) {
                struct pod *pod = container_of(position, struct pod, link);

                if (skip) {
                        --skip;
                        continue;
                }
                if (pod->is_in_api && (is_deleting_too || !pod->is_deleting))
                        return pod;
        }
        return NULL;
}

static void create(bool is_claim)
{
        unsigned n = chance_percent(85) ? 1 : (unsigned)chance_between(2, 3);
        struct pod *pod = cluster_create_pod(is_claim, n);

        pod->is_always = chance_percent(30);
        trace_operation(is_claim ? TALLY_CLAIM : TALLY_POD, "%s wants %u TD%s", pod->name, n,
                        n > 1 ? "s" : "");
}

static void delete_one(bool is_forced)
{
        struct pod *pod = any_pod(is_forced);

        if (!pod)
                return;
        trace_operation(is_forced ? TALLY_FORCE : TALLY_DELETE, "%s is deleted%s", pod->name,
                        is_forced ? " by force" : "");
        cluster_delete_pod(pod, is_forced);
}

static void poke(void)
{
        struct pod *pod = any_pod(true);

        if (!pod)
                return;
        trace_operation(TALLY_POKE, "%s is annotated", pod->name);
        kubelet_poke(pod);
}

static uint64_t some_time(void)
{
        return chance_percent(80)   ? chance_between(100, 4000)
               : chance_percent(85) ? chance_between(4000, 40000)
                                    : chance_between(40000, 300000);
}

static void restart_kubelet(void)
{
        uint64_t ms = some_time();

        trace_operation(TALLY_KUBELET, "kubelet dies for %" PRIu64 " ms", ms);
        kubelet_kill(ms);
}

static int64_t any_split(void)
{
        return chance_percent(50) ? -1 : (int64_t)chance_below(host.capacity + 2);
}

static void stop_driver(enum tally how)
{
        uint64_t ms = some_time();
        bool is_orderly = how == TALLY_UPDATE || (how == TALLY_SHARE && chance_percent(50));

        trace_operation(how, "the driver is %s for %" PRIu64 " ms%s",
                        is_orderly ? "stopped" : "killed", ms,
                        how == TALLY_SHARE ? ", its --share changes" : "");
        driver_stop(is_orderly, ms, how == TALLY_SHARE ? any_split() : driver.split);
}

static void change_capacity(void)
{
        host.capacity = chance_percent(10) ? 0 : (unsigned)chance_between(1, TDS_MAX);
        trace_operation(TALLY_CAPACITY, "the capacity is %u now", host.capacity);
}

static void on_readable(void *unused)
{
        host.is_readable = true;
        truth_disturbed();
}

static void hide_capacity(void)
{
        uint64_t ms = some_time();

        trace_operation(TALLY_UNREADABLE, "the capacity cannot be read for %" PRIu64 " ms", ms);
        host.is_readable = false;
        clock_plan(&host.repair, ms, on_readable, NULL);
}

static void cut_off(enum tally what)
{
        uint64_t ms = some_time();

        trace_operation(what, "%s for %" PRIu64 " ms",
                        what == TALLY_API            ? "the API server is away"
                        : what == TALLY_PODRESOURCES ? "podresources does not answer"
                                                     : "the disk is full",
                        ms);
        if (what == TALLY_API)
                cluster_fail(ms);
        else if (what == TALLY_PODRESOURCES)
                kubelet_be_silent(ms);
        else
                disk_fail(ms);
}

static void reboot(void)
{
        uint64_t ms = some_time();

        trace_operation(TALLY_REBOOT, "the node reboots within %" PRIu64 " ms", ms);
        node_reboot(ms);
}

static void damage(void)
{
        if (driver.is_up || !disk_damage_one())
                return;
        trace_operation(TALLY_DAMAGE, "a record is damaged while the driver is away");
}

/* ---- the weather ---- */

/* Shares of each operation, in calm weather and in a storm. */
static const struct {
        enum tally operation;
        unsigned calm, storm;
} mixture[] = {
        { TALLY_POD, 30, 26 },      { TALLY_CLAIM, 30, 26 },      { TALLY_DELETE, 36, 28 },
        { TALLY_FORCE, 14, 14 },    { TALLY_POKE, 4, 4 },         { TALLY_KUBELET, 0, 4 },
        { TALLY_KILL, 0, 5 },       { TALLY_UPDATE, 0, 2 },       { TALLY_SHARE, 0, 1 },
        { TALLY_API, 0, 3 },        { TALLY_PODRESOURCES, 0, 3 }, { TALLY_CAPACITY, 0, 2 },
        { TALLY_UNREADABLE, 0, 1 }, { TALLY_DISK, 0, 2 },         { TALLY_DAMAGE, 0, 5 },
        { TALLY_REBOOT, 0, 1 },
};

static bool is_stormy;

static enum tally choose(void)
{
        unsigned sum = 0, at;

        for (size_t i = 0; i < array_size(mixture); ++i)
                sum += is_stormy ? mixture[i].storm : mixture[i].calm;
        at = chance_below(sum);
        for (size_t i = 0;; ++i) {
                unsigned share = is_stormy ? mixture[i].storm : mixture[i].calm;

                if (at < share)
                        return mixture[i].operation;
                at -= share;
        }
}

static void operate_on_pods(enum tally operation)
{
        bool is_crowded = n_pods() > 2 * host.capacity + 6;

        if (!cluster.is_up)
                return; /* nobody reaches it */
        if (operation == TALLY_POKE)
                poke();
        else if (operation == TALLY_FORCE || operation == TALLY_DELETE)
                delete_one(operation == TALLY_FORCE);
        else if (is_crowded)
                delete_one(chance_percent(30));
        else
                create(operation == TALLY_CLAIM);
}

static void operate(void)
{
        enum tally operation = choose();

        if (operation <= TALLY_POKE)
                operate_on_pods(operation);
        else if (operation == TALLY_KUBELET)
                restart_kubelet();
        else if (operation == TALLY_KILL || operation == TALLY_UPDATE || operation == TALLY_SHARE)
                stop_driver(operation);
        else if (operation == TALLY_CAPACITY)
                change_capacity();
        else if (operation == TALLY_UNREADABLE)
                hide_capacity();
        else if (operation == TALLY_DAMAGE)
                damage();
        else if (operation == TALLY_REBOOT)
                reboot();
        else
                cut_off(operation);
}

static struct event next_operation;
static uint64_t n_until_change; /* of the weather */
static bool is_over;

static uint64_t pause_ms(void)
{
        return chance_percent(20) ? chance_between(0, 20) : chance_between(50, 1800);
}

static void on_operation(void *unused)
{
        if (figures.n_operations >= options.n_operations) {
                is_over = true;
                return;
        }
        if (n_until_change) {
                --n_until_change;
                operate();
                clock_plan(&next_operation, pause_ms(), on_operation, NULL);
                return;
        }
        is_stormy = chance_percent(60);
        n_until_change = chance_between(20, 150);
        trace_operation(TALLY_WAIT, "a lull, then %s", is_stormy ? "a storm" : "calm weather");
        clock_plan(&next_operation, chance_between(100, 120000), on_operation, NULL);
}

static void run(void)
{
        /* At once: a crash shall leave it behind, too. */
        printf("seed %" PRIu64 "\n", options.seed);
        fflush(stdout);
        trace_setup(options.seed, options.is_tracing);
        chance_seed(options.seed);
        host.capacity = (unsigned)chance_between(1, 12);
        host.is_readable = true;
        driver.split = chance_percent(50) ? -1 : (int64_t)chance_below(host.capacity + 1);
        driver.fault = options.fault;
        truth_init();
        cluster_init();
        kubelet_init();
        clock_plan(&driver.start, 500, driver_start, NULL);
        clock_plan(&next_operation, 20000, on_operation, NULL);
        while (!is_over) {
                clock_step();
                truth_check();
        }
        trace_report();
}

static void clean_up(void)
{
        struct list *position, *following;

        kubelet_kill(0);
        driver_deinit();
        list_for_each_safe (position, following, &pods) {
                struct pod *pod = container_of(position, struct pod, link);

                pod->is_in_api = pod->holds = false;
                pod->stage = POD_UNSEEN;
                pod_free_if_gone(pod);
        }
        disk_deinit();
        trace_deinit();
        clock_deinit();
}

/* ---- options ---- */

static const char usage[] =
        "Usage: storm [--ops N] [--seed S] [--fault FAULT] [--trace]\n"
        "  --ops N      operations (10000)\n"
        "  --seed S     the same seed and operations make the same storm (random)\n"
        "  --trace      tell every operation and what comes of it\n"
        "  --fault F    plant a fault, which must be found: no-check-in-allocate,\n"
        "               release-on-missing-podresources or forget-on-restart\n"
        "Ends with 0, or with 1 where a promise was broken.\n";

static bool parse_fault(const char *name)
{
        static const char *const names[] = { "none", "no-check-in-allocate",
                                             "release-on-missing-podresources",
                                             "forget-on-restart" };

        for (unsigned i = 0; i < array_size(names); ++i)
                if (strcmp(names[i], name) == 0) {
                        options.fault = (enum fault)i;
                        return true;
                }
        return false;
}

static bool parse_options(int argc, char **argv)
{
        static const struct option known[] = {
                { "ops", required_argument, NULL, 'o' },   { "seed", required_argument, NULL, 's' },
                { "fault", required_argument, NULL, 'f' }, { "trace", no_argument, NULL, 't' },
                { "help", no_argument, NULL, 'h' },        { NULL }
        };
        int option;

        while ((option = getopt_long(argc, argv, "", known, NULL)) != -1)
                if (option == 't')
                        options.is_tracing = true;
                else if (option == 'o' || option == 's') {
                        if (parse_u64(optarg, strlen(optarg),
                                      option == 'o' ? &options.n_operations : &options.seed) < 0)
                                return false;
                } else if (option == 'h') {
                        fputs(usage, stdout);
                        exit(EXIT_SUCCESS);
                } else if (option != 'f' || !parse_fault(optarg)) {
                        return false;
                }
        return optind == argc;
}

int main(int argc, char **argv)
{
        uint32_t random = 0;

        (void)!getrandom(&random, sizeof(random), 0);
        options.seed = random;
        if (!parse_options(argc, argv)) {
                fputs(usage, stderr);
                return 2;
        }
        run();
        clean_up();
        return EXIT_SUCCESS;
}
