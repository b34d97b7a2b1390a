/* SPDX-License-Identifier: Apache-2.0 */
/* The control socket with its clients: drivers, and a successor that takes over. */
#include "base/error.h"
#include "base/memory.h"
#include "host/relay_connection.h"
#include "relay/control.h"
#include "relay/outcomes.h"
#include "relay/succession.h"
#include "unit/suite.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <uv.h>

static uv_loop_t loop;
static char directory[32];
static int directory_fd;

/* The relay that runs. */
static struct {
        struct control *control;
        struct outcomes *outcomes;
        int pipe[2]; /* in the place of a listening socket */
        unsigned n_configured, n_asked, n_succeeding, n_serving, n_gone;
        bool has_configuration;
} old;

/* The one that starts. */
static struct {
        struct succession *succession;
        unsigned n_listeners, n_quotes, n_taken, n_alone;
        char reason[128];
        bool has_configuration;
        struct relay_snapshot node;
        uint32_t remaining;
} new;

static void on_configure(void *owner, struct client *client,
                         const struct relay_configuration *configuration)
{
        struct relay_message message = { .kind = RELAY_CONFIGURED,
                                         .configuration = *configuration };

        ++old.n_configured;
        control_send(client, &message, -1);
}

static void on_ask(void *owner)
{
        ++old.n_asked;
}

static void on_succeed(void *owner, struct client *successor)
{
        struct relay_message message = {
                .kind = RELAY_HANDOVER,
                .count = 2,
                .has_configuration = old.has_configuration,
                .configuration = { .n_devices = 1, .qgs_socket = "/q", .vm_name = "qgs.socket" }
        };
        struct relay_message listener = { .kind = RELAY_LISTENER,
                                          .listener = { .name = "qgs.socket" } };
        struct relay_message remaining = { .kind = RELAY_REMAINING, .count = 3 };

        ++old.n_succeeding;
        control_send(successor, &message, -1);
        control_send(successor, &listener, old.pipe[0]);
        listener.listener.td.path = RELAY_PLUGIN;
        control_send(successor, &listener, old.pipe[1]);
        control_send(successor, &remaining, -1);
}

static void on_serving(void *owner)
{
        ++old.n_serving;
        control_yield(old.control);
}

static void on_successor_gone(void *owner)
{
        ++old.n_gone;
        control_resume(old.control);
}

static void on_listener(void *owner, const struct relay_listener *listener, int fd)
{
        struct stat file, wanted;

        ck_assert_int_eq(fstat(fd, &file), 0);
        ck_assert_int_eq(fstat(old.pipe[listener->td.path], &wanted), 0);
        ck_assert_uint_eq(file.st_ino, wanted.st_ino);
        ck_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
        ck_assert_str_eq(listener->name, "qgs.socket");
        close(fd);
        ++new.n_listeners;
}

static void on_taken(void *owner, const struct relay_configuration *configuration)
{
        ++new.n_taken;
        new.has_configuration = configuration != NULL;
}

static void on_alone(void *owner, const char *reason)
{
        ++new.n_alone;
        (void)snprintf(new.reason, sizeof(new.reason), "%s", reason ? reason : "");
}

static void on_quote(void *owner, const struct relay_quote *quote)
{
        ++new.n_quotes;
}

static void on_snapshot(void *owner, const struct relay_snapshot *snapshot)
{
        if (snapshot->is_of_node)
                new.node = *snapshot;
}

static void on_remaining(void *owner, uint32_t n)
{
        new.remaining = n;
}

static const struct succession_handlers succession_handlers = { .on_listener = on_listener,
                                                                .on_taken = on_taken,
                                                                .on_alone = on_alone,
                                                                .on_quote = on_quote,
                                                                .on_snapshot = on_snapshot,
                                                                .on_remaining = on_remaining };

/* ---- a driver ---- */

struct driver {
        struct connection *connection;
        unsigned n[RELAY_N_KINDS];
        uint64_t n_delivered; /* by the last snapshot of the node */
        bool has_ended;
};

static void on_driver_message(void *owner, struct connection *connection,
                              const struct relay_message *message, int fd)
{
        struct driver *driver = owner;

        ++driver->n[message->kind];
        if (message->kind == RELAY_SNAPSHOT && message->snapshot.is_of_node)
                driver->n_delivered = message->snapshot.counts.n[RELAY_DELIVERED];
}

static void on_driver_end(void *owner, struct connection *connection, const char *reason)
{
        struct driver *driver = owner;

        driver->has_ended = true;
}

static int connect_to_socket(void)
{
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

        (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/" RELAY_SOCKET, directory);
        ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
        return fd;
}

static const struct connection_handlers driver_handlers = { .on_message = on_driver_message,
                                                            .on_end = on_driver_end };

static void open_driver(struct driver *driver)
{
        const struct relay_message ask = { .kind = RELAY_ASK };

        *driver = (struct driver){ .connection = connection_new(&loop, connect_to_socket(),
                                                                &driver_handlers, driver) };
        connection_send(driver->connection, &ask, -1);
}

/* ---- the rig ---- */

#define until(condition)                                  \
        do {                                              \
                while (!(condition))                      \
                        (void)uv_run(&loop, UV_RUN_ONCE); \
        } while (0) /* Check's own time limit ends a vain one */

static void enter(void)
{
        (void)snprintf(directory, sizeof(directory), "/tmp/relay.XXXXXX");
        ck_assert_ptr_nonnull(mkdtemp(directory));
        directory_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        ck_assert_int_eq(uv_loop_init(&loop), 0);
}

static void start_old(void)
{
        const struct control_options options = { .loop = &loop,
                                                 .directory = directory,
                                                 .outcomes = old.outcomes = outcomes_new(),
                                                 .on_configure = on_configure,
                                                 .on_ask = on_ask,
                                                 .on_succeed = on_succeed,
                                                 .on_serving = on_serving,
                                                 .on_successor_gone = on_successor_gone };

        old.control = control_new(&options);
        ck_assert_int_eq(pipe2(old.pipe, O_CLOEXEC), 0);
        ck_assert_int_eq(control_listen(old.control, NULL), 0);
}

static void start_new(void)
{
        new.succession = succession_new(&loop, directory, directory_fd, &succession_handlers, NULL);
        succession_start(new.succession);
}

static void leave(void)
{
        _cleanup_(free) char *command = xasprintf("rm -rf %s", directory);

        succession_free(new.succession);
        control_free(old.control);
        outcomes_free(old.outcomes);
        (void)uv_run(&loop, UV_RUN_DEFAULT);
        ck_assert_int_eq(uv_loop_close(&loop), 0);
        if (old.control) {
                close(old.pipe[0]);
                close(old.pipe[1]);
        }
        close(directory_fd);
        ck_assert_int_eq(system(command), 0);
}

static void add_quotes(unsigned n)
{
        const struct relay_quote quote = { .outcome = RELAY_DELIVERED, .time_ms = 1 };

        while (n--)
                outcomes_add(old.outcomes, &quote);
        control_tell_quotes(old.control);
}

/* ---- tests ---- */

START_TEST(the_first_relay_is_alone)
{
        enter();
        start_new();

        until(new.n_alone);
        ck_assert_str_eq(new.reason, "");
        leave();
}
END_TEST

START_TEST(a_dead_relays_socket_is_no_predecessor)
{
        enter();
        start_old();
        control_free(take_ptr(old.control));
        start_new();

        until(new.n_alone);
        ck_assert_str_eq(new.reason, "");
        close(old.pipe[0]);
        close(old.pipe[1]);
        leave();
}
END_TEST

START_TEST(a_successor_gets_sockets_configuration_and_counts_before_it_takes_over)
{
        enter();
        start_old();
        old.has_configuration = true;
        add_quotes(3);
        start_new();

        until(new.n_taken);
        ck_assert_uint_eq(new.n_listeners, 2);
        ck_assert(new.has_configuration);
        ck_assert_uint_eq(new.n_quotes, 3); /* which no driver had heard of */
        ck_assert_uint_eq(new.node.counts.n[RELAY_DELIVERED], 3);
        until(new.remaining == 3);

        succession_confirm(new.succession);
        until(old.n_serving);
        add_quotes(1); /* of a VM that the predecessor still had */
        until(new.n_quotes == 4);
        control_free(take_ptr(old.control));
        until(new.remaining == 0);
        close(old.pipe[0]);
        close(old.pipe[1]);
        leave();
}
END_TEST

START_TEST(a_relay_that_never_was_configured_hands_over_all_the_same)
{
        enter();
        start_old();
        start_new();

        until(new.n_taken);
        ck_assert(!new.has_configuration);
        leave();
}
END_TEST

START_TEST(a_successor_that_goes_away_is_noticed_before_and_after_it_serves)
{
        enter();
        start_old();
        start_new();
        until(new.n_taken);
        succession_free(take_ptr(new.succession));
        until(old.n_gone == 1);

        start_new();
        until(new.n_taken == 2);
        succession_confirm(new.succession);
        until(old.n_serving);
        succession_free(take_ptr(new.succession));
        until(old.n_gone == 2);
        leave();
}
END_TEST

/* connect(2) succeeds, and nothing ever comes. */
START_TEST(a_hung_predecessor_is_given_up)
{
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        _cleanup_(close) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        enter();
        (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/" RELAY_SOCKET, directory);
        ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
        ck_assert_int_eq(listen(fd, 1), 0);
        start_new();

        until(new.n_alone);
        ck_assert_str_eq(new.reason, "it does not answer");
        leave();
}
END_TEST

START_TEST(a_second_relay_waits_while_the_first_one_starts)
{
        struct succession *first;

        enter();
        start_new();
        until(new.n_alone == 1);
        first = take_ptr(new.succession);
        start_new();
        for (int i = 0; i < 5; ++i)
                (void)uv_run(&loop, UV_RUN_ONCE); /* its attempts */
        ck_assert_uint_eq(new.n_alone, 1);

        succession_confirm(first);
        until(new.n_alone == 2);
        succession_free(first);
        leave();
}
END_TEST

START_TEST(drivers_hear_nothing_while_a_successor_takes_over_and_what_came_meanwhile_if_it_fails)
{
        struct driver driver;

        enter();
        start_old();
        add_quotes(1);
        open_driver(&driver);
        until(driver.n[RELAY_SNAPSHOT] == 2); /* of the node and of the TD */
        ck_assert_uint_eq(driver.n[RELAY_QUOTE], 1);
        ck_assert_uint_eq(old.n_asked, 1);

        start_new();
        until(new.n_taken);
        add_quotes(1);
        until(new.n_quotes == 1);
        ck_assert_uint_eq(driver.n[RELAY_QUOTE], 1);

        succession_free(take_ptr(new.succession));
        until(old.n_gone);
        add_quotes(1);
        until(driver.n[RELAY_QUOTE] == 2);
        ck_assert_uint_eq(driver.n_delivered, 2);
        connection_free(driver.connection);
        leave();
}
END_TEST

START_TEST(a_successor_that_serves_ends_the_drivers_connections)
{
        struct driver driver;

        enter();
        start_old();
        open_driver(&driver);
        until(driver.n[RELAY_SNAPSHOT]);
        start_new();
        until(new.n_taken);
        ck_assert(!driver.has_ended);

        succession_confirm(new.succession);
        until(driver.has_ended);
        connection_free(driver.connection);
        leave();
}
END_TEST

START_TEST(a_driver_that_does_not_read_misses_quotes_and_gets_the_counts_again)
{
        _cleanup_(close) int fd = -1;
        struct driver driver;

        enter();
        start_old();
        fd = connect_to_socket();
        ck_assert_int_eq(send(fd, "{\"ask\":{}}\n", 11, 0), 11);
        until(old.n_asked);
        for (int i = 0; i < 10; ++i)
                add_quotes(RELAY_QUOTES_KEPT / 2);

        driver = (struct driver){ 0 };
        driver.connection = connection_new(&loop, take_fd(&fd), &driver_handlers, &driver);
        until(driver.n_delivered == 10 * (RELAY_QUOTES_KEPT / 2));
        ck_assert_uint_lt(driver.n[RELAY_QUOTE], 10 * (RELAY_QUOTES_KEPT / 2));
        ck_assert_uint_ge(driver.n[RELAY_QUOTE], RELAY_QUOTES_KEPT);
        connection_free(driver.connection);
        leave();
}
END_TEST

START_TEST(what_is_no_message_ends_the_connection)
{
        static const char *const lines[] = { "hello\n", "{\"ask\":7}\n", "{\"serving\":{}}\n",
                                             "{\"quote\":{}}\n" };
        _cleanup_(free) char *endless = xmalloc(2 * RELAY_LINE_MAX);

        enter();
        start_old();
        memset(endless, ' ', 2 * RELAY_LINE_MAX);
        for (size_t i = 0; i <= array_size(lines); ++i) {
                struct driver driver = { 0 };
                int fd = connect_to_socket();

                if (i < array_size(lines))
                        ck_assert_int_gt(send(fd, lines[i], strlen(lines[i]), 0), 0);
                else
                        ck_assert_int_gt(send(fd, endless, RELAY_LINE_MAX + 1, 0), 0);
                driver.connection = connection_new(&loop, fd, &driver_handlers, &driver);
                until(driver.has_ended);
                connection_free(driver.connection);
        }
        leave();
}
END_TEST

SUITE("relay-succession", the_first_relay_is_alone, a_dead_relays_socket_is_no_predecessor,
      a_successor_gets_sockets_configuration_and_counts_before_it_takes_over,
      a_relay_that_never_was_configured_hands_over_all_the_same,
      a_successor_that_goes_away_is_noticed_before_and_after_it_serves,
      a_hung_predecessor_is_given_up, a_second_relay_waits_while_the_first_one_starts,
      drivers_hear_nothing_while_a_successor_takes_over_and_what_came_meanwhile_if_it_fails,
      a_successor_that_serves_ends_the_drivers_connections,
      a_driver_that_does_not_read_misses_quotes_and_gets_the_counts_again,
      what_is_no_message_ends_the_connection);
