/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The storm's own books of who really holds TDs, and the checks after every step. storm.c's header
 * has the definitions.
 */
#include "e2e/storm/world.h"
#include "ledger.h"
#include "plugin/holdings.h"
#include "plugin/sharing.h"

#include <inttypes.h>
#include <stdio.h>

#define RETURNS_MAX    256U
#define SPEC_BACK_MS   35000U /* time until a removed CDI spec is there again */
#define RECORDED_MS    35000U /* time until records that were taken away are there again */
#define REPORTED_BY_MS 1000U  /* time until a held device is Healthy in kubelet's list */

#define READINGS 3U /* TDs in all of them are in force in the driver */

static struct {
        unsigned foreign[READINGS]; /* foreign TDs, the latest reading first */
        unsigned leaked[READINGS];
        uint64_t healthy_wrong_ms; /* since when kubelet has had too many healthy devices; 0: it has
                                      not */
        unsigned total;            /* the driver's last reading */
        unsigned n_holders;
        uint64_t refused_ids; /* devices of pods that kubelet refused after all, and */
        uint64_t refused_ms;  /* when it last refused one */
        uint64_t disturbed_ms;
        uint64_t slices_closed_ms; /* since when no free device may be listed; 0: it may */
        uint64_t wrong_ms[N_IDS];  /* since when each plugin device has been in the wrong state */
        struct {
                uint64_t at_ms;
                uint64_t missed_ms; /* when it was last seen not offered */
                bool is_claim;
                uint64_t slow_ids; /* devices of a pod whose end the driver can only learn later */
        } returns[RETURNS_MAX];    /* TDs that were given back within RETURN_MS, the oldest first */
        size_t n_returns;
} truth;

/* The numbers of one moment. */
struct stock {
        unsigned plain, claimed;        /* held */
        unsigned for_plain, for_claims; /* offered */
};

static struct pod *pod_at(const struct list *position)
{
        return container_of((struct list *)position, struct pod, link);
}

static unsigned less(unsigned a, unsigned b)
{
        return a > b ? a - b : 0;
}

static unsigned larger(unsigned a, unsigned b)
{
        return a > b ? a : b;
}

/* ---- the present state ---- */

static unsigned n_held(bool is_claim)
{
        const struct list *position;
        unsigned n = 0;

        list_for_each (position, &pods)
                if (pod_at(position)->holds && pod_at(position)->is_claim == is_claim)
                        n += pod_at(position)->n_wanted;
        return n;
}

/* Devices that the scheduler has allocated and the ledger does not have yet. */
static unsigned n_on_their_way(void)
{
        const struct list *position;
        unsigned n = 0;

        list_for_each (position, &pods) {
                const struct pod *pod = pod_at(position);

                if (pod->is_in_api && pod->allocated && !disk_has(pod->uid))
                        n += pod->n_wanted;
        }
        return n;
}

static struct stock take_stock(void)
{
        return (struct stock){
                .plain = n_held(false),
                .claimed = disk_claimed(),
                .for_plain = count(kubelet.healthy & ~kubelet_devices_in_use()),
                .for_claims = count(cluster_pool() & ~cluster_allocated()) + n_on_their_way(),
        };
}

/* --share counts only while there are two paths. */
static bool is_split(void)
{
        return driver.flags.split >= 0 && driver.flags.serves_dra && driver.flags.serves_plugin;
}

/* The part of n TDs that is reserved for DRA. */
static unsigned reserved(unsigned n)
{
        if (!is_split())
                return 0;
        return driver.flags.split < n ? (unsigned)driver.flags.split : n;
}

/* TDs that must be offered, held or not. Those that others used at the last reading may be left
 * out. */
static unsigned usable(void)
{
        return less(truth.total, truth.foreign[0] + truth.leaked[0]);
}

/* TDs that others have used for so long that they must not be offered. */
static unsigned withheld(void)
{
        unsigned foreign = truth.foreign[0], leaked = truth.leaked[0];

        for (unsigned i = 1; i < READINGS; ++i) {
                foreign = truth.foreign[i] < foreign ? truth.foreign[i] : foreign;
                leaked = truth.leaked[i] < leaked ? truth.leaked[i] : leaked;
        }
        return foreign + leaked;
}

static bool is_served(bool is_claim)
{
        return is_claim ? driver.flags.serves_dra : driver.flags.serves_plugin;
}

/* The TDs that a path has left. Computed here independently of the driver's code, to check it. */
static unsigned room(bool is_claim, unsigned n_plain, unsigned n_claimed)
{
        unsigned n = usable(), kept = is_split() ? n - reserved(n) : 0;

        if (!is_served(is_claim) || !driver_is_open(is_claim))
                return 0;
        return is_claim ? less(n, larger(n_plain, kept) + n_claimed)
                        : less(n, larger(n_claimed, reserved(n)) + n_plain);
}

/* The same, as if the TDs returned from `first` on were still held. */
static unsigned room_before(bool is_claim, const struct stock *stock, size_t first)
{
        unsigned n_plain = stock->plain, n_claimed = stock->claimed;

        for (size_t i = first; i < truth.n_returns; ++i) {
                n_claimed += truth.returns[i].is_claim;
                n_plain += !truth.returns[i].is_claim;
        }
        return room(is_claim, n_plain, n_claimed);
}

/* Both paths are offered what they may have, not counting on the returns from `first` on. */
static bool is_offered(const struct stock *stock, size_t first)
{
        return stock->for_plain >= room_before(false, stock, first) &&
               stock->for_claims >= room_before(true, stock, first);
}

bool truth_is_quiet(void)
{
        return cluster.is_up && kubelet.is_up && kubelet.is_aware && !kubelet.is_silent &&
               driver.is_up && driver.is_capacity_known && host.is_readable && !host.is_disk_full &&
               host.capacity == truth.total && !host.is_spec_stuck && !driver.is_spec_refused &&
               driver.is_judged && driver.qgs == host.qgs &&
               driver.is_enforced == cluster.is_enforced &&
               clock_now() - truth.disturbed_ms >= RETURN_MS;
}

/* ---- what happens ---- */

static void expect_back(unsigned n, bool is_claim, uint64_t slow_ids)
{
        while (n-- && truth.n_returns < RETURNS_MAX) {
                truth.returns[truth.n_returns].at_ms = clock_now();
                truth.returns[truth.n_returns].missed_ms = clock_now();
                truth.returns[truth.n_returns].slow_ids = slow_ids;
                truth.returns[truth.n_returns++].is_claim = is_claim;
        }
}

/* Drops returns that are old enough, and notes how long they took. */
static void forget_old_returns(void)
{
        size_t n = 0;

        for (; n < truth.n_returns && clock_now() - truth.returns[n].at_ms >= RETURN_MS; ++n) {
                uint64_t took_ms = truth.returns[n].missed_ms - truth.returns[n].at_ms;

                if (!truth_is_quiet() || truth.returns[n].at_ms < truth.disturbed_ms)
                        continue;
                ++figures.tallies[TALLY_RETURNS];
                if (took_ms > figures.slowest_return_ms)
                        figures.slowest_return_ms = took_ms;
        }
        truth.n_returns -= n;
        for (size_t i = 0; n && i < truth.n_returns; ++i)
                truth.returns[i] = truth.returns[i + n];
}

void truth_give_back(struct pod *pod)
{
        if (!pod->holds)
                return;
        pod->holds = false;
        if (!pod->is_claim) /* a claim holds until its record is gone */
                expect_back(pod->n_wanted, false, pod->has_cgroup_known ? 0 : pod->ids);
        pod->has_cgroup_known = false;
}

void truth_refused_after_all(struct pod *pod)
{
        if (clock_now() - truth.refused_ms >= HOLDINGS_SAME_POD_MS)
                truth.refused_ids = 0;
        truth.refused_ids |= pod->ids;
        truth.refused_ms = clock_now();
        truth_give_back(pod);
}

void truth_unprepared(unsigned n)
{
        expect_back(n, true, 0);
}

void truth_disturbed(void)
{
        truth.disturbed_ms = clock_now();
}

void truth_reopened(void)
{
        truth.slices_closed_ms = 0;
}

void truth_capacity_read(unsigned total)
{
        if (total != truth.total)
                trace("the driver reads a capacity of %u", total);
        truth_disturbed();
        truth.total = total;
}

void truth_running_read(bool is_first, unsigned n_foreign, unsigned n_leaked)
{
        bool is_less = n_foreign + n_leaked < truth.foreign[0] + truth.leaked[0];

        for (unsigned i = READINGS; --i;) {
                truth.foreign[i] = is_first ? n_foreign : truth.foreign[i - 1];
                truth.leaked[i] = is_first ? n_leaked : truth.leaked[i - 1];
        }
        truth.foreign[0] = n_foreign;
        truth.leaked[0] = n_leaked;
        if (is_less || is_first)
                truth_disturbed();
}

static void check_part(const char *what, unsigned n, unsigned part)
{
        if (is_split() && n > part)
                trace_violation("one more makes it %u TDs of %s, and --share=split=%" PRId64
                                " of %u leaves them %u",
                                n, what, driver.flags.split, truth.total, part);
}

void truth_claimed(void)
{
        check_part("claims", disk_claimed(), reserved(truth.total));
}

/* The CDI devices that this pod's containers have by name. */
static bool is_in_spec(const struct pod *pod)
{
        const struct ledger_claim *claim;

        if (!pod->is_claim)
                return !pod->has_cdi_names || !(pod->ids & ~host.spec_plugins);
        claim = ledger_find(driver.ledger, pod->uid);
        for (size_t i = 0; claim && i < claim->n_devices; ++i)
                if (claim->devices[i].slot < 64 &&
                    !(host.spec_claims >> claim->devices[i].slot & 1))
                        return false;
        return true;
}

void truth_take(struct pod *pod)
{
        if (!is_in_spec(pod))
                trace_violation("%s is answered with CDI devices that the runtime does not find",
                                pod->name);
        if (pod->holds)
                return; /* the same claim again, after a reboot */
        pod->holds = true;
        pod->since_ms = clock_now();
        if (!pod->is_claim)
                check_part("plain pods", n_held(false), truth.total - reserved(truth.total));
}

/* How many of this pod's devices, as kubelet chose them, the driver counts as in use although it
 * can see that the previous pod has ended. */
static unsigned n_overlooked(const struct pod *pod)
{
        const struct list *position;
        const char *names[N_IDS];
        uint64_t ids = pod->ids;
        unsigned n_taken = 0;
        size_t n;

        list_for_each (position, &pods)
                if (pod_at(position)->holds)
                        ids &= ~pod_at(position)->ids;
        for (size_t i = 0; i < truth.n_returns; ++i)
                ids &= ~truth.returns[i].slow_ids;
        n = names_of(ids, names);
        for (size_t i = 0; i < n; ++i)
                n_taken += holdings_state(driver.holdings, names[i]) != HOLDINGS_FREE;
        return n_taken;
}

void truth_refused(const struct pod *pod, const char *who, const char *reason)
{
        const struct stock stock = take_stock();
        unsigned n_free;

        trace("%s is refused by %s: %s", pod->name, who, reason);
        if (pod->is_deleting || !pod->is_in_api)
                return; /* its pod is gone */
        if (!truth_is_quiet()) {
                ++figures.tallies[TALLY_REFUSED_DOWN];
                return;
        }
        ++figures.tallies[TALLY_REFUSED_FULL];
        forget_old_returns();
        if (!pod->is_claim && n_overlooked(pod))
                trace_violation("%s is refused by %s, though the driver can see that the pods "
                                "before have ended",
                                pod->name, who);
        n_free = room_before(pod->is_claim, &stock, 0);
        if (n_free >= pod->n_wanted)
                trace_violation("%s wants %u of %u TDs and is refused by %s, although nothing is "
                                "down and %u have been free for its path for %u s",
                                pod->name, pod->n_wanted, truth.total, who, n_free,
                                RETURN_MS / 1000);
}

/* ---- the checks of each step ---- */

/* Devices that kubelet may hand out again as if to the same pod: the driver cannot tell the two
 * apart, so that the second is not a new holder. */
static unsigned n_refused_just_now(void)
{
        uint64_t ids = truth.refused_ids;
        const struct list *position;

        if (clock_now() - truth.refused_ms >= HOLDINGS_SAME_POD_MS)
                return 0;
        list_for_each (position, &pods)
                if (pod_at(position)->holds)
                        ids &= ~pod_at(position)->ids;
        return count(ids);
}

static void check_capacity(void)
{
        unsigned n = n_held(false) + disk_claimed() + n_refused_just_now();

        if (n > larger(truth.total, truth.n_holders))
                trace_violation("%u TDs are held (%u by plain pods, %u by claims), the node has %u",
                                n, n_held(false), disk_claimed(), truth.total);
        truth.n_holders = n;
        if (n > figures.peak_holders)
                figures.peak_holders = n;
        if (n > truth.total && n - truth.total > figures.peak_over)
                figures.peak_over = n - truth.total;
}

static void check_plain_is_known(const struct pod *pod)
{
        const char *names[N_IDS];
        size_t n = names_of(pod->ids, names);

        for (size_t i = 0; i < n; ++i)
                if (holdings_state(driver.holdings, names[i]) == HOLDINGS_FREE)
                        trace_violation("the driver has forgotten %s, with which %s runs", names[i],
                                        pod->name);
        if (kubelet.has_plugin && driver.flags.serves_plugin && pod->is_listed &&
            clock_now() - pod->since_ms > REPORTED_BY_MS && (pod->ids & ~kubelet.healthy))
                trace_violation("devices %" PRIx64 " that %s has are reported Unhealthy",
                                pod->ids & ~kubelet.healthy, pod->name);
}

static void check_claim_is_known(const struct pod *pod)
{
        const struct ledger_claim *claim = ledger_find(driver.ledger, pod->uid);

        if (!claim)
                trace_violation("the driver has forgotten claim %s, which is in use", pod->name);
        if (!disk_has(pod->uid))
                trace_violation("claim %s is in use and not written down", pod->name);
        /* A damaged record does not show which devices the claim has. */
        if (driver.is_wanted_known && !driver.is_withdrawing && pod->is_in_api &&
            !disk_is_damaged(pod->uid) && !(claim && claim->is_uncertain) &&
            (pod->allocated & ~driver.wanted))
                trace_violation("devices %" PRIx64 " that claim %s has are withdrawn",
                                pod->allocated & ~driver.wanted, pod->name);
}

static void check_nothing_is_forgotten(void)
{
        bool is_known = driver.sharing && sharing_is_known(driver.sharing);
        const struct list *position;

        if (!driver.is_up)
                return;
        list_for_each (position, &pods) {
                const struct pod *pod = pod_at(position);

                if (!pod->holds)
                        continue;
                if (pod->is_claim)
                        check_claim_is_known(pod);
                else if (is_known)
                        check_plain_is_known(pod);
        }
        if (is_known && sharing_n_held(driver.sharing) < n_held(false))
                trace_violation("plain pods run with %u TDs, and the driver counts %u",
                                n_held(false), sharing_n_held(driver.sharing));
}

static void check_records_come_back(void)
{
        if (driver.is_up && disk_behind_ms() >= RECORDED_MS)
                trace_violation("the state directory was taken away %u s ago, and what is held is "
                                "not written again",
                                RECORDED_MS / 1000);
}

/* A container that starts again looks its devices up again. Devices that the driver cannot know do
 * not count: those of a damaged record, and those of plain pods until it says that it knows them.
 */
static void check_spec(void)
{
        bool is_known = driver.sharing && sharing_is_known(driver.sharing);
        const struct list *position;

        if (!driver.is_up)
                return;
        if (!host.spec && truth.total && truth_is_quiet() &&
            clock_now() - truth.disturbed_ms >= SPEC_BACK_MS)
                trace_violation("the CDI spec has been missing for %u s", SPEC_BACK_MS / 1000);
        if (driver.is_spec_refused && !host.is_spec_stuck &&
            clock_now() - host.spec_repaired_ms >= SPEC_BACK_MS)
                trace_violation("the driver has not tried for %u s to write the CDI spec",
                                SPEC_BACK_MS / 1000);
        if (!host.spec || host.is_spec_stuck)
                return;
        list_for_each (position, &pods) {
                const struct pod *pod = pod_at(position);

                if (!pod->holds || (pod->is_claim ? disk_is_damaged(pod->uid) : !is_known))
                        continue;
                if (!is_in_spec(pod))
                        trace_violation("the CDI spec lacks a device of %s, which holds it",
                                        pod->name);
        }
}

/* No plugin device may be Healthy that is free as far as the driver can know. */
static void check_plugin_is_closed(void)
{
        bool is_closed = driver.is_up && driver.is_judged && !driver_is_open(false) &&
                         driver.sharing && sharing_is_known(driver.sharing);
        const char *names[N_IDS];

        (void)names_of(UINT64_MAX, names);
        for (unsigned i = 0; i < N_IDS; ++i)
                if (!is_closed || !(kubelet.healthy >> i & 1) ||
                    holdings_state(driver.holdings, names[i]) != HOLDINGS_FREE)
                        truth.wrong_ms[i] = 0;
                else if (!truth.wrong_ms[i])
                        truth.wrong_ms[i] = clock_now();
                else if (clock_now() - truth.wrong_ms[i] > REPORTED_BY_MS)
                        trace_violation("%s is free and Healthy, though attestation is enforced "
                                        "and QGS does not answer",
                                        names[i]);
}

/* While attestation is enforced and QGS is away, no free device may be available. Slices change
 * only while the API server answers and once the driver knows its holders. */
static void check_closed(void)
{
        uint64_t free = cluster_pool() & ~cluster_allocated();

        if (!cluster.is_up || !driver_serves_claims() || !driver.is_wanted_known ||
            !driver.is_judged || driver_is_open(true))
                truth_reopened();
        else if (!truth.slices_closed_ms)
                truth.slices_closed_ms = clock_now();
        else if (free && clock_now() - truth.slices_closed_ms >= RETURN_MS)
                trace_violation("devices %" PRIx64 " are in the slices for anyone, though "
                                "attestation is enforced and QGS does not answer",
                                free);
        check_plugin_is_closed();
}

/* Takes the driver's own count of holders; other checks show that none is missing. */
static void check_foreign(void)
{
        unsigned n_plain = driver.sharing ? sharing_n_held(driver.sharing) : 0, n_free = 0;
        const char *names[N_IDS];
        uint64_t held = 0;

        if (!driver.is_up || !driver.is_running_known || !driver.is_wanted_known ||
            !driver.is_judged || (driver.sharing && !sharing_is_known(driver.sharing))) {
                truth.healthy_wrong_ms = 0;
                return;
        }
        (void)names_of(UINT64_MAX, names);
        for (unsigned i = 0; i < N_IDS; ++i) {
                held |= (uint64_t)ledger_is_device_held(driver.ledger, i) << i;
                n_free += driver.sharing && (kubelet.healthy >> i & 1) &&
                          holdings_state(driver.holdings, names[i]) == HOLDINGS_FREE;
        }
        if (count(driver.wanted & ~held) > less(truth.total, count(held) + n_plain + withheld()))
                trace_violation("%u free devices are published, though of %u TDs %u are held and "
                                "others use %u",
                                count(driver.wanted & ~held), truth.total, count(held) + n_plain,
                                withheld());
        if (n_free <= less(truth.total, ledger_held(driver.ledger) + n_plain + withheld()))
                truth.healthy_wrong_ms = 0;
        else if (!truth.healthy_wrong_ms)
                truth.healthy_wrong_ms = clock_now();
        else if (clock_now() - truth.healthy_wrong_ms > REPORTED_BY_MS)
                trace_violation("%u free devices are Healthy, though of %u TDs %u are held and "
                                "others use %u",
                                n_free, truth.total, ledger_held(driver.ledger) + n_plain,
                                withheld());
}

static void check_returns(void)
{
        const struct stock stock = take_stock();

        forget_old_returns();
        for (size_t i = 0; i < truth.n_returns; ++i)
                if (!is_offered(&stock, i + 1))
                        truth.returns[i].missed_ms = clock_now();
        if (!truth_is_quiet() || is_offered(&stock, 0))
                return;
        trace_violation("TDs have been free for %u s, nothing is down, and they are not offered: "
                        "plain pods may have %u and kubelet has %u to give, claims may have %u and "
                        "the slices have %u",
                        RETURN_MS / 1000, room_before(false, &stock, 0), stock.for_plain,
                        room_before(true, &stock, 0), stock.for_claims);
}

void truth_check(void)
{
        ++figures.n_checks;
        check_capacity();
        check_nothing_is_forgotten();
        check_records_come_back();
        check_spec();
        check_closed();
        check_foreign();
        check_returns();
}

void truth_init(void)
{
        truth.total = host.capacity;
}
