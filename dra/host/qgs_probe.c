/* SPDX-License-Identifier: Apache-2.0 */
#include "host/qgs_probe.h"

#include "base/memory.h"
#include "base/poll.h"
#include "base/timer.h"
#include "host/qgs_connect.h"
#include "host/qgs_message.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* ---- a connection ---- */

struct answer {
        size_t n;
        unsigned char bytes[QGS_PLATFORM_INFO_MAX];
};

/* Connect and send the request in one piece: a new connection has room for 20 bytes. */
static int ask(const char *path, gid_t group)
{
        _cleanup_(close) int fd = qgs_connect(path, group);

        if (fd < 0)
                return fd;
        if (send(fd, qgs_platform_info_request, QGS_PLATFORM_INFO_REQUEST_SIZE, MSG_NOSIGNAL) !=
            QGS_PLATFORM_INFO_REQUEST_SIZE)
                return -EPIPE; /* QGS has just ended */
        return take_fd(&fd);
}

/* Read what has arrived. False: the answer is incomplete. */
static bool hear(int fd, struct answer *answer, bool was_silent, enum qgs_probe_result *ret,
                 char *ret_failure, size_t n_failure)
{
        ssize_t n = recv(fd, answer->bytes + answer->n, sizeof(answer->bytes) - answer->n,
                         MSG_DONTWAIT);
        uint32_t error;
        int r;

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return false;
        if (n <= 0) {
                /* QGS up to 1.25 closes unanswered connections after 30 s: that counts as silence.
                 */
                *ret = was_silent ? QGS_PROBE_SILENT : QGS_PROBE_FAILING;
                (void)snprintf(ret_failure, n_failure, "%s",
                               was_silent ? "no answer in time"
                                          : "it closes connections without an answer");
                return true;
        }
        answer->n += (size_t)n;
        r = qgs_message_read_platform_info(answer->bytes, answer->n, &error, ret_failure,
                                           n_failure);
        *ret = r < 0 ? QGS_PROBE_FAILING : QGS_PROBE_ANSWERED;
        return r <= 0;
}

/* ---- on the loop ---- */

struct qgs_probe {
        struct poll *poll;
        struct timer *timeout;
        int fd;
        qgs_probe_on_told *on_told; /* NULL: abandoned */
        void *owner;
        bool is_silent; /* silence has been reported */
        struct answer answer;
};

static void finish(struct qgs_probe *probe, enum qgs_probe_result result, const char *failure)
{
        qgs_probe_on_told *on_told = probe->on_told;
        void *owner = probe->owner;

        poll_free(probe->poll);
        timer_free(probe->timeout);
        close(probe->fd);
        free(probe);
        if (on_told)
                on_told(owner, result, failure, true);
}

/* The first timeout reports silence and waits on. The second one ends the probe, as the first does
 * if the probe is abandoned. */
static void on_timeout(void *owner)
{
        struct qgs_probe *probe = owner;

        if (probe->is_silent || !probe->on_told) {
                finish(probe, QGS_PROBE_SILENT, "no answer in time");
                return;
        }
        probe->is_silent = true;
        timer_start(probe->timeout, QGS_PROBE_SERVER_TIMEOUT_MS - QGS_PROBE_SILENCE_MS);
        probe->on_told(probe->owner, QGS_PROBE_SILENT, "no answer in time", false);
}

static void on_readable(void *owner, int status, int events)
{
        struct qgs_probe *probe = owner;
        enum qgs_probe_result result;
        char failure[64] = "";

        if (hear(probe->fd, &probe->answer, probe->is_silent, &result, failure, sizeof(failure)))
                finish(probe, result, failure);
        else if (status < 0) /* libuv has stopped the poll */
                finish(probe, QGS_PROBE_OURS, strerror(-status));
}

struct qgs_probe *qgs_probe_start(uv_loop_t *loop, const char *socket, gid_t group,
                                  qgs_probe_on_told *on_told, void *owner)
{
        struct qgs_probe *probe;
        int fd = ask(socket, group);

        if (fd < 0) {
                on_told(owner, qgs_probe_result_of_connect(fd), strerror(-fd), true);
                return NULL;
        }
        probe = xcalloc(1, sizeof(*probe));
        probe->fd = fd;
        probe->on_told = on_told;
        probe->owner = owner;
        probe->timeout = timer_new(loop, on_timeout, probe);
        probe->poll = poll_new(loop, fd, on_readable, probe);
        if (!probe->poll || poll_start(probe->poll, UV_READABLE) < 0)
                abort(); /* cannot fail: the socket is new, and nothing else polls it */
        timer_start(probe->timeout, QGS_PROBE_SILENCE_MS);
        return probe;
}

void qgs_probe_abandon(struct qgs_probe *probe)
{
        if (!probe)
                return;
        probe->on_told = NULL;
        timer_start(probe->timeout, QGS_PROBE_STOP_MS);
}

/* ---- for a person ---- */

#define UNANSWERED_MAX 8 /* left open at a time; a person asks about one socket */

struct unanswered {
        int fd;
        uint64_t until_ms;
};

/* Global, as the process's descriptors are. */
static struct unanswered unanswered[UNANSWERED_MAX];
static size_t n_unanswered;

static uint64_t monotonic_ms(void)
{
        struct timespec now;

        (void)clock_gettime(CLOCK_MONOTONIC, &now);
        return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void wait_until(uint64_t until_ms)
{
        for (uint64_t now = monotonic_ms(); now < until_ms; now = monotonic_ms())
                (void)poll(NULL, 0, (int)(until_ms - now));
}

/* False: no whole answer came by until_ms. */
static bool wait_for(int fd, struct answer *answer, uint64_t until_ms, bool was_silent,
                     enum qgs_probe_result *ret, char *ret_failure, size_t n_failure)
{
        struct pollfd waiting = { .fd = fd, .events = POLLIN };

        for (uint64_t now = monotonic_ms(); now < until_ms; now = monotonic_ms())
                if (poll(&waiting, 1, (int)(until_ms - now)) > 0 &&
                    hear(fd, answer, was_silent, ret, ret_failure, n_failure))
                        return true;
        return false;
}

static enum qgs_probe_result probe_once(const char *path, gid_t group, char *ret_failure,
                                        size_t n_failure)
{
        _cleanup_(close) int fd = ask(path, group);
        enum qgs_probe_result result = QGS_PROBE_SILENT;
        struct answer answer = { .n = 0 };
        uint64_t asked_ms = monotonic_ms();

        if (fd < 0) {
                (void)snprintf(ret_failure, n_failure, "%s", strerror(-fd));
                return qgs_probe_result_of_connect(fd);
        }
        if (wait_for(fd, &answer, asked_ms + QGS_PROBE_SILENCE_MS, false, &result, ret_failure,
                     n_failure))
                return result;
        (void)snprintf(ret_failure, n_failure, "no answer in time");
        /* No room is left: wait for the open ones, because closing one early may crash QGS. */
        if (n_unanswered == UNANSWERED_MAX)
                qgs_judge_finish();
        unanswered[n_unanswered++] =
                (struct unanswered){ .fd = take_fd(&fd),
                                     .until_ms = asked_ms + QGS_PROBE_SERVER_TIMEOUT_MS };
        return QGS_PROBE_SILENT;
}

void qgs_judge_vm_once(const struct qgs_place *place, struct qgs_verdict_state *ret)
{
        struct qgs_verdict verdict;
        uint64_t until_ms = monotonic_ms() + QGS_PROBE_SILENCE_MS;

        qgs_verdict_init(&verdict, place->socket, monotonic_ms());
        while (verdict.in_force.state == QGS_UNKNOWN && monotonic_ms() < until_ms) {
                _cleanup_(free) char *path = NULL;
                struct qgs_sight sight;
                char failure[64] = "";
                enum qgs_probe_result result;

                path = qgs_look(place, &sight);
                (void)qgs_verdict_see(&verdict, &sight, monotonic_ms());
                if (qgs_verdict_next_probe_ms(&verdict) == UINT64_MAX)
                        break;
                wait_until(qgs_verdict_next_probe_ms(&verdict));
                result = probe_once(path, qgs_verdict_group(&verdict), failure, sizeof(failure));
                (void)qgs_verdict_probed(&verdict, result, failure, monotonic_ms());
        }
        *ret = verdict.in_force;
        if (ret->state == QGS_UNKNOWN)
                (void)snprintf(ret->reason, sizeof(ret->reason), "%s could not be asked",
                               place->socket);
}

void qgs_judge_once(const char *root, const char *socket, struct qgs_verdict_state *ret)
{
        const struct qgs_place place = { .root = root, .socket = socket, .vm_socket = socket };

        qgs_judge_vm_once(&place, ret);
}

uint64_t qgs_judge_pending_ms(void)
{
        uint64_t now = monotonic_ms(), most_ms = 0;

        for (size_t i = 0; i < n_unanswered; ++i)
                if (unanswered[i].until_ms > now + most_ms)
                        most_ms = unanswered[i].until_ms - now;
        return most_ms;
}

void qgs_judge_finish(void)
{
        while (n_unanswered) {
                struct unanswered *last = &unanswered[--n_unanswered];
                struct answer answer = { .n = 0 };
                enum qgs_probe_result result;
                char failure[64];

                (void)wait_for(last->fd, &answer, last->until_ms, true, &result, failure,
                               sizeof(failure));
                close(last->fd);
        }
}
