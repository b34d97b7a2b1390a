/* SPDX-License-Identifier: Apache-2.0 */
#include "device.h"
#include "offer/inventory.h"

#include "base/memory.h"
#include "ledger.h"
#include "unit/suite.h"

#include <stdio.h>
#include <string.h>

static const struct inventory_terms known = { .is_known = true };

static void restore(struct ledger *ledger, const char *uid, unsigned name, bool is_admin_access)
{
        struct ledger_claim *claim = ledger_claim_new(uid, "default", uid, 1);

        claim->devices[0] = (struct ledger_device){ .request = xstrdup("td"),
                                                    .pool = xstrdup("node-1"),
                                                    .device = xasprintf("tdx%u", name),
                                                    .slot = name,
                                                    .is_admin_access = is_admin_access };
        ledger_restore(ledger, claim);
}

/* The offered devices, "0 1 7"; the caller's. */
static char *offered(const struct ledger *ledger)
{
        struct inventory inventory = INVENTORY_NULL;
        char text[256] = "";
        size_t n = 0;

        inventory_compute(ledger, &known, &inventory);
        for (size_t i = 0; i < inventory.n_devices && n < sizeof(text); ++i)
                n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%u", i ? " " : "",
                                      inventory.devices[i]);
        inventory_deinit(&inventory);
        return xstrdup(text);
}

static void ck_assert_offered(const struct ledger *ledger, const char *wanted)
{
        _cleanup_(free) char *text = offered(ledger);

        ck_assert_str_eq(text, wanted);
}

START_TEST(as_many_names_are_offered_as_there_are_tds)
{
        _cleanup_(ledger) struct ledger *ledger = ledger_new();

        ledger_set_total(ledger, 4);

        ck_assert_offered(ledger, "0 1 2 3");
}
END_TEST

START_TEST(what_is_withdrawn_is_never_held)
{
        _cleanup_(ledger) struct ledger *ledger = ledger_new();

        ledger_set_total(ledger, 9);
        restore(ledger, "a", 8, false);
        restore(ledger, "b", 5, false);

        ledger_set_total(ledger, 4);
        ck_assert_offered(ledger, "0 1 5 8");
        ledger_set_total(ledger, 1);
        ck_assert_offered(ledger, "5 8");
        ledger_set_total(ledger, 0);
        ck_assert_offered(ledger, "5 8");
        ledger_claim_free(ledger_release(ledger, "a"));
        ck_assert_offered(ledger, "5");
}
END_TEST

START_TEST(what_others_run_is_withdrawn_and_nothing_held_with_it)
{
        static const struct {
                unsigned foreign;
                const char *offered;
        } cases[] = { { 0, "0 1 2 3" }, { 1, "0 1 3" }, { 3, "1 3" }, { 4, "1 3" }, { 99, "1 3" } };
        _cleanup_(ledger) struct ledger *ledger = ledger_new();

        restore(ledger, "a", 1, false);
        restore(ledger, "b", 3, false);
        ledger_set_total(ledger, 4);

        for (size_t i = 0; i < array_size(cases); ++i) {
                ledger_set_foreign(ledger, cases[i].foreign);
                ck_assert_offered(ledger, cases[i].offered);
        }
}
END_TEST

START_TEST(a_name_held_twice_does_not_shorten_the_offer)
{
        _cleanup_(ledger) struct ledger *ledger = ledger_new();

        ledger_set_total(ledger, 3);
        restore(ledger, "old", 2, false);
        restore(ledger, "new", 2, false);
        ck_assert_offered(ledger, "0 1 2");

        ledger_claim_free(ledger_release(ledger, "old"));
        ledger_set_total(ledger, 1);
        ck_assert_offered(ledger, "2");
}
END_TEST

START_TEST(a_name_that_only_an_admin_looks_at_is_free)
{
        _cleanup_(ledger) struct ledger *ledger = ledger_new();

        ledger_set_total(ledger, 2);
        restore(ledger, "admin", 7, true);

        ck_assert_offered(ledger, "0 1");
}
END_TEST

START_TEST(before_the_first_reading_nothing_is_offered_and_nothing_withdrawn)
{
        struct inventory unknown = INVENTORY_NULL, empty = INVENTORY_NULL;
        _cleanup_(ledger) struct ledger *ledger = ledger_new();

        inventory_compute(ledger, &(struct inventory_terms){ 0 }, &unknown);
        inventory_compute(ledger, &known, &empty);

        ck_assert(!unknown.terms.is_known);
        ck_assert(empty.terms.is_known);
        ck_assert_uint_eq(empty.n_devices, 0);
        ck_assert(!inventory_equal(&unknown, &empty));
        ck_assert(inventory_equal(&unknown, &unknown));
        inventory_deinit(&unknown);
        inventory_deinit(&empty);
}
END_TEST

START_TEST(inventories_are_equal_when_their_devices_are)
{
        struct inventory a = INVENTORY_NULL, b = INVENTORY_NULL, copy = INVENTORY_NULL;
        _cleanup_(ledger) struct ledger *ledger = ledger_new();

        ledger_set_total(ledger, 3);
        inventory_compute(ledger, &known, &a);
        restore(ledger, "x", 3, false);
        inventory_compute(ledger, &known, &b);
        inventory_copy(&b, &copy);

        ck_assert(!inventory_equal(&a, &b));
        ck_assert(inventory_equal(&b, &copy));
        inventory_deinit(&a);
        inventory_deinit(&b);
        inventory_deinit(&copy);
}
END_TEST

START_TEST(the_largest_node_is_offered_whole)
{
        struct inventory inventory = INVENTORY_NULL;
        _cleanup_(ledger) struct ledger *ledger = ledger_new();

        ledger_set_total(ledger, DEVICE_INDEX_MAX);
        restore(ledger, "a", DEVICE_INDEX_MAX - 1, false);
        inventory_compute(ledger, &known, &inventory);

        ck_assert_uint_eq(inventory.n_devices, DEVICE_INDEX_MAX);
        ck_assert_uint_eq(inventory.devices[DEVICE_INDEX_MAX - 1], DEVICE_INDEX_MAX - 1);
        inventory_deinit(&inventory);
}
END_TEST

/* Whatever is held: ascending names without repetition, every held one, as many as there are TDs
 * (more only where that many names are held), and no free name above one that is left out. */
START_TEST(any_offer_holds_what_is_held_and_fills_up_from_below)
{
        for (unsigned seed = 0; seed < 2000; ++seed) {
                _cleanup_(ledger) struct ledger *ledger = ledger_new();
                struct inventory inventory = INVENTORY_NULL;
                bool is_held[32] = { false }, is_free_left_out = false;
                unsigned n_held = 0, total;
                size_t at = 0;

                srandom(seed);
                total = (unsigned)random() % 16;
                ledger_set_total(ledger, total);
                for (unsigned i = (unsigned)random() % 20; i--;) {
                        unsigned name = (unsigned)random() % 32;
                        char uid[16];

                        snprintf(uid, sizeof(uid), "%u", i);
                        restore(ledger, uid, name, false);
                        n_held += !is_held[name];
                        is_held[name] = true;
                }
                inventory_compute(ledger, &known, &inventory);

                ck_assert_uint_eq(inventory.n_devices, total > n_held ? total : n_held);
                for (unsigned i = 0; i < 32; ++i) {
                        bool is_offered = at < inventory.n_devices && inventory.devices[at] == i;

                        at += is_offered;
                        ck_assert(is_offered || !is_held[i]);
                        ck_assert(!is_offered || is_held[i] || !is_free_left_out);
                        is_free_left_out |= !is_offered;
                }
                ck_assert_uint_eq(at, inventory.n_devices);
                inventory_deinit(&inventory);
        }
}
END_TEST

START_TEST(a_taint_goes_to_all_devices_and_withdrawal_lists_none)
{
        const struct inventory_terms tainted = { .is_known = true, .taint = "absent" },
                                     withdrawn = { .is_known = true,
                                                   .taint = "absent",
                                                   .is_withdrawing = true };
        _cleanup_(ledger) struct ledger *ledger = ledger_new();
        struct inventory a, b;

        ledger_set_total(ledger, 4);
        restore(ledger, "a", 2, false);
        inventory_compute(ledger, &tainted, &a);
        inventory_compute(ledger, &withdrawn, &b);

        ck_assert_uint_eq(a.n_devices, 4);
        ck_assert_str_eq(a.terms.taint, "absent");
        ck_assert_uint_eq(a.n_tds, 4);
        ck_assert_uint_eq(inventory_n_listed(&a), 4);
        ck_assert_uint_eq(b.n_devices, 4);
        ck_assert_uint_eq(inventory_n_listed(&b), 0);
        ck_assert(!inventory_same_terms(&a, &b));
        ck_assert(!inventory_equal(&a, &b));

        inventory_deinit(&a);
        inventory_deinit(&b);
}
END_TEST

START_TEST(what_is_said_of_devices_makes_a_difference)
{
        const struct inventory_terms terms[] = {
                { .is_known = true },
                { .is_known = true, .is_attesting = true },
                { .is_known = true, .taint = "stale" },
                { .is_known = true, .taint = "hung" },
                { .is_known = true, .module_version = "1.5.6" },
        };
        _cleanup_(ledger) struct ledger *ledger = ledger_new();

        ledger_set_total(ledger, 2);
        for (size_t i = 0; i < array_size(terms); ++i)
                for (size_t j = 0; j < array_size(terms); ++j) {
                        struct inventory a, b;

                        inventory_compute(ledger, &terms[i], &a);
                        inventory_compute(ledger, &terms[j], &b);
                        ck_assert_int_eq(inventory_equal(&a, &b), i == j);
                        inventory_deinit(&a);
                        inventory_deinit(&b);
                }
}
END_TEST

START_TEST(an_inventory_keeps_the_version_that_it_was_made_with)
{
        _cleanup_(ledger) struct ledger *ledger = ledger_new();
        struct inventory_terms terms = { .is_known = true };
        struct inventory inventory, copy;
        char version[] = "1.5.6";

        terms.module_version = version;
        ledger_set_total(ledger, 2);
        inventory_compute(ledger, &terms, &inventory);
        inventory_copy(&inventory, &copy);
        inventory_deinit(&inventory);

        version[4] = '7'; /* as a new version in the storage of the one before */

        ck_assert_str_eq(copy.terms.module_version, "1.5.6");
        inventory_deinit(&copy);
}
END_TEST

SUITE("inventory", as_many_names_are_offered_as_there_are_tds,
      what_others_run_is_withdrawn_and_nothing_held_with_it, what_is_withdrawn_is_never_held,
      a_name_held_twice_does_not_shorten_the_offer, a_name_that_only_an_admin_looks_at_is_free,
      before_the_first_reading_nothing_is_offered_and_nothing_withdrawn,
      inventories_are_equal_when_their_devices_are, the_largest_node_is_offered_whole,
      any_offer_holds_what_is_held_and_fills_up_from_below,
      a_taint_goes_to_all_devices_and_withdrawal_lists_none,
      what_is_said_of_devices_makes_a_difference,
      an_inventory_keeps_the_version_that_it_was_made_with);
