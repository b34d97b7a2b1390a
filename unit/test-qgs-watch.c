/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "unit/qgs-rig.h"

/* ---- the watch ---- */

static unsigned n_changes;

static void on_changed(void *owner)
{
        ++n_changes;
}

static struct qgs_watch *watch_qgs(void)
{
        const struct qgs_watch_options options = { .loop = &loop,
                                                   .root = qgs.root,
                                                   .on_changed = on_changed };
        struct qgs_watch *watch;

        ck_assert_int_eq(uv_loop_init(&loop), 0);
        uv_update_time(&loop);
        watch = qgs_watch_new(&options);
        qgs_watch_set_socket(watch, "/run/tdx-qgs/qgs.socket", "/run/tdx-qgs/qgs.socket");
        return watch;
}

static enum qgs_state state(struct qgs_watch *watch)
{
        return qgs_watch_state(watch)->state;
}

/* Until the state is that, for so long at most; how long it took. */
static uint64_t advance_until(struct qgs_watch *watch, enum qgs_state wanted, uint64_t ms)
{
        uint64_t begun_ms = moment_ms;

        while (state(watch) != wanted) {
                ck_assert_msg(moment_ms - begun_ms < ms, "still %s: %s",
                              qgs_state_name(state(watch)), qgs_watch_state(watch)->reason);
                advance(10);
        }
        return moment_ms - begun_ms;
}

static void end_watch(struct qgs_watch *watch)
{
        qgs_watch_free(watch);
        advance(QGS_PROBE_STOP_MS + 100);
        end_loop();
}

START_TEST(qgs_is_asked_every_ten_seconds_by_one_connection_at_a_time_and_none_is_closed_early)
{
        struct qgs_watch *watch;

        qgs_start(ANSWERS);
        watch = watch_qgs();
        ck_assert_int_eq(state(watch), QGS_UNKNOWN);
        advance_until(watch, QGS_ANSWERING, 200);
        for (unsigned i = 0; i < 30; ++i) {
                unsigned n_before = qgs.n_requests;

                advance(10000);
                ck_assert_uint_gt(qgs.n_requests, n_before);
        }
        ck_assert_uint_eq(qgs.max_open, 1);
        ck_assert_uint_eq(qgs.n_torn, 0);
        ck_assert_uint_eq(n_changes, 1);
        end_watch(watch);
        ck_assert_uint_eq(qgs.n_early, 0);
}
END_TEST

START_TEST(a_hung_qgs_is_seen_within_fifteen_seconds_and_asked_once_meanwhile)
{
        struct qgs_watch *watch;
        unsigned n_before;

        qgs_start(ANSWERS);
        watch = watch_qgs();
        advance_until(watch, QGS_ANSWERING, 200);
        qgs.manner = IS_SILENT;
        n_before = qgs.n_requests;

        (void)advance_until(watch, QGS_HUNG, 15000);
        advance(20000);
        ck_assert_int_eq(state(watch), QGS_HUNG);
        ck_assert_uint_eq(qgs.n_requests, n_before + 1);
        ck_assert_uint_eq(qgs.n_early, 0);

        qgs_wake(ANSWERS);
        (void)advance_until(watch, QGS_ANSWERING, 100);
        ck_assert_uint_eq(qgs.max_open, 1);
        end_watch(watch);
        ck_assert_uint_eq(qgs.n_early, 0);
}
END_TEST

START_TEST(a_qgs_that_was_killed_is_stale_within_twelve_seconds)
{
        struct qgs_watch *watch;

        qgs_start(ANSWERS);
        watch = watch_qgs();
        advance_until(watch, QGS_ANSWERING, 200);
        advance(10);
        qgs_die();

        (void)advance_until(watch, QGS_STALE, 12000);
        end_watch(watch);
}
END_TEST

START_TEST(a_qgs_that_is_killed_under_a_request_is_stale_and_never_failing)
{
        struct qgs_watch *watch;

        qgs_start(IS_SILENT);
        watch = watch_qgs();
        advance(1000);
        ck_assert_uint_eq(qgs.n_open, 1);
        qgs_die();

        while (state(watch) != QGS_STALE) {
                ck_assert_int_ne(state(watch), QGS_FAILING);
                ck_assert_uint_lt(moment_ms, 20000);
                advance(10);
        }
        end_watch(watch);
}
END_TEST

START_TEST(a_restart_is_answering_again_at_once)
{
        struct qgs_watch *watch;

        qgs_start(ANSWERS);
        watch = watch_qgs();
        advance_until(watch, QGS_ANSWERING, 200);
        qgs_die();
        (void)advance_until(watch, QGS_STALE, 12000);
        qgs_bind("/run/tdx-qgs/qgs.socket");

        (void)advance_until(watch, QGS_ANSWERING, 1000);
        end_watch(watch);
        ck_assert_uint_eq(qgs.n_early, 0);
}
END_TEST

START_TEST(errors_are_failing_within_twelve_seconds)
{
        struct qgs_watch *watch;

        qgs_start(ANSWERS);
        watch = watch_qgs();
        advance_until(watch, QGS_ANSWERING, 200);
        qgs.manner = FAILS;
        (void)advance_until(watch, QGS_FAILING, 12000);
        ck_assert_ptr_nonnull(strstr(qgs_watch_state(watch)->reason, "0x12001"));
        end_watch(watch);
}
END_TEST

START_TEST(while_a_connection_is_open_no_other_is_opened_even_to_another_socket)
{
        struct qgs_watch *watch;
        int first_fd;

        qgs_start(IS_SILENT);
        watch = watch_qgs();
        advance_until(watch, QGS_HUNG, 6000);
        ck_assert_uint_eq(qgs.n_open, 1);
        first_fd = qgs.listen_fd;
        qgs_bind("/run/tdx-qgs/other.socket");
        qgs_watch_set_socket(watch, "/run/tdx-qgs/other.socket", "/run/tdx-qgs/other.socket");

        advance(20000);
        ck_assert_uint_eq(qgs.max_open, 1);
        ck_assert_uint_eq(qgs.n_early, 0);
        ck_assert_int_eq(state(watch), QGS_UNKNOWN);

        /* What became of the first says nothing of the second. */
        qgs_wake(FAILS);
        qgs.manner = ANSWERS;
        (void)advance_until(watch, QGS_ANSWERING, 1000);
        ck_assert_uint_eq(qgs.max_open, 1);
        ck_assert_uint_eq(qgs.n_requests, 2);
        close(first_fd);
        end_watch(watch);
        ck_assert_uint_eq(qgs.n_early, 0);
}
END_TEST

START_TEST(a_link_beside_the_socket_leads_to_it_and_its_end_is_seen_at_once)
{
        _cleanup_(free) char *name = NULL;
        struct qgs_watch *watch;

        qgs_start(ANSWERS);
        name = xstrdup(qgs.path);
        qgs_end();
        ck_assert_int_eq(unlink(name), 0);
        qgs_bind("/run/tdx-qgs/real");
        ck_assert_int_eq(symlink("real", name), 0);
        watch = watch_qgs();
        (void)advance_until(watch, QGS_ANSWERING, 200);
        ck_assert_int_eq(unlink(qgs.path), 0);
        (void)advance_until(watch, QGS_ABSENT, 500);
        ck_assert_ptr_nonnull(strstr(qgs_watch_state(watch)->reason, "link to nothing"));
        end_watch(watch);
}
END_TEST

SUITE("qgs-watch",
      qgs_is_asked_every_ten_seconds_by_one_connection_at_a_time_and_none_is_closed_early,
      a_hung_qgs_is_seen_within_fifteen_seconds_and_asked_once_meanwhile,
      a_qgs_that_was_killed_is_stale_within_twelve_seconds,
      a_qgs_that_is_killed_under_a_request_is_stale_and_never_failing,
      a_restart_is_answering_again_at_once, errors_are_failing_within_twelve_seconds,
      while_a_connection_is_open_no_other_is_opened_even_to_another_socket,
      a_link_beside_the_socket_leads_to_it_and_its_end_is_seen_at_once);
