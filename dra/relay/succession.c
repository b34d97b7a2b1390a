/* SPDX-License-Identifier: Apache-2.0 */
#include "relay/succession.h"

#include "base/log.h"
#include "base/memory.h"
#include "base/timer.h"
#include "host/relay_connection.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <uv.h>

#define LOCK          "relay.lock"
#define TURN_RETRY_MS 20

struct succession {
        uv_loop_t *loop;
        const char *directory;
        int directory_fd;
        const struct succession_handlers *handlers;
        void *owner;
        int lock_fd; /* held while starting */
        struct timer *turn;
        uint64_t begin_ms;
        struct connection *connection; /* NULL: the predecessor is gone */
        struct timer *patience;
        bool has_handover, is_taken;
        uint32_t n_expected; /* listeners */
        bool has_configuration;
        struct relay_configuration configuration;
};

static void fail(struct succession *succession, const char *reason)
{
        timer_stop(succession->patience);
        connection_free(take_ptr(succession->connection));
        succession->handlers->on_alone(succession->owner, reason);
}

static void check_taken(struct succession *succession)
{
        if (succession->is_taken || !succession->has_handover || succession->n_expected)
                return;
        succession->is_taken = true;
        timer_stop(succession->patience);
        succession->handlers->on_taken(succession->owner, succession->has_configuration
                                                                  ? &succession->configuration
                                                                  : NULL);
}

static void take_handover(struct succession *succession, const struct relay_message *message)
{
        succession->has_handover = true;
        succession->n_expected = message->count;
        succession->has_configuration = message->has_configuration;
        succession->configuration = message->configuration;
}

/* Without its descriptor (this process has no room for more) it will be bound again. */
static void take_listener(struct succession *succession, const struct relay_listener *listener,
                          int fd)
{
        if (succession->n_expected)
                --succession->n_expected;
        if (fd >= 0)
                succession->handlers->on_listener(succession->owner, listener, fd);
        else
                log_error("a listening socket was lost on its way from the previous relay",
                          log_str("path", relay_path_name(listener->td.path)),
                          log_int("device", listener->td.device));
}

static void on_message(void *owner, struct connection *connection,
                       const struct relay_message *message, int fd)
{
        struct succession *succession = owner;
        const struct succession_handlers *handlers = succession->handlers;

        if (message->kind == RELAY_HANDOVER && !succession->has_handover)
                take_handover(succession, message);
        else if (message->kind == RELAY_LISTENER && !succession->is_taken)
                take_listener(succession, &message->listener, take_fd(&fd));
        else if (message->kind == RELAY_QUOTE)
                handlers->on_quote(succession->owner, &message->quote);
        else if (message->kind == RELAY_SNAPSHOT)
                handlers->on_snapshot(succession->owner, &message->snapshot);
        else if (message->kind == RELAY_REMAINING)
                handlers->on_remaining(succession->owner, message->count);
        cleanup_close(&fd);
        check_taken(succession);
}

static void on_end(void *owner, struct connection *connection, const char *reason)
{
        struct succession *succession = owner;

        if (!succession->is_taken) {
                fail(succession, reason);
                return;
        }
        connection_free(take_ptr(succession->connection));
        log_info("the previous relay has ended", log_str("reason", reason));
        succession->handlers->on_remaining(succession->owner, 0);
}

static void on_impatient(void *owner)
{
        fail(owner, "it does not answer");
}

static int connect_to(const char *directory)
{
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        _cleanup_(close) int fd = -1;
        int n = snprintf(address.sun_path, sizeof(address.sun_path), "%s/" RELAY_SOCKET, directory);

        if (n < 0 || (size_t)n >= sizeof(address.sun_path))
                return -ENAMETOOLONG;
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
                return -errno;
        return take_fd(&fd);
}

static const struct connection_handlers connection_handlers = { .on_message = on_message,
                                                                .on_end = on_end };

static void look(struct succession *succession)
{
        static const struct relay_message succeed = { .kind = RELAY_SUCCEED };
        int fd = connect_to(succession->directory);

        if (fd < 0) {
                succession->handlers->on_alone(
                        succession->owner,
                        fd == -ENOENT || fd == -ECONNREFUSED ? NULL : strerror(-fd));
                return;
        }
        succession->connection =
                connection_new(succession->loop, fd, &connection_handlers, succession);
        timer_start(succession->patience, SUCCESSION_PATIENCE_MS);
        connection_send(succession->connection, &succeed, -1);
}

/* ---- one at a time ---- */

/* 0, -EWOULDBLOCK, or another -errno, which is worth a warning and no more. */
static int take_lock(struct succession *succession)
{
        if (succession->lock_fd < 0)
                succession->lock_fd = openat(succession->directory_fd, LOCK,
                                             O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (succession->lock_fd < 0 || flock(succession->lock_fd, LOCK_EX | LOCK_NB) < 0)
                return -errno;
        return 0;
}

static void on_turn(void *owner)
{
        struct succession *succession = owner;
        int r = take_lock(succession);

        if (r == -EWOULDBLOCK &&
            uv_now(succession->loop) - succession->begin_ms < SUCCESSION_TURN_MS) {
                timer_start(succession->turn, TURN_RETRY_MS);
                return;
        }
        if (r < 0)
                log_warn("starting although another relay may be starting, too",
                         log_str("reason", strerror(-r)));
        look(succession);
}

void succession_start(struct succession *succession)
{
        succession->begin_ms = uv_now(succession->loop);
        on_turn(succession);
}

void succession_confirm(struct succession *succession)
{
        static const struct relay_message serving = { .kind = RELAY_SERVING };

        if (succession->connection)
                connection_send(succession->connection, &serving, -1);
        cleanup_close(&succession->lock_fd);
        succession->lock_fd = -1;
}

/* ---- the whole ---- */

struct succession *succession_new(uv_loop_t *loop, const char *directory, int directory_fd,
                                  const struct succession_handlers *handlers, void *owner)
{
        struct succession *succession = xcalloc(1, sizeof(*succession));

        succession->loop = loop;
        succession->directory = directory;
        succession->directory_fd = directory_fd;
        succession->handlers = handlers;
        succession->owner = owner;
        succession->lock_fd = -1;
        succession->patience = timer_new(loop, on_impatient, succession);
        succession->turn = timer_new(loop, on_turn, succession);
        return succession;
}

void succession_free(struct succession *succession)
{
        if (!succession)
                return;
        connection_free(succession->connection);
        timer_free(succession->patience);
        timer_free(succession->turn);
        cleanup_close(&succession->lock_fd);
        free(succession);
}
