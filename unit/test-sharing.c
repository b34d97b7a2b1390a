/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "unit/sharing-rig.h"

/* ---- who may have how much ---- */

START_TEST(each_side_may_have_what_the_other_neither_holds_nor_is_kept)
{
        static const struct {
                unsigned total;
                int64_t split;
                unsigned n_claims_held, limit;
                unsigned n_plugin_held, elsewhere;
        } cases[] = {
                { 8, DYNAMIC, 0, 8, 0, 0 },
                { 8, DYNAMIC, 3, 5, 3, 3 },
                { 8, DYNAMIC, 8, 0, 8, 8 },
                { 8, DYNAMIC, 9, 0, 9, 9 }, /* the capacity has shrunk */
                { 8, 0, 0, 8, 0, 8 },
                { 8, 0, 2, 6, 8, 8 }, /* claims from before the split */
                { 8, 3, 0, 5, 0, 5 },
                { 8, 3, 3, 5, 5, 5 },
                { 8, 3, 4, 4, 6, 6 }, /* either side's from before the split */
                { 8, 3, 9, 0, 9, 9 },
                { 8, 7, 0, 1, 0, 1 },
                { 8, 8, 0, 0, 0, 0 },
                { 8, 8, 1, 0, 1, 1 },
                { 8, 9, 0, 0, 0, 0 },
                { 8, INT64_MAX, 0, 0, 2, 2 },
                { 8, UINT32_MAX + INT64_C(2), 0, 0, 0, 0 },
                { 0, DYNAMIC, 0, 0, 0, 0 },
                { 0, DYNAMIC, 2, 0, 2, 2 },
                { 0, 0, 0, 0, 0, 0 },
                { 0, 3, 0, 0, 2, 2 },
                { 1, DYNAMIC, 0, 1, 1, 1 },
                { 1, 0, 0, 1, 0, 1 },
                { 1, 1, 0, 0, 0, 0 },
                { DEVICE_INDEX_MAX, DYNAMIC, 0, DEVICE_INDEX_MAX, 0, 0 },
                { DEVICE_INDEX_MAX, DYNAMIC, DEVICE_INDEX_MAX - 1, 1, 4095, 4095 },
                { DEVICE_INDEX_MAX, 0, 0, DEVICE_INDEX_MAX, 0, DEVICE_INDEX_MAX },
                { DEVICE_INDEX_MAX, DEVICE_INDEX_MAX - 1, 0, 1, 0, 1 },
                { DEVICE_INDEX_MAX, DEVICE_INDEX_MAX, 0, 0, 0, 0 },
        };

        for (size_t i = 0; i < array_size(cases); ++i) {
                unsigned limit = sharing_plugin_limit(cases[i].total, cases[i].split,
                                                      cases[i].n_claims_held);
                unsigned elsewhere =
                        sharing_elsewhere(cases[i].total, cases[i].split, cases[i].n_plugin_held);

                ck_assert_msg(limit == cases[i].limit, "case %zu: limit %u", i, limit);
                ck_assert_msg(elsewhere == cases[i].elsewhere, "case %zu: elsewhere %u", i,
                              elsewhere);
        }
}
END_TEST

/* Whatever is asked for in whatever order: a generator of its own, so that every run is the same.
 */
START_TEST(claims_and_pods_together_never_exceed_the_total_and_a_split_holds_both_ways)
{
        static const int64_t splits[] = { DYNAMIC, 0, 1, 3, 5, 6 };
        const unsigned total = 5;
        uint32_t random = 1;

        for (size_t i = 0; i < array_size(splits); ++i) {
                _cleanup_(ledger) struct ledger *ledger = make_ledger(total);
                _cleanup_(sharing) struct sharing *sharing = make_known(ledger, splits[i]);
                uint64_t now_ms = START;
                unsigned n_full = 0;

                for (unsigned step = 0; step < 4000; ++step) {
                        _cleanup_(free) char *name = NULL;
                        const char *id;

                        random = random * 1664525U + 1013904223U;
                        now_ms += random >> 28;
                        name = xasprintf("tdx%u", random >> 16 & 7);
                        id = name;
                        switch (random >> 20 & 7) {
                        case 0:
                        case 1:
                        case 2:
                                (void)allocate(sharing, &id, 1, now_ms);
                                break;
                        case 3:
                                if (!ledger_find(ledger, name))
                                        (void)hold_claim(ledger, name, 1 + (random >> 24 & 1));
                                sharing_update(sharing);
                                break;
                        case 4:
                                release_claim(ledger, name);
                                sharing_update(sharing);
                                break;
                        case 5: /* kubelet forgets all but one */
                                id = sharing_next_held(sharing, NULL);
                                (void)list(sharing, &id, !!id, now_ms);
                                break;
                        default:
                                (void)sharing_expire(sharing, now_ms);
                        }
                        n_full += ledger_held(ledger) + sharing_n_held(sharing) == total;
                        ck_assert_uint_le(ledger_held(ledger) + sharing_n_held(sharing), total);
                        if (splits[i] >= 0)
                                ck_assert_int_le(ledger_held(ledger), splits[i]);
                        if (splits[i] >= 0 && splits[i] <= total)
                                ck_assert_uint_le(sharing_n_held(sharing),
                                                  total - (unsigned)splits[i]);
                }
                ck_assert_uint_gt(n_full, 0);
        }
}
END_TEST

/* ---- before it is known who holds what ---- */

START_TEST(nothing_is_offered_or_admitted_before_it_is_known_who_holds_what)
{
        _cleanup_(ledger) struct ledger *ledger = make_ledger(3);
        _cleanup_(sharing) struct sharing *sharing = sharing_new(ledger, DYNAMIC, NULL, START);
        struct error error = ERROR_NULL;

        ck_assert(!sharing_is_known(sharing));
        ck_assert_int_eq(sharing_allocate(sharing, tdx0, 1, START, &error), -EAGAIN);

        ck_assert_ptr_nonnull(strstr(error.text, "does not know yet"));
        ck_assert_uint_eq(sharing_n_held(sharing), 0);
        ck_assert_offer(sharing, "tdx0- tdx1- tdx2-");
        ck_assert_uint_eq(sharing_next_question_ms(sharing), START);
}
END_TEST

START_TEST(what_was_written_down_is_offered_as_healthy_even_before_it_is_known)
{
        _cleanup_(ledger) struct ledger *ledger = make_ledger(3);
        _cleanup_(sharing) struct sharing *sharing = sharing_new(ledger, DYNAMIC, NULL, START);

        sharing_restore(sharing, &(struct plugin_holder){ "tdx1", NULL, NULL });

        ck_assert(!sharing_is_known(sharing));
        ck_assert_uint_eq(sharing_n_held(sharing), 1);
        ck_assert_offer(sharing, "tdx0- tdx1+ tdx2-");
}
END_TEST

START_TEST(the_first_list_of_a_settled_kubelet_makes_it_known_and_says_so_once)
{
        _cleanup_(ledger) struct ledger *ledger = make_ledger(3);
        _cleanup_(sharing) struct sharing *sharing = sharing_new(ledger, DYNAMIC, NULL, START);

        ck_assert(sharing_listed(sharing, NULL, 0, true, SHARING_KUBELET_SETTLE_MS, START + 1));

        ck_assert(sharing_is_known(sharing));
        ck_assert_offer(sharing, "tdx0+ tdx1+ tdx2+");
        ck_assert(!list(sharing, NULL, 0, START + 2));
}
END_TEST

START_TEST(a_list_of_a_kubelet_that_has_just_started_makes_nothing_known)
{
        _cleanup_(ledger) struct ledger *ledger = make_ledger(3);
        _cleanup_(sharing) struct sharing *sharing = sharing_new(ledger, DYNAMIC, NULL, START);

        ck_assert(
                !sharing_listed(sharing, NULL, 0, true, SHARING_KUBELET_SETTLE_MS - 1, START + 1));

        ck_assert(!sharing_is_known(sharing));
        ck_assert_int_eq(allocate(sharing, tdx0, 1, START + 1), -EAGAIN);
        ck_assert_uint_eq(sharing_next_question_ms(sharing), START + 1 + SHARING_RETRY_MS);
}
END_TEST

START_TEST(what_a_kubelet_lists_before_it_has_settled_counts_although_the_rest_is_not_known)
{
        _cleanup_(ledger) struct ledger *ledger = make_ledger(3);
        _cleanup_(sharing) struct sharing *sharing = sharing_new(ledger, DYNAMIC, NULL, START);

        ck_assert(!sharing_listed(sharing, tdx1, 1, true, 0, START + 1));

        ck_assert(!sharing_is_known(sharing));
        ck_assert_uint_eq(sharing_n_held(sharing), 1);
        ck_assert_offer(sharing, "tdx0- tdx1+ tdx2-");
        ck_assert_uint_eq(ledger_elsewhere(ledger), 0); /* nobody may act on it yet */
        ck_assert(list(sharing, tdx1, 1, START + 2));
        ck_assert_uint_eq(ledger_elsewhere(ledger), 1);
}
END_TEST

START_TEST(when_kubelet_stays_silent_what_was_written_down_must_do_after_ten_seconds)
{
        _cleanup_(ledger) struct ledger *ledger = make_ledger(3);
        _cleanup_(sharing) struct sharing *sharing = sharing_new(ledger, DYNAMIC, NULL, START);

        sharing_restore(sharing, &(struct plugin_holder){ "tdx1", NULL, NULL });
        ck_assert(!sharing_unanswered(sharing, START + SHARING_IGNORANCE_MAX_MS - 1));
        ck_assert(!sharing_is_known(sharing));
        ck_assert_uint_eq(sharing_next_question_ms(sharing),
                          START + SHARING_IGNORANCE_MAX_MS - 1 + SHARING_RETRY_MS);
        ck_assert(sharing_unanswered(sharing, START + SHARING_IGNORANCE_MAX_MS));

        ck_assert(sharing_is_known(sharing));
        ck_assert_offer(sharing, "tdx0+ tdx1+ tdx2+");
        ck_assert_uint_eq(ledger_elsewhere(ledger), 1);
        ck_assert_uint_eq(room_for_claims(ledger), 2);
}
END_TEST

START_TEST(silence_is_no_news_once_it_is_known_who_holds_what)
{
        _cleanup_(ledger) struct ledger *ledger = make_ledger(3);
        _cleanup_(sharing) struct sharing *sharing = make_known(ledger, DYNAMIC);

        ck_assert(list(sharing, tdx1, 1, START + 1));
        ck_assert(!sharing_unanswered(sharing, START + 10 * SHARING_IGNORANCE_MAX_MS));

        ck_assert(sharing_is_known(sharing));
        ck_assert_uint_eq(sharing_n_held(sharing), 1);
}
END_TEST

START_TEST(what_was_written_down_and_is_not_listed_lingers_like_all_that_vanishes)
{
        _cleanup_(ledger) struct ledger *ledger = make_ledger(3);
        _cleanup_(sharing) struct sharing *sharing = sharing_new(ledger, DYNAMIC, NULL, START);

        sharing_restore(sharing, &(struct plugin_holder){ "tdx1", NULL, NULL });
        sharing_restore(sharing, &(struct plugin_holder){ "tdx2", NULL, NULL });
        ck_assert(list(sharing, tdx1, 1, START + 7));
        ck_assert_uint_eq(sharing_next_expiry_ms(sharing), UINT64_MAX);
        ck_assert(list(sharing, tdx1, 1, START + 7 + SHARING_PODS_SETTLE_MS));

        ck_assert_uint_eq(sharing_n_held(sharing), 2);
        ck_assert_offer(sharing, "tdx0+ tdx1+ tdx2-");
        ck_assert_uint_eq(sharing_next_expiry_ms(sharing),
                          START + 7 + SHARING_PODS_SETTLE_MS + HOLDINGS_LINGER_MS);
}
END_TEST

START_TEST(a_kubelet_that_has_restarted_takes_nothing_away_until_it_has_settled)
{
        _cleanup_(ledger) struct ledger *ledger = make_ledger(3);
        _cleanup_(sharing) struct sharing *sharing = make_known(ledger, DYNAMIC);

        ck_assert(list(sharing, tdx1, 1, START + 1));
        ck_assert(!sharing_listed(sharing, NULL, 0, true, SHARING_KUBELET_SETTLE_MS - 1,
                                  START + 100));

        ck_assert(sharing_is_known(sharing));
        ck_assert_offer(sharing, "tdx0+ tdx1+ tdx2+");
        ck_assert_uint_eq(sharing_n_held(sharing), 1);
        ck_assert_uint_eq(sharing_next_expiry_ms(sharing), UINT64_MAX);
        ck_assert_uint_eq(sharing_next_question_ms(sharing), START + 100 + SHARING_RETRY_MS);
}
END_TEST

/* ---- Allocate ---- */

START_TEST(what_is_allocated_is_held_at_once_and_claims_cannot_have_it)
{
        _cleanup_(ledger) struct ledger *ledger = make_ledger(3);
        _cleanup_(sharing) struct sharing *sharing = make_known(ledger, DYNAMIC);

        ck_assert_int_eq(allocate(sharing, tdx1, 1, START), 0);

        ck_assert_uint_eq(sharing_n_held(sharing), 1);
        ck_assert_uint_eq(ledger_elsewhere(ledger), 1);
        ck_assert_int_eq(hold_claim(ledger, "a", 3), LEDGER_FULL);
        ck_assert_int_eq(hold_claim(ledger, "b", 2), 0);
}
END_TEST

START_TEST(a_refused_allocation_says_who_is_in_the_way_and_changes_nothing)
{
        _cleanup_(ledger) struct ledger *ledger = make_ledger(3);
        _cleanup_(sharing) struct sharing *sharing = make_known(ledger, DYNAMIC);
        struct error error = ERROR_NULL;

        ck_assert_int_eq(hold_claim(ledger, "a", 1), 0);
        ck_assert_int_eq(sharing_allocate(sharing, three, 3, START, &error), -ENOSPC);

        ck_assert_str_eq(error.text,
                         "no TD is free: claims hold 1 and pods 0 of 3 TDs; choose another node");
        ck_assert_uint_eq(sharing_n_held(sharing), 0);
        ck_assert_uint_eq(ledger_elsewhere(ledger), 0);
        ck_assert_uint_eq(sharing_next_question_ms(sharing), UINT64_MAX);
        ck_assert_int_eq(allocate(sharing, three, 2, START), 0); /* to the last */
}
END_TEST

START_TEST(two_containers_of_one_request_count_together)
{
        _cleanup_(ledger) struct ledger *ledger = make_ledger(2);
        _cleanup_(sharing) struct sharing *sharing = make_known(ledger, DYNAMIC);

        ck_assert_int_eq(allocate(sharing, three, 3, START), -ENOSPC);
        ck_assert_int_eq(allocate(sharing, three, 2, START), 0);

        ck_assert_uint_eq(sharing_n_held(sharing), 2);
        ck_assert_int_eq(hold_claim(ledger, "a", 1), LEDGER_FULL);
}
END_TEST

START_TEST(a_device_that_a_claim_was_allocated_by_name_may_be_a_pods_too)
{
        _cleanup_(ledger) struct ledger *ledger = make_ledger(2);
        _cleanup_(sharing) struct sharing *sharing = make_known(ledger, DYNAMIC);

        ck_assert_int_eq(hold_claim(ledger, "a", 1), 0);
        ck_assert(ledger_is_device_held(ledger, 0));
        sharing_update(sharing);
        ck_assert_offer(sharing, "tdx0+ tdx1-");

        ck_assert_int_eq(allocate(sharing, tdx0, 1, START), 0);
        ck_assert_uint_eq(ledger_held(ledger) + sharing_n_held(sharing), 2);
        ck_assert_int_eq(allocate(sharing, tdx1, 1, START), -ENOSPC);
}
END_TEST

START_TEST(
        what_kubelet_gives_out_again_counts_for_both_pods_where_there_is_room_and_is_refused_where_not)
{
        _cleanup_(ledger) struct ledger *ledger = make_ledger(1);
        _cleanup_(sharing) struct sharing *sharing = make_known(ledger, DYNAMIC);

        ck_assert(list(sharing, tdx0, 1, START));
        ck_assert_int_eq(allocate(sharing, tdx0, 1, START + 1), -ENOSPC);
        ck_assert_uint_eq(sharing_n_held(sharing), 1);
        ledger_set_total(ledger, 2);
        sharing_update(sharing);
        ck_assert_int_eq(allocate(sharing, tdx0, 1, START + 1), 0);

        ck_assert_uint_eq(sharing_n_held(sharing), 2);
        ck_assert(sharing_expire(sharing, START + 1 + HOLDINGS_LINGER_MS));
        ck_assert_uint_eq(sharing_n_held(sharing), 1);
}
END_TEST

/* ---- what kubelet lists ---- */

START_TEST(an_allocation_that_kubelet_does_not_list_yet_is_not_forgotten)
{
        _cleanup_(ledger) struct ledger *ledger = make_ledger(3);
        _cleanup_(sharing) struct sharing *sharing = make_known(ledger, DYNAMIC);

        ck_assert_int_eq(allocate(sharing, tdx0, 1, START), 0);
        ck_assert(!list(sharing, NULL, 0, START + 10));

        ck_assert_uint_eq(sharing_n_held(sharing), 1);
        ck_assert_offer(sharing, "tdx0+ tdx1+ tdx2+");
        ck_assert_uint_eq(ledger_elsewhere(ledger), 1);
}
END_TEST

START_TEST(an_allocation_that_is_never_listed_lingers_and_then_claims_get_its_room)
{
        _cleanup_(ledger) struct ledger *ledger = make_ledger(3);
        _cleanup_(sharing) struct sharing *sharing = make_known(ledger, DYNAMIC);

        ck_assert_int_eq(allocate(sharing, tdx0, 1, START), 0);
        ck_assert(!list(sharing, NULL, 0, START + HOLDINGS_IN_FLIGHT_MS - 1));
        ck_assert(list(sharing, NULL, 0, START + HOLDINGS_IN_FLIGHT_MS));
        ck_assert_uint_eq(sharing_n_held(sharing), 1);
        ck_assert(sharing_expire(sharing, START + HOLDINGS_IN_FLIGHT_MS + HOLDINGS_LINGER_MS));

        ck_assert_uint_eq(sharing_n_held(sharing), 0);
        ck_assert_uint_eq(ledger_elsewhere(ledger), 0);
}
END_TEST

START_TEST(a_list_that_says_nothing_new_changes_nothing)
{
        _cleanup_(ledger) struct ledger *ledger = make_ledger(3);
        _cleanup_(sharing) struct sharing *sharing = make_known(ledger, DYNAMIC);

        ck_assert_int_eq(allocate(sharing, tdx0, 1, START), 0);
        ck_assert(!list(sharing, tdx0, 1, START + 1));
        ck_assert(!list(sharing, tdx0, 1, START + HOLDINGS_IN_FLIGHT_MS + 1));

        ck_assert_uint_eq(sharing_n_held(sharing), 1);
}
END_TEST

START_TEST(what_kubelet_lists_counts_whoever_gave_it_even_beyond_the_total)
{
        _cleanup_(ledger) struct ledger *ledger = make_ledger(2);
        _cleanup_(sharing) struct sharing *sharing = make_known(ledger, DYNAMIC);

        ck_assert(list(sharing, three, 3, START + 1));

        ck_assert_uint_eq(sharing_n_held(sharing), 3);
        ck_assert_uint_eq(ledger_elsewhere(ledger), 3);
        ck_assert_uint_eq(room_for_claims(ledger), 0);
        ck_assert_offer(sharing, "tdx0+ tdx1+ tdx2+");
}
END_TEST

START_TEST(a_device_that_vanished_is_free_for_claims_only_after_it_has_lingered)
{
        _cleanup_(ledger) struct ledger *ledger = make_ledger(1);
        _cleanup_(sharing) struct sharing *sharing = make_known(ledger, DYNAMIC);

        ck_assert(list(sharing, tdx0, 1, START));
        ck_assert(list(sharing, NULL, 0, START + 1));
        ck_assert_int_eq(hold_claim(ledger, "a", 1), LEDGER_FULL);
        ck_assert(!sharing_expire(sharing, START + HOLDINGS_LINGER_MS));
        ck_assert_int_eq(hold_claim(ledger, "a", 1), LEDGER_FULL);
        ck_assert_uint_eq(sharing_next_expiry_ms(sharing), START + 1 + HOLDINGS_LINGER_MS);
        ck_assert(sharing_expire(sharing, START + 1 + HOLDINGS_LINGER_MS));

        ck_assert_int_eq(hold_claim(ledger, "a", 1), 0);
        ck_assert_uint_eq(sharing_next_expiry_ms(sharing), UINT64_MAX);
        ck_assert(!sharing_expire(sharing, START + 2 + HOLDINGS_LINGER_MS));
}
END_TEST

/* ---- questions ---- */

#define LATER (START + 20 + SHARING_PODS_SETTLE_MS) /* than the first list */

START_TEST(kubelet_is_asked_at_once_then_only_while_anything_is_held)
{
        _cleanup_(ledger) struct ledger *ledger = make_ledger(3);
        _cleanup_(sharing) struct sharing *sharing = sharing_new(ledger, DYNAMIC, NULL, START);

        ck_assert_uint_eq(sharing_next_question_ms(sharing), START);
        ck_assert(!sharing_unanswered(sharing, START + 10));
        ck_assert_uint_eq(sharing_next_question_ms(sharing), START + 10 + SHARING_RETRY_MS);
        ck_assert(list(sharing, NULL, 0, START + 20));
        ck_assert_uint_eq(sharing_next_question_ms(sharing), UINT64_MAX);
        ck_assert_int_eq(allocate(sharing, tdx0, 1, LATER + 30), 0);
        ck_assert_uint_eq(sharing_next_question_ms(sharing),
                          LATER + 30 + SHARING_AFTER_ALLOCATE_MS);
        ck_assert(!list(sharing, tdx0, 1, LATER + 40));
        ck_assert_uint_eq(sharing_next_question_ms(sharing), LATER + 40 + SHARING_POLL_MS);
        ck_assert(!sharing_unanswered(sharing, LATER + 50));
        ck_assert_uint_eq(sharing_next_question_ms(sharing), LATER + 50 + SHARING_RETRY_MS);

        /* What lingers may be listed again. */
        ck_assert(list(sharing, NULL, 0, LATER + 60));
        ck_assert_uint_eq(sharing_next_question_ms(sharing), LATER + 60 + SHARING_POLL_MS);
        ck_assert(sharing_expire(sharing, LATER + 60 + HOLDINGS_LINGER_MS));
        ck_assert(!list(sharing, NULL, 0, LATER + 60 + SHARING_POLL_MS));
        ck_assert_uint_eq(sharing_next_question_ms(sharing), UINT64_MAX);
}
END_TEST

START_TEST(after_ten_seconds_of_silence_kubelet_is_asked_on_until_it_answers)
{
        _cleanup_(ledger) struct ledger *ledger = make_ledger(3);
        _cleanup_(sharing) struct sharing *sharing = sharing_new(ledger, DYNAMIC, NULL, START);
        const uint64_t late_ms = START + SHARING_IGNORANCE_MAX_MS;

        ck_assert(sharing_unanswered(sharing, late_ms));
        ck_assert_uint_eq(sharing_next_question_ms(sharing), late_ms + SHARING_POLL_MS);
        ck_assert(list(sharing, three, 3, late_ms + SHARING_POLL_MS));

        ck_assert_uint_eq(room_for_claims(ledger), 0);
}
END_TEST

START_TEST(a_kubelet_that_has_just_started_is_asked_again_although_nothing_is_held)
{
        _cleanup_(ledger) struct ledger *ledger = make_ledger(3);
        _cleanup_(sharing) struct sharing *sharing = make_known(ledger, DYNAMIC);

        ck_assert(!sharing_listed(sharing, NULL, 0, true, 0, START + 1));
        ck_assert_uint_eq(sharing_next_question_ms(sharing), START + 1 + SHARING_RETRY_MS);
        ck_assert(!sharing_listed(sharing, NULL, 0, true, SHARING_KUBELET_SETTLE_MS, START + 2));

        ck_assert_uint_eq(sharing_next_question_ms(sharing), UINT64_MAX);
}
END_TEST

SUITE("sharing", each_side_may_have_what_the_other_neither_holds_nor_is_kept,
      claims_and_pods_together_never_exceed_the_total_and_a_split_holds_both_ways,
      nothing_is_offered_or_admitted_before_it_is_known_who_holds_what,
      what_was_written_down_is_offered_as_healthy_even_before_it_is_known,
      the_first_list_of_a_settled_kubelet_makes_it_known_and_says_so_once,
      a_list_of_a_kubelet_that_has_just_started_makes_nothing_known,
      what_a_kubelet_lists_before_it_has_settled_counts_although_the_rest_is_not_known,
      when_kubelet_stays_silent_what_was_written_down_must_do_after_ten_seconds,
      silence_is_no_news_once_it_is_known_who_holds_what,
      what_was_written_down_and_is_not_listed_lingers_like_all_that_vanishes,
      a_kubelet_that_has_restarted_takes_nothing_away_until_it_has_settled,
      what_is_allocated_is_held_at_once_and_claims_cannot_have_it,
      a_refused_allocation_says_who_is_in_the_way_and_changes_nothing,
      two_containers_of_one_request_count_together,
      a_device_that_a_claim_was_allocated_by_name_may_be_a_pods_too,
      what_kubelet_gives_out_again_counts_for_both_pods_where_there_is_room_and_is_refused_where_not,
      an_allocation_that_kubelet_does_not_list_yet_is_not_forgotten,
      an_allocation_that_is_never_listed_lingers_and_then_claims_get_its_room,
      a_list_that_says_nothing_new_changes_nothing,
      what_kubelet_lists_counts_whoever_gave_it_even_beyond_the_total,
      a_device_that_vanished_is_free_for_claims_only_after_it_has_lingered,
      kubelet_is_asked_at_once_then_only_while_anything_is_held,
      after_ten_seconds_of_silence_kubelet_is_asked_on_until_it_answers,
      a_kubelet_that_has_just_started_is_asked_again_although_nothing_is_held);
