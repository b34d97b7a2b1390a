/* SPDX-License-Identifier: Apache-2.0 */
/* The disk is stood in for here: it notes what it was told to save. */
#include "claims/rewrite.h"

#include "base/error.h"
#include "claims/prepare.h"
#include "claims/records.h"
#include "ledger.h"
#include "unit/suite.h"

#include <errno.h>
#include <uv.h>

static struct {
        uv_loop_t loop;
        struct ledger *ledger;
        struct prepare *prepare;
        bool is_lost; /* the directory was taken away, and the driver was not told yet */
        int failure;  /* of every write */
        unsigned n_saved;
} world;

bool records_take_lost(struct records *records)
{
        bool is_lost = world.is_lost;

        world.is_lost = false;
        return is_lost;
}

void records_save(struct records *records, const struct ledger_claim *claim,
                  records_on_done *on_done, void *owner)
{
        struct error error = ERROR_NULL;

        ++world.n_saved;
        if (world.failure)
                error_set(&error, world.failure, "the disk is full");
        on_done(owner, &error);
}

void records_remove(struct records *records, const char *uid, records_on_done *on_done, void *owner)
{
        ck_abort_msg("nothing is unprepared here");
}

static void set_up(void)
{
        struct prepare_options options = { .loop = &world.loop, .pool = "here" };

        uv_loop_init(&world.loop);
        options.ledger = world.ledger = ledger_new();
        ledger_restore(world.ledger, ledger_claim_new("a", "default", "a", 0));
        ledger_restore(world.ledger, ledger_claim_new("b", "default", "b", 0));
        world.prepare = prepare_new(&options);
        prepare_activate(world.prepare, (struct records *)&world, "boot");
}

static void tear_down(void)
{
        prepare_free(world.prepare);
        ledger_free(world.ledger);
        ck_assert_int_eq(uv_loop_close(&world.loop), 0);
}

START_TEST(after_a_loss_every_held_claim_is_saved_once)
{
        set_up();
        world.is_lost = true;

        ck_assert(prepare_keep_records(world.prepare));
        ck_assert(!prepare_keep_records(world.prepare));

        ck_assert_uint_eq(world.n_saved, 2);
        tear_down();
}
END_TEST

START_TEST(while_all_is_well_nothing_is_saved)
{
        set_up();
        ck_assert(!prepare_keep_records(world.prepare));

        ck_assert_uint_eq(world.n_saved, 0);
        tear_down();
}
END_TEST

START_TEST(a_loss_that_is_noticed_while_rebuilt_claims_are_saved_is_still_told)
{
        set_up();
        world.is_lost = true;

        prepare_record_held(world.prepare);

        ck_assert_uint_eq(world.n_saved, 2);
        ck_assert(prepare_keep_records(world.prepare));
        ck_assert(!prepare_keep_records(world.prepare));
        tear_down();
}
END_TEST

START_TEST(a_disk_that_refuses_is_trouble_until_it_takes_every_claim)
{
        set_up();
        world.failure = -ENOSPC;
        prepare_record_held(world.prepare);
        ck_assert_str_eq(prepare_record_trouble(world.prepare), "the disk is full");

        ck_assert(!prepare_keep_records(world.prepare));
        ck_assert_uint_eq(world.n_saved, 4);
        ck_assert_ptr_nonnull(prepare_record_trouble(world.prepare));

        world.failure = 0;
        ck_assert(!prepare_keep_records(world.prepare));
        ck_assert_uint_eq(world.n_saved, 6);
        ck_assert_ptr_null(prepare_record_trouble(world.prepare));
        tear_down();
}
END_TEST

SUITE("rewrite", after_a_loss_every_held_claim_is_saved_once, while_all_is_well_nothing_is_saved,
      a_loss_that_is_noticed_while_rebuilt_claims_are_saved_is_still_told,
      a_disk_that_refuses_is_trouble_until_it_takes_every_claim);
