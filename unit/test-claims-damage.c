/* SPDX-License-Identifier: Apache-2.0 */
/* Records that cannot be read, and the marks beside them. */
#include "base/memory.h"
#include "unit/records-rig.h"

/* ---- reading ---- */

START_TEST(a_damaged_record_is_kept_aside_and_its_claim_held_through_every_restart)
{
        enter();
        start();
        save_now("a", 3, NULL);
        save_now("b", 4, NULL);
        write_file("claims/a", "dra-driver-tdx claim 1 cr", 25);
        restart();

        ck_assert_str_eq(damaged, "a ");
        ck_assert_ptr_nonnull(strstr(damage.text, "claims/a"));
        ck_assert_int_eq(slot_of("a"), -2);
        ck_assert_int_eq(slot_of("b"), 4);
        ck_assert_uint_eq(ledger_held(ledger), 2);
        ck_assert_uint_eq(count_entries("damaged"), 1);

        restart();
        ck_assert_str_eq(damaged, ""); /* it was told once */
        ck_assert_int_eq(slot_of("a"), -2);
        ck_assert_uint_eq(count_entries("damaged"), 1);

        save_now("a", 9, NULL);
        restart();
        ck_assert_int_eq(slot_of("a"), 9);
        ck_assert_uint_eq(count_entries("damaged"), 1);
        stop();
        leave();
}
END_TEST

static void save_of_weight(const char *uid, size_t n)
{
        _cleanup_(ledger_claim) struct ledger_claim *claim = make_claim(uid, n, 0);
        struct told told = { 0 };
        struct asked asked = { &told, 0 };

        records_save(records, claim, on_done, &asked);
        uv_run(&loop, UV_RUN_DEFAULT);
        ck_assert_int_eq(told.error.code, 0);
}

static const char *target_of(const char *name)
{
        _cleanup_(free) char *path = xasprintf("%s/%s", state, name);
        static char target[64];
        ssize_t n = readlink(path, target, sizeof(target) - 1);

        target[n < 0 ? 0 : n] = '\0';
        return target;
}

START_TEST(what_a_claim_of_several_tds_weighs_lies_beside_its_record_and_outlives_its_bytes)
{
        enter();
        start();
        save_of_weight("a", 4);
        ck_assert_str_eq(target_of("claims/a.tds"), "4");
        write_file("claims/a", "x", 1);
        restart();
        ck_assert_uint_eq(ledger_held(ledger), 4);
        restart();
        ck_assert_uint_eq(ledger_held(ledger), 4);

        save_of_weight("a", 1);
        ck_assert_str_eq(target_of("claims/a.tds"), "");
        save_of_weight("a", 3);
        ck_assert_int_eq(remove_now("a", NULL), 0);
        ck_assert_uint_eq(count_entries("claims"), 0);
        stop();
        leave();
}
END_TEST

START_TEST(a_mark_without_a_record_is_swept_and_nonsense_in_one_counts_as_one_td)
{
        _cleanup_(free) char *orphan = NULL, *wrong = NULL;

        enter();
        start();
        orphan = xasprintf("%s/claims/gone.tds", state);
        wrong = xasprintf("%s/claims/a.tds", state);
        ck_assert_int_eq(symlink("4", orphan), 0);
        ck_assert_int_eq(symlink("4000000000", wrong), 0);
        write_file("claims/a", "x", 1);
        restart();

        ck_assert_uint_eq(ledger_held(ledger), 1);
        ck_assert_str_eq(target_of("claims/gone.tds"), "");
        stop();
        leave();
}
END_TEST

START_TEST(the_weight_that_earlier_versions_kept_in_an_attribute_is_still_read)
{
        _cleanup_(free) char *path = NULL;
        unsigned weight = 4;

        enter();
        start();
        write_file("claims/a", "x", 1);
        path = xasprintf("%s/claims/a", state);
        if (setxattr(path, "user.dra.tds", &weight, sizeof(weight), 0) < 0)
                weight = 1; /* a file system without attributes */
        restart();

        ck_assert_uint_eq(ledger_held(ledger), weight);
        restart();
        ck_assert_uint_eq(ledger_held(ledger), weight);
        stop();
        leave();
}
END_TEST

START_TEST(a_failure_to_read_a_record_that_passes_leaves_it_where_it_is)
{
        static const int failures[] = { EINTR, EIO, EMFILE, ENFILE, ENOMEM };

        enter();
        start();
        save_now("a", 3, NULL);
        for (size_t i = 0; i < array_size(failures); ++i) {
                unreadable = "a";
                unreadable_errno = failures[i];
                n_unreadable = 2;
                restart();

                ck_assert_int_eq(n_unreadable, 0);
                ck_assert_str_eq(damaged, "");
                ck_assert_int_eq(slot_of("a"), 3);
                ck_assert_uint_eq(count_entries("damaged"), 0);
        }
        stop();
        leave();
}
END_TEST

START_TEST(a_record_on_a_bad_sector_is_moved_aside_and_its_claim_stays_held)
{
        enter();
        start();
        save_now("a", 3, NULL);
        unreadable = "a";
        unreadable_errno = EIO;
        n_unreadable = 100;
        restart();
        n_unreadable = 0;

        ck_assert_str_eq(damaged, "a ");
        ck_assert_ptr_nonnull(strstr(damage.text, "Input/output error; moved aside to damaged/"));
        ck_assert_int_eq(slot_of("a"), -2);
        ck_assert_uint_eq(count_entries("damaged"), 1);
        stop();
        leave();
}
END_TEST

START_TEST(damage_is_never_written_over_older_damage)
{
        enter();
        start();
        for (unsigned i = 1; i <= 3; ++i) {
                write_file("claims/a", "x", 1);
                restart();
                ck_assert_uint_eq(count_entries("damaged"), i);
        }
        ck_assert_int_eq(remove_now("a", NULL), 0);
        restart();
        ck_assert_int_eq(slot_of("a"), -1);
        ck_assert_uint_eq(count_entries("damaged"), 3);
        stop();
        leave();
}
END_TEST

START_TEST(a_record_of_a_newer_version_is_kept_apart_from_damage)
{
        static const char newer[] = "dra-driver-tdx claim 2 what do I know\n";

        enter();
        start();
        write_file("claims/a", newer, sizeof(newer) - 1);
        restart();

        ck_assert_str_eq(damaged, "a ");
        ck_assert_ptr_nonnull(strstr(damage.text, "newer version"));
        ck_assert_int_eq(slot_of("a"), -2);
        ck_assert_uint_eq(count_entries("newer"), 1);
        ck_assert_uint_eq(count_entries("damaged"), 0);
        stop();
        leave();
}
END_TEST

START_TEST(a_record_under_another_claims_name_is_damage)
{
        _cleanup_(ledger_claim) struct ledger_claim *claim = make_claim("b", 1, 0);
        _cleanup_(free) char *bytes = NULL;
        size_t n = 0;

        enter();
        start();
        bytes = claims_record_encode(claim, &n);
        write_file("claims/a", bytes, n);
        restart();

        ck_assert_str_eq(damaged, "a ");
        ck_assert_int_eq(slot_of("a"), -2);
        ck_assert_int_eq(slot_of("b"), -1);
        stop();
        leave();
}
END_TEST

START_TEST(what_is_not_ours_is_left_alone_and_what_we_left_behind_is_swept)
{
        _cleanup_(free) char *path = NULL, *huge = xcalloc(2 << 20, 1);

        enter();
        start();
        save_now("a", 1, NULL);
        write_file("claims/README.txt", "x", 1);
        write_file("claims/.a.0123456789abcdef.tmp", "x", 1);
        write_file("claims/huge", huge, 2 << 20);
        path = xasprintf("%s/claims/a-directory", state);
        ck_assert_int_eq(mkdir(path, 0700), 0);
        restart();

        ck_assert_uint_eq(ledger_n_claims(ledger), 3);
        ck_assert_int_eq(slot_of("huge"), -2);
        ck_assert_int_eq(slot_of("a-directory"), -2);
        ck_assert_uint_eq(count_entries("damaged"), 2);
        ck_assert_uint_eq(count_entries("claims"), 4);
        restart();
        ck_assert_str_eq(damaged, "");
        ck_assert_uint_eq(ledger_n_claims(ledger), 3);
        stop();
        leave();
}
END_TEST

SUITE("claims-damage", a_damaged_record_is_kept_aside_and_its_claim_held_through_every_restart,
      what_a_claim_of_several_tds_weighs_lies_beside_its_record_and_outlives_its_bytes,
      a_mark_without_a_record_is_swept_and_nonsense_in_one_counts_as_one_td,
      the_weight_that_earlier_versions_kept_in_an_attribute_is_still_read,
      a_failure_to_read_a_record_that_passes_leaves_it_where_it_is,
      a_record_on_a_bad_sector_is_moved_aside_and_its_claim_stays_held,
      damage_is_never_written_over_older_damage,
      a_record_of_a_newer_version_is_kept_apart_from_damage,
      a_record_under_another_claims_name_is_damage,
      what_is_not_ours_is_left_alone_and_what_we_left_behind_is_swept);
