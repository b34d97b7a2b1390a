/* SPDX-License-Identifier: Apache-2.0 */
#include "device.h"
#include "ledger.h"

#include "base/memory.h"
#include "base/text.h"
#include "unit/suite.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static struct ledger_claim *make_claim(const char *uid, size_t n, const unsigned *names)
{
        struct ledger_claim *claim = ledger_claim_new(uid, "default", uid, n);

        for (size_t i = 0; i < n; ++i) {
                claim->devices[i].request = xstrdup("td");
                claim->devices[i].pool = xstrdup("node-1");
                claim->devices[i].device = xasprintf("tdx%u", names[i]);
                claim->devices[i].slot = LEDGER_NO_SLOT;
        }
        return claim;
}

static struct ledger_claim *make_single(const char *uid, unsigned name)
{
        return make_claim(uid, 1, &name);
}

/* The slot given to the first device, or -1 if the claim found no room. */
static int64_t hold_single(struct ledger *ledger, const char *uid, unsigned name)
{
        struct ledger_claim *claim = make_single(uid, name);

        if (ledger_hold(ledger, claim)) {
                ledger_claim_free(claim);
                return -1;
        }
        return claim->devices[0].slot;
}

static void release(struct ledger *ledger, const char *uid)
{
        _cleanup_(ledger_claim) struct ledger_claim *claim = ledger_release(ledger, uid);

        ck_assert_ptr_nonnull(claim);
}

START_TEST(a_claim_gets_the_slot_its_device_is_named_after)
{
        _cleanup_(ledger) struct ledger *ledger = ledger_new();

        ledger_set_total(ledger, 8);

        ck_assert_int_eq(hold_single(ledger, "a", 5), 5);
        ck_assert_uint_eq(ledger_held(ledger), 1);
        ck_assert_uint_eq(ledger_n_claims(ledger), 1);
        ck_assert_str_eq(ledger_find(ledger, "a")->devices[0].device, "tdx5");
}
END_TEST

START_TEST(a_name_that_is_taken_or_beyond_the_total_gets_the_lowest_free_slot)
{
        _cleanup_(ledger) struct ledger *ledger = ledger_new();

        ledger_set_total(ledger, 4);

        ck_assert_int_eq(hold_single(ledger, "a", 0), 0);
        ck_assert_int_eq(hold_single(ledger, "b", 0), 1);
        ck_assert_int_eq(hold_single(ledger, "c", 4000), 2);
        release(ledger, "a");
        ck_assert_int_eq(hold_single(ledger, "d", 1), 0);
}
END_TEST

START_TEST(a_slot_that_is_given_back_is_the_next_to_be_given_out_however_many_are_taken)
{
        _cleanup_(ledger) struct ledger *ledger = ledger_new();
        char uid[16];

        ledger_set_total(ledger, 200);
        for (unsigned i = 0; i < 130; ++i) {
                snprintf(uid, sizeof(uid), "%u", i);
                ck_assert_int_eq(hold_single(ledger, uid, 0), i);
        }
        release(ledger, "70");
        release(ledger, "3");

        ck_assert_int_eq(hold_single(ledger, "a", 0), 3);
        ck_assert_int_eq(hold_single(ledger, "b", 0), 70);
        ck_assert_int_eq(hold_single(ledger, "c", 0), 130);
}
END_TEST

START_TEST(a_device_without_a_free_name_does_not_take_its_neighbours)
{
        static const unsigned names[] = { 9, 0 };
        _cleanup_(ledger) struct ledger *ledger = ledger_new();
        struct ledger_claim *claim = make_claim("a", 2, names);

        ledger_set_total(ledger, 4);

        ck_assert_int_eq(ledger_hold(ledger, claim), 0);
        ck_assert_uint_eq(claim->devices[1].slot, 0);
        ck_assert_uint_eq(claim->devices[0].slot, 1);
}
END_TEST

START_TEST(what_does_not_fit_now_differs_from_what_never_fits)
{
        static const unsigned three[] = { 0, 1, 2 }, two[] = { 0, 1 };
        _cleanup_(ledger_claim) struct ledger_claim *large = make_claim("large", 3, three);
        _cleanup_(ledger_claim) struct ledger_claim *late = make_claim("late", 2, two);
        _cleanup_(ledger) struct ledger *ledger = ledger_new();

        ledger_set_total(ledger, 2);
        ck_assert_int_eq(hold_single(ledger, "a", 1), 1);

        ck_assert_int_eq(ledger_hold(ledger, large), LEDGER_TOO_LARGE);
        ck_assert_int_eq(ledger_hold(ledger, late), LEDGER_FULL);
        ck_assert_uint_eq(ledger_held(ledger), 1);
        ck_assert_ptr_null(ledger_find(ledger, "late"));
        release(ledger, "a");
        ck_assert_int_eq(ledger_hold(ledger, late), 0);
        late = NULL; /* the ledger's */
}
END_TEST

START_TEST(before_the_total_is_known_nothing_fits_and_nothing_is_too_large)
{
        _cleanup_(ledger_claim) struct ledger_claim *claim = make_single("a", 0);
        _cleanup_(ledger) struct ledger *ledger = ledger_new();

        ck_assert_int_eq(ledger_hold(ledger, claim), LEDGER_FULL);
        ledger_set_total(ledger, 0);
        ck_assert_int_eq(ledger_hold(ledger, claim), LEDGER_TOO_LARGE);
}
END_TEST

START_TEST(admin_access_consumes_nothing_even_if_nothing_is_left)
{
        _cleanup_(ledger) struct ledger *ledger = ledger_new();
        struct ledger_claim *claim = make_single("admin", 0);

        claim->devices[0].is_admin_access = true;
        ledger_set_total(ledger, 1);
        hold_single(ledger, "a", 0);

        ck_assert_uint_eq(ledger_claim_weight(claim), 0);
        ck_assert_int_eq(ledger_hold(ledger, claim), 0);
        ck_assert_uint_eq(claim->devices[0].slot, LEDGER_NO_SLOT);
        ck_assert_uint_eq(ledger_held(ledger), 1);
        release(ledger, "admin");
        ck_assert_uint_eq(ledger_held(ledger), 1);
}
END_TEST

START_TEST(a_total_that_falls_below_the_held_tds_admits_no_claim_until_enough_have_left)
{
        _cleanup_(ledger) struct ledger *ledger = ledger_new();

        ledger_set_total(ledger, 4);
        hold_single(ledger, "a", 1);
        hold_single(ledger, "b", 2);
        hold_single(ledger, "c", 3);
        ledger_set_total(ledger, 2);

        ck_assert_uint_eq(ledger_held(ledger), 3);
        ck_assert_int_eq(hold_single(ledger, "d", 0), -1);
        release(ledger, "b");
        ck_assert_int_eq(hold_single(ledger, "d", 0), -1);
        release(ledger, "c");
        ck_assert_int_eq(hold_single(ledger, "d", 3), 0);
}
END_TEST

START_TEST(restored_claims_keep_their_slots_whatever_the_total)
{
        _cleanup_(ledger) struct ledger *ledger = ledger_new();
        struct ledger_claim *a = make_single("a", 7), *b = make_single("b", 7),
                            *c = make_single("c", 1);

        a->devices[0].slot = 3000;
        b->devices[0].slot = 3000; /* of a damaged table: the second one moves */
        c->devices[0].slot = DEVICE_INDEX_MAX;
        ledger_restore(ledger, a);
        ledger_restore(ledger, b);
        ledger_restore(ledger, c);

        ck_assert_uint_eq(a->devices[0].slot, 3000);
        ck_assert_uint_eq(b->devices[0].slot, 7);
        ck_assert_uint_eq(c->devices[0].slot, 1);
        ck_assert_uint_eq(ledger_held(ledger), 3);
}
END_TEST

START_TEST(more_restored_devices_than_there_are_slots_are_still_counted)
{
        _cleanup_(ledger) struct ledger *ledger = ledger_new();
        const struct ledger_claim *last;
        char uid[16];

        for (unsigned i = 0; i < DEVICE_INDEX_MAX + 2; ++i) {
                snprintf(uid, sizeof(uid), "%u", i);
                ledger_restore(ledger, make_single(uid, i % DEVICE_INDEX_MAX));
        }

        last = ledger_find(ledger, uid);
        ck_assert_uint_eq(ledger_held(ledger), DEVICE_INDEX_MAX + 2);
        ck_assert_uint_eq(last->devices[0].slot, LEDGER_NO_SLOT);
        release(ledger, uid);
        ck_assert_uint_eq(ledger_held(ledger), DEVICE_INDEX_MAX + 1);
}
END_TEST

START_TEST(an_uncertain_claim_holds_one_td_until_it_is_released)
{
        _cleanup_(ledger) struct ledger *ledger = ledger_new();
        struct ledger_claim *claim = ledger_claim_new("a", "", "", 0);

        claim->is_uncertain = true;
        claim->uncertain_tds = 1;
        ledger_restore(ledger, claim);
        ledger_set_total(ledger, 1);

        ck_assert_uint_eq(ledger_held(ledger), 1);
        ck_assert_int_eq(hold_single(ledger, "b", 0), -1);
        release(ledger, "a");
        ck_assert_int_eq(hold_single(ledger, "b", 0), 0);
}
END_TEST

START_TEST(the_first_holders_are_named_and_the_rest_counted)
{
        _cleanup_(text) struct text text = TEXT_NULL;
        _cleanup_(ledger) struct ledger *ledger = ledger_new();
        struct ledger_claim *admin = make_single("admin", 0), *uncertain;

        admin->devices[0].is_admin_access = true;
        ledger_restore(ledger, admin);
        ledger_describe_holders(ledger, 4, &text);
        ck_assert_uint_eq(text.n, 0);

        uncertain = ledger_claim_new("0-1", "", "", 0);
        uncertain->is_uncertain = true;
        uncertain->uncertain_tds = 1;
        ledger_restore(ledger, uncertain);
        ledger_describe_holders(ledger, 4, &text);
        ck_assert_ptr_nonnull(strstr(text.bytes, "0-1"));
        release(ledger, "0-1");

        text_deinit(&text);
        ledger_restore(ledger, make_single("a", 0));
        ledger_describe_holders(ledger, 1, &text);
        ck_assert_str_eq(text.bytes, "default/a");

        text_deinit(&text);
        ledger_restore(ledger, make_single("b", 1));
        ledger_restore(ledger, make_single("c", 2));
        ledger_describe_holders(ledger, 2, &text);
        ck_assert_ptr_nonnull(strstr(text.bytes, ", default/"));
        ck_assert_str_eq(text.bytes + text.n - strlen(" and 1 more"), " and 1 more");
}
END_TEST

/* ---- against a naive model ---- */

#define N_UIDS  24
#define N_TOTAL 16

struct model {
        bool is_held[N_UIDS];
        struct ledger_claim *claims[N_UIDS];
        unsigned weights[N_UIDS];
        unsigned total, held;
};

/* Called ninety thousand times: one assertion, for each of Check's is a write(2). */
static void check_slots(const struct ledger *ledger)
{
        bool is_taken[DEVICE_INDEX_MAX] = { false }, is_right = true;
        unsigned n_held = 0;

        for (const struct ledger_claim *claim = ledger_next(ledger, NULL); claim;
             claim = ledger_next(ledger, claim)) {
                for (size_t i = 0; i < claim->n_devices; ++i) {
                        uint32_t slot = claim->devices[i].slot;

                        is_right &= (slot == LEDGER_NO_SLOT) == claim->devices[i].is_admin_access;
                        if (slot == LEDGER_NO_SLOT)
                                continue;
                        is_right &= slot < DEVICE_INDEX_MAX && !is_taken[slot];
                        is_taken[slot % DEVICE_INDEX_MAX] = true;
                }
                n_held += ledger_claim_weight(claim);
        }
        ck_assert(is_right && n_held == ledger_held(ledger));
}

static struct ledger_claim *random_claim(unsigned i)
{
        unsigned names[3], n = 1 + (unsigned)random() % 3;
        struct ledger_claim *claim;
        char uid[16];

        for (unsigned j = 0; j < n; ++j)
                names[j] = (unsigned)random() % (N_TOTAL + 4);
        snprintf(uid, sizeof(uid), "uid-%u", i);
        claim = make_claim(uid, n, names);
        for (unsigned j = 0; j < n; ++j) {
                claim->devices[j].is_admin_access = random() % 5 == 0;
                claim->devices[j].slot = (uint32_t)random() % N_TOTAL;
        }
        claim->is_uncertain = false;
        return claim;
}

static void model_hold(struct model *model, struct ledger *ledger, unsigned i)
{
        struct ledger_claim *claim = random_claim(i);
        unsigned weight = ledger_claim_weight(claim);
        int r = ledger_hold(ledger, claim);

        if (weight > model->total)
                ck_assert_int_eq(r, LEDGER_TOO_LARGE);
        else if (weight && model->held + weight > model->total)
                ck_assert_int_eq(r, LEDGER_FULL);
        else
                ck_assert_int_eq(r, 0);
        if (r) {
                ledger_claim_free(claim);
                return;
        }
        for (size_t j = 0; j < claim->n_devices; ++j)
                ck_assert(claim->devices[j].is_admin_access ||
                          claim->devices[j].slot < model->total);
        model->is_held[i] = true;
        model->claims[i] = claim;
        model->weights[i] = weight;
        model->held += weight;
}

static void model_step(struct model *model, struct ledger *ledger)
{
        unsigned i = (unsigned)random() % N_UIDS;
        char uid[16];

        snprintf(uid, sizeof(uid), "uid-%u", i);
        ck_assert_ptr_eq(ledger_find(ledger, uid), model->is_held[i] ? model->claims[i] : NULL);
        if (random() % 8 == 0) {
                model->total = (unsigned)random() % (N_TOTAL + 1);
                ledger_set_total(ledger, model->total);
        } else if (model->is_held[i]) {
                ck_assert_ptr_eq(ledger_release(ledger, uid), model->claims[i]);
                ck_assert_ptr_null(ledger_release(ledger, uid));
                model->is_held[i] = false;
                model->held -= model->weights[i];
                ledger_claim_free(model->claims[i]);
        } else if (random() % 8 == 0) {
                model->claims[i] = random_claim(i);
                model->weights[i] = ledger_claim_weight(model->claims[i]);
                model->held += model->weights[i];
                model->is_held[i] = true;
                ledger_restore(ledger, model->claims[i]);
        } else {
                model_hold(model, ledger, i);
        }
}

START_TEST(any_history_agrees_with_counting_on_fingers)
{
        for (unsigned seed = 0; seed < 300; ++seed) {
                _cleanup_(ledger) struct ledger *ledger = ledger_new();
                struct model model = { .total = seed % N_TOTAL };

                srandom(seed);
                ledger_set_total(ledger, model.total);
                for (int step = 0; step < 300; ++step) {
                        model_step(&model, ledger);
                        ck_assert_uint_eq(ledger_held(ledger), model.held);
                        check_slots(ledger);
                }
        }
}
END_TEST

/* ---- cost ---- */

static double ns_per_turnover(unsigned n_held)
{
        _cleanup_(ledger) struct ledger *ledger = ledger_new();
        struct timespec before, after;
        char uid[16];

        /* Everything is held but one TD, and every newcomer asks for a name that is taken. */
        ledger_set_total(ledger, n_held);
        for (unsigned i = 0; i < n_held; ++i) {
                snprintf(uid, sizeof(uid), "uid-%u", i);
                hold_single(ledger, uid, i);
        }
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &before);
        for (unsigned i = 0; i < 20000; ++i) {
                unsigned leaves = i * 2654435761U % n_held;

                snprintf(uid, sizeof(uid), "uid-%u", leaves);
                release(ledger, uid);
                ck_assert_int_ge(hold_single(ledger, uid, (leaves + 1) % n_held), 0);
        }
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &after);
        return ((double)(after.tv_sec - before.tv_sec) * 1e9 +
                (double)(after.tv_nsec - before.tv_nsec)) /
               20000;
}

START_TEST(a_hold_costs_the_same_with_16_and_with_4096_held)
{
        double few = 1e9, many = 1e9;

        /* The best of some: other processes only ever make it slower. */
        for (int i = 0; i < 5; ++i) {
                double few_now = ns_per_turnover(16), many_now = ns_per_turnover(4096);

                few = few_now < few ? few_now : few;
                many = many_now < many ? many_now : many;
        }

        ck_assert_msg(many < 1.8 * few + 500, "%.0f ns with 16, %.0f ns with 4096", few, many);
}
END_TEST

SUITE("ledger", a_claim_gets_the_slot_its_device_is_named_after,
      a_name_that_is_taken_or_beyond_the_total_gets_the_lowest_free_slot,
      a_slot_that_is_given_back_is_the_next_to_be_given_out_however_many_are_taken,
      a_device_without_a_free_name_does_not_take_its_neighbours,
      what_does_not_fit_now_differs_from_what_never_fits,
      before_the_total_is_known_nothing_fits_and_nothing_is_too_large,
      admin_access_consumes_nothing_even_if_nothing_is_left,
      a_total_that_falls_below_the_held_tds_admits_no_claim_until_enough_have_left,
      restored_claims_keep_their_slots_whatever_the_total,
      more_restored_devices_than_there_are_slots_are_still_counted,
      an_uncertain_claim_holds_one_td_until_it_is_released,
      the_first_holders_are_named_and_the_rest_counted, any_history_agrees_with_counting_on_fingers,
      a_hold_costs_the_same_with_16_and_with_4096_held);
