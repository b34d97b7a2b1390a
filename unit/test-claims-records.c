/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "unit/records-rig.h"

START_TEST(what_was_saved_is_there_after_a_restart_and_what_was_removed_is_not)
{
        enter();
        start();
        ck_assert(records_is_idle(records));
        ck_assert_int_eq(save_now("a", 3, NULL), 0);
        ck_assert_int_eq(save_now("b", 4, NULL), 0);
        ck_assert_int_eq(save_now("a", 5, NULL), 0);
        ck_assert_int_eq(remove_now("b", NULL), 0);
        ck_assert_int_eq(remove_now("never-there", NULL), 0);
        restart();

        ck_assert_int_eq(slot_of("a"), 5);
        ck_assert_uint_eq(ledger_n_claims(ledger), 1);
        ck_assert_str_eq(damaged, "");
        ck_assert_uint_eq(count_entries("claims"), 1);
        stop();
        leave();
}
END_TEST

START_TEST(orders_are_told_and_carried_out_in_their_order_and_share_a_sync)
{
        struct told told = { 0 };
        struct asked asked[40];
        int n_before;

        enter();
        start();
        n_before = n_directory_syncs;
        for (int i = 0; i < 40; ++i) {
                asked[i] = (struct asked){ &told, i };
                if (i % 4 == 3)
                        records_remove(records, "even", on_done, &asked[i]);
                else
                        save(i % 2 ? "odd" : "even", (uint32_t)i, &asked[i]);
        }
        ck_assert(!records_is_idle(records));
        ck_assert_int_eq(told.n, 0);
        uv_run(&loop, UV_RUN_DEFAULT);

        ck_assert(records_is_idle(records));
        ck_assert_int_eq(told.n, 40);
        for (int i = 0; i < 40; ++i)
                ck_assert_int_eq(told.order[i], i);
        ck_assert_int_eq(n_directory_syncs - n_before, 2);
        restart();
        ck_assert_int_eq(slot_of("odd"), 37);
        ck_assert_int_eq(slot_of("even"), -1);
        stop();
        leave();
}
END_TEST

static void on_done_save_again(void *owner, const struct error *error)
{
        struct asked *asked = owner;
        char uid[16];

        ck_assert_int_eq(error->code, 0);
        snprintf(uid, sizeof(uid), "again-%d", asked->number);
        save(uid, (uint32_t)asked->number, asked);
}

START_TEST(orders_placed_while_others_are_told_go_together)
{
        struct told told = { 0 };
        struct asked asked[10];
        int n_before;

        enter();
        start();
        n_before = n_directory_syncs;
        for (int i = 0; i < 10; ++i) {
                asked[i] = (struct asked){ &told, i };
                records_remove(records, "nothing", on_done_save_again, &asked[i]);
        }
        uv_run(&loop, UV_RUN_DEFAULT);

        ck_assert_int_eq(told.n, 10);
        /* The first removal alone, the other nine with the first claim saved again, the other nine.
         */
        ck_assert_int_eq(n_directory_syncs - n_before, 3);
        ck_assert_uint_eq(count_entries("claims"), 10);
        stop();
        leave();
}
END_TEST

START_TEST(a_directory_that_cannot_be_synced_fails_the_whole_round)
{
        struct told told = { 0 };
        struct asked asked = { &told, 0 };

        enter();
        start();
        fsync_errno = EIO;
        save("a", 1, &asked);
        save("b", 2, &asked);
        records_remove(records, "c", on_done, &asked);
        uv_run(&loop, UV_RUN_DEFAULT);

        ck_assert_int_eq(told.n, 3);
        ck_assert_int_eq(told.error.code, -EIO);
        ck_assert_ptr_nonnull(strstr(told.error.text, "sync"));
        ck_assert_ptr_nonnull(strstr(told.error.text, state));
        fsync_errno = 0;
        ck_assert_int_eq(save_now("a", 1, NULL), 0);
        stop();
        leave();
}
END_TEST

START_TEST(a_record_that_cannot_be_written_fails_alone)
{
        _cleanup_(free) char *squatter = NULL;
        struct told told_a = { 0 }, told_b = { 0 };
        struct asked a = { &told_a, 0 }, b = { &told_b, 0 };

        enter();
        start();
        squatter = xasprintf("%s/claims/a", state);
        ck_assert_int_eq(mkdir(squatter, 0700), 0);
        save("a", 1, &a);
        save("b", 2, &b);
        uv_run(&loop, UV_RUN_DEFAULT);

        ck_assert_int_eq(told_a.error.code, -EISDIR);
        ck_assert_ptr_nonnull(strstr(told_a.error.text, "cannot record the claim in"));
        ck_assert_int_eq(told_b.error.code, 0);
        ck_assert_uint_eq(count_entries("claims"), 2);
        stop();
        leave();
}
END_TEST

START_TEST(a_directory_that_was_removed_is_made_again)
{
        _cleanup_(free) char *claims = NULL;

        enter();
        start();
        claims = xasprintf("%s/claims", state);
        ck_assert_int_eq(save_now("a", 1, NULL), 0);
        ck_assert_int_eq(nftw(claims, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);

        ck_assert_int_eq(save_now("b", 2, NULL), 0);
        restart();
        ck_assert_int_eq(slot_of("b"), 2);
        stop();
        leave();
}
END_TEST

/* Every state that the steps of a write leave behind when power fails between them. */
START_TEST(every_state_between_two_steps_of_a_write_loads)
{
        _cleanup_(ledger_claim) struct ledger_claim *old = make_claim("a", 1, 1),
                                                    *new = make_claim("a", 1, 2);
        _cleanup_(free) char *old_bytes = NULL, *new_bytes = NULL;
        size_t n_old = 0, n_new = 0;

        old_bytes = claims_record_encode(old, &n_old);
        new_bytes = claims_record_encode(new, &n_new);
        for (size_t n_written = 0; n_written <= n_new + 1; ++n_written) {
                bool is_renamed = n_written > n_new;

                enter();
                start();
                write_file("claims/a", is_renamed ? new_bytes : old_bytes,
                           is_renamed ? n_new : n_old);
                if (!is_renamed)
                        write_file("claims/.a.0123456789abcdef.tmp", new_bytes, n_written);
                restart();

                ck_assert_str_eq(damaged, "");
                ck_assert_int_eq(slot_of("a"), is_renamed ? 2 : 1);
                ck_assert_uint_eq(count_entries("claims"), 1);
                stop();
                leave();
        }
}
END_TEST

/* ---- kill -9 ---- */

/* What the claims' slots are after the first n orders of the scenario below. */
static const int64_t slots_after[][3] = { { -1, -1, -1 }, { 1, -1, -1 }, { 1, 2, -1 },
                                          { 3, 2, -1 },   { 3, -1, -1 }, { 3, -1, 4 } };
static const char *const uids[] = { "a", "b", "c" };

static void run_scenario(int pipe_fd)
{
        for (int i = 0; i < 5; ++i) {
                int r = i == 3 ? remove_now("b", NULL)
                               : save_now(uids[i == 1   ? 1
                                               : i == 4 ? 2
                                                        : 0],
                                          i < 3 ? (uint32_t)i + 1 : 4, NULL);

                ck_assert_int_eq(r, 0);
                ck_assert_int_eq(syscall(SYS_write, pipe_fd, "", 1), 1);
        }
}

/* Number of orders that were reported as done before the kill. */
static int run_until_killed(int n_calls, bool *ret_was_killed)
{
        int ends[2], status, n_told = 0;
        pid_t child;
        char byte;

        ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
        child = fork();
        if (!child) {
                start();
                n_calls_to_live = n_calls;
                run_scenario(ends[1]);
                _exit(0);
        }
        close(ends[1]);
        while (read(ends[0], &byte, 1) == 1)
                ++n_told;
        close(ends[0]);
        ck_assert_int_eq(waitpid(child, &status, 0), child);
        *ret_was_killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
        ck_assert(*ret_was_killed || (WIFEXITED(status) && WEXITSTATUS(status) == 0));
        return n_told;
}

static bool agrees(int n_done)
{
        bool is_same = true;

        for (size_t i = 0; i < array_size(uids); ++i)
                is_same &= slot_of(uids[i]) == slots_after[n_done][i];
        return is_same;
}

START_TEST(killed_before_any_of_its_system_calls_it_has_all_it_reported_and_nothing_half)
{
        bool was_killed = true;
        int n_calls = 0;

        for (; was_killed; ++n_calls) {
                int n_told;

                enter();
                n_told = run_until_killed(n_calls, &was_killed);
                start();
                ck_assert_str_eq(damaged, "");
                ck_assert_msg(agrees(n_told) || (n_told < 5 && agrees(n_told + 1)),
                              "killed before call %d", n_calls);
                ck_assert_uint_eq(count_entries("claims"), (unsigned)ledger_n_claims(ledger));
                stop();
                leave();
        }
        ck_assert_int_ge(n_calls, 5 * 3); /* otherwise the calls are not ours to break */
}
END_TEST

START_TEST(killed_while_it_sets_damage_aside_it_forgets_no_claim)
{
        for (int n_calls = 0; n_calls < 8; ++n_calls) {
                int status;
                pid_t child;

                enter();
                start();
                write_file("claims/a", "x", 1);
                stop();
                child = fork();
                if (!child) {
                        n_calls_to_live = n_calls;
                        start();
                        _exit(0);
                }
                ck_assert_int_eq(waitpid(child, &status, 0), child);
                start();

                ck_assert_int_eq(slot_of("a"), -2);
                ck_assert_uint_ge(count_entries("damaged"), 1);
                ck_assert_uint_eq(count_entries("claims"), 1);
                stop();
                leave();
        }
}
END_TEST

/* ---- disks that are full or read-only ---- */

/* Runs body in a child with a small file system of its own at the state directory. */
static void on_small_disk(void (*body)(void))
{
        pid_t child;
        int status;

        enter();
        child = fork();
        if (!child) {
                if (unshare(CLONE_NEWNS) < 0 ||
                    mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
                    mount("tmpfs", state, "tmpfs", 0, "size=64k") < 0)
                        _exit(77);
                body();
                _exit(0);
        }
        ck_assert_int_eq(waitpid(child, &status, 0), child);
        ck_assert(WIFEXITED(status));
        if (WEXITSTATUS(status) == 77)
                fputs("# skipped: may not mount a small file system\n", stderr);
        else
                ck_assert_int_eq(WEXITSTATUS(status), 0);
        leave();
}

static void fill_disk(void)
{
        static const char bytes[4096];
        _cleanup_(free) char *path = xasprintf("%s/filler", state);
        int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

        ck_assert_int_ge(fd, 0);
        while (write(fd, bytes, sizeof(bytes)) > 0)
                ;
        ck_assert_int_eq(errno, ENOSPC);
        close(fd);
}

static void use_full_disk(void)
{
        _cleanup_(free) char *filler = xasprintf("%s/filler", state);
        struct error error = ERROR_NULL;

        start();
        ck_assert_int_eq(save_now("a", 1, NULL), 0);
        ck_assert_int_eq(save_now("b", 2, NULL), 0);
        fill_disk();

        ck_assert_int_eq(save_now("c", 3, &error), -ENOSPC);
        ck_assert_ptr_nonnull(strstr(error.text, "cannot record the claim in"));
        ck_assert_ptr_nonnull(strstr(error.text, state));
        ck_assert_ptr_nonnull(strstr(error.text, "No space left on device; free space there"));
        ck_assert_uint_eq(count_entries("claims"), 2);
        ck_assert_int_eq(save_now("a", 9, NULL), -ENOSPC);
        ck_assert_int_eq(remove_now("b", NULL), 0);
        restart();
        ck_assert_int_eq(slot_of("a"), 1);
        ck_assert_int_eq(slot_of("b"), -1);
        ck_assert_int_eq(unlink(filler), 0);
        ck_assert_int_eq(save_now("c", 3, NULL), 0);

        write_file("claims/c", "x", 1);
        fill_disk();
        restart();
        ck_assert_int_eq(slot_of("c"), -2);
        ck_assert_uint_eq(count_entries("claims"), 2);
        restart();
        ck_assert_str_eq(damaged, "c "); /* no room for its stand-in: found again, and again */
        ck_assert_ptr_nonnull(strstr(damage.text, "it stays there until the next start"));
        ck_assert_ptr_null(strstr(damage.text, "moved aside to"));
        ck_assert_uint_eq(count_entries("damaged"), 0);
        stop();
}

START_TEST(a_full_disk_refuses_new_claims_and_lets_held_ones_go)
{
        on_small_disk(use_full_disk);
}
END_TEST

static void use_read_only_disk(void)
{
        struct error error = ERROR_NULL;

        start();
        save_now("a", 1, NULL);
        write_file("claims/b", "x", 1);
        ck_assert_int_eq(mount(NULL, state, NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
        restart();

        ck_assert_str_eq(damaged, "b ");
        ck_assert_int_eq(slot_of("a"), 1);
        ck_assert_int_eq(slot_of("b"), -2);
        ck_assert_int_eq(save_now("c", 3, &error), -EROFS);
        ck_assert_ptr_nonnull(strstr(error.text, "mount it writable"));
        ck_assert_int_eq(remove_now("a", &error), -EROFS);
        ck_assert_ptr_nonnull(strstr(error.text, "cannot remove the claim's record from"));
        ck_assert_int_eq(remove_now("never-there", NULL), 0);
        restart();
        ck_assert_int_eq(slot_of("a"), 1);
        stop();
}

START_TEST(a_read_only_disk_loads_and_complains)
{
        on_small_disk(use_read_only_disk);
}
END_TEST

START_TEST(a_state_directory_that_cannot_be_made_is_named)
{
        struct error error = ERROR_NULL;

        ck_assert_int_eq(uv_loop_init(&loop), 0);
        ck_assert_int_lt(records_open(&loop, "/proc/self/nowhere", true, &records, &error), 0);
        ck_assert_ptr_nonnull(strstr(error.text, "/proc/self/nowhere"));
        ck_assert_int_eq(uv_loop_close(&loop), 0);
}
END_TEST

SUITE("claims-records", what_was_saved_is_there_after_a_restart_and_what_was_removed_is_not,
      orders_are_told_and_carried_out_in_their_order_and_share_a_sync,
      orders_placed_while_others_are_told_go_together,
      a_directory_that_cannot_be_synced_fails_the_whole_round,
      a_record_that_cannot_be_written_fails_alone, a_directory_that_was_removed_is_made_again,
      every_state_between_two_steps_of_a_write_loads,
      killed_before_any_of_its_system_calls_it_has_all_it_reported_and_nothing_half,
      killed_while_it_sets_damage_aside_it_forgets_no_claim,
      a_full_disk_refuses_new_claims_and_lets_held_ones_go, a_read_only_disk_loads_and_complains,
      a_state_directory_that_cannot_be_made_is_named);
