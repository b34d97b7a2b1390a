/* SPDX-License-Identifier: Apache-2.0 */
/* Against a real socket whose other side counts what it is done to. Nothing waits for time to pass:
 * the clock is this program's. */
#include "host/qgs_probe.h"

#include "base/memory.h"
#include "host/qgs_watch.h"
#include "unit/suite.h"

#include <errno.h>
#include <ftw.h>
#include <linux/capability.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* ---- the clock, of libuv and of qgs_judge_once() ---- */

#define VISIBLE __attribute__((visibility("default")))

static atomic_ullong passed_ms;
static atomic_int hurry = 1; /* how many times faster than real time poll() is over */

VISIBLE int clock_gettime(clockid_t clock, struct timespec *ret)
{
        uint64_t ms = atomic_load(&passed_ms);

        if (clock != CLOCK_MONOTONIC && clock != CLOCK_MONOTONIC_COARSE)
                return (int)syscall(SYS_clock_gettime, clock, ret);
        *ret = (struct timespec){ .tv_sec = (time_t)(1000 + ms / 1000),
                                  .tv_nsec = (long)(ms % 1000) * 1000000 };
        return 0;
}

VISIBLE int poll(struct pollfd *fds, nfds_t n, int timeout_ms)
{
        int r = (int)syscall(SYS_poll, fds, n, timeout_ms / atomic_load(&hurry));

        if (r == 0)
                atomic_fetch_add(&passed_ms, (unsigned long long)timeout_ms);
        return r;
}

/* ---- QGS ---- */

#define CONNECTIONS_MAX 64

static const unsigned char request[] = { 0, 0, 0,  16, 1, 0, 1, 0, 4, 0,
                                         0, 0, 16, 0,  0, 0, 0, 0, 0, 0 };
static const unsigned char answer[68] = { 0, 0, 0, 64, 1, 0, 1, 0, 5, 0, 0, 0, 64 };
static const unsigned char error_answer[28] = { 0, 0, 0,  24, 1, 0, 1,    0,    1, 0,
                                                0, 0, 24, 0,  0, 0, 0x01, 0x20, 1 };

enum manner { ANSWERS, ANSWERS_IN_PIECES, FAILS, CLOSES, IS_SILENT };

struct qgs {
        char root[64];
        char path[256]; /* of the socket */
        int listen_fd;
        enum manner manner;
        int connections[CONNECTIONS_MAX];
        unsigned n_open, max_open;
        unsigned n_requests, n_torn; /* that did not come in one write */
        unsigned n_early; /* connections that the other side closed before there was an answer */
};

static struct qgs qgs;

static int remove_one(const char *path, const struct stat *file, int type, struct FTW *place)
{
        return remove(path);
}

static void remove_root(void)
{
        (void)nftw(qgs.root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void qgs_bind(const char *path)
{
        struct sockaddr_un address = { .sun_family = AF_UNIX };

        (void)snprintf(qgs.path, sizeof(qgs.path), "%s%s", qgs.root, path);
        (void)unlink(qgs.path);
        ck_assert_uint_lt(strlen(qgs.path), sizeof(address.sun_path));
        memcpy(address.sun_path, qgs.path, strlen(qgs.path));
        qgs.listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        ck_assert_int_eq(bind(qgs.listen_fd, (struct sockaddr *)&address, sizeof(address)), 0);
        ck_assert_int_eq(listen(qgs.listen_fd, 16), 0);
        ck_assert_int_eq(chmod(qgs.path, 0666), 0);
}

static void qgs_make_host(void)
{
        __attribute__((cleanup(cleanup_free))) char *directory = NULL, *run = NULL;

        (void)snprintf(qgs.root, sizeof(qgs.root), "/tmp/test-qgs-probe.XXXXXX");
        ck_assert_ptr_nonnull(mkdtemp(qgs.root));
        atexit(remove_root);
        run = xasprintf("%s/run", qgs.root);
        directory = xasprintf("%s/run/tdx-qgs", qgs.root);
        ck_assert_int_eq(chmod(qgs.root, 0755), 0);
        ck_assert_int_eq(mkdir(run, 0755), 0);
        ck_assert_int_eq(mkdir(directory, 0755), 0);
        for (size_t i = 0; i < CONNECTIONS_MAX; ++i)
                qgs.connections[i] = -1;
        qgs.listen_fd = -1;
}

static void qgs_start(enum manner manner)
{
        qgs_make_host();
        qgs.manner = manner;
        qgs_bind("/run/tdx-qgs/qgs.socket");
}

static void qgs_drop(int *connection)
{
        close(*connection);
        *connection = -1;
        --qgs.n_open;
}

static void qgs_reply(int *connection)
{
        const unsigned char *bytes = qgs.manner == FAILS ? error_answer : answer;
        size_t n = qgs.manner == FAILS ? sizeof(error_answer) : sizeof(answer);

        if (qgs.manner == IS_SILENT)
                return;
        if (qgs.manner == ANSWERS_IN_PIECES)
                for (size_t i = 0; i < n; ++i)
                        ck_assert_int_eq(send(*connection, bytes + i, 1, MSG_NOSIGNAL), 1);
        else if (qgs.manner != CLOSES)
                ck_assert_int_eq(send(*connection, bytes, n, MSG_NOSIGNAL), n);
        qgs_drop(connection);
}

static void qgs_read(int *connection)
{
        unsigned char bytes[64];
        ssize_t n = recv(*connection, bytes, sizeof(bytes), MSG_DONTWAIT);

        if (n < 0)
                return;
        if (n == 0) {
                ++qgs.n_early;
                qgs_drop(connection);
                return;
        }
        ++qgs.n_requests;
        qgs.n_torn += n != sizeof(request) || memcmp(bytes, request, sizeof(request)) != 0;
        qgs_reply(connection);
}

static void qgs_accept(void)
{
        int fd;

        while (qgs.listen_fd >= 0 && (fd = accept(qgs.listen_fd, NULL, NULL)) >= 0) {
                size_t i = 0;

                while (qgs.connections[i] >= 0)
                        ck_assert_uint_lt(++i, CONNECTIONS_MAX);
                qgs.connections[i] = fd;
                if (++qgs.n_open > qgs.max_open)
                        qgs.max_open = qgs.n_open;
        }
}

static void qgs_serve(void)
{
        qgs_accept();
        for (size_t i = 0; i < CONNECTIONS_MAX; ++i)
                if (qgs.connections[i] >= 0)
                        qgs_read(&qgs.connections[i]);
}

/* What was kept waiting is answered, or closed, in the present manner. */
static void qgs_wake(enum manner manner)
{
        qgs.manner = manner;
        for (size_t i = 0; i < CONNECTIONS_MAX; ++i)
                if (qgs.connections[i] >= 0)
                        qgs_reply(&qgs.connections[i]);
}

/* Without its socket's removal, as kill -9 ends it. */
static void qgs_die(void)
{
        close(qgs.listen_fd);
        qgs.listen_fd = -1;
        for (size_t i = 0; i < CONNECTIONS_MAX; ++i)
                if (qgs.connections[i] >= 0)
                        qgs_drop(&qgs.connections[i]);
}

static void qgs_end(void)
{
        if (qgs.listen_fd >= 0)
                qgs_die();
}

/* ---- a probe ---- */

static uv_loop_t loop;
static uint64_t moment_ms; /* by this clock, since the test began */

/* Both sides do what there is to do, as time passes. */
static void advance(uint64_t ms)
{
        const uint64_t step_ms = 10;

        for (uint64_t i = 0; i < ms; i += step_ms) {
                atomic_fetch_add(&passed_ms, step_ms);
                moment_ms += step_ms;
                uv_run(&loop, UV_RUN_NOWAIT);
                qgs_serve();
        }
}

struct outcome {
        unsigned n_silent; /* told while the connection stays */
        bool is_over;
        enum qgs_probe_result result;
        char failure[128];
};

static void on_told(void *owner, enum qgs_probe_result result, const char *failure, bool is_over)
{
        struct outcome *outcome = owner;

        ck_assert(!outcome->is_over);
        if (!is_over) {
                ck_assert_int_eq(result, QGS_PROBE_SILENT);
                ++outcome->n_silent;
                return;
        }
        outcome->is_over = true;
        outcome->result = result;
        (void)snprintf(outcome->failure, sizeof(outcome->failure), "%s", failure);
}

static struct qgs_probe *probe_with(gid_t group, struct outcome *outcome)
{
        ck_assert_int_eq(uv_loop_init(&loop), 0);
        return qgs_probe_start(&loop, qgs.path, group, on_told, outcome);
}

static struct qgs_probe *probe(struct outcome *outcome)
{
        return probe_with(QGS_VERDICT_NO_GROUP, outcome);
}

/* Nothing is left of the probe. */
static void end_loop(void)
{
        for (unsigned i = 0; i < 10; ++i)
                uv_run(&loop, UV_RUN_NOWAIT);
        ck_assert_int_eq(uv_loop_close(&loop), 0);
        qgs_end();
}

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
        __attribute__((cleanup(cleanup_free))) char *from = NULL;
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
        __attribute__((cleanup(cleanup_free))) char *name = NULL;
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

        /* The answer, or QGS's own time, ends it. */
        qgs_wake(ANSWERS);
        qgs_judge_finish();
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

/* ---- the answer ---- */

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
                /* Minor versions are all the same to it. */
                { { 0, 0, 0, 64, 1, 0, 2, 0, 5, 0, 0, 0, 64 }, 68, 0, "" },
                { { 0, 0, 0, 64, 2, 0, 1, 0, 5, 0, 0, 0, 64 }, 68, -EBADMSG, "not one of QGS" },
                { { 0, 0, 0, 64, 0, 0, 1, 0, 5, 0, 0, 0, 64 }, 68, -EBADMSG, "not one of QGS" },
                /* Its error for PLATFORM_INFO has 32 bytes, its error for what it did not
                 * understand 28 and type 1. */
                { { 0, 0, 0, 28, 1, 0, 1, 0, 5, 0, 0, 0, 28, 0, 0, 0, 1, 0x20, 1, 0 },
                  32,
                  -EBADMSG,
                  "error 0x12001" },
                { { 0, 0, 0, 24, 1, 0, 1, 0, 1, 0, 0, 0, 24, 0, 0, 0, 6, 0x20, 1, 0 },
                  28,
                  -EBADMSG,
                  "error 0x12006" },
                { { 0, 0, 0, 24, 1, 0, 1, 0, 1, 0, 0, 0, 24, 0, 0, 0, 7, 0x20, 1, 0 },
                  28,
                  -EBADMSG,
                  "error 0x12007" },
                /* A quote, collateral. */
                { { 0, 0, 0, 64, 1, 0, 1, 0, 1, 0, 0, 0, 64 }, 68, -EBADMSG, "not one of QGS" },
                { { 0, 0, 0, 64, 1, 0, 1, 0, 3, 0, 0, 0, 64 }, 68, -EBADMSG, "not one of QGS" },
                { { 0, 0, 0, 64, 1, 0, 1, 0, 5, 0, 0, 0, 63 }, 68, -EBADMSG, "not one of QGS" },
                { { 0, 0, 0, 15 }, 4, -EBADMSG, "15 bytes" },
                { { 0xff, 0xff, 0xff, 0xff }, 4, -EBADMSG, "4294967295 bytes" },
                { { 0x81, 0, 2, 0 }, 4, -EBADMSG, "2164261376 bytes" },
        };

        for (size_t i = 0; i < array_size(rows); ++i) {
                char failure[64] = "";
                int r = qgs_probe_parse_answer(rows[i].bytes, rows[i].n, failure, sizeof(failure));

                ck_assert_msg(r == rows[i].r, "row %zu: %d %s", i, r, failure);
                ck_assert_ptr_nonnull(strstr(failure, rows[i].failure));
        }
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
      without_a_capability_a_refusal_is_not_an_answer,
      qgs_is_asked_every_ten_seconds_by_one_connection_at_a_time_and_none_is_closed_early,
      a_hung_qgs_is_seen_within_fifteen_seconds_and_asked_once_meanwhile,
      a_qgs_that_was_killed_is_stale_within_twelve_seconds,
      a_qgs_that_is_killed_under_a_request_is_stale_and_never_failing,
      a_restart_is_answering_again_at_once, errors_are_failing_within_twelve_seconds,
      while_a_connection_is_open_no_other_is_opened_even_to_another_socket,
      a_link_beside_the_socket_leads_to_it_and_its_end_is_seen_at_once,
      a_person_is_told_what_the_driver_finds, a_person_is_told_of_a_socket_that_is_not_served,
      a_person_is_told_of_silence_while_the_connection_stays, the_wait_for_a_silent_qgs_ends,
      answers_are_read_byte_by_byte);
