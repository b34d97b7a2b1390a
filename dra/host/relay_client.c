/* SPDX-License-Identifier: Apache-2.0 */
#include "host/relay_client.h"

#include "base/memory.h"
#include "base/timer.h"
#include "host/relay_connection.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct relay_client {
        struct relay_client_options options;
        struct relay_configuration wanted; /* n_devices 0: nothing yet */
        struct connection *connection;     /* NULL: none */
        enum relay_client_state state;
        char reason[512];
        struct timer *retry;
        struct timer *patience; /* runs while no relay is connected */
};

static void set_state(struct relay_client *client, enum relay_client_state state,
                      const char *reason)
{
        bool is_same = client->state == state && strcmp(client->reason, reason) == 0;

        client->state = state;
        (void)snprintf(client->reason, sizeof(client->reason), "%s", reason);
        if (!is_same)
                client->options.on_state(client->options.owner);
}

static void send_configuration(struct relay_client *client)
{
        struct relay_message message;

        if (!client->connection || !client->wanted.n_devices)
                return;
        memset(&message, 0, sizeof(message));
        message.kind = RELAY_CONFIGURE;
        message.configuration = client->wanted;
        connection_send(client->connection, &message, -1);
}

static void on_message(void *owner, struct connection *connection,
                       const struct relay_message *message, int fd)
{
        struct relay_client *client = owner;

        (void)connection;
        if (fd >= 0) /* none is passed to a driver */
                (void)close(fd);
        if (message->kind == RELAY_CONFIGURED) {
                if (relay_configuration_is_equal(&message->configuration, &client->wanted))
                        set_state(client, RELAY_CLIENT_CONFIGURED, "");
        } else if (message->kind == RELAY_REFUSED) {
                set_state(client, RELAY_CLIENT_REFUSING, message->text);
        } else if (message->kind == RELAY_QUOTE || message->kind == RELAY_SNAPSHOT ||
                   message->kind == RELAY_QGS) {
                client->options.on_message(client->options.owner, message);
        }
}

static void wait(struct relay_client *client)
{
        timer_start(client->retry, RELAY_CLIENT_RETRY_MS);
        if (!timer_is_running(client->patience) && client->state != RELAY_CLIENT_AWAY)
                timer_start(client->patience, RELAY_CLIENT_PATIENCE_MS);
}

static void on_end(void *owner, struct connection *connection, const char *reason)
{
        struct relay_client *client = owner;

        (void)reason; /* an update, most often; why the next connect fails tells more */
        connection_free(connection);
        client->connection = NULL;
        wait(client);
}

static const struct connection_handlers handlers = { .on_message = on_message, .on_end = on_end };

/* The descriptor or a negative errno. Only the file system decides who listens there: the directory
 * is root's. */
static int connect_to(const char *directory)
{
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd, r;

        if (snprintf(address.sun_path, sizeof(address.sun_path), "%s/" RELAY_SOCKET, directory) >=
            (int)sizeof(address.sun_path))
                return -ENAMETOOLONG;
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return -errno;
        if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
                return fd;
        r = -errno;
        (void)close(fd);
        return r;
}

static void on_retry(void *owner)
{
        struct relay_client *client = owner;
        int fd = connect_to(client->options.directory);

        if (fd < 0) {
                if (client->state == RELAY_CLIENT_AWAY)
                        set_state(client, RELAY_CLIENT_AWAY, strerror(-fd));
                wait(client);
                return;
        }
        timer_stop(client->patience);
        client->connection = connection_new(client->options.loop, fd, &handlers, client);
        send_configuration(client);
}

static void on_patience_over(void *owner)
{
        struct relay_client *client = owner;
        int fd = connect_to(client->options.directory);

        if (fd >= 0)
                (void)close(fd); /* the retry that is due connects */
        set_state(client, RELAY_CLIENT_AWAY, fd < 0 ? strerror(-fd) : "it ends each connection");
}

struct relay_client *relay_client_new(const struct relay_client_options *options)
{
        struct relay_client *client = xcalloc(1, sizeof(*client));

        client->options = *options;
        client->retry = timer_new(options->loop, on_retry, client);
        client->patience = timer_new(options->loop, on_patience_over, client);
        timer_start(client->retry, 0);
        timer_start(client->patience, RELAY_CLIENT_PATIENCE_MS);
        return client;
}

void relay_client_free(struct relay_client *client)
{
        if (!client)
                return;
        connection_free(client->connection);
        timer_free(client->retry);
        timer_free(client->patience);
        free(client);
}

void relay_client_configure(struct relay_client *client,
                            const struct relay_configuration *configuration)
{
        if (relay_configuration_is_equal(&client->wanted, configuration))
                return;
        client->wanted = *configuration;
        send_configuration(client);
}

bool relay_client_ask(struct relay_client *client)
{
        struct relay_message message;

        if (!client->connection)
                return false;
        memset(&message, 0, sizeof(message));
        message.kind = RELAY_ASK;
        connection_send(client->connection, &message, -1);
        return true;
}

enum relay_client_state relay_client_state(const struct relay_client *client)
{
        return client->state;
}

bool relay_client_is_connected(const struct relay_client *client)
{
        return client->connection != NULL;
}

const char *relay_client_reason(const struct relay_client *client)
{
        return client->reason;
}
