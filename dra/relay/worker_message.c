/* SPDX-License-Identifier: Apache-2.0 */
#include "relay/worker_message.h"

#include "base/memory.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

/* ---- what is a message ---- */

static const struct {
        enum worker_side from;
        bool has_fd;
} kinds[] = {
        [WORKER_LIMITS] = { WORKER_SIDE_HOLDER, false },
        [WORKER_THREADS] = { WORKER_SIDE_HOLDER, false },
        [WORKER_LISTEN] = { WORKER_SIDE_HOLDER, true },
        [WORKER_UNLISTEN] = { WORKER_SIDE_HOLDER, false },
        [WORKER_ACCEPTING] = { WORKER_SIDE_HOLDER, false },
        [WORKER_CONNECTED] = { WORKER_SIDE_HOLDER, true },
        [WORKER_NOT_CONNECTED] = { WORKER_SIDE_HOLDER, false },
        [WORKER_ASK] = { WORKER_SIDE_HOLDER, false },
        [WORKER_PING] = { WORKER_SIDE_HOLDER, false },
        [WORKER_CONNECT] = { WORKER_SIDE_WORKER, false },
        [WORKER_RELEASED] = { WORKER_SIDE_WORKER, false },
        [WORKER_OUTCOME] = { WORKER_SIDE_WORKER, false },
        [WORKER_QGS] = { WORKER_SIDE_WORKER, false },
        [WORKER_PONG] = { WORKER_SIDE_WORKER, false },
        [WORKER_STATE] = { WORKER_SIDE_WORKER, false },
};

static bool is_td(const struct relay_td *td)
{
        return td->device < RELAY_DEVICES_MAX && td->path < RELAY_N_PATHS;
}

static bool are_limits(const struct worker_limits *limits)
{
        return limits->n_connections && limits->n_requests && limits->half_ms && limits->idle_ms &&
               limits->retry_ms && limits->answer_ms > limits->retry_ms && limits->probe_ms > 1 &&
               limits->server_ms > limits->probe_ms;
}

static bool has_possible_values(const struct worker_message *message)
{
        switch (message->kind) {
        case WORKER_LIMITS:
                return are_limits(&message->limits);
        case WORKER_LISTEN:
                return is_td(&message->listener.td);
        case WORKER_NOT_CONNECTED:
                return message->cause < 0;
        case WORKER_OUTCOME:
                return is_td(&message->outcome.td) && message->outcome.outcome < RELAY_N_OUTCOMES &&
                       message->outcome.cause <= 0;
        case WORKER_QGS:
                return message->qgs.result < WORKER_QGS_N_RESULTS;
        default:
                return true;
        }
}

int worker_message_check(const struct worker_message *message, enum worker_side from, int has_fd)
{
        uint32_t kind = message->kind;

        if (!kind || kind >= array_size(kinds) || kinds[kind].from != from ||
            kinds[kind].has_fd != (bool)has_fd || !has_possible_values(message))
                return -EBADMSG;
        return 0;
}

/* ---- on the wire ---- */

union control {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
};

int worker_message_send(int fd, const struct worker_message *message, int passed_fd)
{
        union control control = { .bytes = { 0 } };
        struct iovec bytes = { .iov_base = (void *)message, .iov_len = sizeof(*message) };
        struct msghdr header = { .msg_iov = &bytes, .msg_iovlen = 1 };
        ssize_t n;

        if (passed_fd >= 0) {
                header.msg_control = control.bytes;
                header.msg_controllen = sizeof(control.bytes);
                control.header.cmsg_level = SOL_SOCKET;
                control.header.cmsg_type = SCM_RIGHTS;
                control.header.cmsg_len = CMSG_LEN(sizeof(int));
                memcpy(CMSG_DATA(&control.header), &passed_fd, sizeof(int));
        }
        do
                n = sendmsg(fd, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
        while (n < 0 && errno == EINTR);
        return n < 0 ? -errno : 0;
}

/* The buffer holds one descriptor; the kernel closes any more. */
static int passed_with(struct msghdr *header)
{
        const struct cmsghdr *control = CMSG_FIRSTHDR(header);
        int fd = -1;

        if (control && control->cmsg_level == SOL_SOCKET && control->cmsg_type == SCM_RIGHTS &&
            control->cmsg_len == CMSG_LEN(sizeof(int)))
                memcpy(&fd, CMSG_DATA(control), sizeof(int));
        return fd;
}

int worker_message_receive(int fd, enum worker_side from, struct worker_message *ret, int *ret_fd)
{
        union control control = { .bytes = { 0 } };
        struct worker_message message;
        struct iovec bytes = { .iov_base = &message, .iov_len = sizeof(message) };
        struct msghdr header = { .msg_iov = &bytes,
                                 .msg_iovlen = 1,
                                 .msg_control = control.bytes,
                                 .msg_controllen = sizeof(control.bytes) };
        _cleanup_(close) int passed_fd = -1;
        bool is_lost;
        ssize_t n;

        /* A reset (the peer died with messages of ours unread) is told once, before the messages
         * that the peer had sent. */
        do
                n = recvmsg(fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        while (n < 0 && (errno == EINTR || errno == ECONNRESET));
        if (n < 0)
                return -errno;
        if (n == 0)
                return 1;
        passed_fd = passed_with(&header);
        /* The kernel cuts the list short where the table of descriptors is full. */
        is_lost = passed_fd < 0 && (header.msg_flags & MSG_CTRUNC);
        if (n != sizeof(message) || (header.msg_flags & MSG_TRUNC) ||
            (passed_fd >= 0 && (header.msg_flags & MSG_CTRUNC)) ||
            worker_message_check(&message, from, passed_fd >= 0 || is_lost) < 0)
                return -EBADMSG;
        *ret = message;
        *ret_fd = take_fd(&passed_fd);
        return is_lost ? -EMFILE : 0;
}
