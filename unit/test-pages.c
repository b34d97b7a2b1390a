/* SPDX-License-Identifier: Apache-2.0 */
#include "admin/pages.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"
#include "unit/suite.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

#define DEADLINE_MS 10000
#define LARGE       (6U << 20) /* more than two socket buffers hold */

static uv_loop_t loop;
static uv_timer_t tick; /* turns the loop while nothing happens on it */
static struct pages *pages;
static unsigned n_printed;
static unsigned health = 200;

static unsigned print_small(void *owner, struct text *text)
{
        ++n_printed;
        text_add(text, "one 1\n");
        return 200;
}

static unsigned print_health(void *owner, struct text *text)
{
        text_add(text, health == 200 ? "ok\n" : "the socket is gone\n");
        return health;
}

static unsigned print_large(void *owner, struct text *text)
{
        char *bytes = xmalloc(LARGE);

        memset(bytes, 'x', LARGE);
        text_add_bytes(text, bytes, LARGE);
        free(bytes);
        return 200;
}

static const struct page all[] = { { "/metrics", "text/plain; version=0.0.4", "numbers",
                                     print_small },
                                   { "/healthz", "text/plain", "health", print_health },
                                   { "/large", "text/plain", "much", print_large } };

static void on_tick(uv_timer_t *timer)
{
}

static void set_up(unsigned patience_ms)
{
        const struct pages_options options = { .loop = &loop,
                                               .listen = "127.0.0.1:0",
                                               .pages = all,
                                               .n_pages = array_size(all),
                                               .patience_ms = patience_ms };
        struct error error = ERROR_NULL;

        ck_assert_int_eq(uv_loop_init(&loop), 0);
        uv_timer_init(&loop, &tick);
        ck_assert_msg(pages_start(&options, &pages, &error) == 0, "%s", error.text);
}

static void tear_down(void)
{
        pages_stop(pages);
        uv_close((uv_handle_t *)&tick, NULL);
        uv_run(&loop, UV_RUN_DEFAULT);
        ck_assert_int_eq(uv_loop_close(&loop), 0);
}

static void turn(void)
{
        uv_timer_start(&tick, on_tick, 1, 1); /* again: a first may be due before the poll */
        uv_run(&loop, UV_RUN_ONCE);
        uv_timer_stop(&tick);
}

static void turn_for(unsigned ms)
{
        uint64_t end;

        uv_update_time(&loop);
        end = uv_now(&loop) + ms;
        while (uv_now(&loop) < end)
                turn();
}

/* ---- a client ---- */

struct client {
        int fd;
        struct text in;
        bool is_closed;
};

static struct client dial(void)
{
        struct sockaddr_in address = { .sin_family = AF_INET };
        struct client client = { .fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) };
        int port;

        ck_assert_int_eq(sscanf(strrchr(pages_address(pages), ':'), ":%d", &port), 1);
        address.sin_port = htons((uint16_t)port);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        ck_assert_int_eq(connect(client.fd, (struct sockaddr *)&address, sizeof(address)), 0);
        ck_assert_int_eq(fcntl(client.fd, F_SETFL, O_NONBLOCK), 0);
        return client;
}

static bool say(const struct client *client, const char *string)
{
        return send(client->fd, string, strlen(string), MSG_NOSIGNAL) == (ssize_t)strlen(string);
}

static void listen_to(struct client *client)
{
        static char bytes[65536];
        ssize_t n;

        while ((n = recv(client->fd, bytes, sizeof(bytes), 0)) > 0)
                text_add_bytes(&client->in, bytes, (size_t)n);
        if (n == 0 || (n < 0 && errno != EAGAIN))
                client->is_closed = true;
}

/* Until what came ends with end, or (NULL) the connection does. */
static void hear(struct client *client, const char *end)
{
        uint64_t deadline;

        uv_update_time(&loop);
        deadline = uv_now(&loop) + DEADLINE_MS;
        for (;;) {
                size_t n = end ? strlen(end) : 0;

                listen_to(client);
                if (end && client->in.n >= n &&
                    memcmp(client->in.bytes + client->in.n - n, end, n) == 0)
                        return;
                if (client->is_closed) {
                        ck_assert_msg(!end, "closed after \"%s\"",
                                      client->in.bytes ? client->in.bytes : "");
                        return;
                }
                ck_assert_msg(uv_now(&loop) < deadline, "in vain; so far \"%.200s\"",
                              client->in.bytes ? client->in.bytes : "");
                turn();
        }
}

static bool heard(const struct client *client, const char *string)
{
        return client->in.bytes && strstr(client->in.bytes, string);
}

static void hang_up(struct client *client)
{
        text_deinit(&client->in);
        close(client->fd);
}

/* What a client that asks and waits for the end hears. */
static struct client ask(const char *request)
{
        struct client client = dial();

        ck_assert(say(&client, request));
        hear(&client, NULL);
        return client;
}

static void expect_served(void)
{
        struct client client = ask("GET /metrics HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");

        ck_assert(heard(&client, "HTTP/1.1 200 OK\r\n"));
        ck_assert(heard(&client, "\r\n\r\none 1\n"));
        hang_up(&client);
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: h\r\n\r\n"

/* ---- answers ---- */

START_TEST(a_page_comes_with_its_type_and_status)
{
        struct client client;

        set_up(0);
        client = ask("GET /metrics?x=y HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        ck_assert(heard(&client, "HTTP/1.1 200 OK\r\n"));
        ck_assert(heard(&client, "Content-Type: text/plain; version=0.0.4\r\n"));
        ck_assert(heard(&client, "Content-Length: 6\r\n"));
        ck_assert(heard(&client, "\r\n\r\none 1\n"));
        hang_up(&client);
        health = 503;
        client = ask("GET /healthz HTTP/1.0\r\n\r\n");
        ck_assert(heard(&client, " 503 "));
        ck_assert(heard(&client, "the socket is gone\n"));
        hang_up(&client);
        tear_down();
}
END_TEST

START_TEST(head_gets_the_head_only)
{
        struct client client;

        set_up(0);
        client = ask("HEAD /metrics HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        ck_assert(heard(&client, "HTTP/1.1 200 OK\r\n"));
        ck_assert(heard(&client, "Content-Length: 6\r\n"));
        ck_assert(!heard(&client, "one 1"));
        hang_up(&client);
        tear_down();
}
END_TEST

START_TEST(the_index_names_the_pages_and_nothing_else_exists)
{
        static const char *const unknown[] = { "/metric", "/metrics/", "//", "/../etc/passwd",
                                               "/%2e%2e", "*",         "x" };
        struct client client;

        set_up(0);
        client = ask("GET / HTTP/1.0\r\n\r\n");
        ck_assert(heard(&client, "200 OK"));
        ck_assert(heard(&client, "/metrics   numbers\n"));
        ck_assert(heard(&client, "/healthz   health\n"));
        hang_up(&client);
        for (size_t i = 0; i < array_size(unknown); ++i) {
                char request[64];

                snprintf(request, sizeof(request), "GET %s HTTP/1.0\r\n\r\n", unknown[i]);
                client = ask(request);
                ck_assert_msg(heard(&client, " 404 "), "%s: %s", unknown[i], client.in.bytes);
                hang_up(&client);
        }
        tear_down();
}
END_TEST

START_TEST(other_methods_are_refused_and_print_nothing)
{
        static const char *const methods[] = { "POST", "PUT",   "DELETE", "OPTIONS",
                                               "get",  "TRACE", "BREW" };
        struct client client;

        set_up(0);
        for (size_t i = 0; i < array_size(methods); ++i) {
                char request[128];

                snprintf(request, sizeof(request), "%s /metrics HTTP/1.0\r\n\r\n", methods[i]);
                client = ask(request);
                ck_assert_msg(heard(&client, " 405 "), "%s: %s", methods[i], client.in.bytes);
                ck_assert(heard(&client, "Allow: GET, HEAD\r\n"));
                hang_up(&client);
        }
        ck_assert_uint_eq(n_printed, 0);
        tear_down();
}
END_TEST

START_TEST(a_connection_is_kept_for_more_requests_also_when_they_come_at_once)
{
        struct client client;

        set_up(0);
        client = dial();
        for (int i = 0; i < 3; ++i) {
                ck_assert(say(&client, GET("/metrics")));
                hear(&client, "\r\n\r\none 1\n");
                text_deinit(&client.in);
        }
        ck_assert(say(&client, GET("/metrics") GET("/healthz") GET("/nowhere")));
        hear(&client, "/ lists them.\n");
        ck_assert(heard(&client, "one 1\n"));
        ck_assert(heard(&client, "ok\n"));
        ck_assert_uint_eq(n_printed, 4);
        hang_up(&client);
        tear_down();
}
END_TEST

START_TEST(a_request_that_comes_byte_by_byte_is_answered)
{
        static const char request[] = GET("/metrics");
        struct client client;

        set_up(0);
        client = dial();
        for (size_t i = 0; request[i]; ++i) {
                ck_assert_int_eq(send(client.fd, request + i, 1, MSG_NOSIGNAL), 1);
                turn();
        }
        hear(&client, "one 1\n");
        hang_up(&client);
        tear_down();
}
END_TEST

START_TEST(a_large_page_reaches_a_reader_in_many_parts)
{
        struct client client;

        set_up(0);
        client = ask("GET /large HTTP/1.0\r\n\r\n");
        ck_assert_uint_gt(client.in.n, LARGE);
        ck_assert_int_eq(client.in.bytes[client.in.n - 1], 'x');
        hang_up(&client);
        tear_down();
}
END_TEST

/* ---- hostile clients ---- */

START_TEST(garbage_costs_only_its_sender_the_connection)
{
        static const char *const garbage[] = {
                "\r\n\r\n\r\n\r\n",
                "GET\r\n\r\n",
                "\x16\x03\x01\x02\x01\x01\xfc\x03\x03\r\n\r\n",
                "GET /metrics HTTP/9.9\r\n\r\n",
                "GET /metrics HTTP/1.1\r\n\r\n",
                "GET /metrics HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n",
                "GET /metrics HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999\r\n\r\n",
                "GET /metrics HTTP/1.1\r\nno colon\r\n\r\n",
                "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        };

        set_up(200);
        for (size_t i = 0; i < array_size(garbage); ++i) {
                struct client client = ask(garbage[i]);

                hang_up(&client);
                expect_served();
        }
        tear_down();
}
END_TEST

START_TEST(a_head_that_is_too_large_is_refused)
{
        static const char *const beginnings[] = { "GET /", "GET / HTTP/1.1\r\nHost: h\r\nX: " };

        set_up(0);
        for (size_t i = 0; i < array_size(beginnings); ++i) {
                _cleanup_(text) struct text request = TEXT_NULL;
                struct client client;

                text_add(&request, beginnings[i]);
                while (request.n < 2UL * PAGES_REQUEST_MAX)
                        text_add(&request, "0123456789");
                text_add(&request, " HTTP/1.1\r\n\r\n");
                client = ask(request.bytes);
                /* An answer may be lost to the reset of a connection with unread bytes. */
                ck_assert(!client.in.n || heard(&client, " 414 ") || heard(&client, " 431 "));
                hang_up(&client);
                expect_served();
        }
        tear_down();
}
END_TEST

START_TEST(a_body_is_not_waited_for)
{
        struct client client;

        set_up(0);
        client = dial();
        ck_assert(say(&client, "GET /metrics HTTP/1.1\r\nHost: h\r\n"
                               "Content-Length: 1000000000000\r\n\r\nabc"));
        hear(&client, "one 1\n");
        hang_up(&client);
        client = dial();
        ck_assert(say(&client, "GET /metrics HTTP/1.1\r\nHost: h\r\n"
                               "Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n"));
        hear(&client, "one 1\n");
        hang_up(&client);
        tear_down();
}
END_TEST

START_TEST(a_body_without_end_is_cut_when_patience_is_over)
{
        struct client client;

        set_up(200);
        client = dial();
        ck_assert(say(&client, "GET /metrics HTTP/1.1\r\nHost: h\r\n"
                               "Transfer-Encoding: chunked\r\n\r\n"));
        while (!client.is_closed) {
                (void)say(&client, "5\r\nabcde\r\n");
                turn();
                listen_to(&client);
        }
        ck_assert_uint_le(n_printed, 1);
        hang_up(&client);
        expect_served();
        tear_down();
}
END_TEST

START_TEST(a_client_that_drips_is_cut_although_it_never_pauses)
{
        struct client client;
        uint64_t begun;

        set_up(300);
        client = dial();
        ck_assert(say(&client, "GET /metrics HTTP/1.1\r\nX: "));
        begun = uv_now(&loop);
        while (!client.is_closed) {
                (void)say(&client, "x");
                turn_for(20);
                listen_to(&client);
        }
        ck_assert_uint_ge(uv_now(&loop) - begun, 250);
        ck_assert_uint_le(uv_now(&loop) - begun, 3000);
        hang_up(&client);
        tear_down();
}
END_TEST

START_TEST(a_connection_without_a_further_request_is_closed)
{
        struct client client;

        set_up(200);
        client = dial();
        ck_assert(say(&client, GET("/metrics")));
        hear(&client, "one 1\n");
        hear(&client, NULL);
        ck_assert_int_eq(uv_backend_timeout(&loop), -1);
        hang_up(&client);
        tear_down();
}
END_TEST

START_TEST(a_client_that_does_not_read_is_cut)
{
        struct client client;

        set_up(200);
        client = dial();
        ck_assert(say(&client, GET("/large")));
        turn_for(600);
        hear(&client, NULL);
        ck_assert_uint_lt(client.in.n, LARGE);
        hang_up(&client);
        expect_served();
        tear_down();
}
END_TEST

START_TEST(who_comes_is_served_although_all_places_are_taken)
{
        struct client idle[2 * PAGES_CONNECTIONS_MAX];
        unsigned n_open = 0;

        set_up(0);
        for (size_t i = 0; i < array_size(idle); ++i) {
                idle[i] = dial();
                turn();
        }
        expect_served();
        for (size_t i = 0; i < array_size(idle); ++i) {
                listen_to(&idle[i]);
                n_open += !idle[i].is_closed;
                /* The longest idle had to leave. */
                ck_assert(i >= PAGES_CONNECTIONS_MAX || idle[i].is_closed);
        }
        ck_assert_uint_le(n_open, PAGES_CONNECTIONS_MAX);
        ck_assert_uint_ge(n_open, PAGES_CONNECTIONS_MAX - 1);
        for (size_t i = 0; i < array_size(idle); ++i)
                hang_up(&idle[i]);
        expect_served();
        tear_down();
}
END_TEST

START_TEST(a_hundred_clients_at_once_that_ask_are_answered_or_cut_and_the_next_is_served)
{
        struct client clients[100];
        unsigned n_answered = 0;

        set_up(0);
        for (size_t i = 0; i < array_size(clients); ++i) {
                clients[i] = dial();
                ck_assert(say(&clients[i], "GET /metrics HTTP/1.0\r\n\r\n"));
                if (i % 50 == 49) /* what the backlog takes */
                        turn_for(20);
        }
        for (size_t i = 0; i < array_size(clients); ++i) {
                hear(&clients[i], NULL);
                n_answered += heard(&clients[i], "one 1\n");
                hang_up(&clients[i]);
        }
        ck_assert_uint_ge(n_answered, array_size(clients) - 2);
        expect_served();
        tear_down();
}
END_TEST

START_TEST(clients_that_vanish_at_any_moment_leave_nothing_behind)
{
        static const char request[] = GET("/large");

        set_up(0);
        for (size_t n = 0; n < sizeof(request); ++n) {
                const struct linger reset = { .l_onoff = 1 };
                struct client client = dial();

                ck_assert_int_eq(send(client.fd, request, n, MSG_NOSIGNAL), (ssize_t)n);
                turn();
                if (n % 2)
                        setsockopt(client.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
                hang_up(&client);
                turn();
        }
        turn_for(20);
        ck_assert_int_eq(uv_backend_timeout(&loop), -1);
        expect_served();
        tear_down();
}
END_TEST

START_TEST(without_descriptors_it_pauses_and_serves_when_there_are_some_again)
{
        struct rlimit before, none;
        struct client client;

        set_up(0);
        client = dial();
        getrlimit(RLIMIT_NOFILE, &before);
        none = (struct rlimit){ .rlim_cur = (rlim_t)client.fd + 1, .rlim_max = before.rlim_max };
        setrlimit(RLIMIT_NOFILE, &none);
        ck_assert(say(&client, "GET /metrics HTTP/1.0\r\n\r\n"));
        turn_for(50);
        ck_assert_uint_eq(n_printed, 0);
        setrlimit(RLIMIT_NOFILE, &before);
        hear(&client, "one 1\n");
        hang_up(&client);
        tear_down();
}
END_TEST

/* ---- the loop ---- */

static void count(uv_prepare_t *prepare)
{
        ++*(unsigned *)prepare->data;
}

START_TEST(no_timer_runs_without_clients_and_hardly_any_for_idle_ones)
{
        unsigned n_turns = 0;
        uv_prepare_t turns;
        struct client client;

        set_up(0);
        turn();
        ck_assert_int_eq(uv_backend_timeout(&loop), -1);
        client = dial();
        ck_assert(say(&client, GET("/metrics")));
        hear(&client, "one 1\n");
        ck_assert(say(&client, "GET /metr"));
        turn_for(20);
        uv_prepare_init(&loop, &turns);
        turns.data = &n_turns;
        uv_prepare_start(&turns, count);
        uv_timer_start(&tick, on_tick, 300, 0);
        while (uv_is_active((uv_handle_t *)&tick))
                uv_run(&loop, UV_RUN_ONCE);
        ck_assert_uint_le(n_turns, 3);
        uv_close((uv_handle_t *)&turns, NULL);
        hang_up(&client);
        turn_for(20);
        ck_assert_int_eq(uv_backend_timeout(&loop), -1);
        tear_down();
}
END_TEST

START_TEST(a_stop_cuts_all_connections)
{
        struct client idle, asking, reading;

        set_up(0);
        idle = dial();
        asking = dial();
        reading = dial();
        ck_assert(say(&asking, "GET /metr"));
        ck_assert(say(&reading, GET("/large")));
        turn_for(20);
        tear_down();
        listen_to(&idle);
        listen_to(&asking);
        listen_to(&reading);
        ck_assert(idle.is_closed && asking.is_closed && reading.is_closed);
        hang_up(&idle);
        hang_up(&asking);
        hang_up(&reading);
}
END_TEST

/* ---- addresses ---- */

START_TEST(a_port_in_use_is_an_error_that_names_it)
{
        struct pages_options options = { .loop = &loop };
        struct error error = ERROR_NULL;
        struct pages *second = NULL;

        set_up(0);
        options.listen = pages_address(pages);
        ck_assert_int_eq(pages_start(&options, &second, &error), -EADDRINUSE);
        ck_assert_ptr_nonnull(strstr(error.text, options.listen));
        ck_assert_ptr_nonnull(strstr(error.text, "Address already in use"));
        ck_assert_ptr_null(second);
        tear_down();
}
END_TEST

START_TEST(every_address_includes_ipv4)
{
        struct pages_options options = {
                .loop = &loop, .listen = ":0", .pages = all, .n_pages = array_size(all)
        };
        struct error error = ERROR_NULL;
        struct pages *other;
        char *address;

        set_up(0);
        other = pages;
        ck_assert_msg(pages_start(&options, &pages, &error) == 0, "%s", error.text);
        address = xasprintf("127.0.0.1%s", strrchr(pages_address(pages), ':'));
        pages_stop(other);
        options.listen = address;
        ck_assert_int_eq(pages_start(&options, &other, &error), -EADDRINUSE);
        free(address);
        expect_served();
        tear_down();
}
END_TEST

SUITE("pages", a_page_comes_with_its_type_and_status, head_gets_the_head_only,
      the_index_names_the_pages_and_nothing_else_exists,
      other_methods_are_refused_and_print_nothing,
      a_connection_is_kept_for_more_requests_also_when_they_come_at_once,
      a_request_that_comes_byte_by_byte_is_answered, a_large_page_reaches_a_reader_in_many_parts,
      garbage_costs_only_its_sender_the_connection, a_head_that_is_too_large_is_refused,
      a_body_is_not_waited_for, a_body_without_end_is_cut_when_patience_is_over,
      a_client_that_drips_is_cut_although_it_never_pauses,
      a_connection_without_a_further_request_is_closed, a_client_that_does_not_read_is_cut,
      who_comes_is_served_although_all_places_are_taken,
      a_hundred_clients_at_once_that_ask_are_answered_or_cut_and_the_next_is_served,
      clients_that_vanish_at_any_moment_leave_nothing_behind,
      without_descriptors_it_pauses_and_serves_when_there_are_some_again,
      no_timer_runs_without_clients_and_hardly_any_for_idle_ones, a_stop_cuts_all_connections,
      a_port_in_use_is_an_error_that_names_it, every_address_includes_ipv4);
