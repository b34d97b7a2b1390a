/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A seeded random scenario on a virtual clock: pods and claims come and go on both paths, kubelet,
 * driver, API server, podresources, disk and capacity fail, and after every step the storm checks
 * that the promises hold. `storm --help` lists the options.
 *
 * dra/node and the modules below it are the real ones. Stand-ins replace their access to the world
 * (seams.c, disk.c, clock.c) and the process around the node (driver.c). An operation is one action
 * of a user, an admin or a fault. A step is one event with its immediate consequences.
 *
 * The storm keeps its own books of the holders. A plain pod holds from the moment the driver said
 * yes to Allocate until its container has gone, or kubelet has refused it after all. A claim holds
 * from the moment the driver writes its record until the record is removed. T is the capacity the
 * driver has read last. Quiet means that nothing is down, and for 15 s nothing has come back,
 * started or changed its capacity. The storm checks:
 *
 *   - Holders never exceed T. If T shrinks below them, they only decrease until they fit, and the
 *     driver admits no new holder until then.
 *   - No holder is forgotten. A running plain pod's devices are held or lingering in the driver,
 *     and counted, as soon as the driver says that it knows its holders. A claim in use is always
 *     in the ledger and on the disk. Neither is withdrawn: the pod's devices are Healthy, the
 *     claim's are in the slices.
 *   - After the state directory was taken away, everything that is held is on the disk again within
 *     35 s of a disk that takes it. Until then the driver is not killed: what is neither on the
 *     disk nor in memory can only be rebuilt from kubelet's list, and that takes no promise.
 *   - Nothing waits for the log's reader.
 *   - The driver never answers with CDI devices that the spec on the disk lacks. As long as the
 *     file exists, it has the devices of all holders. A spec that was removed comes back.
 *   - While the driver knows that attestation is enforced and QGS does not answer, every free
 *     device in the slices has a taint (15 s later, if the API server answered), and none is
 *     Healthy that the driver can know to be free (1 s later).
 *   - Foreign TDs and leaked key IDs that were there in the last three readings are offered on
 *     neither path (on the plugin's 1 s later).
 *   - With --share=split no admission goes beyond the part of its path.
 *   - When it is quiet, a TD that was given back more than 15 s ago is offered on each path that
 *     may have it: to kubelet and, in a complete pool, to the scheduler. The driver may leave it
 *     out if it saw a foreign TD use it at its last look. The 15 s begin when the container or the
 *     claim's record is gone.
 *   - When it is quiet, neither the driver nor kubelet (for want of a healthy device) refuses a
 *     claim or pod if as many TDs as it wants have been free for its path for 15 s. So if a node
 *     status some seconds old brought a plain pod here, it may be refused only if the TD is really
 *     held, or was until just now by a pod whose cgroup the driver does not know. The driver sees
 *     the end of all other pods at once.
 */
#include "base/memory.h"
#include "base/parse.h"
#include "e2e/storm/world.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#define LEAKED_MAX 2U

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

/* An admin changes one flag at a time. */
static struct driver_flags change_flags(enum tally how)
{
        struct driver_flags flags = driver.flags;
        unsigned serve = chance_below(100);

        if (how == TALLY_SHARE)
                flags.split = any_split();
        if (how == TALLY_INJECT)
                flags.is_injecting_cdi = !flags.is_injecting_cdi;
        if (how == TALLY_SERVE) {
                flags.serves_dra = serve >= 15;
                flags.serves_plugin = serve < 15 || serve >= 40;
        }
        return flags;
}

static void stop_driver(enum tally how)
{
        uint64_t ms = some_time();
        bool is_orderly = how == TALLY_UPDATE || (how != TALLY_KILL && chance_percent(50));

        trace_operation(how, "the driver is %s for %" PRIu64 " ms%s",
                        is_orderly ? "stopped" : "killed", ms,
                        how == TALLY_SHARE    ? ", its --share changes"
                        : how == TALLY_SERVE  ? ", its --serve changes"
                        : how == TALLY_INJECT ? ", its --plugin-inject changes"
                                              : "");
        driver_stop(is_orderly, ms, change_flags(how));
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

static void on_qgs_return(void *unused)
{
        host.qgs = QGS_WELL;
        trace("QGS answers again");
        truth_disturbed();
        driver_attestation_changed();
}

static void disturb_qgs(void)
{
        uint64_t ms = chance_percent(50) ? some_time() : chance_between(20000, 200000);

        host.qgs = chance_percent(70) ? QGS_AWAY : QGS_OF_A_GROUP;
        trace_operation(TALLY_QGS, "QGS %s for %" PRIu64 " ms",
                        host.qgs == QGS_AWAY ? "is away" : "answers one group only", ms);
        driver_attestation_changed();
        clock_plan(&host.qgs_return, ms, on_qgs_return, NULL);
}

static void change_enforcement(void)
{
        if (!cluster.is_up)
                return;
        cluster.is_enforced = !cluster.is_enforced;
        trace_operation(TALLY_ENFORCE, "attestation is %s now",
                        cluster.is_enforced ? "enforced" : "optional");
        driver_attestation_changed();
}

static void change_taints(void)
{
        if (!cluster.is_up)
                return;
        trace_operation(TALLY_TAINTS, "the API server %s taints",
                        cluster.drops_taints ? "keeps" : "drops");
        cluster_drop_taints(!cluster.drops_taints);
        truth_reopened();
        truth_disturbed();
}

static void on_spec_repaired(void *unused)
{
        host.is_spec_stuck = false;
        host.spec_repaired_ms = clock_now();
        trace("CDI specs can be written again");
        truth_disturbed();
}

static void remove_spec(void)
{
        uint64_t ms = some_time();

        trace_operation(TALLY_SPEC, "the CDI spec is removed");
        host_remove_spec();
        truth_disturbed();
        driver_directory_changed();
        if (chance_percent(70))
                return;
        trace("and cannot be written for %" PRIu64 " ms", ms);
        host.is_spec_stuck = true;
        clock_plan(&host.spec_repair, ms, on_spec_repaired, NULL);
}

/* Half of the time all foreign TDs end, so that most of the host stays ours. */
static void change_foreign(void)
{
        unsigned n_free = host_n_free();

        if (host.n_foreign && chance_percent(50))
                host.n_foreign = chance_percent(50) ? 0 : host.n_foreign - 1;
        else if (n_free)
                host.n_foreign += 1 + chance_below(n_free < 3 ? n_free : 3);
        else
                return;
        trace_operation(TALLY_FOREIGN, "others run %u TDs now", host.n_foreign);
}

static void leak(void)
{
        if (!host_n_free() || host.n_leaked == LEAKED_MAX)
                return;
        ++host.n_leaked;
        trace_operation(TALLY_LEAK, "%u key IDs are leaked now", host.n_leaked);
}

static void lose_checkpoint(void)
{
        uint64_t ms = some_time();

        if (kubelet_lose_checkpoint(ms))
                trace_operation(TALLY_CHECKPOINT,
                                "kubelet dies for %" PRIu64 " ms and loses its device checkpoint",
                                ms);
}

/* The driver watches the directory itself, so only its removal is told at once. */
static void lose_state(void)
{
        bool is_told = chance_percent(50);

        if (!driver.is_up)
                return;
        trace_operation(TALLY_STATE, "the state directory is %s",
                        is_told ? "removed" : "mounted over");
        disk_lose_state();
        if (is_told)
                driver_directory_changed();
}

static void on_log_read(void *unused)
{
        host.is_log_stalled = false;
        clock_block_loop(false);
        trace("the log is read again");
}

static void stall_log(void)
{
        uint64_t ms = chance_percent(50) ? some_time() : chance_between(30000, 300000);

        trace_operation(TALLY_LOG, "nobody reads the log for %" PRIu64 " ms", ms);
        host.is_log_stalled = true;
        clock_plan(&host.log_return, ms, on_log_read, NULL);
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
        { TALLY_REBOOT, 0, 1 },     { TALLY_SERVE, 0, 2 },        { TALLY_INJECT, 0, 1 },
        { TALLY_QGS, 0, 3 },        { TALLY_ENFORCE, 0, 2 },      { TALLY_TAINTS, 0, 1 },
        { TALLY_SPEC, 0, 3 },       { TALLY_FOREIGN, 1, 3 },      { TALLY_LEAK, 0, 1 },
        { TALLY_CHECKPOINT, 0, 2 }, { TALLY_STATE, 0, 2 },        { TALLY_LOG, 0, 3 },
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
                return; /* it is unreachable */
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
        else if (operation >= TALLY_KILL && operation <= TALLY_INJECT) {
                if (!disk_is_behind())
                        stop_driver(operation);
        } else if (operation == TALLY_QGS)
                disturb_qgs();
        else if (operation == TALLY_ENFORCE)
                change_enforcement();
        else if (operation == TALLY_TAINTS)
                change_taints();
        else if (operation == TALLY_SPEC)
                remove_spec();
        else if (operation == TALLY_FOREIGN)
                change_foreign();
        else if (operation == TALLY_LEAK)
                leak();
        else if (operation == TALLY_CHECKPOINT)
                lose_checkpoint();
        else if (operation == TALLY_STATE)
                lose_state();
        else if (operation == TALLY_LOG)
                stall_log();
        else if (operation == TALLY_CAPACITY)
                change_capacity();
        else if (operation == TALLY_UNREADABLE)
                hide_capacity();
        else if (operation == TALLY_DAMAGE)
                damage();
        else if (operation == TALLY_REBOOT) {
                if (!disk_is_behind())
                        reboot();
        } else
                cut_off(operation);
}

static struct event next_operation;
static uint64_t n_until_change; /* operations until the weather changes */
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
        /* Print the seed at once, so that a crash leaves it behind, too. */
        printf("seed %" PRIu64 "\n", options.seed);
        fflush(stdout);
        trace_setup(options.seed, options.is_tracing);
        chance_seed(options.seed);
        host.capacity = (unsigned)chance_between(1, 12);
        host.is_readable = true;
        driver.flags = (struct driver_flags){
                .split = chance_percent(50) ? -1 : (int64_t)chance_below(host.capacity + 1),
                .serves_dra = true,
                .serves_plugin = true,
                .is_injecting_cdi = chance_percent(50),
        };
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
        host_remove_spec();
        host_running_deinit();
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
        "               release-on-missing-podresources, forget-on-restart, no-taint\n"
        "               no-spec, ignore-foreign, no-rewrite, no-pods-recorded or block-on-log\n"
        "Ends with 0, or with 1 where a promise was broken.\n";

static bool parse_fault(const char *name)
{
        static const char *const names[] = { "none",
                                             "no-check-in-allocate",
                                             "release-on-missing-podresources",
                                             "forget-on-restart",
                                             "no-taint",
                                             "no-spec",
                                             "ignore-foreign",
                                             "no-rewrite",
                                             "no-pods-recorded",
                                             "block-on-log" };

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
