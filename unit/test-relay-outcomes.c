/* SPDX-License-Identifier: Apache-2.0 */
#include "relay/outcomes.h"
#include "unit/suite.h"

static struct relay_quote quote_of(uint32_t device, uint32_t path, enum relay_outcome outcome,
                                   int64_t time_ms)
{
        return (struct relay_quote){ .td = { .device = device, .path = path },
                                     .outcome = outcome,
                                     .time_ms = time_ms };
}

static void add(struct outcomes *outcomes, uint32_t device, uint32_t path,
                enum relay_outcome outcome, int64_t time_ms)
{
        struct relay_quote quote = quote_of(device, path, outcome, time_ms);

        outcomes_add(outcomes, &quote);
}

START_TEST(counts_are_of_the_node_and_of_each_td_and_path)
{
        struct outcomes *outcomes = outcomes_new();
        struct relay_snapshot node, plugin, claim, none;
        size_t position = 0;

        add(outcomes, 5, RELAY_CLAIM, RELAY_DELIVERED, 100);
        add(outcomes, 5, RELAY_CLAIM, RELAY_GAVE_UP, 200);
        add(outcomes, 3, RELAY_PLUGIN, RELAY_DELIVERED, 300);

        ck_assert(outcomes_snapshot(outcomes, &position, &node));
        ck_assert(node.is_of_node);
        ck_assert_uint_eq(node.counts.n[RELAY_DELIVERED], 2);
        ck_assert_uint_eq(node.counts.n[RELAY_GAVE_UP], 1);
        ck_assert_int_eq(node.counts.delivered_ms, 300);
        ck_assert(outcomes_snapshot(outcomes, &position, &plugin));
        ck_assert_uint_eq(plugin.td.device, 3);
        ck_assert_uint_eq(plugin.td.path, RELAY_PLUGIN);
        ck_assert(outcomes_snapshot(outcomes, &position, &claim));
        ck_assert_uint_eq(claim.td.device, 5);
        ck_assert_uint_eq(claim.td.path, RELAY_CLAIM);
        ck_assert_int_eq(claim.counts.delivered_ms, 100);
        ck_assert_uint_eq(claim.counts.n[RELAY_GAVE_UP], 1);
        ck_assert(!outcomes_snapshot(outcomes, &position, &none));
        outcomes_free(outcomes);
}
END_TEST

START_TEST(quotes_are_kept_until_told_and_beyond_the_limit_they_are_counted_as_lost)
{
        struct outcomes *outcomes = outcomes_new();
        struct relay_snapshot node;
        size_t position = 0;

        for (int64_t i = 0; i < RELAY_QUOTES_KEPT; ++i)
                add(outcomes, 1, RELAY_CLAIM, RELAY_LEFT, i);
        ck_assert_uint_eq(outcomes_first_untold(outcomes), 0);
        outcomes_told(outcomes, 10);
        for (int64_t i = 0; i < 13; ++i)
                add(outcomes, 1, RELAY_CLAIM, RELAY_LEFT, RELAY_QUOTES_KEPT + i);

        ck_assert_uint_eq(outcomes_next(outcomes), RELAY_QUOTES_KEPT + 13);
        ck_assert_uint_eq(outcomes_first_untold(outcomes), 13);
        ck_assert_ptr_null(outcomes_quote(outcomes, 12));
        ck_assert_int_eq(outcomes_quote(outcomes, 13)->time_ms, 13);
        ck_assert_int_eq(outcomes_quote(outcomes, RELAY_QUOTES_KEPT + 12)->time_ms,
                         RELAY_QUOTES_KEPT + 12);
        ck_assert_ptr_null(outcomes_quote(outcomes, RELAY_QUOTES_KEPT + 13));
        ck_assert(outcomes_snapshot(outcomes, &position, &node));
        ck_assert_uint_eq(node.n_lost, 3);
        outcomes_free(outcomes);
}
END_TEST

START_TEST(what_is_told_stays_told)
{
        struct outcomes *outcomes = outcomes_new();

        add(outcomes, 0, RELAY_CLAIM, RELAY_LEFT, 1);
        add(outcomes, 0, RELAY_CLAIM, RELAY_LEFT, 2);
        outcomes_told(outcomes, 2);
        outcomes_told(outcomes, 1);

        ck_assert_uint_eq(outcomes_first_untold(outcomes), 2);
        ck_assert_int_eq(outcomes_quote(outcomes, 0)->time_ms, 1);
        outcomes_free(outcomes);
}
END_TEST

START_TEST(a_successor_counts_on)
{
        struct outcomes *old = outcomes_new(), *new = outcomes_new();
        struct relay_snapshot snapshot;
        size_t position = 0;

        add(old, 2, RELAY_CLAIM, RELAY_DELIVERED, 100);
        while (outcomes_snapshot(old, &position, &snapshot))
                outcomes_set(new, &snapshot);
        add(new, 2, RELAY_CLAIM, RELAY_DELIVERED, 200);
        add(new, 2, RELAY_PLUGIN, RELAY_MALFORMED, 300);

        position = 0;
        ck_assert(outcomes_snapshot(new, &position, &snapshot));
        ck_assert_uint_eq(snapshot.counts.n[RELAY_DELIVERED], 2);
        ck_assert_uint_eq(snapshot.counts.n[RELAY_MALFORMED], 1);
        ck_assert(outcomes_snapshot(new, &position, &snapshot));
        ck_assert_uint_eq(snapshot.td.device, 2);
        ck_assert_uint_eq(snapshot.counts.n[RELAY_DELIVERED], 2);
        ck_assert_int_eq(snapshot.counts.delivered_ms, 200);
        outcomes_free(old);
        outcomes_free(new);
}
END_TEST

SUITE("relay-outcomes", counts_are_of_the_node_and_of_each_td_and_path,
      quotes_are_kept_until_told_and_beyond_the_limit_they_are_counted_as_lost,
      what_is_told_stays_told, a_successor_counts_on);
