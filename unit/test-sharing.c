/* SPDX-License-Identifier: Apache-2.0 */
#include "device.h"
#include "plugin/sharing.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"
#include "ledger.h"
#include "plugin/holder.h"
#include "plugin/holdings.h"
#include "unit/suite.h"

#include <errno.h>
#include <string.h>

#define DYNAMIC (-1)    /* the split that offers all TDs to both */
#define START   1000000 /* any time */

static const char *const tdx0[] = { "tdx0" };
static const char *const tdx1[] = { "tdx1" };
static const char *const three[] = { "tdx0", "tdx1", "tdx2" };

static struct ledger *make_ledger(unsigned total)
{
        struct ledger *ledger = ledger_new();

        ledger_set_total(ledger, total);
        return ledger;
}

/* A claim of n TDs, named tdx0 and so on; its UID tells it from others. 0, or the ledger's outcome.
 */
static int hold_claim(struct ledger *ledger, const char *uid, size_t n)
{
        _cleanup_(ledger_claim) struct ledger_claim *claim =
                ledger_claim_new(uid, "default", uid, n);
        int r;

        for (size_t i = 0; i < n; ++i) {
                claim->devices[i].request = xstrdup("td");
                claim->devices[i].pool = xstrdup("node-1");
                claim->devices[i].device = xasprintf("tdx%zu", i);
                claim->devices[i].slot = LEDGER_NO_SLOT;
        }
        r = ledger_hold(ledger, claim);
        if (r == 0)
                take_ptr(claim);
        return r;
}

static void release_claim(struct ledger *ledger, const char *uid)
{
        ledger_claim_free(ledger_release(ledger, uid));
}

/* kubelet is long since up, and lists these. */
static bool list(struct sharing *sharing, const char *const *ids, size_t n, uint64_t now_ms)
{
        return sharing_listed(sharing, ids, n, true, UINT64_MAX, now_ms);
}

/* A plugin side that knows at START that nothing is held. */
static struct sharing *make_known(struct ledger *ledger, int64_t split)
{
        struct sharing *sharing = sharing_new(ledger, split, NULL, START - SHARING_PODS_SETTLE_MS);

        ck_assert(list(sharing, NULL, 0, START - SHARING_PODS_SETTLE_MS));
        ck_assert(!list(sharing, NULL, 0, START));
        return sharing;
}

static int allocate(struct sharing *sharing, const char *const *ids, size_t n, uint64_t now_ms)
{
        struct error error = ERROR_NULL;

        return sharing_allocate(sharing, ids, n, now_ms, &error);
}

/* "tdx0+ tdx1-": tdx0 is Healthy, tdx1 is not. */
static char *tell_offer(struct sharing *sharing)
{
        __attribute__((cleanup(cleanup_free))) struct sharing_device *devices = NULL;
        struct text text = TEXT_NULL;
        size_t n;

        devices = sharing_offer(sharing, &n);
        for (size_t i = 0; i < n; ++i)
                text_addf(&text, "%s%s%s", i ? " " : "", devices[i].id,
                          devices[i].is_healthy ? "+" : "-");
        return text_take(&text);
}

#define ck_assert_offer(sharing, expected)                                                 \
        do {                                                                               \
                __attribute__((cleanup(cleanup_free))) char *offer_ = tell_offer(sharing); \
                ck_assert_str_eq(offer_, expected);                                        \
        } while (0)

/* What the next claim may be at most. */
static unsigned room_for_claims(const struct ledger *ledger)
{
        unsigned taken = ledger_held(ledger) + ledger_elsewhere(ledger);

        return ledger_total(ledger) > taken ? ledger_total(ledger) - taken : 0;
}

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
                        __attribute__((cleanup(cleanup_free))) char *name = NULL;
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
        __attribute__((cleanup(cleanup_free))) char *offer = NULL;

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
        __attribute__((cleanup(cleanup_free))) struct sharing_device *devices = NULL;
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
        __attribute__((cleanup(cleanup_free))) char *offer = NULL;

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
      as_many_free_devices_are_healthy_as_there_is_room_for_and_the_lowest_first,
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
      a_closed_plugin_offers_what_is_held_and_opens_again,
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
