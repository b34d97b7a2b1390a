/* SPDX-License-Identifier: Apache-2.0 */
/* A stand-in QGS on a real socket that counts what its clients do. No test waits for real time: the
 * clock is this program's. */
#pragma once

#undef _FORTIFY_SOURCE /* it makes poll() an inline function, which could not be replaced here */

#include "base/memory.h"
#include "host/qgs_probe.h"
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
        unsigned n_requests, n_torn; /* n_torn: that did not come in one write */
        unsigned n_early; /* connections that the other side closed before there was an answer */
};

static struct qgs qgs;

static inline int remove_one(const char *path, const struct stat *file, int type, struct FTW *place)
{
        return remove(path);
}

static inline void remove_root(void)
{
        (void)nftw(qgs.root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static inline void qgs_bind(const char *path)
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

static inline void qgs_make_host(void)
{
        _cleanup_(free) char *directory = NULL, *run = NULL;

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

static inline void qgs_start(enum manner manner)
{
        qgs_make_host();
        qgs.manner = manner;
        qgs_bind("/run/tdx-qgs/qgs.socket");
}

static inline void qgs_drop(int *connection)
{
        close(*connection);
        *connection = -1;
        --qgs.n_open;
}

static inline void qgs_reply(int *connection)
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

static inline void qgs_read(int *connection)
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

static inline void qgs_accept(void)
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

static inline void qgs_serve(void)
{
        qgs_accept();
        for (size_t i = 0; i < CONNECTIONS_MAX; ++i)
                if (qgs.connections[i] >= 0)
                        qgs_read(&qgs.connections[i]);
}

/* Answers or closes the waiting connections, in this manner. */
static inline void qgs_wake(enum manner manner)
{
        qgs.manner = manner;
        for (size_t i = 0; i < CONNECTIONS_MAX; ++i)
                if (qgs.connections[i] >= 0)
                        qgs_reply(&qgs.connections[i]);
}

/* Ends without removing its socket, as after kill -9. */
static inline void qgs_die(void)
{
        close(qgs.listen_fd);
        qgs.listen_fd = -1;
        for (size_t i = 0; i < CONNECTIONS_MAX; ++i)
                if (qgs.connections[i] >= 0)
                        qgs_drop(&qgs.connections[i]);
}

static inline void qgs_end(void)
{
        if (qgs.listen_fd >= 0)
                qgs_die();
}

/* ---- a probe ---- */

static uv_loop_t loop;
static uint64_t moment_ms; /* by this clock, since the test began */

/* Lets time pass while both sides do their work. */
static inline void advance(uint64_t ms)
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
        unsigned n_silent; /* reports of silence while the connection stays */
        bool is_over;
        enum qgs_probe_result result;
        char failure[128];
};

static inline void on_told(void *owner, enum qgs_probe_result result, const char *failure,
                           bool is_over)
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

static inline struct qgs_probe *probe_with(gid_t group, struct outcome *outcome)
{
        ck_assert_int_eq(uv_loop_init(&loop), 0);
        return qgs_probe_start(&loop, qgs.path, group, on_told, outcome);
}

static inline struct qgs_probe *probe(struct outcome *outcome)
{
        return probe_with(QGS_VERDICT_NO_GROUP, outcome);
}

/* Checks that nothing is left of the probe. */
static inline void end_loop(void)
{
        for (unsigned i = 0; i < 10; ++i)
                uv_run(&loop, UV_RUN_NOWAIT);
        ck_assert_int_eq(uv_loop_close(&loop), 0);
        qgs_end();
}
