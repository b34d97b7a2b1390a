/* SPDX-License-Identifier: Apache-2.0 */
#include "host/qgs_verdict.h"

#include "base/memory.h"
#include "unit/suite.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define SOCKET "/run/tdx-qgs/qgs.socket"

static struct qgs_sight sight_of(ino_t inode)
{
        const struct qgs_owner owner = { .mode = 0755, .uid = 991, .gid = 988 };

        return (struct qgs_sight){ .code = inode ? 0 : -ENOENT,
                                   .inode = inode,
                                   .file = { .mode = 0666, .uid = 991, .gid = 988 },
                                   .n_directories = 1,
                                   .directories = { owner } };
}

static struct qgs_verdict verdict_of(uint64_t now_ms)
{
        struct qgs_verdict verdict;

        qgs_verdict_init(&verdict, SOCKET, now_ms);
        return verdict;
}

static bool see(struct qgs_verdict *verdict, ino_t inode, uint64_t now_ms)
{
        struct qgs_sight sight = sight_of(inode);

        return qgs_verdict_see(verdict, &sight, now_ms);
}

/* As it would be in a second: the socket is there, and answers. */
static bool see_answer(struct qgs_verdict *verdict, ino_t inode, uint64_t now_ms)
{
        bool is_changed = see(verdict, inode, now_ms);

        return qgs_verdict_probed(verdict, QGS_PROBE_ANSWERED, "", now_ms) || is_changed;
}

/* ---- what is seen ---- */

START_TEST(the_permissions_count_as_the_vm_sees_them)
{
        static const struct {
                mode_t directory, socket;
                uid_t uid;
                gid_t gid, directory_gid;
                enum qgs_state state; /* UNKNOWN: a request may tell */
                gid_t group;
                const char *remedy;
        } rows[] = {
                { 0755, 0666, 0, 0, 0, QGS_UNKNOWN, QGS_VERDICT_NO_GROUP, NULL },
                { 0755, 0622, 0, 0, 0, QGS_UNKNOWN, QGS_VERDICT_NO_GROUP, NULL },
                { 0711, 0666, 0, 0, 0, QGS_UNKNOWN, QGS_VERDICT_NO_GROUP, NULL },
                /* QGS up to 1.23: its umask. */
                { 0755, 0755, 999, 999, 999, QGS_REFUSED, 0, "UMask=0117" },
                /* 1.24: the directory is for its user. */
                { 0700, 0666, 999, 999, 999, QGS_REFUSED, 0, "RuntimeDirectoryMode=0755" },
                { 0710, 0666, 999, 999, 999, QGS_UNKNOWN, 999, NULL },
                /* 1.26: the socket is for its group. */
                { 0755, 0660, 999, 999, 999, QGS_UNKNOWN, 999, NULL },
                { 0750, 0660, 999, 999, 999, QGS_UNKNOWN, 999, NULL },
                /* One group opens the socket, another the directory. */
                { 0750, 0660, 999, 999, 998, QGS_REFUSED, 0, "RuntimeDirectoryMode=0755" },
                { 0750, 0666, 999, 999, 998, QGS_UNKNOWN, 998, NULL },
                /* Group 0 is none that CDI gives. */
                { 0755, 0660, 0, 0, 0, QGS_REFUSED, 0, "UMask=0111" },
                { 0750, 0666, 0, 0, 0, QGS_REFUSED, 0, "RuntimeDirectoryMode=0755" },
                { 0755, 0640, 999, 999, 999, QGS_REFUSED, 0, "UMask=0117" },
                /* The first class that fits decides: being the owner can keep one out. */
                { 0755, 0066, 107, 999, 999, QGS_REFUSED, 0, "UMask=" },
                { 0755, 0600, 107, 999, 999, QGS_UNKNOWN, QGS_VERDICT_NO_GROUP, NULL },
                { 0755, 0660, 999, 107, 999, QGS_UNKNOWN, QGS_VERDICT_NO_GROUP, NULL },
                { 0755, 0606, 999, 107, 999, QGS_REFUSED, 0, "UMask=" },
        };

        for (size_t i = 0; i < array_size(rows); ++i) {
                struct qgs_verdict verdict = verdict_of(0);
                struct qgs_sight sight = { .inode = 1,
                                           .file = { rows[i].socket, rows[i].uid, rows[i].gid },
                                           .n_directories = 1,
                                           .directories = { { rows[i].directory, rows[i].uid,
                                                              rows[i].directory_gid } } };

                ck_assert(qgs_verdict_see(&verdict, &sight, 0) == (rows[i].state == QGS_REFUSED));
                ck_assert_msg(verdict.in_force.state == rows[i].state, "row %zu: %s", i,
                              verdict.in_force.reason);
                if (rows[i].state == QGS_UNKNOWN) {
                        ck_assert_uint_eq(qgs_verdict_next_probe_ms(&verdict), 0);
                        ck_assert_uint_eq(qgs_verdict_group(&verdict), rows[i].group);
                        continue;
                }
                ck_assert_uint_eq(qgs_verdict_next_probe_ms(&verdict), UINT64_MAX);
                ck_assert_ptr_nonnull(strstr(verdict.in_force.reason, "107"));
                ck_assert_msg(strstr(verdict.in_force.reason, rows[i].remedy) != NULL,
                              "row %zu: %s", i, verdict.in_force.reason);
        }
}
END_TEST

START_TEST(a_directory_below_the_mounted_one_can_keep_the_vm_out_too)
{
        struct qgs_verdict verdict = verdict_of(0);
        struct qgs_sight sight = sight_of(1);

        sight.directories[sight.n_directories++] = (struct qgs_owner){ 0700, 991, 988 };
        ck_assert(qgs_verdict_see(&verdict, &sight, 0));
        ck_assert_int_eq(verdict.in_force.state, QGS_REFUSED);
        ck_assert_ptr_nonnull(strstr(verdict.in_force.reason, "0700"));
}
END_TEST

START_TEST(what_is_in_the_place_of_the_socket_decides_state_and_remedy)
{
        static const struct {
                int code;
                enum qgs_state state;
                const char *reason;
        } rows[] = { { -ENOENT, QGS_ABSENT, "vsock" },
                     { -ENOTDIR, QGS_ABSENT, "there is no " SOCKET },
                     { -ENOTSOCK, QGS_ABSENT, "is not a socket" },
                     { -ENOLINK, QGS_ABSENT, "is a link to nothing: remove it" },
                     { -EXDEV, QGS_REFUSED, "only the directory is mounted" },
                     { -ELOOP, QGS_REFUSED, "cannot be looked at" } };

        for (size_t i = 0; i < array_size(rows); ++i) {
                struct qgs_verdict verdict = verdict_of(0);
                struct qgs_sight sight = { .code = rows[i].code };

                ck_assert(qgs_verdict_see(&verdict, &sight, 0));
                ck_assert_int_eq(verdict.in_force.state, rows[i].state);
                ck_assert_ptr_nonnull(strstr(verdict.in_force.reason, SOCKET));
                ck_assert_msg(strstr(verdict.in_force.reason, rows[i].reason) != NULL, "%s",
                              verdict.in_force.reason);
                ck_assert_uint_eq(verdict.in_force.group, QGS_VERDICT_NO_GROUP);
                ck_assert_uint_eq(qgs_verdict_next_probe_ms(&verdict), UINT64_MAX);
        }
}
END_TEST

START_TEST(a_directory_that_is_roots_and_empty_may_be_one_that_the_driver_made)
{
        for (uid_t uid = 0; uid < 2; ++uid) {
                struct qgs_verdict verdict = verdict_of(0);
                struct qgs_sight sight = { .code = -ENOENT,
                                           .n_directories = 1,
                                           .directories = { { 0755, uid, 0 } } };

                qgs_verdict_see(&verdict, &sight, 0);
                ck_assert_int_eq(verdict.in_force.state, QGS_ABSENT);
                ck_assert_int_eq(strstr(verdict.in_force.reason, "chown") != NULL, uid == 0);
        }
}
END_TEST

START_TEST(a_directory_that_the_driver_may_not_search_keeps_the_vm_out_only_if_its_mode_says_so)
{
        static const struct {
                struct qgs_owner directory;
                bool has_vm_groups;
                enum qgs_state state;
                gid_t group;
                const char *reason;
        } rows[] = {
                { { 0700, 991, 988 }, false, QGS_REFUSED, 0, "RuntimeDirectoryMode=0755" },
                { { 0750, 991, 0 }, false, QGS_REFUSED, 0, "RuntimeDirectoryMode=0755" },
                { { 0750, 991, 988 }, false, QGS_NOT_TRIED, 988, "supplementalGroups" },
                { { 0750, 991, 988 }, true, QGS_NOT_TRIED, 988, "SELinux" },
        };

        for (size_t i = 0; i < array_size(rows); ++i) {
                struct qgs_verdict verdict = verdict_of(0);
                struct qgs_sight sight = { .code = -EACCES,
                                           .has_vm_groups = rows[i].has_vm_groups,
                                           .n_directories = 1,
                                           .directories = { rows[i].directory } };

                ck_assert(qgs_verdict_see(&verdict, &sight, 0));
                ck_assert_int_eq(verdict.in_force.state, rows[i].state);
                ck_assert_msg(strstr(verdict.in_force.reason, rows[i].reason) != NULL,
                              "row %zu: %s", i, verdict.in_force.reason);
                if (rows[i].state == QGS_NOT_TRIED)
                        ck_assert_uint_eq(verdict.in_force.group, rows[i].group);
        }
}
END_TEST

START_TEST(directories_above_that_keep_the_driver_out_keep_no_vm_out)
{
        struct qgs_verdict verdict = verdict_of(0);
        struct qgs_sight sight = { .code = -EACCES };

        ck_assert(qgs_verdict_see(&verdict, &sight, 0));
        ck_assert_int_eq(verdict.in_force.state, QGS_NOT_TRIED);
        ck_assert_ptr_nonnull(strstr(verdict.in_force.reason, "above it"));
}
END_TEST

START_TEST(before_the_first_look_nothing_is_known)
{
        struct qgs_verdict verdict = verdict_of(5);

        ck_assert_int_eq(verdict.in_force.state, QGS_UNKNOWN);
        ck_assert(!qgs_verdict_expire(&verdict, 100000));
        ck_assert_uint_eq(qgs_verdict_next_probe_ms(&verdict), UINT64_MAX);
}
END_TEST

/* ---- what is tried ---- */

START_TEST(a_socket_counts_for_nothing_before_it_has_answered)
{
        struct qgs_verdict verdict = verdict_of(0);

        ck_assert(!see(&verdict, 1, 0));
        ck_assert_int_eq(verdict.in_force.state, QGS_UNKNOWN);
        ck_assert_uint_eq(qgs_verdict_next_probe_ms(&verdict), 0);
        ck_assert(qgs_verdict_probed(&verdict, QGS_PROBE_ANSWERED, "", 7));
        ck_assert_int_eq(verdict.in_force.state, QGS_ANSWERING);
        ck_assert_str_eq(verdict.in_force.reason, "");
}
END_TEST

START_TEST(what_was_refused_to_the_driver_alone_was_not_tried)
{
        static const struct {
                struct qgs_owner file;
                bool has_vm_groups;
                const char *reason;
        } rows[] = {
                { { 0660, 991, 988 }, false, "not in group 988" },
                { { 0660, 991, 107 }, false, "not in group 107" },
                { { 0660, 991, 988 }, true, "SELinux" },
                { { 0666, 991, 988 }, false, "SELinux" },
                { { 0600, 107, 107 }, true, "only uid 107" },
                { { 0600, 107, 0 }, false, "only uid 107" },
        };

        for (size_t i = 0; i < array_size(rows); ++i) {
                struct qgs_verdict verdict = verdict_of(0);
                struct qgs_sight sight = sight_of(1);

                sight.file = rows[i].file;
                sight.has_vm_groups = rows[i].has_vm_groups;
                qgs_verdict_see(&verdict, &sight, 0);
                ck_assert(qgs_verdict_probed(&verdict, QGS_PROBE_NOT_ALLOWED, "Permission denied",
                                             0));
                ck_assert_int_eq(verdict.in_force.state, QGS_NOT_TRIED);
                ck_assert_msg(strstr(verdict.in_force.reason, rows[i].reason) != NULL,
                              "row %zu: %s", i, verdict.in_force.reason);
        }
}
END_TEST

START_TEST(not_tried_still_tells_the_group_that_a_vm_needs)
{
        struct qgs_verdict verdict = verdict_of(0);
        struct qgs_sight sight = sight_of(1);

        sight.file.mode = 0660;
        qgs_verdict_see(&verdict, &sight, 0);
        qgs_verdict_probed(&verdict, QGS_PROBE_NOT_ALLOWED, "Permission denied", 0);
        ck_assert_uint_eq(verdict.in_force.group, 988);
}
END_TEST

START_TEST(a_socket_on_which_nothing_listens_is_stale_until_another_answers)
{
        struct qgs_verdict verdict = verdict_of(0);

        see(&verdict, 1, 0);
        ck_assert(qgs_verdict_probed(&verdict, QGS_PROBE_REFUSED, "Connection refused", 0));
        ck_assert_int_eq(verdict.in_force.state, QGS_STALE);
        ck_assert_ptr_nonnull(strstr(verdict.in_force.reason, "Connection refused"));

        ck_assert(!see(&verdict, 1, 50));
        ck_assert(!see(&verdict, 2, 100));
        ck_assert_int_eq(verdict.in_force.state, QGS_STALE);
        ck_assert(qgs_verdict_probed(&verdict, QGS_PROBE_ANSWERED, "", 250));
        ck_assert_int_eq(verdict.in_force.state, QGS_ANSWERING);
}
END_TEST

START_TEST(a_restart_that_answers_again_changes_nothing)
{
        struct qgs_verdict verdict = verdict_of(0);

        see_answer(&verdict, 1, 0);
        ck_assert(!see(&verdict, 2, 1000));
        ck_assert_int_eq(verdict.in_force.state, QGS_ANSWERING);
        ck_assert_uint_eq(qgs_verdict_next_probe_ms(&verdict), 1000);
        ck_assert(!qgs_verdict_probed(&verdict, QGS_PROBE_ANSWERED, "", 1005));
}
END_TEST

START_TEST(silence_is_hung_at_once_and_a_late_answer_ends_it)
{
        struct qgs_verdict verdict = verdict_of(0);

        see_answer(&verdict, 1, 0);
        ck_assert(qgs_verdict_probed(&verdict, QGS_PROBE_SILENT, "no answer in time", 13000));
        ck_assert_int_eq(verdict.in_force.state, QGS_HUNG);
        ck_assert(qgs_verdict_probed(&verdict, QGS_PROBE_ANSWERED, "", 20000));
        ck_assert_int_eq(verdict.in_force.state, QGS_ANSWERING);
        ck_assert_uint_eq(qgs_verdict_next_probe_ms(&verdict), 20000 + QGS_VERDICT_PERIOD_MS);
}
END_TEST

START_TEST(silence_to_its_end_stays_hung)
{
        struct qgs_verdict verdict = verdict_of(0);

        see(&verdict, 1, 0);
        ck_assert(qgs_verdict_probed(&verdict, QGS_PROBE_SILENT, "no answer in time", 5000));
        (void)qgs_verdict_probed(&verdict, QGS_PROBE_SILENT, "no answer in 30 s", 30000);
        ck_assert_int_eq(verdict.in_force.state, QGS_HUNG);
        ck_assert_uint_eq(qgs_verdict_next_probe_ms(&verdict), 30000 + QGS_VERDICT_RETRY_MS);
}
END_TEST

START_TEST(an_error_is_failing_the_second_time_and_no_restart_is_asked_for)
{
        struct qgs_verdict verdict = verdict_of(0);

        see_answer(&verdict, 1, 0);
        ck_assert(!qgs_verdict_probed(&verdict, QGS_PROBE_FAILING, "error 0x12001", 8000));
        ck_assert_int_eq(verdict.in_force.state, QGS_ANSWERING);
        ck_assert_uint_eq(qgs_verdict_next_probe_ms(&verdict), 8000 + QGS_VERDICT_RETRY_MS);
        ck_assert(qgs_verdict_probed(&verdict, QGS_PROBE_FAILING, "error 0x12001", 9000));
        ck_assert_int_eq(verdict.in_force.state, QGS_FAILING);
        ck_assert_ptr_nonnull(strstr(verdict.in_force.reason, "error 0x12001"));
        ck_assert_ptr_nonnull(strstr(verdict.in_force.reason, "a restart does not cure that"));
        ck_assert_ptr_nonnull(strstr(verdict.in_force.reason, "PCCS"));
        ck_assert_ptr_null(strstr(verdict.in_force.reason, "restart QGS"));
}
END_TEST

START_TEST(a_qgs_that_ends_under_a_request_is_stale_and_never_failing)
{
        struct qgs_verdict verdict = verdict_of(0);

        see_answer(&verdict, 1, 0);
        ck_assert(!qgs_verdict_probed(&verdict, QGS_PROBE_FAILING, "closes", 8000));
        ck_assert(qgs_verdict_probed(&verdict, QGS_PROBE_REFUSED, "refused", 9000));
        ck_assert_int_eq(verdict.in_force.state, QGS_STALE);
}
END_TEST

START_TEST(a_backlog_that_stays_full_is_hung_and_a_burst_is_not)
{
        struct qgs_verdict verdict = verdict_of(0);

        see_answer(&verdict, 1, 0);
        ck_assert(!qgs_verdict_probed(&verdict, QGS_PROBE_FULL, "full", 8000));
        ck_assert(!qgs_verdict_probed(&verdict, QGS_PROBE_ANSWERED, "", 9000));
        ck_assert(!qgs_verdict_probed(&verdict, QGS_PROBE_FULL, "full", 17000));
        ck_assert(!qgs_verdict_probed(&verdict, QGS_PROBE_FULL, "full", 18000));
        ck_assert(qgs_verdict_probed(&verdict, QGS_PROBE_FULL, "full", 19000));
        ck_assert_int_eq(verdict.in_force.state, QGS_HUNG);
}
END_TEST

START_TEST(our_own_failures_say_nothing_about_qgs)
{
        struct qgs_verdict verdict = verdict_of(0);

        see_answer(&verdict, 1, 0);
        ck_assert(!qgs_verdict_probed(&verdict, QGS_PROBE_OURS, "Too many open files", 8000));
        ck_assert_int_eq(verdict.in_force.state, QGS_ANSWERING);
        qgs_verdict_probed(&verdict, QGS_PROBE_REFUSED, "refused", 16000);
        ck_assert(!qgs_verdict_probed(&verdict, QGS_PROBE_OURS, "Too many open files", 24000));
        ck_assert_int_eq(verdict.in_force.state, QGS_STALE);
}
END_TEST

START_TEST(what_became_of_a_request_to_an_earlier_socket_says_nothing_of_this_one)
{
        struct qgs_verdict verdict = verdict_of(0);

        see_answer(&verdict, 1, 0);
        see(&verdict, 2, 9000);
        ck_assert(!qgs_verdict_probed(&verdict, QGS_PROBE_NONE, "closes", 9500));
        ck_assert_int_eq(verdict.in_force.state, QGS_ANSWERING);
        ck_assert_uint_eq(qgs_verdict_next_probe_ms(&verdict), 9500 + QGS_VERDICT_GAP_MS);
}
END_TEST

START_TEST(requests_are_eight_seconds_apart_and_quicker_after_a_failure)
{
        struct qgs_verdict verdict = verdict_of(0);
        uint64_t now = 0;

        see(&verdict, 1, now);
        qgs_verdict_probed(&verdict, QGS_PROBE_ANSWERED, "", now);
        ck_assert_uint_eq(qgs_verdict_next_probe_ms(&verdict), QGS_VERDICT_PERIOD_MS);
        for (unsigned i = 0; i < 10; ++i) {
                now = qgs_verdict_next_probe_ms(&verdict);
                see(&verdict, 1, now);
                qgs_verdict_probed(&verdict, QGS_PROBE_REFUSED, "refused", now);
                ck_assert_uint_eq(qgs_verdict_next_probe_ms(&verdict) - now,
                                  i < QGS_VERDICT_RETRIES ? QGS_VERDICT_RETRY_MS
                                                          : QGS_VERDICT_PERIOD_MS);
        }
}
END_TEST

START_TEST(however_often_the_socket_changes_requests_are_a_little_apart)
{
        struct qgs_verdict verdict = verdict_of(0);
        uint64_t last = 0;
        unsigned n = 0;

        see_answer(&verdict, 1, 0);
        for (uint64_t now = 1; now < 60000; now += 37) {
                see(&verdict, now % 2 ? 0 : now, now);
                if (qgs_verdict_next_probe_ms(&verdict) > now)
                        continue;
                ck_assert_uint_ge(now - last, QGS_VERDICT_GAP_MS);
                last = now;
                ++n;
                qgs_verdict_probed(&verdict, now % 3 ? QGS_PROBE_ANSWERED : QGS_PROBE_FAILING, "",
                                   now);
        }
        ck_assert_uint_gt(n, 100);
}
END_TEST

/* ---- what comes into force ---- */

START_TEST(a_service_that_flaps_counts_as_down_and_costs_a_handful_of_changes)
{
        struct qgs_verdict verdict = verdict_of(0);
        unsigned n_changes = 0;

        see_answer(&verdict, 1, 0);
        /* 1,000 re-creations in a minute. */
        for (unsigned i = 0; i < 1000; ++i) {
                n_changes += see(&verdict, 0, i * 60 + 1);
                n_changes += see_answer(&verdict, 2 + i, i * 60 + 30);
        }
        ck_assert_uint_le(n_changes,
                          2 * (QGS_VERDICT_RECOVERIES + 60000 / QGS_VERDICT_RECOVERY_MS));

        /* Once it stays, it is back when its time has come, without anything new to see. */
        if (verdict.in_force.state != QGS_ANSWERING) {
                uint64_t due_ms = qgs_verdict_next_expiry_ms(&verdict);

                ck_assert_uint_le(due_ms, 60000 + QGS_VERDICT_RECOVERY_MS);
                ck_assert(!qgs_verdict_expire(&verdict, due_ms - 1));
                ck_assert(qgs_verdict_expire(&verdict, due_ms));
        }
        ck_assert_int_eq(verdict.in_force.state, QGS_ANSWERING);
        ck_assert_uint_eq(qgs_verdict_next_expiry_ms(&verdict), UINT64_MAX);
}
END_TEST

START_TEST(a_day_of_flapping_costs_no_more_than_it_may_and_ends_as_things_are)
{
        const uint64_t day_ms = 86400000;
        struct qgs_verdict verdict = verdict_of(0);
        unsigned n_changes = 0;
        uint64_t now = 0;

        for (unsigned i = 0; now < day_ms; ++i, now += 3500) {
                n_changes += qgs_verdict_expire(&verdict, now);
                n_changes += i % 2 ? see(&verdict, 0, now) : see_answer(&verdict, 1 + i, now);
        }
        ck_assert_uint_le(n_changes,
                          2 * (QGS_VERDICT_RECOVERIES + day_ms / QGS_VERDICT_RECOVERY_MS));
        ck_assert_uint_ge(n_changes, 1000);

        see_answer(&verdict, 1, now);
        (void)qgs_verdict_expire(&verdict, now + QGS_VERDICT_RECOVERY_MS);
        ck_assert_int_eq(verdict.in_force.state, QGS_ANSWERING);
}
END_TEST

START_TEST(going_down_is_never_held_back)
{
        struct qgs_verdict verdict = verdict_of(0);

        see_answer(&verdict, 1, 0);
        for (unsigned i = 0; i < 20; ++i) {
                see(&verdict, 0, i * 10);
                ck_assert_int_eq(verdict.in_force.state, QGS_ABSENT);
                see_answer(&verdict, 2 + i, i * 10 + 5);
        }
}
END_TEST

START_TEST(the_longest_reason_fits)
{
        char socket[108];
        struct qgs_verdict verdict;
        struct qgs_sight sight = { .code = -ENOENT,
                                   .n_directories = 1,
                                   .directories = { { 0755, 0, 0 } } };

        memset(socket, 'x', sizeof(socket) - 1);
        socket[sizeof(socket) - 1] = '\0';
        qgs_verdict_init(&verdict, socket, 0);
        qgs_verdict_see(&verdict, &sight, 0);
        ck_assert_ptr_nonnull(strstr(verdict.in_force.reason, "chown it to that user"));
}
END_TEST

SUITE("verdict", the_permissions_count_as_the_vm_sees_them,
      a_directory_below_the_mounted_one_can_keep_the_vm_out_too,
      what_is_in_the_place_of_the_socket_decides_state_and_remedy,
      a_directory_that_is_roots_and_empty_may_be_one_that_the_driver_made,
      a_directory_that_the_driver_may_not_search_keeps_the_vm_out_only_if_its_mode_says_so,
      directories_above_that_keep_the_driver_out_keep_no_vm_out,
      before_the_first_look_nothing_is_known, a_socket_counts_for_nothing_before_it_has_answered,
      what_was_refused_to_the_driver_alone_was_not_tried,
      not_tried_still_tells_the_group_that_a_vm_needs,
      a_socket_on_which_nothing_listens_is_stale_until_another_answers,
      a_restart_that_answers_again_changes_nothing,
      silence_is_hung_at_once_and_a_late_answer_ends_it, silence_to_its_end_stays_hung,
      an_error_is_failing_the_second_time_and_no_restart_is_asked_for,
      a_qgs_that_ends_under_a_request_is_stale_and_never_failing,
      a_backlog_that_stays_full_is_hung_and_a_burst_is_not, our_own_failures_say_nothing_about_qgs,
      what_became_of_a_request_to_an_earlier_socket_says_nothing_of_this_one,
      requests_are_eight_seconds_apart_and_quicker_after_a_failure,
      however_often_the_socket_changes_requests_are_a_little_apart,
      a_service_that_flaps_counts_as_down_and_costs_a_handful_of_changes,
      a_day_of_flapping_costs_no_more_than_it_may_and_ends_as_things_are,
      going_down_is_never_held_back, the_longest_reason_fits);
