/* SPDX-License-Identifier: Apache-2.0 */
#include "host/measure.h"

#include "base/memory.h"
#include "host/misc_tree.h"
#include "unit/suite.h"

#include <stdio.h>
#include <string.h>

#define A "aaaaaaaa-0000-4000-8000-000000000000"
#define B "bbbbbbbb-0000-4000-8000-000000000000"
#define C "cccccccc-0000-4000-8000-000000000000"

static const char *const pods[] = { A, B };

#define POD(uid, n)                                                   \
        {                                                             \
                .kind = MISC_TREE_POD, .pod_uid = uid, .running = (n) \
        }
#define ELSEWHERE(n)                                        \
        {                                                   \
                .kind = MISC_TREE_ELSEWHERE, .running = (n) \
        }
#define UNSPLIT(n)                                        \
        {                                                 \
                .kind = MISC_TREE_UNSPLIT, .running = (n) \
        }
#define LEAKED(n)                                          \
        {                                                  \
                .kind = MISC_TREE_ELSEWHERE, .leaked = (n) \
        }
#define IN_A(n)                                               \
        {                                                     \
                .tds = (n), .pod_uids = &pods[0], .n_pods = 1 \
        }
#define IN_B(n)                                               \
        {                                                     \
                .tds = (n), .pod_uids = &pods[1], .n_pods = 1 \
        }
#define IN_A_OR_B(n)                                      \
        {                                                 \
                .tds = (n), .pod_uids = pods, .n_pods = 2 \
        }
#define SOMEWHERE(n)       \
        {                  \
                .tds = (n) \
        }

START_TEST(a_td_is_its_holders_in_the_holders_pod_only)
{
        static const struct {
                const char *what;
                struct misc_tree_place places[4];
                struct measure_holder holders[4];
                struct measure_found found;
        } cases[] = {
                { "nothing runs", { ELSEWHERE(0) }, { IN_A(1) }, { 0, 0, 0 } },
                { "a VM in its pod", { POD(A, 1) }, { IN_A(1) }, { 1, 0, 0 } },
                { "libvirt beside an idle claim", { ELSEWHERE(1) }, { IN_A(1) }, { 0, 1, 0 } },
                { "Kata beside an idle claim", { POD(C, 1) }, { IN_A(1) }, { 0, 1, 0 } },
                { "a pod that runs more than it holds", { POD(A, 3) }, { IN_A(1) }, { 1, 2, 0 } },
                { "two holders in one pod", { POD(A, 2) }, { IN_A(1), IN_A(1) }, { 2, 0, 0 } },
                { "one holder of two pods",
                  { POD(A, 1), POD(B, 1) },
                  { IN_A_OR_B(2) },
                  { 2, 0, 0 } },
                { "one TD in either of two pods", { POD(B, 1) }, { IN_A_OR_B(1) }, { 1, 0, 0 } },
                { "a pod that is not known", { POD(C, 1) }, { SOMEWHERE(1) }, { 1, 0, 0 } },
                { "not known, and one too many", { POD(C, 2) }, { SOMEWHERE(1) }, { 1, 1, 0 } },
                { "not known, but not in a pod", { ELSEWHERE(1) }, { SOMEWHERE(1) }, { 0, 1, 0 } },
                { "what cannot be told apart",
                  { UNSPLIT(3) },
                  { IN_A(1), SOMEWHERE(1) },
                  { 2, 1, 0 } },
                { "leaked", { LEAKED(2), POD(A, 1) }, { IN_A(2) }, { 1, 0, 2 } },
                { "nobody holds", { POD(A, 1), ELSEWHERE(2) }, { SOMEWHERE(0) }, { 0, 3, 0 } },
                { "all at once",
                  { POD(A, 1), POD(C, 1), ELSEWHERE(1), LEAKED(1) },
                  { IN_A(1), IN_B(1) },
                  { 1, 2, 1 } },
        };

        for (size_t i = 0; i < array_size(cases); ++i) {
                struct misc_tree_place places[4];
                const struct misc_tree tree = { .places = places, .n_places = 4 };
                _cleanup_(free) unsigned *foreign_at = NULL;
                struct measure_found found;
                unsigned n_foreign = 0;

                memcpy(places, cases[i].places, sizeof(places));

                measure_attribute(&tree, cases[i].holders, 4, &found, &foreign_at);

                ck_assert_msg(memcmp(&found, &cases[i].found, sizeof(found)) == 0,
                              "%s: ours %u, foreign %u, leaked %u", cases[i].what, found.ours,
                              found.foreign, found.leaked);
                for (size_t j = 0; j < 4; ++j)
                        n_foreign += foreign_at[j];
                ck_assert_uint_eq(n_foreign, found.foreign);
        }
}
END_TEST

static bool take(struct measure *measure, unsigned foreign, unsigned leaked, uint64_t now_ms)
{
        const struct measure_found found = { .foreign = foreign, .leaked = leaked };

        return measure_take(measure, &found, now_ms);
}

START_TEST(the_first_reading_is_in_force_at_once)
{
        struct measure measure = MEASURE_NULL;

        ck_assert(take(&measure, 2, 1, 1000));

        ck_assert_uint_eq(measure.foreign.in_force, 2);
        ck_assert_uint_eq(measure.leaked.in_force, 1);
        ck_assert(!take(&measure, 2, 1, 2000));
}
END_TEST

START_TEST(a_first_reading_of_nothing_is_news)
{
        struct measure measure = MEASURE_NULL;

        ck_assert(take(&measure, 0, 0, 0));
}
END_TEST

START_TEST(more_counts_only_when_it_has_stood_for_a_while)
{
        struct measure measure = MEASURE_NULL;

        take(&measure, 0, 0, 0);
        ck_assert(!take(&measure, 1, 0, 1000));
        ck_assert(!take(&measure, 1, 0, 1000 + MEASURE_SETTLE_MS - 1));
        ck_assert(take(&measure, 1, 0, 1000 + MEASURE_SETTLE_MS));
        ck_assert_uint_eq(measure.foreign.in_force, 1);
}
END_TEST

START_TEST(one_reading_is_not_enough_however_long_ago_the_last_was)
{
        struct measure measure = MEASURE_NULL;

        take(&measure, 0, 0, 0);
        ck_assert(!take(&measure, 1, 0, 100000));
        ck_assert_uint_eq(measure.foreign.in_force, 0);
        ck_assert(take(&measure, 1, 0, 200000));
}
END_TEST

START_TEST(a_vm_that_ends_after_its_holder_left_never_counts)
{
        struct measure measure = MEASURE_NULL;

        take(&measure, 0, 0, 0);
        ck_assert(!take(&measure, 1, 0, 1000));
        ck_assert(!take(&measure, 0, 0, 4000));
        ck_assert(!take(&measure, 1, 0, 5000)); /* another one */
        ck_assert(!take(&measure, 1, 0, 7000));
        ck_assert_uint_eq(measure.foreign.in_force, 0);
}
END_TEST

START_TEST(the_least_of_what_was_there_all_the_time_counts)
{
        struct measure measure = MEASURE_NULL;

        take(&measure, 1, 0, 0);
        take(&measure, 4, 0, 1000);
        take(&measure, 2, 0, 3000);
        ck_assert(take(&measure, 5, 0, 1000 + MEASURE_SETTLE_MS));
        ck_assert_uint_eq(measure.foreign.in_force, 2);
        ck_assert(!take(&measure, 5, 0, 2000 + MEASURE_SETTLE_MS));
        ck_assert(take(&measure, 5, 0, 2000 + 2 * MEASURE_SETTLE_MS));
        ck_assert_uint_eq(measure.foreign.in_force, 5);
}
END_TEST

START_TEST(what_has_gone_is_gone_at_once)
{
        struct measure measure = MEASURE_NULL;

        take(&measure, 3, 2, 0);
        ck_assert(take(&measure, 1, 2, 10));
        ck_assert_uint_eq(measure.foreign.in_force, 1);
        ck_assert(take(&measure, 1, 0, 20));
        ck_assert_uint_eq(measure.leaked.in_force, 0);
}
END_TEST

START_TEST(the_reserve_is_the_floor)
{
        struct measure measure = MEASURE_NULL;

        ck_assert_uint_eq(measure_withheld(&measure, 2), 0);
        take(&measure, 2, 1, 0);
        ck_assert_uint_eq(measure_withheld(&measure, 0), 3);
        ck_assert_uint_eq(measure_withheld(&measure, 2), 1);
        ck_assert_uint_eq(measure_withheld(&measure, 3), 0);
        ck_assert_uint_eq(measure_withheld(&measure, 4), 0);
}
END_TEST

SUITE("measure", a_td_is_its_holders_in_the_holders_pod_only, the_first_reading_is_in_force_at_once,
      a_first_reading_of_nothing_is_news, more_counts_only_when_it_has_stood_for_a_while,
      one_reading_is_not_enough_however_long_ago_the_last_was,
      a_vm_that_ends_after_its_holder_left_never_counts,
      the_least_of_what_was_there_all_the_time_counts, what_has_gone_is_gone_at_once,
      the_reserve_is_the_floor);
