/* SPDX-License-Identifier: Apache-2.0 */
#include "plugin/holdings.h"

#include "base/memory.h"
#include "plugin/holder.h"
#include "unit/suite.h"

#include <string.h>

static bool is_over;

/* Cgroups are named for what they are. */
static bool is_running(const char *cgroup)
{
        return strcmp(cgroup, "ended") != 0 && !(is_over && strcmp(cgroup, "pod") == 0);
}

static bool place(struct holdings *holdings, const char *id, const char *cgroup)
{
        return holdings_place(holdings, &(struct plugin_holder){ id, NULL, cgroup });
}

/* A restart: what the one holds, the other takes in. */
struct restart {
        struct holdings *after;
        uint64_t now_ms;
};

static void on_holder(void *owner, const struct plugin_holder *holder)
{
        const struct restart *restart = owner;

        holdings_restore(restart->after, holder, restart->now_ms);
}

static void restore(struct holdings *after, const struct holdings *before, uint64_t now_ms)
{
        holdings_each(before, on_holder, &(struct restart){ after, now_ms });
}

static const char *const one[] = { "tdx1" };
static const char *const both[] = { "tdx1", "tdx2" };

START_TEST(an_allocation_in_flight_is_held_although_kubelet_does_not_list_it_yet)
{
        _cleanup_(holdings) struct holdings *holdings = holdings_new(is_running);

        holdings_allocate(holdings, one, 1, 1000);
        ck_assert(!holdings_observe(holdings, NULL, 0, true, 1000 + HOLDINGS_IN_FLIGHT_MS - 1));

        ck_assert_uint_eq(holdings_n(holdings), 1);
        ck_assert_int_eq(holdings_state(holdings, "tdx1"), HOLDINGS_HELD);
}
END_TEST

START_TEST(a_pod_that_was_deleted_before_kubelet_could_be_asked_about_it_lingers)
{
        _cleanup_(holdings) struct holdings *holdings = holdings_new(is_running);

        holdings_allocate(holdings, one, 1, 1000);
        ck_assert(holdings_observe(holdings, NULL, 0, true, 1000 + HOLDINGS_IN_FLIGHT_MS));

        ck_assert_uint_eq(holdings_n(holdings), 1);
        ck_assert_int_eq(holdings_state(holdings, "tdx1"), HOLDINGS_LINGERING);
}
END_TEST

START_TEST(a_device_that_vanished_from_the_list_lingers_before_it_is_free)
{
        _cleanup_(holdings) struct holdings *holdings = holdings_new(is_running);

        holdings_allocate(holdings, both, 2, 1000);
        holdings_observe(holdings, both, 2, true, 1100);
        ck_assert(holdings_observe(holdings, one, 1, true, 5000));

        ck_assert_uint_eq(holdings_n(holdings), 2);
        ck_assert_int_eq(holdings_state(holdings, "tdx2"), HOLDINGS_LINGERING);
        ck_assert_uint_eq(holdings_next_expiry_ms(holdings), 5000 + HOLDINGS_LINGER_MS);
        ck_assert(!holdings_expire(holdings, 5000 + HOLDINGS_LINGER_MS - 1));
        ck_assert(holdings_expire(holdings, 5000 + HOLDINGS_LINGER_MS));
        ck_assert_uint_eq(holdings_n(holdings), 1);
        ck_assert_int_eq(holdings_state(holdings, "tdx2"), HOLDINGS_FREE);
        ck_assert_uint_eq(holdings_next_expiry_ms(holdings), UINT64_MAX);
}
END_TEST

START_TEST(each_lingering_device_is_given_up_in_its_own_time)
{
        static const char *const four[] = { "tdx1", "tdx2", "tdx3", "tdx4" };
        _cleanup_(holdings) struct holdings *holdings = holdings_new(is_running);

        holdings_observe(holdings, four, 4, true, 1000);
        holdings_observe(holdings, four, 3, true, 2000);
        holdings_observe(holdings, four, 1, true, 3000);
        ck_assert_uint_eq(holdings_n(holdings), 4);
        ck_assert_uint_eq(holdings_next_expiry_ms(holdings), 2000 + HOLDINGS_LINGER_MS);

        ck_assert(holdings_expire(holdings, 2000 + HOLDINGS_LINGER_MS));
        ck_assert_int_eq(holdings_state(holdings, "tdx4"), HOLDINGS_FREE);
        ck_assert_int_eq(holdings_state(holdings, "tdx2"), HOLDINGS_LINGERING);
        ck_assert_uint_eq(holdings_n(holdings), 3);
        ck_assert_uint_eq(holdings_next_expiry_ms(holdings), 3000 + HOLDINGS_LINGER_MS);
        ck_assert(holdings_expire(holdings, 3000 + HOLDINGS_LINGER_MS));
        ck_assert_uint_eq(holdings_n(holdings), 1);
}
END_TEST

START_TEST(an_incomplete_list_takes_nothing_away)
{
        _cleanup_(holdings) struct holdings *holdings = holdings_new(is_running);

        holdings_observe(holdings, both, 2, true, 1000);
        ck_assert(!holdings_observe(holdings, NULL, 0, false, 2000));

        ck_assert_uint_eq(holdings_n(holdings), 2);
}
END_TEST

START_TEST(whatever_kubelet_lists_counts_also_what_we_never_gave)
{
        static const char *const foreign[] = { "sgx-7", "tdx4000", "sgx-7" };
        _cleanup_(holdings) struct holdings *holdings = holdings_new(is_running);

        ck_assert(holdings_observe(holdings, foreign, 3, true, 1));

        ck_assert_uint_eq(holdings_n(holdings), 2);
}
END_TEST

START_TEST(a_lingering_device_that_is_given_out_again_counts_twice)
{
        _cleanup_(holdings) struct holdings *holdings = holdings_new(is_running);

        holdings_observe(holdings, one, 1, true, 1000);
        holdings_observe(holdings, NULL, 0, true, 2000);
        ck_assert_uint_eq(holdings_n_new(holdings, one, 1, 2100), 1);
        holdings_allocate(holdings, one, 1, 2100);

        ck_assert_uint_eq(holdings_n(holdings), 2);
        ck_assert_int_eq(holdings_state(holdings, "tdx1"), HOLDINGS_HELD);
        holdings_expire(holdings, 2000 + HOLDINGS_LINGER_MS);
        ck_assert_uint_eq(holdings_n(holdings), 1);
}
END_TEST

START_TEST(a_device_that_an_init_container_hands_on_counts_once)
{
        static const char *const twice[] = { "tdx1", "tdx1", "tdx3" };
        _cleanup_(holdings) struct holdings *holdings = holdings_new(is_running);

        holdings_allocate(holdings, one, 1, 1000);
        ck_assert_uint_eq(holdings_n_new(holdings, twice, 3, 1099), 1);
        holdings_allocate(holdings, twice, 3, 1099);

        ck_assert_uint_eq(holdings_n(holdings), 2);
}
END_TEST

START_TEST(a_device_given_out_again_after_a_forced_deletion_counts_for_both_pods)
{
        _cleanup_(holdings) struct holdings *holdings = holdings_new(is_running);

        holdings_observe(holdings, one, 1, true, 1000);
        ck_assert_uint_eq(holdings_n_new(holdings, one, 1, 1200), 1);
        holdings_allocate(holdings, one, 1, 1200);

        ck_assert_uint_eq(holdings_n(holdings), 2);
        ck_assert_int_eq(holdings_state(holdings, "tdx1"), HOLDINGS_HELD);
        ck_assert(holdings_expire(holdings, 1200 + HOLDINGS_LINGER_MS));
        ck_assert_uint_eq(holdings_n(holdings), 1);
}
END_TEST

START_TEST(a_pod_deleted_before_it_was_ever_listed_lingers_when_its_device_is_given_out_again)
{
        _cleanup_(holdings) struct holdings *holdings = holdings_new(is_running);

        holdings_allocate(holdings, one, 1, 1000);
        ck_assert_uint_eq(holdings_n_new(holdings, one, 1, 1100), 1);
        holdings_allocate(holdings, one, 1, 1100);

        ck_assert_uint_eq(holdings_n(holdings), 2);
}
END_TEST

START_TEST(an_allocation_of_a_device_in_flight_is_given_its_own_time_to_be_listed)
{
        _cleanup_(holdings) struct holdings *holdings = holdings_new(is_running);

        holdings_allocate(holdings, one, 1, 1000);
        holdings_allocate(holdings, one, 1, 900 + HOLDINGS_IN_FLIGHT_MS);
        holdings_observe(holdings, NULL, 0, true, 1000 + HOLDINGS_IN_FLIGHT_MS);

        ck_assert_int_eq(holdings_state(holdings, "tdx1"), HOLDINGS_HELD);
}
END_TEST

START_TEST(an_id_that_is_named_twice_is_one_device)
{
        static const char *const twice[] = { "tdx1", "tdx2", "tdx1", "tdx1" };
        _cleanup_(holdings) struct holdings *holdings = holdings_new(is_running);

        ck_assert_uint_eq(holdings_n_new(holdings, twice, 4, 1000), 2);
        holdings_allocate(holdings, twice, 4, 1000);

        ck_assert_uint_eq(holdings_n(holdings), 2);
}
END_TEST

START_TEST(every_held_id_is_told_once_and_lingering_ones_are_not)
{
        static const char *const third[] = { "tdx3" };
        _cleanup_(holdings) struct holdings *holdings = holdings_new(is_running);
        unsigned n_listed = 0, n_in_flight = 0, n = 0;

        holdings_observe(holdings, both, 2, true, 1000);
        holdings_observe(holdings, one, 1, true, 2000);
        holdings_allocate(holdings, third, 1, 2000);
        for (const char *id = NULL; (id = holdings_next(holdings, id)); ++n) {
                n_listed += strcmp(id, "tdx1") == 0;
                n_in_flight += strcmp(id, "tdx3") == 0;
        }

        ck_assert_uint_eq(n, 2);
        ck_assert_uint_eq(n_listed, 1);
        ck_assert_uint_eq(n_in_flight, 1);
}
END_TEST

START_TEST(a_device_that_lingers_across_a_restart_still_counts)
{
        _cleanup_(holdings) struct holdings *before = holdings_new(is_running);
        _cleanup_(holdings) struct holdings *after = holdings_new(is_running);

        holdings_observe(before, both, 2, true, 1000);
        holdings_observe(before, one, 1, true, 2000);
        restore(after, before, 2100);
        ck_assert(holdings_observe(after, one, 1, true, 2200));

        ck_assert_uint_eq(holdings_n(after), 2);
        ck_assert_int_eq(holdings_state(after, "tdx2"), HOLDINGS_LINGERING);
        ck_assert(holdings_expire(after, 2200 + HOLDINGS_LINGER_MS));
        ck_assert_uint_eq(holdings_n(after), 1);
}
END_TEST

START_TEST(an_id_that_lingers_and_is_held_again_counts_twice_across_a_restart)
{
        _cleanup_(holdings) struct holdings *before = holdings_new(is_running);
        _cleanup_(holdings) struct holdings *after = holdings_new(is_running);

        holdings_observe(before, one, 1, true, 1000);
        holdings_observe(before, NULL, 0, true, 2000);
        holdings_observe(before, one, 1, true, 2100);
        restore(after, before, 2200);

        ck_assert_uint_eq(holdings_n(after), 2);
        ck_assert_int_eq(holdings_state(after, "tdx1"), HOLDINGS_HELD);
}
END_TEST

START_TEST(what_a_pod_held_that_has_ended_is_free_as_soon_as_kubelet_lets_go_of_it)
{
        _cleanup_(holdings) struct holdings *holdings = holdings_new(is_running);

        holdings_observe(holdings, both, 2, true, 1000);
        ck_assert(holdings_is_unplaced(holdings, NULL));
        place(holdings, "tdx1", "pod");
        ck_assert(!holdings_is_unplaced(holdings, "tdx1"));
        ck_assert(holdings_is_unplaced(holdings, "tdx2"));
        place(holdings, "tdx2", "pod");
        ck_assert(!holdings_is_unplaced(holdings, NULL));
        ck_assert(!holdings_is_unplaced(holdings, "tdx3"));

        /* Its containers may be between two starts: as long as kubelet lists it, it is held. */
        is_over = true;
        ck_assert(!holdings_observe(holdings, both, 2, true, 2000));
        ck_assert_uint_eq(holdings_n(holdings), 2);
        ck_assert(holdings_observe(holdings, one, 1, true, 3000));
        ck_assert_uint_eq(holdings_n(holdings), 1);
        ck_assert_int_eq(holdings_state(holdings, "tdx2"), HOLDINGS_FREE);
}
END_TEST

START_TEST(a_pod_that_kubelet_has_forgotten_is_looked_at_until_it_has_ended_however_long_that_takes)
{
        _cleanup_(holdings) struct holdings *holdings = holdings_new(is_running);
        uint64_t now_ms = 2000;

        holdings_observe(holdings, one, 1, true, 1000);
        place(holdings, "tdx1", "pod");
        ck_assert(holdings_observe(holdings, NULL, 0, true, now_ms));
        for (; now_ms < 2000 + 10 * HOLDINGS_LINGER_MS; now_ms += HOLDINGS_LOOK_MS) {
                ck_assert(!holdings_expire(holdings, now_ms));
                ck_assert_uint_eq(holdings_next_expiry_ms(holdings), now_ms + HOLDINGS_LOOK_MS);
                now_ms = holdings_next_expiry_ms(holdings) - HOLDINGS_LOOK_MS;
                ck_assert_uint_eq(holdings_n(holdings), 1);
        }
        is_over = true;
        ck_assert(holdings_expire(holdings, now_ms));
        ck_assert_uint_eq(holdings_n(holdings), 0);
        ck_assert_uint_eq(holdings_next_expiry_ms(holdings), UINT64_MAX);
}
END_TEST

START_TEST(before_kubelet_gives_a_device_away_again_the_pod_that_had_it_is_looked_at)
{
        static const char *const three[] = { "tdx1", "tdx2", "tdx3" };
        _cleanup_(holdings) struct holdings *holdings = holdings_new(is_running);

        holdings_observe(holdings, three, 3, true, 1000);
        place(holdings, "tdx1", "pod");
        place(holdings, "tdx2", "ended");
        place(holdings, "tdx3", "pod");
        /* Still running; and tdx2, of which kubelet says nothing, stays. */
        ck_assert(!holdings_drop_ended(holdings, one, 1));
        ck_assert_uint_eq(holdings_n(holdings), 3);

        is_over = true;
        ck_assert(holdings_drop_ended(holdings, one, 1));
        ck_assert_uint_eq(holdings_n(holdings), 2);
        ck_assert_uint_eq(holdings_n_new(holdings, one, 1, 2000), 1);
        holdings_allocate(holdings, one, 1, 2000);
        ck_assert_uint_eq(holdings_n(holdings), 3);
        /* The next pod's cgroup is another. */
        ck_assert(holdings_is_unplaced(holdings, "tdx1"));
        ck_assert(!holdings_drop_ended(holdings, one, 1));
}
END_TEST

START_TEST(lingering_ones_that_have_ended_make_room_for_whatever_is_given_away)
{
        _cleanup_(holdings) struct holdings *holdings = holdings_new(is_running);

        holdings_observe(holdings, both, 2, true, 1000);
        place(holdings, "tdx1", "pod");
        holdings_observe(holdings, NULL, 0, true, 2000);
        ck_assert_uint_eq(holdings_n(holdings), 2);
        is_over = true;
        ck_assert(holdings_drop_ended(holdings, NULL, 0));
        /* tdx2's pod is not known: that takes its time. */
        ck_assert_uint_eq(holdings_n(holdings), 1);
        ck_assert_uint_eq(holdings_next_expiry_ms(holdings), 2000 + HOLDINGS_LINGER_MS);
}
END_TEST

START_TEST(a_cgroup_that_a_forgotten_pod_has_is_not_its_successors)
{
        _cleanup_(holdings) struct holdings *holdings = holdings_new(is_running);

        holdings_observe(holdings, one, 1, true, 1000);
        place(holdings, "tdx1", "pod");
        holdings_allocate(holdings, one, 1, 2000);
        ck_assert_uint_eq(holdings_n(holdings), 2);
        place(holdings, "tdx1", "pod");
        ck_assert(holdings_is_unplaced(holdings, "tdx1"));
        place(holdings, "tdx1", "another");
        ck_assert(!holdings_is_unplaced(holdings, "tdx1"));
        is_over = true;
        ck_assert(holdings_expire(holdings, 2000 + HOLDINGS_LOOK_MS));
        ck_assert_uint_eq(holdings_n(holdings), 1);
        ck_assert_int_eq(holdings_state(holdings, "tdx1"), HOLDINGS_HELD);
}
END_TEST

START_TEST(after_a_restart_what_kubelet_has_forgotten_is_held_until_its_pods_cgroup_has_gone)
{
        static const char *const other[] = { "tdx2" };
        _cleanup_(holdings) struct holdings *before = holdings_new(is_running);
        _cleanup_(holdings) struct holdings *after = holdings_new(is_running);
        uint64_t now_ms = 2000;

        is_over = false;
        holdings_observe(before, both, 2, true, 1000);
        ck_assert(holdings_place(before, &(struct plugin_holder){ "tdx1", "uid1", "pod" }));
        restore(after, before, now_ms);
        ck_assert(holdings_observe(after, other, 1, true, now_ms));
        for (; now_ms < 2000 + 10 * HOLDINGS_LINGER_MS; now_ms += HOLDINGS_LOOK_MS)
                ck_assert(!holdings_expire(after, now_ms));
        ck_assert_int_eq(holdings_state(after, "tdx1"), HOLDINGS_LINGERING);

        is_over = true;
        ck_assert(holdings_expire(after, now_ms));
        ck_assert_uint_eq(holdings_n(after), 1);
        is_over = false;
}
END_TEST

START_TEST(a_pod_that_lingers_and_the_next_one_with_its_device_keep_their_cgroups_over_a_restart)
{
        _cleanup_(holdings) struct holdings *before = holdings_new(is_running);
        _cleanup_(holdings) struct holdings *after = holdings_new(is_running);

        is_over = false;
        holdings_observe(before, one, 1, true, 1000);
        place(before, "tdx1", "pod");
        holdings_allocate(before, one, 1, 2000);
        holdings_observe(before, one, 1, true, 2100);
        place(before, "tdx1", "another");
        restore(after, before, 2200);
        ck_assert_uint_eq(holdings_n(after), 2);

        is_over = true; /* the first one */
        ck_assert(holdings_expire(after, 2200 + HOLDINGS_LOOK_MS));
        ck_assert_uint_eq(holdings_n(after), 1);
        ck_assert_int_eq(holdings_state(after, "tdx1"), HOLDINGS_HELD);
        is_over = false;
}
END_TEST

START_TEST(a_device_of_a_pod_in_admission_is_handed_on_to_its_next_container_however_late)
{
        _cleanup_(holdings) struct holdings *holdings = holdings_new(is_running);
        const struct plugin_holder pod = { "tdx1", "uid1", NULL };
        uint64_t late_ms = 1000 + HOLDINGS_ADMISSION_MS - 1;

        holdings_allocate(holdings, one, 1, 1000);
        ck_assert(holdings_is_in_flight(holdings, "tdx1"));
        ck_assert_uint_eq(holdings_n_new(holdings, one, 1, 1300), 1);
        holdings_confirm(holdings, "tdx1", true);
        ck_assert(holdings_place(holdings, &pod));
        ck_assert(!holdings_place(holdings, &pod)); /* nothing new */
        ck_assert_uint_eq(holdings_n_new(holdings, one, 1, 1300), 0);
        ck_assert(!holdings_observe(holdings, NULL, 0, true, late_ms));
        holdings_allocate(holdings, one, 1, late_ms);

        ck_assert_uint_eq(holdings_n(holdings), 1);
        ck_assert(!holdings_observe(holdings, NULL, 0, true, late_ms + HOLDINGS_ADMISSION_MS - 1));
        ck_assert(holdings_observe(holdings, NULL, 0, true, late_ms + HOLDINGS_ADMISSION_MS));
        ck_assert_int_eq(holdings_state(holdings, "tdx1"), HOLDINGS_LINGERING);
}
END_TEST

START_TEST(a_device_of_a_pod_whose_container_runs_or_that_was_listed_goes_to_another_pod)
{
        _cleanup_(holdings) struct holdings *runs = holdings_new(is_running);
        _cleanup_(holdings) struct holdings *listed = holdings_new(is_running);

        holdings_allocate(runs, one, 1, 1000);
        holdings_confirm(runs, "tdx1", true);
        place(runs, "tdx1", "pod");
        ck_assert_uint_eq(holdings_n_new(runs, one, 1, 1300), 1);

        holdings_allocate(listed, one, 1, 1000);
        holdings_observe(listed, one, 1, true, 1100);
        holdings_confirm(listed, "tdx1", true);
        ck_assert(!holdings_is_in_flight(listed, "tdx1"));
        ck_assert_uint_eq(holdings_n_new(listed, one, 1, 1300), 1);

        holdings_allocate(listed, one, 1, 1300);
        holdings_confirm(listed, NULL, true);
        ck_assert_uint_eq(holdings_n_new(listed, one, 1, 1500), 0);
        holdings_confirm(listed, NULL, false);
        ck_assert_uint_eq(holdings_n_new(listed, one, 1, 1500), 1);
}
END_TEST

SUITE("holdings", an_allocation_in_flight_is_held_although_kubelet_does_not_list_it_yet,
      a_pod_that_was_deleted_before_kubelet_could_be_asked_about_it_lingers,
      a_device_that_vanished_from_the_list_lingers_before_it_is_free,
      each_lingering_device_is_given_up_in_its_own_time, an_incomplete_list_takes_nothing_away,
      whatever_kubelet_lists_counts_also_what_we_never_gave,
      a_lingering_device_that_is_given_out_again_counts_twice,
      a_device_that_an_init_container_hands_on_counts_once,
      a_device_given_out_again_after_a_forced_deletion_counts_for_both_pods,
      a_pod_deleted_before_it_was_ever_listed_lingers_when_its_device_is_given_out_again,
      an_allocation_of_a_device_in_flight_is_given_its_own_time_to_be_listed,
      an_id_that_is_named_twice_is_one_device,
      every_held_id_is_told_once_and_lingering_ones_are_not,
      a_device_that_lingers_across_a_restart_still_counts,
      an_id_that_lingers_and_is_held_again_counts_twice_across_a_restart,
      what_a_pod_held_that_has_ended_is_free_as_soon_as_kubelet_lets_go_of_it,
      a_pod_that_kubelet_has_forgotten_is_looked_at_until_it_has_ended_however_long_that_takes,
      before_kubelet_gives_a_device_away_again_the_pod_that_had_it_is_looked_at,
      lingering_ones_that_have_ended_make_room_for_whatever_is_given_away,
      a_cgroup_that_a_forgotten_pod_has_is_not_its_successors,
      after_a_restart_what_kubelet_has_forgotten_is_held_until_its_pods_cgroup_has_gone,
      a_pod_that_lingers_and_the_next_one_with_its_device_keep_their_cgroups_over_a_restart,
      a_device_of_a_pod_in_admission_is_handed_on_to_its_next_container_however_late,
      a_device_of_a_pod_whose_container_runs_or_that_was_listed_goes_to_another_pod);
