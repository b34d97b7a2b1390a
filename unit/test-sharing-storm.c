/* SPDX-License-Identifier: Apache-2.0 */
/* What the storm and real nodes found in dra/plugin/sharing. */
#include "plugin/sharing.h"

#include "base/error.h"
#include "ledger.h"
#include "plugin/holder.h"
#include "plugin/holdings.h"
#include "unit/suite.h"

#include <errno.h>

#define START 1000U
#define LONG  (10 * SHARING_KUBELET_SETTLE_MS)

static const char *const one[] = { "tdx1" };
static const char *const both[] = { "tdx1", "tdx2" };

START_TEST(a_kubelet_that_started_without_the_api_server_takes_nothing_away)
{
        _cleanup_(ledger) struct ledger *ledger = ledger_new();
        _cleanup_(sharing) struct sharing *sharing = sharing_new(ledger, -1, NULL, START);
        uint64_t now = START;

        sharing_listed(sharing, both, 2, true, LONG, now);
        /* A new kubelet, long up, that knows no pod; then some, then all that are left. */
        sharing_listed(sharing, NULL, 0, false, SHARING_KUBELET_SETTLE_MS, now += LONG);
        ck_assert_uint_eq(sharing_n_held(sharing), 2);
        ck_assert_uint_eq(sharing_next_question_ms(sharing), now + SHARING_RETRY_MS);
        ck_assert(!sharing_listed(sharing, NULL, 0, true, LONG, now += 1000));
        ck_assert(!sharing_listed(sharing, one, 1, true, LONG, now += 1000));
        ck_assert_uint_eq(sharing_next_expiry_ms(sharing), UINT64_MAX);
        ck_assert(sharing_listed(sharing, one, 1, true, LONG, now += SHARING_PODS_SETTLE_MS));

        ck_assert_uint_eq(sharing_next_expiry_ms(sharing), now + HOLDINGS_LINGER_MS);
}
END_TEST

START_TEST(a_driver_that_starts_knows_at_once_and_gives_up_what_was_written_down_later)
{
        _cleanup_(ledger) struct ledger *ledger = ledger_new();
        _cleanup_(sharing) struct sharing *sharing = sharing_new(ledger, -1, NULL, START);

        sharing_restore(sharing, &(struct plugin_holder){ "tdx1", NULL, NULL });
        sharing_restore(sharing, &(struct plugin_holder){ "tdx2", NULL, NULL });
        ck_assert(sharing_listed(sharing, one, 1, true, LONG, START));

        ck_assert(sharing_is_known(sharing));
        ck_assert_uint_eq(sharing_next_expiry_ms(sharing), UINT64_MAX);
        ck_assert(sharing_listed(sharing, one, 1, true, LONG, START + SHARING_PODS_SETTLE_MS));
        ck_assert_uint_eq(sharing_n_held(sharing), 2);
        ck_assert(sharing_expire(sharing, sharing_next_expiry_ms(sharing)));
        ck_assert_uint_eq(sharing_n_held(sharing), 1);
}
END_TEST

START_TEST(a_device_of_a_forced_deletion_is_not_given_out_again_where_there_is_no_room_for_both)
{
        _cleanup_(ledger) struct ledger *ledger = ledger_new();
        _cleanup_(sharing) struct sharing *sharing = sharing_new(ledger, -1, NULL, START);

        ledger_set_total(ledger, 1);
        sharing_listed(sharing, one, 1, true, LONG, START);

        ck_assert_int_lt(sharing_allocate(sharing, one, 1, START + 200, NULL), 0);
        ck_assert_uint_eq(sharing_n_held(sharing), 1);
}
END_TEST

START_TEST(an_empty_node_is_known_at_once)
{
        _cleanup_(ledger) struct ledger *ledger = ledger_new();
        _cleanup_(sharing) struct sharing *sharing = sharing_new(ledger, -1, NULL, START);

        ck_assert(sharing_listed(sharing, NULL, 0, false, LONG, START));

        ck_assert(sharing_is_known(sharing));
        ck_assert_uint_eq(sharing_next_question_ms(sharing), UINT64_MAX);
}
END_TEST

static bool is_over;

static bool is_running(const char *cgroup)
{
        return !is_over;
}

START_TEST(on_a_full_node_the_device_of_a_pod_that_has_ended_is_the_next_ones_at_once)
{
        _cleanup_(ledger) struct ledger *ledger = ledger_new();
        _cleanup_(sharing) struct sharing *sharing = sharing_new(ledger, -1, is_running, START);
        struct error error = ERROR_NULL;

        ledger_set_total(ledger, 2);
        sharing_listed(sharing, both, 2, true, LONG, START);
        sharing_place(sharing, &(struct plugin_holder){ "tdx1", NULL, "pod" });
        ck_assert(!sharing_drop_ended(sharing, one, 1));
        ck_assert_int_eq(sharing_allocate(sharing, one, 1, START + 1000, &error), -ENOSPC);
        is_over = true;
        ck_assert(sharing_drop_ended(sharing, one, 1));
        ck_assert_uint_eq(ledger_elsewhere(ledger), 1);
        ck_assert_int_eq(sharing_allocate(sharing, one, 1, START + 1000, &error), 0);
        ck_assert_uint_eq(sharing_n_held(sharing), 2);
}
END_TEST

SUITE("sharing-storm", a_kubelet_that_started_without_the_api_server_takes_nothing_away,
      a_driver_that_starts_knows_at_once_and_gives_up_what_was_written_down_later,
      a_device_of_a_forced_deletion_is_not_given_out_again_where_there_is_no_room_for_both,
      an_empty_node_is_known_at_once,
      on_a_full_node_the_device_of_a_pod_that_has_ended_is_the_next_ones_at_once);
