/* SPDX-License-Identifier: Apache-2.0 */
/* The driver's end of relay.sock, against a listening socket that speaks the relay's lines. */
#include "host/relay_client.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/timer.h"
#include "unit/suite.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

static uv_loop_t loop;
static char directory[32];
static struct timer *tick; /* lets the conditions below be looked at again */
static struct relay_client *client;
static unsigned n_states, n_quotes;
static int listen_fd = -1, fd = -1;

static const struct relay_configuration wanted = { .n_devices = 4,
                                                   .qgs_socket = "/run/tdx-qgs/qgs.socket",
                                                   .vm_name = "qgs.socket" };

static void on_tick(void *owner)
{
}

static void on_state(void *owner)
{
        ++n_states;
}

static void on_message(void *owner, const struct relay_message *message)
{
        ck_assert_int_eq(message->kind, RELAY_QUOTE);
        ++n_quotes;
}

static void path_of_socket(struct sockaddr_un *address)
{
        *address = (struct sockaddr_un){ .sun_family = AF_UNIX };
        (void)snprintf(address->sun_path, sizeof(address->sun_path), "%s/" RELAY_SOCKET, directory);
}

static void start_relay(void)
{
        struct sockaddr_un address;

        path_of_socket(&address);
        (void)unlink(address.sun_path);
        listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        ck_assert_int_eq(bind(listen_fd, (struct sockaddr *)&address, sizeof(address)), 0);
        ck_assert_int_eq(listen(listen_fd, 8), 0);
}

static void hang_up(void)
{
        close(fd);
        fd = -1;
}

static void end_relay(void)
{
        struct sockaddr_un address;

        path_of_socket(&address);
        close(listen_fd);
        (void)unlink(address.sun_path);
}

static uint64_t now_ms(void)
{
        return uv_hrtime() / 1000000;
}

#define run_until(condition)                                        \
        do {                                                        \
                uint64_t end_ = now_ms() + 15000;                   \
                while (!(condition)) {                              \
                        ck_assert_msg(now_ms() < end_, #condition); \
                        (void)uv_run(&loop, UV_RUN_ONCE);           \
                }                                                   \
        } while (0)

static bool accepts(void)
{
        fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        return fd >= 0;
}

static char line[4096];
static size_t n_line;

/* Takes in what has come; true once it ends a line. */
static bool has_line(void)
{
        ssize_t n = recv(fd, line + n_line, sizeof(line) - 1 - n_line, 0);

        n_line += n > 0 ? (size_t)n : 0;
        return n_line && line[n_line - 1] == '\n';
}

static void hear(struct relay_message *ret)
{
        struct error error = ERROR_NULL;

        n_line = 0;
        run_until(has_line());
        ck_assert_ptr_eq(memchr(line, '\n', n_line), line + n_line - 1);
        ck_assert_int_eq(relay_message_parse(line, n_line - 1, ret, &error), 0);
}

static void say(const struct relay_message *message)
{
        _cleanup_(free) char *text = relay_message_print(message);

        ck_assert_int_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static void enter(void)
{
        const struct relay_client_options options = { .loop = &loop,
                                                      .directory = directory,
                                                      .on_state = on_state,
                                                      .on_message = on_message };

        ck_assert_int_eq(uv_loop_init(&loop), 0);
        memcpy(directory, "/tmp/dra-relay.XXXXXX", sizeof("/tmp/dra-relay.XXXXXX"));
        ck_assert_ptr_nonnull(mkdtemp(directory));
        tick = timer_new(&loop, on_tick, NULL);
        timer_start_repeating(tick, 5, 5);
        client = relay_client_new(&options);
}

static void leave(void)
{
        relay_client_free(client);
        timer_free(tick);
        (void)uv_run(&loop, UV_RUN_DEFAULT);
        ck_assert_int_eq(uv_loop_close(&loop), 0);
        ck_assert_int_eq(rmdir(directory), 0);
}

/* The relay confirms the wanted configuration. */
static void confirm(void)
{
        struct relay_message message;

        hear(&message);
        ck_assert_int_eq(message.kind, RELAY_CONFIGURE);
        ck_assert(relay_configuration_is_equal(&message.configuration, &wanted));
        message.kind = RELAY_CONFIGURED;
        say(&message);
        run_until(relay_client_state(client) == RELAY_CLIENT_CONFIGURED);
}

START_TEST(a_relay_is_configured_and_its_quotes_are_passed_on)
{
        const struct relay_message quote = { .kind = RELAY_QUOTE };
        struct relay_message message;

        enter();
        start_relay();
        relay_client_configure(client, &wanted);
        run_until(accepts());
        confirm();
        ck_assert_uint_eq(n_states, 1);
        ck_assert(relay_client_is_connected(client));

        say(&quote);
        run_until(n_quotes == 1);
        ck_assert(relay_client_ask(client));
        hear(&message);
        ck_assert_int_eq(message.kind, RELAY_ASK);
        relay_client_configure(client, &wanted); /* the same: nothing is sent, so the ask is next */
        ck_assert(relay_client_ask(client));
        hear(&message);
        ck_assert_int_eq(message.kind, RELAY_ASK);
        hang_up();
        end_relay();
        leave();
}
END_TEST

START_TEST(a_relay_that_is_updated_is_configured_again_and_nobody_hears_of_it)
{
        enter();
        start_relay();
        relay_client_configure(client, &wanted);
        run_until(accepts());
        confirm();

        hang_up();
        run_until(!relay_client_is_connected(client));
        run_until(accepts());
        confirm();
        ck_assert_uint_eq(n_states, 1);
        ck_assert_str_eq(relay_client_reason(client), "");
        hang_up();
        end_relay();
        leave();
}
END_TEST

START_TEST(no_relay_is_told_after_a_while_and_one_that_comes_later_is_used)
{
        uint64_t begin_ms = now_ms();

        enter();
        relay_client_configure(client, &wanted);
        ck_assert(!relay_client_ask(client));
        run_until(relay_client_state(client) == RELAY_CLIENT_AWAY);
        ck_assert_uint_ge(now_ms() - begin_ms, RELAY_CLIENT_PATIENCE_MS - 100);
        ck_assert_str_eq(relay_client_reason(client), "No such file or directory");

        start_relay();
        run_until(accepts());
        confirm();
        hang_up();
        end_relay();
        leave();
}
END_TEST

START_TEST(a_refusal_is_told_with_its_reason_and_ends_with_the_next_confirmation)
{
        struct relay_message message;

        enter();
        start_relay();
        relay_client_configure(client, &wanted);
        run_until(accepts());
        hear(&message);
        message.kind = RELAY_REFUSED;
        (void)snprintf(message.text, sizeof(message.text), "out of descriptors");
        say(&message);
        run_until(relay_client_state(client) == RELAY_CLIENT_REFUSING);
        ck_assert_str_eq(relay_client_reason(client), "out of descriptors");

        /* What was confirmed is not what is wanted. */
        message = (struct relay_message){ .kind = RELAY_CONFIGURED, .configuration = wanted };
        message.configuration.n_devices = 3;
        say(&message);
        say(&(struct relay_message){ .kind = RELAY_QUOTE });
        run_until(n_quotes == 1);
        ck_assert_int_eq(relay_client_state(client), RELAY_CLIENT_REFUSING);
        message.configuration.n_devices = wanted.n_devices;
        say(&message);
        run_until(relay_client_state(client) == RELAY_CLIENT_CONFIGURED);
        hang_up();
        end_relay();
        leave();
}
END_TEST

SUITE("relay-client", a_relay_is_configured_and_its_quotes_are_passed_on,
      a_relay_that_is_updated_is_configured_again_and_nobody_hears_of_it,
      no_relay_is_told_after_a_while_and_one_that_comes_later_is_used,
      a_refusal_is_told_with_its_reason_and_ends_with_the_next_confirmation);
