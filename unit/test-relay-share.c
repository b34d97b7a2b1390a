/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "relay/share.h"
#include "unit/suite.h"

START_TEST(the_worker_has_the_threads_that_orphans_and_the_predecessor_leave)
{
        struct share share = { .n_threads = 4 };

        ck_assert_uint_eq(share_of_worker(&share), 4);
        share.n_orphans = share.n_at_qgs = 1;
        share.n_inherited = 2;
        ck_assert_uint_eq(share_of_worker(&share), 1);
        share.n_inherited = 9;
        ck_assert_uint_eq(share_of_worker(&share), 0);
}
END_TEST

START_TEST(while_handing_over_half_is_enough_and_nothing_once_the_vms_have_gone)
{
        struct share share = { .n_threads = 4, .is_handing_over = true, .n_connections = 9 };

        ck_assert_uint_eq(share_of_worker(&share), 2); /* not known yet */
        share.is_state_known = true;
        ck_assert_uint_eq(share_of_worker(&share), 2);
        share.n_connections = 1;
        ck_assert_uint_eq(share_of_worker(&share), 1);
        share.n_connections = 0;
        ck_assert_uint_eq(share_of_worker(&share), 0);
        ck_assert_uint_eq(share_remaining(&share), 0);
}
END_TEST

START_TEST(a_single_thread_is_not_halved_to_none)
{
        const struct share share = { .n_threads = 1, .is_handing_over = true };

        ck_assert_uint_eq(share_of_worker(&share), 1);
        ck_assert_uint_eq(share_remaining(&share), 1);
}
END_TEST

/* Whatever is at QGS now or may come there by the worker's part. */
START_TEST(a_successor_leaves_what_this_relay_and_its_predecessor_may_use)
{
        static const struct {
                struct share share;
                unsigned remaining;
        } rows[] = {
                { { .n_threads = 4, .n_at_qgs = 4, .is_handing_over = true }, 4 },
                { { .n_threads = 4,
                    .n_at_qgs = 1,
                    .is_handing_over = true,
                    .is_state_known = true,
                    .n_connections = 5 },
                  2 },
                /* VMs that have left. */
                { { .n_threads = 4,
                    .n_at_qgs = 3,
                    .is_handing_over = true,
                    .is_state_known = true },
                  3 },
                { { .n_threads = 4, .n_at_qgs = 1, .n_orphans = 1, .is_handing_over = true }, 3 },
                { { .n_threads = 4,
                    .n_inherited = 1,
                    .is_handing_over = true,
                    .is_state_known = true },
                  1 },
        };

        for (size_t i = 0; i < array_size(rows); ++i)
                ck_assert_msg(share_remaining(&rows[i].share) == rows[i].remaining, "row %zu: %u",
                              i, share_remaining(&rows[i].share));
}
END_TEST

SUITE("relay-share", the_worker_has_the_threads_that_orphans_and_the_predecessor_leave,
      while_handing_over_half_is_enough_and_nothing_once_the_vms_have_gone,
      a_single_thread_is_not_halved_to_none,
      a_successor_leaves_what_this_relay_and_its_predecessor_may_use);
