/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "unit/qgs-rig.h"

START_TEST(a_whole_request_goes_out_in_one_write_and_its_answer_is_read)
{
        static const enum manner manners[] = { ANSWERS, ANSWERS_IN_PIECES };

        for (size_t i = 0; i < array_size(manners); ++i) {
                struct outcome outcome = { 0 };

                qgs = (struct qgs){ 0 };
                qgs_start(manners[i]);
                ck_assert_ptr_nonnull(probe(&outcome));
                advance(1000);

                ck_assert(outcome.is_over);
                ck_assert_int_eq(outcome.result, QGS_PROBE_ANSWERED);
                ck_assert_str_eq(outcome.failure, "");
                ck_assert_uint_eq(qgs.n_requests, 1);
                ck_assert_uint_eq(qgs.n_torn, 0);
                ck_assert_uint_eq(qgs.n_early, 0);
                end_loop();
                remove_root();
        }
}
END_TEST

START_TEST(an_error_and_an_end_without_an_answer_are_failing)
{
        static const struct {
                enum manner manner;
                const char *failure;
        } rows[] = { { FAILS, "it answers with error 0x12001" },
                     { CLOSES, "it closes connections without an answer" } };

        for (size_t i = 0; i < array_size(rows); ++i) {
                struct outcome outcome = { 0 };

                qgs = (struct qgs){ 0 };
                qgs_start(rows[i].manner);
                ck_assert_ptr_nonnull(probe(&outcome));
                advance(1000);

                ck_assert(outcome.is_over);
                ck_assert_int_eq(outcome.result, QGS_PROBE_FAILING);
                ck_assert_str_eq(outcome.failure, rows[i].failure);
                end_loop();
                remove_root();
        }
}
END_TEST

START_TEST(silence_is_told_after_five_seconds_and_a_late_answer_is_still_read)
{
        struct outcome outcome = { 0 };

        qgs_start(IS_SILENT);
        ck_assert_ptr_nonnull(probe(&outcome));
        advance(4900);
        ck_assert_uint_eq(outcome.n_silent, 0);
        advance(200);
        ck_assert_uint_eq(outcome.n_silent, 1);
        ck_assert(!outcome.is_over);
        advance(23000);
        ck_assert_uint_eq(outcome.n_silent, 1);
        ck_assert_uint_eq(qgs.n_open, 1);
        ck_assert_uint_eq(qgs.n_early, 0);

        qgs_wake(ANSWERS);
        advance(100);

        ck_assert(outcome.is_over);
        ck_assert_int_eq(outcome.result, QGS_PROBE_ANSWERED);
        ck_assert_uint_eq(qgs.n_early, 0);
        end_loop();
}
END_TEST

/* Also if QGS has begun to count them a little later. */
START_TEST(a_connection_is_given_up_when_qgs_own_30_s_for_it_are_certainly_over)
{
        struct outcome outcome = { 0 };

        qgs_start(IS_SILENT);
        ck_assert_ptr_nonnull(probe(&outcome));
        advance(31000);
        ck_assert(!outcome.is_over);
        ck_assert_uint_eq(qgs.n_open, 1);
        advance(4500);

        ck_assert(outcome.is_over);
        ck_assert_int_eq(outcome.result, QGS_PROBE_SILENT);
        end_loop();
}
END_TEST

START_TEST(what_qgs_closes_after_its_thirty_seconds_was_silence_and_not_a_failure)
{
        struct outcome outcome = { 0 };

        qgs_start(IS_SILENT);
        ck_assert_ptr_nonnull(probe(&outcome));
        advance(29500);
        qgs_wake(CLOSES);
        advance(100);

        ck_assert(outcome.is_over);
        ck_assert_int_eq(outcome.result, QGS_PROBE_SILENT);
        end_loop();
}
END_TEST

START_TEST(where_nothing_listens_a_connection_is_refused)
{
        struct outcome outcome = { 0 };

        qgs_start(ANSWERS);
        qgs_die();

        ck_assert_ptr_null(probe(&outcome));
        ck_assert(outcome.is_over);
        ck_assert_int_eq(outcome.result, QGS_PROBE_REFUSED);
        end_loop();
}
END_TEST

START_TEST(a_backlog_that_is_full_is_told)
{
        struct outcome outcome = { 0 };
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fds[8];
        size_t n = 0;

        qgs_start(ANSWERS);
        ck_assert_int_eq(listen(qgs.listen_fd, 0), 0);
        memcpy(address.sun_path, qgs.path, strlen(qgs.path));
        for (; n < array_size(fds); ++n) {
                fds[n] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
                if (connect(fds[n], (struct sockaddr *)&address, sizeof(address)) < 0)
                        break;
        }
        ck_assert_uint_lt(n, array_size(fds));

        ck_assert_ptr_null(probe(&outcome));
        ck_assert_int_eq(outcome.result, QGS_PROBE_FULL);
        for (size_t i = 0; i <= n; ++i)
                close(fds[i]);
        end_loop();
}
END_TEST

START_TEST(a_path_that_host_root_makes_too_long_is_connected_to)
{
        struct outcome outcome = { 0 };
        _cleanup_(free) char *from = NULL;
        char name[90];

        memset(name, 'd', sizeof(name) - 1);
        name[sizeof(name) - 1] = '\0';
        qgs_start(ANSWERS);
        from = xasprintf("%s/run/tdx-qgs", qgs.root);
        (void)snprintf(qgs.path, sizeof(qgs.path), "%s/%.60s", qgs.root, name);
        ck_assert_int_eq(rename(from, qgs.path), 0);
        free(take_ptr(from));
        from = xasprintf("%s/%.60s/qgs.socket", qgs.root, name);
        (void)snprintf(qgs.path, sizeof(qgs.path), "%s/%.60s/%.30s", qgs.root, name, name);
        ck_assert_int_eq(rename(from, qgs.path), 0);
        ck_assert_uint_ge(strlen(qgs.path), sizeof(((struct sockaddr_un *)NULL)->sun_path));

        ck_assert_ptr_nonnull(probe(&outcome));
        advance(100);

        ck_assert_int_eq(outcome.result, QGS_PROBE_ANSWERED);
        end_loop();
}
END_TEST

START_TEST(an_orderly_stop_waits_two_seconds_for_the_answer)
{
        struct outcome outcome = { 0 };

        qgs_start(IS_SILENT);
        qgs_probe_abandon(probe(&outcome));
        advance(1900);
        ck_assert_int_ne(uv_loop_alive(&loop), 0);
        ck_assert_uint_eq(qgs.n_early, 0);
        qgs_wake(ANSWERS);
        advance(50);
        ck_assert_int_eq(uv_loop_alive(&loop), 0);
        ck_assert_uint_eq(qgs.n_early, 0);
        ck_assert(!outcome.is_over);
        end_loop();
}
END_TEST

START_TEST(an_orderly_stop_waits_no_longer_than_two_seconds)
{
        struct outcome outcome = { 0 };

        qgs_start(IS_SILENT);
        qgs_probe_abandon(probe(&outcome));
        advance(2100);
        ck_assert_int_eq(uv_loop_alive(&loop), 0);
        end_loop();
}
END_TEST

/* As the manifest runs the driver: uid 0 with these capabilities and no more. */
static void drop_capabilities(uint32_t kept)
{
        struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
        struct __user_cap_data_struct sets[2] = { { .effective = kept, .permitted = kept } };

        ck_assert_int_eq((int)syscall(SYS_capset, &header, sets), 0);
}

static enum qgs_probe_result probe_as(mode_t mode, uint32_t capabilities)
{
        struct outcome outcome = { 0 };

        qgs_start(ANSWERS);
        ck_assert_int_eq(chown(qgs.path, 991, 988), 0);
        ck_assert_int_eq(chmod(qgs.path, mode), 0);
        drop_capabilities(capabilities);
        (void)probe_with(988, &outcome);
        advance(100);
        drop_capabilities(capabilities);
        end_loop();
        ck_assert(outcome.is_over);
        return outcome.result;
}

START_TEST(with_setgid_alone_the_driver_opens_what_the_vm_may_open)
{
        if (geteuid() == 0)
                ck_assert_int_eq(probe_as(0660, 1U << CAP_SETGID), QGS_PROBE_ANSWERED);
}
END_TEST

START_TEST(with_setgid_alone_the_driver_opens_nothing_that_the_vm_may_not)
{
        if (geteuid() == 0)
                ck_assert_int_eq(probe_as(0600, 1U << CAP_SETGID), QGS_PROBE_NOT_ALLOWED);
}
END_TEST

START_TEST(without_a_capability_a_refusal_is_not_an_answer)
{
        if (geteuid() == 0)
                ck_assert_int_eq(probe_as(0660, 0), QGS_PROBE_NOT_ALLOWED);
}
END_TEST

/* ---- for a person ---- */

static atomic_bool is_judged;

static void *serve(void *unused)
{
        while (!atomic_load(&is_judged)) {
                struct timespec pause = { .tv_nsec = 1000000 };

                qgs_serve();
                (void)nanosleep(&pause, NULL);
        }
        return NULL;
}

/* With QGS in a thread of its own meanwhile. */
static enum qgs_state judge(bool finishes)
{
        struct qgs_verdict_state state;
        pthread_t thread;

        atomic_store(&is_judged, false);
        ck_assert_int_eq(pthread_create(&thread, NULL, serve, NULL), 0);
        qgs_judge_once(qgs.root, "/run/tdx-qgs/qgs.socket", &state);
        if (finishes)
                qgs_judge_finish();
        atomic_store(&is_judged, true);
        pthread_join(thread, NULL);
        ck_assert((state.state == QGS_ANSWERING) == !state.reason[0]);
        return state.state;
}

START_TEST(a_person_is_told_what_the_driver_finds)
{
        static const struct {
                enum manner manner;
                enum qgs_state state;
        } rows[] = { { ANSWERS, QGS_ANSWERING },
                     { ANSWERS_IN_PIECES, QGS_ANSWERING },
                     { FAILS, QGS_FAILING },
                     { CLOSES, QGS_FAILING } };

        for (size_t i = 0; i < array_size(rows); ++i) {
                qgs = (struct qgs){ 0 };
                qgs_start(rows[i].manner);
                ck_assert_int_eq(judge(true), rows[i].state);
                ck_assert_uint_eq(qgs.n_early, 0);
                ck_assert_uint_eq(qgs.max_open, 1);
                qgs_end();
                remove_root();
        }
}
END_TEST

START_TEST(a_person_is_told_of_a_socket_that_is_not_served)
{
        qgs_start(ANSWERS);
        qgs_die();
        ck_assert_int_eq(judge(true), QGS_STALE);
        ck_assert_int_eq(unlink(qgs.path), 0);
        ck_assert_int_eq(judge(true), QGS_ABSENT);
}
END_TEST

START_TEST(a_person_is_told_of_silence_while_the_connection_stays)
{
        qgs_start(IS_SILENT);
        atomic_store(&hurry, 20);
        ck_assert_int_eq(judge(false), QGS_HUNG);
        qgs_serve();
        ck_assert_uint_eq(qgs.n_open, 1);
        ck_assert_uint_eq(qgs.n_early, 0);
        ck_assert_uint_gt(qgs_judge_pending_ms(), 0);
        ck_assert_uint_le(qgs_judge_pending_ms(), QGS_PROBE_SERVER_TIMEOUT_MS);

        /* The answer, or QGS's own time, ends it. */
        qgs_wake(ANSWERS);
        qgs_judge_finish();
        ck_assert_uint_eq(qgs_judge_pending_ms(), 0);
        ck_assert_uint_eq(qgs.n_early, 0);
        qgs_end();
}
END_TEST

START_TEST(the_wait_for_a_silent_qgs_ends)
{
        qgs_start(IS_SILENT);
        atomic_store(&hurry, 20);
        ck_assert_int_eq(judge(true), QGS_HUNG);
        qgs_serve();
        ck_assert_uint_eq(qgs.n_open, 0);
        qgs_end();
}
END_TEST

SUITE("probe", a_whole_request_goes_out_in_one_write_and_its_answer_is_read,
      an_error_and_an_end_without_an_answer_are_failing,
      silence_is_told_after_five_seconds_and_a_late_answer_is_still_read,
      a_connection_is_given_up_when_qgs_own_30_s_for_it_are_certainly_over,
      what_qgs_closes_after_its_thirty_seconds_was_silence_and_not_a_failure,
      where_nothing_listens_a_connection_is_refused, a_backlog_that_is_full_is_told,
      a_path_that_host_root_makes_too_long_is_connected_to,
      an_orderly_stop_waits_two_seconds_for_the_answer,
      an_orderly_stop_waits_no_longer_than_two_seconds,
      with_setgid_alone_the_driver_opens_what_the_vm_may_open,
      with_setgid_alone_the_driver_opens_nothing_that_the_vm_may_not,
      without_a_capability_a_refusal_is_not_an_answer, a_person_is_told_what_the_driver_finds,
      a_person_is_told_of_a_socket_that_is_not_served,
      a_person_is_told_of_silence_while_the_connection_stays, the_wait_for_a_silent_qgs_ends);
