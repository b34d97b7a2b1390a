/* SPDX-License-Identifier: Apache-2.0 */
#include "host/relay_connection.h"

#include "base/error.h"
#include "base/list.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/poll.h"
#include "base/text.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <uv.h>

/* Descriptors in one piece: the kernel's SCM_MAX_FD. We send one with a line. */
#define FDS_AT_ONCE 253
/* Descriptors that wait for their lines. A line arrives right after its descriptor. */
#define FDS_WAITING (FDS_AT_ONCE + 1)
#define CHUNK       16384

struct unsent {
        struct list member;
        char *line;
        size_t n, n_sent;
        int fd; /* goes with the first byte; -1 */
};

struct connection {
        int fd;
        struct poll *poll;
        const struct connection_handlers *handlers;
        void *owner;
        bool is_hearing; /* handlers run, and may free it: the memory goes after them */
        bool is_freed;
        bool wants_room;

        struct list unsent;
        size_t n_unsent;

        struct text partial; /* the incomplete last line */
        int fds[FDS_WAITING];
        size_t n_fds;
};

/* ---- sending ---- */

static void drop(struct connection *connection, struct unsent *unsent)
{
        list_unlink(&unsent->member);
        --connection->n_unsent;
        free(unsent->line);
        free(unsent);
}

static ssize_t send_piece(int fd, const struct unsent *unsent)
{
        union {
                char bytes[CMSG_SPACE(sizeof(int))];
                struct cmsghdr aligned;
        } control = { { 0 } };
        struct iovec piece = { .iov_base = unsent->line + unsent->n_sent,
                               .iov_len = unsent->n - unsent->n_sent };
        struct msghdr header = { .msg_iov = &piece, .msg_iovlen = 1 };

        if (unsent->fd >= 0 && !unsent->n_sent) {
                struct cmsghdr *rights = &control.aligned;

                header.msg_control = control.bytes;
                header.msg_controllen = sizeof(control.bytes);
                rights->cmsg_level = SOL_SOCKET;
                rights->cmsg_type = SCM_RIGHTS;
                rights->cmsg_len = CMSG_LEN(sizeof(int));
                memcpy(CMSG_DATA(rights), &unsent->fd, sizeof(int));
        }
        return sendmsg(fd, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void watch(struct connection *connection, bool wants_room)
{
        if (connection->wants_room == wants_room)
                return;
        connection->wants_room = wants_room;
        (void)poll_start(connection->poll, UV_READABLE | (wants_room ? UV_WRITABLE : 0));
}

/* A peer that is gone is noticed by reading. */
static void send_unsent(struct connection *connection)
{
        while (!list_is_empty(&connection->unsent)) {
                struct unsent *first = container_of(connection->unsent.next, struct unsent, member);
                ssize_t n = send_piece(connection->fd, first);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0) {
                        /* ETOOMANYREFS: many descriptors are on their way; the peer reads them. */
                        watch(connection, errno == EAGAIN || errno == ETOOMANYREFS);
                        return;
                }
                first->n_sent += (size_t)n;
                if (first->n_sent == first->n)
                        drop(connection, first);
        }
        watch(connection, false);
}

void connection_send(struct connection *connection, const struct relay_message *message,
                     int passed_fd)
{
        struct unsent *unsent = xcalloc(1, sizeof(*unsent));

        unsent->line = relay_message_print(message);
        unsent->n = strlen(unsent->line);
        unsent->fd = passed_fd;
        list_add_tail(&connection->unsent, &unsent->member);
        if (connection->n_unsent++ == 0)
                send_unsent(connection);
}

bool connection_is_busy(const struct connection *connection)
{
        return connection->n_unsent >= CONNECTION_BUSY;
}

/* ---- receiving ---- */

static int take_first_fd(struct connection *connection)
{
        int fd;

        if (!connection->n_fds)
                return -1;
        fd = connection->fds[0];
        --connection->n_fds;
        memmove(connection->fds, connection->fds + 1, connection->n_fds * sizeof(int));
        return fd;
}

static void keep_fds(struct connection *connection, struct msghdr *header)
{
        for (struct cmsghdr *part = CMSG_FIRSTHDR(header); part; part = CMSG_NXTHDR(header, part)) {
                size_t n = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);

                if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS)
                        continue;
                for (size_t i = 0; i < n; ++i) {
                        int fd;

                        memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof(int));
                        if (connection->n_fds < FDS_WAITING)
                                connection->fds[connection->n_fds++] = fd;
                        else
                                close(fd);
                }
        }
}

/* 0; 1: the peer has closed; -errno. */
static int read_some(struct connection *connection)
{
        union {
                char bytes[CMSG_SPACE(FDS_AT_ONCE * sizeof(int))];
                struct cmsghdr aligned;
        } control;
        char bytes[CHUNK];
        struct iovec piece = { .iov_base = bytes, .iov_len = sizeof(bytes) };
        struct msghdr header = { .msg_iov = &piece,
                                 .msg_iovlen = 1,
                                 .msg_control = control.bytes,
                                 .msg_controllen = sizeof(control.bytes) };
        ssize_t n = recvmsg(connection->fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

        if (n < 0)
                return errno == EINTR ? 0 : -errno;
        keep_fds(connection, &header);
        text_add_bytes(&connection->partial, bytes, (size_t)n);
        return n ? 0 : 1;
}

/* 0, or -EBADMSG. */
static int hear(struct connection *connection, const char *line, size_t n, struct error *err)
{
        struct relay_message message;
        int r = relay_message_parse(line, n, &message, err);

        if (r == RELAY_MESSAGE_UNKNOWN)
                log_debug("ignored a line of another version", log_str("line", line));
        if (r)
                return r < 0 ? r : 0;
        connection->handlers->on_message(connection->owner, connection, &message,
                                         message.kind == RELAY_LISTENER ? take_first_fd(connection)
                                                                        : -1);
        return 0;
}

/* 0; 1: freed meanwhile; -EBADMSG. */
static int hear_lines(struct connection *connection, struct error *err)
{
        struct text received = connection->partial;
        const char *line = received.bytes, *end;
        int r = 0;

        connection->partial = (struct text)TEXT_NULL;
        connection->is_hearing = true;
        while (!r && !connection->is_freed && received.n &&
               (end = memchr(line, '\n', received.n - (size_t)(line - received.bytes)))) {
                r = hear(connection, line, (size_t)(end - line), err);
                line = end + 1;
        }
        connection->is_hearing = false;
        if (!connection->is_freed && received.n)
                text_add_bytes(&connection->partial, line,
                               received.n - (size_t)(line - received.bytes));
        text_deinit(&received);
        if (connection->is_freed) {
                free(connection);
                return 1;
        }
        if (!r && connection->partial.n >= RELAY_LINE_MAX)
                r = error_set(err, -EBADMSG, "a line of more than %u bytes", RELAY_LINE_MAX);
        return r;
}

static void end(struct connection *connection, const char *reason)
{
        poll_stop(connection->poll);
        connection->handlers->on_end(connection->owner, connection, reason);
}

/* At an end or an error, libuv has stopped the poll; what the peer said before is still there. */
static void receive(struct connection *connection, int status)
{
        struct error error = ERROR_NULL;
        int r, heard;

        do {
                r = read_some(connection);
                heard = hear_lines(connection, &error);
                if (heard == 1)
                        return;
        } while (status < 0 && !r && !heard);
        if (heard < 0)
                end(connection, error.text);
        else if (r == 1)
                end(connection, "closed by the peer");
        else if (r < 0 && r != -EAGAIN)
                end(connection, strerror(-r));
        else if (status < 0)
                end(connection, strerror(-status));
}

static void on_ready(void *owner, int status, int events)
{
        struct connection *connection = owner;

        if (status == 0 && (events & UV_WRITABLE)) {
                send_unsent(connection);
                if (!connection->n_unsent && connection->handlers->on_idle)
                        connection->handlers->on_idle(connection->owner, connection);
        }
        if (status < 0 || (events & UV_READABLE))
                receive(connection, status);
}

/* ---- the whole ---- */

struct connection *connection_new(uv_loop_t *loop, int fd,
                                  const struct connection_handlers *handlers, void *owner)
{
        struct connection *connection = xcalloc(1, sizeof(*connection));

        connection->fd = fd;
        connection->handlers = handlers;
        connection->owner = owner;
        list_init(&connection->unsent);
        connection->poll = poll_new(loop, fd, on_ready, connection);
        if (!connection->poll || poll_start(connection->poll, UV_READABLE) < 0)
                abort(); /* cannot fail: it is a socket, and nothing else polls it */
        return connection;
}

void connection_free(struct connection *connection)
{
        int fd;

        if (!connection)
                return;
        while (!list_is_empty(&connection->unsent))
                drop(connection, container_of(connection->unsent.next, struct unsent, member));
        while ((fd = take_first_fd(connection)) >= 0)
                close(fd);
        text_deinit(&connection->partial);
        poll_free(connection->poll);
        close(connection->fd);
        connection->is_freed = true;
        if (!connection->is_hearing)
                free(connection);
}
