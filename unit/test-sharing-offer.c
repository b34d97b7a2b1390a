/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "unit/sharing-rig.h"

/* ---- what is offered ---- */

START_TEST(as_many_free_devices_are_healthy_as_there_is_room_for_and_the_lowest_first)
{
        _cleanup_(ledger) struct ledger *ledger = make_ledger(5);
        _cleanup_(sharing) struct sharing *sharing = make_known(ledger, DYNAMIC);

        ck_assert_offer(sharing, "tdx0+ tdx1+ tdx2+ tdx3+ tdx4+");
        ck_assert_int_eq(hold_claim(ledger, "a", 2), 0);
        sharing_update(sharing);
        ck_assert_offer(sharing, "tdx0+ tdx1+ tdx2+ tdx3- tdx4-");
        ck_assert_int_eq(hold_claim(ledger, "b", 3), 0);
        sharing_update(sharing);
        ck_assert_offer(sharing, "tdx0- tdx1- tdx2- tdx3- tdx4-");
        release_claim(ledger, "a");
        sharing_update(sharing);
        ck_assert_offer(sharing, "tdx0+ tdx1+ tdx2- tdx3- tdx4-");
}
END_TEST

START_TEST(a_held_device_is_healthy_wherever_it_stands_and_takes_no_free_ones_place)
{
        static const char *const last[] = { "tdx4" };
        _cleanup_(ledger) struct ledger *ledger = make_ledger(5);
        _cleanup_(sharing) struct sharing *sharing = make_known(ledger, DYNAMIC);

        ck_assert_int_eq(allocate(sharing, last, 1, START), 0);
        ck_assert_int_eq(allocate(sharing, tdx0, 1, START), 0);
        ck_assert_int_eq(hold_claim(ledger, "a", 2), 0);
        sharing_update(sharing);

        ck_assert_offer(sharing, "tdx0+ tdx1+ tdx2- tdx3- tdx4+");
        ck_assert_int_eq(hold_claim(ledger, "b", 1), 0);
        sharing_update(sharing);
        ck_assert_offer(sharing, "tdx0+ tdx1- tdx2- tdx3- tdx4+");
}
END_TEST

START_TEST(a_lingering_device_is_not_offered_and_takes_room)
{
        _cleanup_(ledger) struct ledger *ledger = make_ledger(3);
        _cleanup_(sharing) struct sharing *sharing = make_known(ledger, DYNAMIC);

        ck_assert(list(sharing, tdx0, 1, START));
        ck_assert(list(sharing, NULL, 0, START + 1));
        ck_assert_int_eq(hold_claim(ledger, "a", 1), 0);
        sharing_update(sharing);

        ck_assert_offer(sharing, "tdx0- tdx1+ tdx2-");
        ck_assert_uint_eq(room_for_claims(ledger), 1);
}
END_TEST

START_TEST(held_devices_above_the_total_and_of_unknown_names_are_offered_after_the_others)
{
        static const char *const ids[] = { "tdx7", "tdx1", "tdx3" };
        static const char *const unknown[] = { "0000:11:22.3" };
        _cleanup_(ledger) struct ledger *ledger = make_ledger(3);
        _cleanup_(sharing) struct sharing *sharing = make_known(ledger, DYNAMIC);
        _cleanup_(free) char *offer = NULL;

        ck_assert(list(sharing, unknown, 1, START));
        ck_assert_offer(sharing, "tdx0+ tdx1+ tdx2- 0000:11:22.3+");
        ck_assert(list(sharing, ids, 3, START + 1));
        sharing_expire(sharing, START + 1 + HOLDINGS_LINGER_MS);

        offer = tell_offer(sharing); /* the others are in no order */
        ck_assert_msg(strcmp(offer, "tdx0- tdx1+ tdx2- tdx7+ tdx3+") == 0 ||
                              strcmp(offer, "tdx0- tdx1+ tdx2- tdx3+ tdx7+") == 0,
                      "%s", offer);
}
END_TEST

START_TEST(devices_that_an_older_version_named_otherwise_count_like_any)
{
        static const char *const older[] = { "tdx01", "td-5", "" };
        _cleanup_(ledger) struct ledger *ledger = make_ledger(4);
        _cleanup_(sharing) struct sharing *sharing = make_known(ledger, DYNAMIC);

        ck_assert(list(sharing, older, 3, START + 1));

        ck_assert_uint_eq(sharing_n_held(sharing), 3);
        ck_assert_uint_eq(room_for_claims(ledger), 1);
        ck_assert_int_eq(allocate(sharing, tdx0, 1, START + 2), 0);
        ck_assert_int_eq(allocate(sharing, tdx1, 1, START + 2), -ENOSPC);
}
END_TEST

START_TEST(as_many_as_there_can_be_are_offered_each_under_its_name)
{
        _cleanup_(free) struct sharing_device *devices = NULL;
        _cleanup_(ledger) struct ledger *ledger = make_ledger(DEVICE_INDEX_MAX);
        _cleanup_(sharing) struct sharing *sharing = make_known(ledger, 96);
        unsigned index;
        size_t n;

        devices = sharing_offer(sharing, &n);

        ck_assert_uint_eq(n, DEVICE_INDEX_MAX);
        for (unsigned i = 0; i < n; ++i) {
                ck_assert_int_eq(device_parse(devices[i].id, &index), 0);
                ck_assert_uint_eq(index, i);
                ck_assert_int_eq(devices[i].is_healthy, i < DEVICE_INDEX_MAX - 96);
        }
}
END_TEST

START_TEST(nothing_free_is_healthy_while_more_is_held_than_there_is)
{
        static const char *const beyond[] = { "tdx5", "tdx5-old", "tdx6" };
        _cleanup_(ledger) struct ledger *ledger = make_ledger(2);
        _cleanup_(sharing) struct sharing *sharing = make_known(ledger, DYNAMIC);
        _cleanup_(free) char *offer = NULL;

        ck_assert(list(sharing, beyond, 3, START + 1));

        offer = tell_offer(sharing);
        ck_assert_msg(strncmp(offer, "tdx0- tdx1- ", 12) == 0, "%s", offer);
}
END_TEST

START_TEST(a_node_of_unknown_or_no_capacity_offers_only_what_is_held)
{
        _cleanup_(ledger) struct ledger *ledger = ledger_new();
        _cleanup_(sharing) struct sharing *sharing = make_known(ledger, DYNAMIC);

        ck_assert_offer(sharing, "");
        ck_assert_int_eq(allocate(sharing, tdx0, 1, START), -ENOSPC);
        ck_assert(list(sharing, tdx1, 1, START + 1));

        ck_assert_offer(sharing, "tdx1+");
}
END_TEST

START_TEST(when_the_capacity_shrinks_below_what_is_held_all_held_stay_healthy_and_nothing_is_free)
{
        _cleanup_(ledger) struct ledger *ledger = make_ledger(4);
        _cleanup_(sharing) struct sharing *sharing = make_known(ledger, DYNAMIC);

        ck_assert_int_eq(allocate(sharing, three, 2, START), 0);
        ck_assert_int_eq(hold_claim(ledger, "a", 2), 0);
        ledger_set_total(ledger, 1);
        sharing_update(sharing);

        ck_assert_offer(sharing, "tdx0+ tdx1+");
        ck_assert_uint_eq(sharing_n_held(sharing), 2);
        ck_assert_uint_eq(room_for_claims(ledger), 0);
        ck_assert_int_eq(allocate(sharing, three, 3, START), -ENOSPC);
        ck_assert_int_eq(hold_claim(ledger, "b", 1), LEDGER_FULL);
        ledger_set_total(ledger, 5);
        sharing_update(sharing);
        ck_assert_offer(sharing, "tdx0+ tdx1+ tdx2+ tdx3- tdx4-");
}
END_TEST

START_TEST(a_split_is_offered_to_each_side_whatever_the_other_needs)
{
        _cleanup_(ledger) struct ledger *ledger = make_ledger(5);
        _cleanup_(sharing) struct sharing *sharing = make_known(ledger, 2);

        ck_assert_offer(sharing, "tdx0+ tdx1+ tdx2+ tdx3- tdx4-");
        ck_assert_uint_eq(room_for_claims(ledger), 2);

        ck_assert_int_eq(hold_claim(ledger, "a", 2), 0);
        sharing_update(sharing);
        ck_assert_offer(sharing, "tdx0+ tdx1+ tdx2+ tdx3- tdx4-");
        ck_assert_int_eq(hold_claim(ledger, "b", 1), LEDGER_FULL);
        ck_assert_int_eq(allocate(sharing, three, 3, START), 0);
        ck_assert_uint_eq(ledger_elsewhere(ledger), 3);
}
END_TEST

/* What claims are offered: names that they hold included. */
static unsigned n_offered_to_claims(const struct ledger *ledger)
{
        unsigned taken = ledger_held(ledger) + ledger_kept(ledger);

        return ledger_held(ledger) +
               (ledger_usable(ledger) > taken ? ledger_usable(ledger) - taken : 0);
}

START_TEST(what_others_run_is_offered_to_neither_side_and_takes_nothing_held)
{
        _cleanup_(ledger) struct ledger *ledger = make_ledger(4);
        _cleanup_(sharing) struct sharing *sharing = make_known(ledger, DYNAMIC);

        ck_assert_int_eq(allocate(sharing, tdx1, 1, START), 0);
        ledger_set_foreign(ledger, 1);
        sharing_update(sharing);
        ck_assert_offer(sharing, "tdx0+ tdx1+ tdx2+ tdx3-");
        ck_assert_uint_eq(n_offered_to_claims(ledger), 2);

        ledger_set_foreign(ledger, 9);
        sharing_update(sharing);
        ck_assert_offer(sharing, "tdx0- tdx1+ tdx2- tdx3-");
        ck_assert_uint_eq(n_offered_to_claims(ledger), 0);

        ledger_set_foreign(ledger, 0);
        sharing_update(sharing);
        ck_assert_offer(sharing, "tdx0+ tdx1+ tdx2+ tdx3+");
        ck_assert_uint_eq(n_offered_to_claims(ledger), 3);
}
END_TEST

START_TEST(what_others_run_comes_out_of_the_plugins_part_of_a_split_first)
{
        static const struct {
                unsigned foreign, to_claims;
                const char *to_pods;
        } cases[] = { { 0, 2, "tdx0+ tdx1+ tdx2- tdx3-" },
                      { 1, 2, "tdx0+ tdx1- tdx2- tdx3-" },
                      { 2, 2, "tdx0- tdx1- tdx2- tdx3-" },
                      { 3, 1, "tdx0- tdx1- tdx2- tdx3-" },
                      { 5, 0, "tdx0- tdx1- tdx2- tdx3-" } };
        _cleanup_(ledger) struct ledger *ledger = make_ledger(4);
        _cleanup_(sharing) struct sharing *sharing = make_known(ledger, 2);

        for (size_t i = 0; i < array_size(cases); ++i) {
                ledger_set_foreign(ledger, cases[i].foreign);
                sharing_update(sharing);
                ck_assert_offer(sharing, cases[i].to_pods);
                ck_assert_uint_eq(n_offered_to_claims(ledger), cases[i].to_claims);
        }
}
END_TEST

START_TEST(a_pod_that_was_sent_before_the_withdrawal_is_let_in)
{
        _cleanup_(ledger) struct ledger *ledger = make_ledger(2);
        _cleanup_(sharing) struct sharing *sharing = make_known(ledger, DYNAMIC);

        ledger_set_foreign(ledger, 2);
        sharing_update(sharing);

        ck_assert_int_eq(allocate(sharing, tdx0, 1, START), 0);
        ck_assert_int_eq(hold_claim(ledger, "a", 1), 0);
        ck_assert_int_eq(hold_claim(ledger, "b", 1), LEDGER_FULL);
}
END_TEST

START_TEST(a_closed_plugin_offers_what_is_held_and_opens_again)
{
        _cleanup_(ledger) struct ledger *ledger = make_ledger(3);
        _cleanup_(sharing) struct sharing *sharing = make_known(ledger, DYNAMIC);

        ck_assert_int_eq(allocate(sharing, tdx1, 1, START), 0);
        sharing_close(sharing, true);
        ck_assert_offer(sharing, "tdx0- tdx1+ tdx2-");
        sharing_close(sharing, false);

        ck_assert_offer(sharing, "tdx0+ tdx1+ tdx2+");
}
END_TEST

SUITE("sharing-offer", as_many_free_devices_are_healthy_as_there_is_room_for_and_the_lowest_first,
      a_held_device_is_healthy_wherever_it_stands_and_takes_no_free_ones_place,
      a_lingering_device_is_not_offered_and_takes_room,
      held_devices_above_the_total_and_of_unknown_names_are_offered_after_the_others,
      devices_that_an_older_version_named_otherwise_count_like_any,
      as_many_as_there_can_be_are_offered_each_under_its_name,
      nothing_free_is_healthy_while_more_is_held_than_there_is,
      a_node_of_unknown_or_no_capacity_offers_only_what_is_held,
      when_the_capacity_shrinks_below_what_is_held_all_held_stay_healthy_and_nothing_is_free,
      a_split_is_offered_to_each_side_whatever_the_other_needs,
      what_others_run_is_offered_to_neither_side_and_takes_nothing_held,
      what_others_run_comes_out_of_the_plugins_part_of_a_split_first,
      a_pod_that_was_sent_before_the_withdrawal_is_let_in,
      a_closed_plugin_offers_what_is_held_and_opens_again);
