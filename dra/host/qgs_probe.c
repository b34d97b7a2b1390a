/* SPDX-License-Identifier: Apache-2.0 */
#include "host/qgs_probe.h"

#include "base/memory.h"
#include "host/qgs_path.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define PLATFORM_INFO_RESPONSE 5
#define HEADER_SIZE            16
#define ANSWER_MAX             4096 /* 68 with Intel's own library */

struct qgs_probe {
        uv_poll_t poll;
        uv_timer_t timeout;
        int fd;
        unsigned n_open; /* handles, while closing */
        qgs_probe_on_done *on_done;
        void *owner;
        size_t n;
        unsigned char answer[ANSWER_MAX];
};

/* ---- looking ---- */

void qgs_look(const char *socket, struct qgs_sight *ret)
{
        __attribute__((cleanup(cleanup_free))) char *directory = xstrdup(socket);
        struct stat above, file;

        *ret = (struct qgs_sight){ 0 };
        *strrchr(directory, '/') = '\0';
        if (stat(directory, &above) < 0 || stat(socket, &file) < 0) {
                ret->code = -errno;
                return;
        }
        if (!S_ISSOCK(file.st_mode)) {
                ret->code = -ENOTSOCK;
                return;
        }
        ret->device = file.st_dev;
        ret->inode = file.st_ino;
        ret->changed = file.st_ctim;
        ret->mode = file.st_mode & 07777;
        ret->uid = file.st_uid;
        ret->gid = file.st_gid;
        ret->directory_mode = above.st_mode & 07777;
        ret->directory_uid = above.st_uid;
        ret->directory_gid = above.st_gid;
}

/* ---- asking ---- */

static uint32_t read_le32(const unsigned char *bytes)
{
        return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
               (uint32_t)bytes[3] << 24;
}

static uint32_t read_be32(const unsigned char *bytes)
{
        return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 |
               (uint32_t)bytes[3];
}

int qgs_probe_parse_answer(const unsigned char *bytes, size_t n, char *ret_failure,
                           size_t n_failure)
{
        uint32_t length, error;

        if (n < 4)
                return 1;
        length = read_be32(bytes);
        if (length < HEADER_SIZE || length > ANSWER_MAX - 4) {
                snprintf(ret_failure, n_failure, "its answer claims to have %u bytes", length);
                return -EBADMSG;
        }
        if (n < 4 + (size_t)length)
                return 1;
        bytes += 4;
        error = read_le32(bytes + 12);
        if (error) {
                snprintf(ret_failure, n_failure, "it answers with error 0x%x", error);
                return -EBADMSG;
        }
        if (read_le32(bytes + 4) != PLATFORM_INFO_RESPONSE || read_le32(bytes + 8) != length) {
                snprintf(ret_failure, n_failure, "its answer is not one of QGS");
                return -EBADMSG;
        }
        return 0;
}

static void on_closed(uv_handle_t *handle)
{
        struct qgs_probe *probe = handle->data;

        if (--probe->n_open)
                return;
        close(probe->fd);
        free(probe);
}

void qgs_probe_cancel(struct qgs_probe *probe)
{
        probe->n_open = 2;
        uv_close((uv_handle_t *)&probe->poll, on_closed);
        uv_close((uv_handle_t *)&probe->timeout, on_closed);
}

static void finish(struct qgs_probe *probe, enum qgs_probe_result result, const char *failure)
{
        qgs_probe_on_done *on_done = probe->on_done;
        void *owner = probe->owner;

        qgs_probe_cancel(probe);
        on_done(owner, result, failure);
}

static void on_timeout(uv_timer_t *timeout)
{
        finish(timeout->data, QGS_PROBE_HUNG, "no answer in time");
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
        struct qgs_probe *probe = poll->data;
        char failure[64] = "";
        ssize_t n;
        int r;

        n = recv(probe->fd, probe->answer + probe->n, sizeof(probe->answer) - probe->n, 0);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return;
        if (n <= 0) {
                finish(probe, QGS_PROBE_HUNG, "it closes connections without an answer");
                return;
        }
        probe->n += (size_t)n;
        r = qgs_probe_parse_answer(probe->answer, probe->n, failure, sizeof(failure));
        if (r <= 0)
                finish(probe, r ? QGS_PROBE_HUNG : QGS_PROBE_CONNECTED, failure);
}

static int open_connection(const char *socket_path)
{
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        size_t n = strlen(socket_path);
        int fd;

        if (n >= sizeof(address.sun_path))
                return -ENAMETOOLONG;
        memcpy(address.sun_path, socket_path, n);
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return -errno;
        if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
                int r = -errno;

                close(fd);
                return r;
        }
        return fd;
}

static enum qgs_probe_result classify(int code)
{
        if (code == -ECONNREFUSED)
                return QGS_PROBE_REFUSED;
        return code == -EAGAIN ? QGS_PROBE_HUNG : QGS_PROBE_FAILED;
}

struct qgs_probe *qgs_probe_start(uv_loop_t *loop, const char *socket, bool asks,
                                  uint32_t timeout_ms, qgs_probe_on_done *on_done, void *owner)
{
        static const unsigned char request[] = { 0, 0, 0,  16, 1, 0, 1, 0, 4, 0,
                                                 0, 0, 16, 0,  0, 0, 0, 0, 0, 0 };
        struct qgs_probe *probe;
        int fd = open_connection(socket);

        if (fd < 0) {
                on_done(owner, classify(fd), strerror(-fd));
                return NULL;
        }
        if (!asks) {
                close(fd);
                on_done(owner, QGS_PROBE_CONNECTED, "");
                return NULL;
        }
        probe = xcalloc(1, sizeof(*probe));
        probe->fd = fd;
        probe->on_done = on_done;
        probe->owner = owner;
        uv_timer_init(loop, &probe->timeout);
        probe->timeout.data = probe;
        if (uv_poll_init(loop, &probe->poll, fd) < 0)
                abort(); /* a socket just made, and not watched by anybody */
        probe->poll.data = probe;
        /* What is too long for the socket's buffer is the service's fault: it reads nothing. */
        (void)send(fd, request, sizeof(request), MSG_NOSIGNAL);
        uv_timer_start(&probe->timeout, on_timeout, timeout_ms, 0);
        uv_poll_start(&probe->poll, UV_READABLE, on_readable);
        return probe;
}

static void on_judged(void *owner, enum qgs_probe_result result, const char *failure)
{
        (void)qgs_verdict_probed(owner, result, failure, 0);
}

void qgs_judge_once(const char *root, const char *socket, struct qgs_verdict_state *ret)
{
        __attribute__((cleanup(cleanup_free))) char *path = qgs_path_seen(root, socket);
        struct qgs_verdict verdict;
        struct qgs_sight sight;

        qgs_verdict_init(&verdict, socket, QGS_VERDICT_PROBE_MS, 0);
        qgs_look(path, &sight);
        (void)qgs_verdict_see(&verdict, &sight, 0);
        if (qgs_verdict_next_probe_ms(&verdict) == 0)
                (void)qgs_probe_start(NULL, path, false, 0, on_judged, &verdict);
        *ret = verdict.in_force;
}
