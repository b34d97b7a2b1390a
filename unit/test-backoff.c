/* SPDX-License-Identifier: Apache-2.0 */
#include "base/backoff.h"

#include "unit/suite.h"

START_TEST(it_doubles_up_to_the_cap_and_takes_off_at_most_half)
{
        static const struct {
                uint64_t least, most;
        } expected[] = { { 250, 500 },   { 500, 1000 },  { 1000, 2000 },
                         { 2000, 4000 }, { 2500, 5000 }, { 2500, 5000 } };

        for (uint64_t random = 0; random <= UINT32_MAX; random += 0x1fffffff) {
                struct backoff backoff = { .first_ms = 500, .cap_ms = 5000 };

                for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); ++i) {
                        uint64_t delay = backoff_next_ms(&backoff, 0, (uint32_t)random);

                        ck_assert_uint_ge(delay, expected[i].least);
                        ck_assert_uint_le(delay, expected[i].most);
                }
        }
}
END_TEST

START_TEST(the_jitter_reaches_both_ends)
{
        struct backoff backoff = { .first_ms = 500, .cap_ms = 500 };

        ck_assert_uint_eq(backoff_next_ms(&backoff, 0, 0), 500);
        ck_assert_uint_eq(backoff_next_ms(&backoff, 0, 250), 250);
}
END_TEST

START_TEST(a_server_that_asks_for_longer_is_obeyed_up_to_five_minutes)
{
        struct backoff backoff = { .first_ms = 500, .cap_ms = 5000 };

        ck_assert_uint_eq(backoff_next_ms(&backoff, 7000, 0), 7000);
        ck_assert_uint_eq(backoff_next_ms(&backoff, UINT64_MAX, 0), 300000);
        ck_assert_uint_eq(backoff_next_ms(&backoff, 1, 0), 2000);
}
END_TEST

START_TEST(success_begins_from_the_start)
{
        struct backoff backoff = { .first_ms = 500, .cap_ms = 5000 };

        backoff_next_ms(&backoff, 0, 0);
        backoff_next_ms(&backoff, 0, 0);
        backoff_reset(&backoff);

        ck_assert_uint_eq(backoff_next_ms(&backoff, 0, 0), 500);
}
END_TEST

START_TEST(no_number_of_failures_overflows)
{
        struct backoff backoff = { .first_ms = 1, .cap_ms = UINT32_MAX, .n_failures = UINT32_MAX };

        ck_assert_uint_eq(backoff_next_ms(&backoff, 0, 0), UINT32_MAX);
        ck_assert_uint_eq(backoff.n_failures, UINT32_MAX);
}
END_TEST

SUITE("backoff", it_doubles_up_to_the_cap_and_takes_off_at_most_half, the_jitter_reaches_both_ends,
      a_server_that_asks_for_longer_is_obeyed_up_to_five_minutes, success_begins_from_the_start,
      no_number_of_failures_overflows);
