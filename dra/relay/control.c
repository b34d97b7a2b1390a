/* SPDX-License-Identifier: Apache-2.0 */
#include "relay/control.h"

#include "base/error.h"
#include "base/list.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/poll.h"
#include "base/timer.h"
#include "host/relay_connection.h"
#include "relay/outcomes.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <uv.h>

#define BACKLOG             16
#define CLIENTS_MAX         16
#define OUT_OF_FDS_PAUSE_MS 100

struct client {
        struct list member;
        struct control *control;
        struct connection *connection;
        bool is_driver, is_successor;
        /* Of those that hear of quotes. */
        bool is_told, wants_snapshot;
        uint64_t next; /* the number of the quote that it hears of next */
};

struct control {
        struct control_options options;
        char *path;
        int fd;
        struct poll *poll; /* NULL: not listening */
        struct timer *pause;
        struct list clients;
        unsigned n_clients;
        struct client *successor;
        bool has_qgs;
        struct relay_qgs qgs;
};

static void on_pause_over(void *owner)
{
        struct control *control = owner;

        if (control->poll)
                (void)poll_start(control->poll, UV_READABLE);
}

struct control *control_new(const struct control_options *options)
{
        struct control *control = xcalloc(1, sizeof(*control));

        control->options = *options;
        control->path = xasprintf("%s/" RELAY_SOCKET, options->directory);
        control->fd = -1;
        control->pause = timer_new(options->loop, on_pause_over, control);
        list_init(&control->clients);
        return control;
}

static void drop(struct client *client)
{
        struct control *control = client->control;

        list_unlink(&client->member);
        --control->n_clients;
        if (control->successor == client)
                control->successor = NULL;
        connection_free(client->connection);
        free(client);
}

static void stop_listening(struct control *control)
{
        poll_free(take_ptr(control->poll));
        cleanup_close(&control->fd);
        control->fd = -1;
}

void control_free(struct control *control)
{
        if (!control)
                return;
        while (!list_is_empty(&control->clients))
                drop(container_of(control->clients.next, struct client, member));
        stop_listening(control);
        timer_free(control->pause);
        free(control->path);
        free(control);
}

/* ---- telling ---- */

void control_send(struct client *client, const struct relay_message *message, int fd)
{
        connection_send(client->connection, message, fd);
}

struct client *control_successor(const struct control *control)
{
        return control->successor;
}

/* At once, so that no quote comes between: it would be counted twice. */
static void send_snapshots(struct client *client)
{
        struct relay_message message = { .kind = RELAY_SNAPSHOT };
        size_t position = 0;

        client->wants_snapshot = false;
        while (outcomes_snapshot(client->control->options.outcomes, &position, &message.snapshot))
                connection_send(client->connection, &message, -1);
}

static void send_quote(struct client *client, const struct relay_quote *quote)
{
        struct relay_message message = { .kind = RELAY_QUOTE, .quote = *quote };

        connection_send(client->connection, &message, -1);
        outcomes_told(client->control->options.outcomes, ++client->next);
}

static void tell(struct client *client)
{
        const struct outcomes *outcomes = client->control->options.outcomes;

        /* What a successor must know comes before it takes over, however much it is. */
        while (client->is_told &&
               (client->is_successor || !connection_is_busy(client->connection))) {
                const struct relay_quote *quote = outcomes_quote(outcomes, client->next);

                if (quote) {
                        send_quote(client, quote);
                } else if (client->next < outcomes_next(outcomes)) {
                        client->next = outcomes_next(outcomes) - RELAY_QUOTES_KEPT;
                        client->wants_snapshot = true;
                } else if (client->wants_snapshot) {
                        send_snapshots(client);
                } else {
                        return;
                }
        }
}

static void begin_telling(struct client *client)
{
        client->is_told = client->wants_snapshot = true;
        client->next = outcomes_first_untold(client->control->options.outcomes);
        tell(client);
}

static void send_qgs(struct client *client)
{
        struct relay_message message = { .kind = RELAY_QGS, .qgs = client->control->qgs };

        connection_send(client->connection, &message, -1);
}

void control_tell_quotes(struct control *control)
{
        const struct list *position;

        list_for_each (position, &control->clients)
                tell(container_of(position, struct client, member));
}

void control_tell_qgs(struct control *control, const struct relay_qgs *qgs)
{
        const struct list *position;

        control->qgs = *qgs;
        control->has_qgs = true;
        list_for_each (position, &control->clients) {
                struct client *client = container_of(position, struct client, member);

                if (client->is_driver && !connection_is_busy(client->connection))
                        send_qgs(client);
        }
}

/* ---- hearing ---- */

static void become_driver(struct client *client)
{
        if (client->is_driver)
                return;
        client->is_driver = true;
        if (client->control->has_qgs)
                send_qgs(client);
        /* While a successor takes over, quotes are kept for it. */
        if (!client->control->successor)
                begin_telling(client);
}

static void become_successor(struct client *client)
{
        struct control *control = client->control;
        const struct list *position;

        list_for_each (position, &control->clients)
                container_of(position, struct client, member)->is_told = false;
        client->is_successor = true;
        control->successor = client;
        begin_telling(client);
        control->options.on_succeed(control->options.owner, client);
}

static void on_message(void *owner, struct connection *connection,
                       const struct relay_message *message, int fd)
{
        struct client *client = owner;
        struct control *control = client->control;

        cleanup_close(&fd);
        if (message->kind == RELAY_CONFIGURE) {
                control->options.on_configure(control->options.owner, client,
                                              &message->configuration);
                become_driver(client);
        } else if (message->kind == RELAY_ASK) {
                become_driver(client);
                control->options.on_ask(control->options.owner);
        } else if (message->kind == RELAY_SUCCEED && !control->successor) {
                become_successor(client);
        } else if (message->kind == RELAY_SERVING && client->is_successor) {
                control->options.on_serving(control->options.owner);
        } else {
                log_warn("ended a connection to " RELAY_SOCKET
                         ": its message is not for this relay now");
                drop(client);
        }
}

static void on_end(void *owner, struct connection *connection, const char *reason)
{
        struct client *client = owner;
        struct control *control = client->control;
        bool was_successor = client->is_successor;

        log_debug("a connection to " RELAY_SOCKET " has ended", log_str("reason", reason));
        drop(client);
        if (was_successor)
                control->options.on_successor_gone(control->options.owner);
}

static void on_idle(void *owner, struct connection *connection)
{
        tell(owner);
}

static const struct connection_handlers handlers = { .on_message = on_message,
                                                     .on_end = on_end,
                                                     .on_idle = on_idle };

/* ---- accepting ---- */

static bool is_root(int fd)
{
        struct ucred peer;
        socklen_t n = sizeof(peer);

        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) < 0)
                return false;
        if (peer.uid == 0)
                return true;
        log_warn("refused a connection to " RELAY_SOCKET ": only root may control the relay",
                 log_int("uid", peer.uid), log_int("pid", peer.pid));
        return false;
}

static void add(struct control *control, int fd)
{
        struct client *client;

        if (control->n_clients >= CLIENTS_MAX) {
                log_warn("refused a connection to " RELAY_SOCKET ": there are too many",
                         log_int("connections", control->n_clients));
                close(fd);
                return;
        }
        client = xcalloc(1, sizeof(*client));
        client->control = control;
        client->connection = connection_new(control->options.loop, fd, &handlers, client);
        list_add_tail(&control->clients, &client->member);
        ++control->n_clients;
}

static void on_readable(void *owner, int status, int events)
{
        struct control *control = owner;
        int fd = accept4(control->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

        if (fd >= 0 && is_root(fd)) {
                add(control, fd);
        } else if (fd >= 0) {
                close(fd);
        } else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
                /* A socket that cannot accept stays readable: without a pause the loop would spin.
                 */
                log_warn("cannot accept a connection to " RELAY_SOCKET ", trying again shortly",
                         log_str("reason", strerror(errno)));
                poll_stop(control->poll);
                timer_start(control->pause, OUT_OF_FDS_PAUSE_MS);
        }
}

/* By another name first, so that the name always has a socket. */
static int bind_and_listen(const char *path, int *ret_fd)
{
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        _cleanup_(close) int fd = -1;
        int n = snprintf(address.sun_path, sizeof(address.sun_path), "%s.new", path);

        if (n < 0 || (size_t)n >= sizeof(address.sun_path))
                return -ENAMETOOLONG;
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0 || (unlink(address.sun_path) < 0 && errno != ENOENT) ||
            bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
            chmod(address.sun_path, 0600) < 0 || listen(fd, BACKLOG) < 0 ||
            rename(address.sun_path, path) < 0)
                return -errno;
        *ret_fd = take_fd(&fd);
        return 0;
}

int control_listen(struct control *control, struct error *err)
{
        int fd = -1;
        int r = bind_and_listen(control->path, &fd);

        if (r < 0)
                return error_errno(err, r, "cannot bind %s", control->path);
        stop_listening(control);
        control->fd = fd;
        control->poll = poll_new(control->options.loop, fd, on_readable, control);
        if (!control->poll || poll_start(control->poll, UV_READABLE) < 0)
                abort(); /* cannot fail: the socket is new, and nothing else polls it */
        return 0;
}

void control_yield(struct control *control)
{
        struct list *position, *following;

        stop_listening(control);
        list_for_each_safe (position, following, &control->clients) {
                struct client *client = container_of(position, struct client, member);

                if (client != control->successor)
                        drop(client);
        }
}

void control_resume(struct control *control)
{
        const struct list *position;

        list_for_each (position, &control->clients) {
                struct client *client = container_of(position, struct client, member);

                if (client->is_driver)
                        begin_telling(client);
        }
}
