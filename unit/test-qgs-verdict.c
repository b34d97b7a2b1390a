/* SPDX-License-Identifier: Apache-2.0 */
#include "host/qgs_verdict.h"

#include "base/memory.h"
#include "host/qgs_probe.h"
#include "unit/suite.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define SOCKET "/run/tdx-qgs/qgs.socket"

static struct qgs_sight sight_of(ino_t inode)
{
        return (struct qgs_sight){ .inode = inode,
                                   .mode = 0666,
                                   .directory_mode = 0755,
                                   .uid = 999,
                                   .gid = 999,
                                   .directory_uid = 999,
                                   .directory_gid = 999 };
}

static struct qgs_verdict verdict_of(uint64_t now_ms)
{
        struct qgs_verdict verdict;

        qgs_verdict_init(&verdict, SOCKET, QGS_VERDICT_PROBE_MS, now_ms);
        return verdict;
}

static bool see(struct qgs_verdict *verdict, ino_t inode, uint64_t now_ms)
{
        struct qgs_sight sight = sight_of(inode);

        if (!inode)
                sight.code = -ENOENT;
        return qgs_verdict_see(verdict, &sight, now_ms);
}

START_TEST(the_permissions_count_as_the_vm_sees_them)
{
        static const struct {
                mode_t directory, socket;
                uid_t uid;
                gid_t gid, directory_gid;
                enum qgs_state state;
                gid_t group;
        } rows[] = {
                { 0755, 0666, 0, 0, 0, QGS_ANSWERING, QGS_VERDICT_NO_GROUP },
                { 0755, 0622, 0, 0, 0, QGS_ANSWERING, QGS_VERDICT_NO_GROUP },
                { 0711, 0666, 0, 0, 0, QGS_ANSWERING, QGS_VERDICT_NO_GROUP },
                /* QGS up to 1.23: its umask. */
                { 0755, 0755, 999, 999, 999, QGS_REFUSED, 0 },
                /* 1.24: the directory is for its user. */
                { 0700, 0666, 999, 999, 999, QGS_REFUSED, 0 },
                { 0710, 0666, 999, 999, 999, QGS_ANSWERING, 999 },
                /* 1.26: the socket is for its group. */
                { 0755, 0660, 999, 999, 999, QGS_ANSWERING, 999 },
                { 0750, 0660, 999, 999, 999, QGS_ANSWERING, 999 },
                /* One group opens the socket, another the directory. */
                { 0750, 0660, 999, 999, 998, QGS_REFUSED, 0 },
                { 0750, 0666, 999, 999, 998, QGS_ANSWERING, 998 },
                /* Group 0 is none that CDI gives. */
                { 0755, 0660, 0, 0, 0, QGS_REFUSED, 0 },
                { 0755, 0640, 999, 999, 999, QGS_REFUSED, 0 },
                /* The first class that fits decides: being the owner can keep one out. */
                { 0755, 0066, 107, 999, 999, QGS_REFUSED, 0 },
                { 0755, 0600, 107, 999, 999, QGS_ANSWERING, QGS_VERDICT_NO_GROUP },
                { 0755, 0660, 999, 107, 999, QGS_ANSWERING, QGS_VERDICT_NO_GROUP },
                { 0755, 0606, 999, 107, 999, QGS_REFUSED, 0 },
        };

        for (size_t i = 0; i < array_size(rows); ++i) {
                struct qgs_verdict verdict = verdict_of(0);
                struct qgs_sight sight = { .inode = 1,
                                           .mode = rows[i].socket,
                                           .directory_mode = rows[i].directory,
                                           .uid = rows[i].uid,
                                           .gid = rows[i].gid,
                                           .directory_uid = rows[i].uid,
                                           .directory_gid = rows[i].directory_gid };

                ck_assert(qgs_verdict_see(&verdict, &sight, 0));
                ck_assert_msg(verdict.in_force.state == rows[i].state, "row %zu: %s", i,
                              verdict.in_force.reason);
                if (rows[i].state == QGS_ANSWERING)
                        ck_assert_uint_eq(verdict.in_force.group, rows[i].group);
                else
                        ck_assert_ptr_nonnull(strstr(verdict.in_force.reason, "107"));
        }
}
END_TEST

START_TEST(what_is_not_there_or_no_socket_is_absent)
{
        static const struct {
                int code;
                enum qgs_state state;
        } rows[] = { { -ENOENT, QGS_ABSENT },
                     { -ENOTDIR, QGS_ABSENT },
                     { -ENOTSOCK, QGS_ABSENT },
                     { -EACCES, QGS_REFUSED },
                     { -ELOOP, QGS_REFUSED } };

        for (size_t i = 0; i < array_size(rows); ++i) {
                struct qgs_verdict verdict = verdict_of(0);
                struct qgs_sight sight = { .code = rows[i].code };

                ck_assert(qgs_verdict_see(&verdict, &sight, 0));
                ck_assert_int_eq(verdict.in_force.state, rows[i].state);
                ck_assert_ptr_nonnull(strstr(verdict.in_force.reason, SOCKET));
                ck_assert_uint_eq(qgs_verdict_next_probe_ms(&verdict), UINT64_MAX);
        }
}
END_TEST

START_TEST(before_anybody_has_looked_nothing_is_known)
{
        struct qgs_verdict verdict = verdict_of(5);

        ck_assert_int_eq(verdict.in_force.state, QGS_UNKNOWN);
        ck_assert(!qgs_verdict_expire(&verdict, 100000));
        ck_assert_uint_eq(qgs_verdict_next_probe_ms(&verdict), UINT64_MAX);
}
END_TEST

START_TEST(a_socket_on_which_nobody_listens_is_stale_until_there_is_another)
{
        struct qgs_verdict verdict = verdict_of(0);

        ck_assert(see(&verdict, 1, 0));
        ck_assert_uint_eq(qgs_verdict_next_probe_ms(&verdict), 0);
        ck_assert(qgs_verdict_probed(&verdict, QGS_PROBE_REFUSED, "Connection refused", 0));
        ck_assert_int_eq(verdict.in_force.state, QGS_STALE);
        ck_assert_ptr_nonnull(strstr(verdict.in_force.reason, "Connection refused"));

        ck_assert(!see(&verdict, 1, 50));
        ck_assert(see(&verdict, 2, 100));
        ck_assert_int_eq(verdict.in_force.state, QGS_ANSWERING);
}
END_TEST

START_TEST(one_slow_answer_flips_nothing_and_two_do)
{
        struct qgs_verdict verdict = verdict_of(0);

        see(&verdict, 1, 0);
        qgs_verdict_probed(&verdict, QGS_PROBE_CONNECTED, "", 0);
        ck_assert(!qgs_verdict_probed(&verdict, QGS_PROBE_HUNG, "no answer", 10000));
        ck_assert(!qgs_verdict_probed(&verdict, QGS_PROBE_CONNECTED, "", 20000));
        ck_assert(!qgs_verdict_probed(&verdict, QGS_PROBE_HUNG, "no answer", 30000));
        ck_assert(qgs_verdict_probed(&verdict, QGS_PROBE_HUNG, "no answer", 40000));
        ck_assert_int_eq(verdict.in_force.state, QGS_HUNG);
        ck_assert(qgs_verdict_probed(&verdict, QGS_PROBE_CONNECTED, "", 50000));
        ck_assert_int_eq(verdict.in_force.state, QGS_ANSWERING);
}
END_TEST

START_TEST(a_service_that_never_answered_is_hung_at_once)
{
        struct qgs_verdict verdict = verdict_of(0);

        see(&verdict, 1, 0);
        ck_assert(qgs_verdict_probed(&verdict, QGS_PROBE_HUNG, "no answer", 5000));
        ck_assert_int_eq(verdict.in_force.state, QGS_HUNG);
}
END_TEST

START_TEST(our_own_failures_say_nothing_about_qgs)
{
        struct qgs_verdict verdict = verdict_of(0);

        see(&verdict, 1, 0);
        qgs_verdict_probed(&verdict, QGS_PROBE_CONNECTED, "", 0);
        ck_assert(!qgs_verdict_probed(&verdict, QGS_PROBE_FAILED, "Too many open files", 10000));
        ck_assert_int_eq(verdict.in_force.state, QGS_ANSWERING);
        qgs_verdict_probed(&verdict, QGS_PROBE_REFUSED, "refused", 20000);
        ck_assert(!qgs_verdict_probed(&verdict, QGS_PROBE_FAILED, "Too many open files", 30000));
        ck_assert_int_eq(verdict.in_force.state, QGS_STALE);
}
END_TEST

START_TEST(connections_are_ten_seconds_apart_whatever_happens)
{
        struct qgs_verdict verdict = verdict_of(0);
        uint64_t last = 0;

        see(&verdict, 1, 0);
        qgs_verdict_probed(&verdict, QGS_PROBE_CONNECTED, "", 0);
        for (uint64_t now = 1; now < 60000; now += 37) {
                see(&verdict, now % 2 ? 0 : now, now);
                if (qgs_verdict_next_probe_ms(&verdict) > now)
                        continue;
                ck_assert_uint_ge(now - last, QGS_VERDICT_PROBE_MS);
                last = now;
                qgs_verdict_probed(&verdict, now % 3 ? QGS_PROBE_CONNECTED : QGS_PROBE_HUNG, "",
                                   now);
        }
        ck_assert_uint_gt(last, 45000);
}
END_TEST

START_TEST(a_new_socket_is_tried_before_the_period_is_over)
{
        struct qgs_verdict verdict;

        qgs_verdict_init(&verdict, SOCKET, 60000, 0);
        see(&verdict, 1, 0);
        qgs_verdict_probed(&verdict, QGS_PROBE_CONNECTED, "", 0);
        ck_assert_uint_eq(qgs_verdict_next_probe_ms(&verdict), 60000);
        see(&verdict, 2, 3000);
        ck_assert_uint_eq(qgs_verdict_next_probe_ms(&verdict), QGS_VERDICT_PROBE_MS);
        qgs_verdict_probed(&verdict, QGS_PROBE_HUNG, "", 10000);
        ck_assert_uint_eq(qgs_verdict_next_probe_ms(&verdict), 10000 + QGS_VERDICT_PROBE_MS);
}
END_TEST

START_TEST(a_service_that_flaps_counts_as_down_and_costs_a_handful_of_changes)
{
        struct qgs_verdict verdict = verdict_of(0);
        unsigned n_changes = 0;

        see(&verdict, 1, 0);
        /* 1,000 re-creations in a minute. */
        for (unsigned i = 0; i < 1000; ++i) {
                n_changes += see(&verdict, 0, i * 60 + 1);
                n_changes += see(&verdict, 2 + i, i * 60 + 30);
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
        unsigned n_changes = 0, n_probes = 0;
        uint64_t now = 0;

        for (unsigned i = 0; now < day_ms; ++i, now += 3500) {
                n_changes += qgs_verdict_expire(&verdict, now);
                n_changes += see(&verdict, i % 2 ? 0 : 1 + i, now);
                if (qgs_verdict_next_probe_ms(&verdict) > now)
                        continue;
                ++n_probes;
                n_changes += qgs_verdict_probed(&verdict, QGS_PROBE_CONNECTED, "", now);
        }
        ck_assert_uint_le(n_changes,
                          2 * (QGS_VERDICT_RECOVERIES + day_ms / QGS_VERDICT_RECOVERY_MS));
        ck_assert_uint_ge(n_changes, 1000);
        ck_assert_uint_le(n_probes, day_ms / QGS_VERDICT_PROBE_MS);

        see(&verdict, 1, now);
        (void)qgs_verdict_expire(&verdict, now + QGS_VERDICT_RECOVERY_MS);
        ck_assert_int_eq(verdict.in_force.state, QGS_ANSWERING);
}
END_TEST

START_TEST(going_down_is_never_held_back)
{
        struct qgs_verdict verdict = verdict_of(0);

        see(&verdict, 1, 0);
        for (unsigned i = 0; i < 20; ++i) {
                see(&verdict, 0, i * 10);
                ck_assert_int_eq(verdict.in_force.state, QGS_ABSENT);
                see(&verdict, 2 + i, i * 10 + 5);
        }
}
END_TEST

START_TEST(the_age_is_of_the_state_and_not_of_its_words)
{
        struct qgs_verdict verdict = verdict_of(0);

        see(&verdict, 1, 0);
        qgs_verdict_probed(&verdict, QGS_PROBE_HUNG, "no answer in time", 1000);
        ck_assert(qgs_verdict_probed(&verdict, QGS_PROBE_HUNG, "it closes connections", 11000));
        ck_assert_uint_eq(verdict.since_ms, 1000);
}
END_TEST

START_TEST(answers_are_read_byte_by_byte)
{
        static const struct {
                unsigned char bytes[68];
                size_t n;
                int r;
                const char *failure;
        } rows[] = {
                { { 0, 0, 0, 64, 1, 0, 1, 0, 5, 0, 0, 0, 64 }, 68, 0, "" },
                { { 0, 0, 0, 64, 1, 0, 1, 0, 5, 0, 0, 0, 64 }, 67, 1, "" },
                { { 0, 0, 0 }, 3, 1, "" },
                { { 0 }, 0, 1, "" },
                { { 0, 0, 0, 24, 1, 0, 1, 0, 5, 0, 0, 0, 24, 0, 0, 0, 1, 0x20, 1, 0 },
                  28,
                  -EBADMSG,
                  "error 0x12001" },
                { { 0, 0, 0, 64, 1, 0, 1, 0, 1, 0, 0, 0, 64 }, 68, -EBADMSG, "not one of QGS" },
                { { 0, 0, 0, 64, 1, 0, 1, 0, 5, 0, 0, 0, 63 }, 68, -EBADMSG, "not one of QGS" },
                { { 0, 0, 0, 15 }, 4, -EBADMSG, "15 bytes" },
                { { 0xff, 0xff, 0xff, 0xff }, 4, -EBADMSG, "4294967295 bytes" },
        };

        for (size_t i = 0; i < array_size(rows); ++i) {
                char failure[64] = "";
                int r = qgs_probe_parse_answer(rows[i].bytes, rows[i].n, failure, sizeof(failure));

                ck_assert_msg(r == rows[i].r, "row %zu: %d %s", i, r, failure);
                ck_assert_ptr_nonnull(strstr(failure, rows[i].failure));
        }
}
END_TEST

SUITE("verdict", the_permissions_count_as_the_vm_sees_them,
      what_is_not_there_or_no_socket_is_absent, before_anybody_has_looked_nothing_is_known,
      a_socket_on_which_nobody_listens_is_stale_until_there_is_another,
      one_slow_answer_flips_nothing_and_two_do, a_service_that_never_answered_is_hung_at_once,
      our_own_failures_say_nothing_about_qgs, connections_are_ten_seconds_apart_whatever_happens,
      a_new_socket_is_tried_before_the_period_is_over,
      a_service_that_flaps_counts_as_down_and_costs_a_handful_of_changes,
      a_day_of_flapping_costs_no_more_than_it_may_and_ends_as_things_are,
      going_down_is_never_held_back, the_age_is_of_the_state_and_not_of_its_words,
      answers_are_read_byte_by_byte);
