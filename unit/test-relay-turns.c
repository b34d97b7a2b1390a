/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "relay/turns.h"
#include "unit/suite.h"

#include <stdlib.h>

#define N_TDS   5
#define N_TURNS 16 /* of each TD */

static struct turns turns;
static struct turns_td tds[N_TDS];
static struct turn all[N_TDS][N_TURNS];

static void start(unsigned n_threads, unsigned n_per_td)
{
        turns_init(&turns, n_threads, n_per_td);
        for (unsigned i = 0; i < N_TDS; ++i) {
                turns_td_init(&tds[i]);
                for (unsigned k = 0; k < N_TURNS; ++k)
                        turn_init(&all[i][k]);
        }
}

static void wait_with(unsigned td, unsigned n)
{
        for (unsigned k = 0; k < n; ++k)
                turns_wait(&turns, &tds[td], &all[td][k]);
}

static unsigned td_of(const struct turn *turn)
{
        ck_assert_ptr_nonnull(turn);
        return (unsigned)(turn->td - tds);
}

START_TEST(a_busy_td_does_not_put_its_requests_before_those_of_others)
{
        static const unsigned expected[] = { 0, 1, 2, 0, 1, 0, 0 };

        start(1, 1);
        wait_with(0, 4);
        wait_with(1, 2);
        wait_with(2, 1);
        for (size_t i = 0; i < array_size(expected); ++i) {
                struct turn *turn = turns_next(&turns);

                ck_assert_uint_eq(td_of(turn), expected[i]);
                turns_leave(&turns, turn);
        }
        ck_assert_ptr_null(turns_next(&turns));
}
END_TEST

START_TEST(a_tds_requests_keep_their_order)
{
        start(16, 16);
        wait_with(3, 8);
        for (unsigned k = 0; k < 8; ++k)
                ck_assert_ptr_eq(turns_next(&turns), &all[3][k]);
}
END_TEST

START_TEST(one_td_runs_no_more_than_its_limit_and_all_no_more_than_the_threads)
{
        struct turn *first, *second;

        start(4, 2);
        wait_with(0, 8);
        first = turns_next(&turns);
        second = turns_next(&turns);
        ck_assert_ptr_nonnull(second);
        ck_assert_ptr_null(turns_next(&turns));

        wait_with(1, 8);
        ck_assert_uint_eq(td_of(turns_next(&turns)), 1);
        ck_assert_uint_eq(td_of(turns_next(&turns)), 1);
        ck_assert_ptr_null(turns_next(&turns));
        wait_with(2, 1);
        ck_assert_ptr_null(turns_next(&turns));

        turns_leave(&turns, first);
        ck_assert_uint_eq(td_of(turns_next(&turns)), 2);
        turns_leave(&turns, second);
        ck_assert_uint_eq(td_of(turns_next(&turns)), 0);
        ck_assert_ptr_null(turns_next(&turns));
}
END_TEST

START_TEST(a_td_that_asks_once_waits_for_one_thread_and_not_for_a_round_of_busy_ones)
{
        struct turn *running[4];

        start(4, 2);
        for (unsigned i = 0; i < 4; ++i) {
                wait_with(i, 8);
                running[i] = turns_next(&turns);
        }
        wait_with(4, 1);
        turns_leave(&turns, running[2]);

        ck_assert_uint_eq(td_of(turns_next(&turns)), 4);
}
END_TEST

START_TEST(fewer_threads_end_nothing_and_start_nothing)
{
        struct turn *first;

        start(4, 4);
        wait_with(0, 4);
        first = turns_next(&turns);
        (void)turns_next(&turns);

        turns.n_threads = 1;
        ck_assert_ptr_null(turns_next(&turns));
        turns_leave(&turns, first);
        ck_assert_ptr_null(turns_next(&turns));
        turns.n_threads = 2;
        ck_assert_ptr_nonnull(turns_next(&turns));
}
END_TEST

START_TEST(who_leaves_while_waiting_is_not_called)
{
        start(1, 1);
        wait_with(0, 1);
        wait_with(1, 2);
        turns_leave(&turns, &all[0][0]);
        turns_leave(&turns, &all[0][0]);
        turns_leave(&turns, &all[1][0]);

        ck_assert_uint_eq(turns.n_waiting, 1);
        ck_assert_ptr_eq(turns_next(&turns), &all[1][1]);
        ck_assert_uint_eq(turns.n_waiting, 0);
}
END_TEST

/* Whatever comes and goes: the limits hold, no thread stands idle while a TD may use it, and TDs
 * that always have something waiting are served alike. */
START_TEST(in_any_order_of_events_limits_hold_and_nobody_starves)
{
        unsigned n_served[N_TDS] = { 0 };
        struct turn *running[3] = { NULL };

        srand(7);
        start(3, 2);
        for (unsigned step = 0; step < 5000; ++step) {
                struct turn **ended = &running[(unsigned)rand() % 3];

                if (*ended)
                        turns_leave(&turns, take_ptr(*ended));
                for (unsigned i = 0; i < N_TDS; ++i)
                        for (unsigned k = 0; k < N_TURNS; ++k)
                                if (!all[i][k].td)
                                        turns_wait(&turns, &tds[i], &all[i][k]);
                for (unsigned i = 0; i < 3; ++i)
                        if (!running[i]) {
                                running[i] = turns_next(&turns);
                                ++n_served[td_of(running[i])];
                        }

                ck_assert_ptr_null(turns_next(&turns));
                ck_assert_uint_eq(turns.n_waiting + turns.n_running, N_TDS * N_TURNS);
                for (unsigned i = 0; i < N_TDS; ++i)
                        ck_assert_uint_le(tds[i].n_running, 2);
        }
        for (unsigned i = 1; i < N_TDS; ++i)
                ck_assert_int_le(abs((int)n_served[i] - (int)n_served[0]), (int)n_served[0] / 10);
}
END_TEST

SUITE("relay-turns", a_busy_td_does_not_put_its_requests_before_those_of_others,
      a_tds_requests_keep_their_order,
      one_td_runs_no_more_than_its_limit_and_all_no_more_than_the_threads,
      a_td_that_asks_once_waits_for_one_thread_and_not_for_a_round_of_busy_ones,
      fewer_threads_end_nothing_and_start_nothing, who_leaves_while_waiting_is_not_called,
      in_any_order_of_events_limits_hold_and_nobody_starves);
