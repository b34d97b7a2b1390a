/* SPDX-License-Identifier: Apache-2.0 */
#include "unit/stub-http.h"

#include "base/memory.h"
#include "kube/credentials.h"
#include "kube/http.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

#define STUB_DEADLINE_MS 10000

static void stub_on_connection_closed(uv_handle_t *handle)
{
        struct stub_connection *connection = handle->data;

        if (connection->server->last == connection)
                connection->server->last = NULL;
        --connection->server->n_open;
        list_unlink(&connection->link);
        text_deinit(&connection->in);
        free(connection);
}

void stub_close(struct stub_connection *connection)
{
        if (!uv_is_closing((uv_handle_t *)&connection->tcp))
                uv_close((uv_handle_t *)&connection->tcp, stub_on_connection_closed);
}

static void stub_on_written(uv_write_t *write, int status)
{
        free(write->data);
        free(write);
}

static void stub_write(struct stub_connection *connection, const char *bytes, size_t n)
{
        uv_write_t *write = xcalloc(1, sizeof(*write));
        uv_buf_t buffer = uv_buf_init(xmalloc(n), (unsigned)n);

        memcpy(buffer.base, bytes, n);
        write->data = buffer.base;
        ck_assert_int_eq(
                uv_write(write, (uv_stream_t *)&connection->tcp, &buffer, 1, stub_on_written), 0);
}

static void stub_on_shut_down(uv_shutdown_t *shutdown, int status)
{
        stub_close(shutdown->data);
        free(shutdown);
}

void stub_finish(struct stub_connection *connection)
{
        uv_shutdown_t *shutdown = xcalloc(1, sizeof(*shutdown));

        shutdown->data = connection;
        ck_assert_int_eq(uv_shutdown(shutdown, (uv_stream_t *)&connection->tcp, stub_on_shut_down),
                         0);
}

void stub_send(struct stub_connection *connection, const char *bytes)
{
        _cleanup_(text) struct text chunk = TEXT_NULL;

        text_addf(&chunk, "%zx\r\n%s\r\n", strlen(bytes), bytes);
        stub_write(connection, chunk.bytes, chunk.n);
}

static void stub_answer(struct stub_connection *connection, const struct stub_answer *answer)
{
        _cleanup_(text) struct text out = TEXT_NULL;
        const char *body = answer->body ? answer->body : "{}";

        if (answer->is_closed) {
                stub_finish(connection);
                return;
        }
        if (!answer->status)
                return;
        text_addf(&out, "HTTP/1.1 %d Status\r\n%s", answer->status,
                  answer->headers ? answer->headers : "");
        if (answer->is_stream)
                text_add(&out, "Transfer-Encoding: chunked\r\n\r\n");
        else
                text_addf(&out, "Content-Length: %zu\r\n\r\n%s",
                          strlen(body) + (answer->is_cut ? 1 : 0), body);
        stub_write(connection, out.bytes, out.n);
        if (answer->is_stream && answer->body)
                stub_send(connection, answer->body);
        if (answer->is_cut)
                stub_finish(connection);
        if (answer->is_early)
                stub_close(connection);
}

static size_t stub_content_length(const char *head)
{
        const char *line = strcasestr(head, "\r\ncontent-length:");

        return line ? strtoul(line + strlen("\r\ncontent-length:"), NULL, 10) : 0;
}

static void stub_take_requests(struct stub_connection *connection)
{
        struct stub_server *server = connection->server;
        const char *end;

        while (connection->in.n && (end = strstr(connection->in.bytes, "\r\n\r\n"))) {
                _cleanup_(free) char *rest = NULL;
                size_t n_head = (size_t)(end - connection->in.bytes) + 4;
                size_t i = server->n_requests, n_body;
                char *head = xstrndup(connection->in.bytes, n_head);

                n_body = stub_content_length(head);
                if (server->answers[0].is_early)
                        n_body = 0;
                if (connection->in.n < n_head + n_body) {
                        free(head);
                        return;
                }
                ck_assert_uint_lt(i, STUB_REQUESTS_MAX);
                server->heads[i] = head;
                server->targets[i] = xstrndup(head, strcspn(head, "\r") - strlen(" HTTP/1.1"));
                server->bodies[i] = xstrndup(connection->in.bytes + n_head, n_body);
                server->last = connection;
                ++server->n_requests;
                rest = xstrdup(connection->in.bytes + n_head + n_body);
                text_deinit(&connection->in);
                text_add(&connection->in, rest);
                stub_answer(connection,
                            &server->answers[i < server->n_answers ? i : server->n_answers - 1]);
        }
}

static void stub_on_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
        *ret = uv_buf_init(xmalloc(suggested), (unsigned)suggested);
}

static void stub_on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer)
{
        struct stub_connection *connection = stream->data;

        if (n > 0) {
                text_add_bytes(&connection->in, buffer->base, (size_t)n);
                stub_take_requests(connection);
        } else if (n < 0) {
                stub_close(connection);
        }
        free(buffer->base);
}

static void stub_on_connection(uv_stream_t *listener, int status)
{
        struct stub_server *server = listener->data;
        struct stub_connection *connection = xcalloc(1, sizeof(*connection));

        connection->server = server;
        connection->tcp.data = connection;
        list_add_tail(&server->connections, &connection->link);
        ++server->n_connections;
        if (++server->n_open > server->n_open_most)
                server->n_open_most = server->n_open;
        ck_assert_int_eq(uv_tcp_init(server->loop, &connection->tcp), 0);
        ck_assert_int_eq(uv_accept(listener, (uv_stream_t *)&connection->tcp), 0);
        uv_read_start((uv_stream_t *)&connection->tcp, stub_on_allocate, stub_on_read);
}

static void stub_on_tick(uv_timer_t *timer)
{
        const struct stub_server *server = timer->data;

        if (uv_now(server->loop) > server->deadline_ms)
                ck_abort_msg("the test did not get where it wanted to in %d ms", STUB_DEADLINE_MS);
}

void stub_start(struct stub_server *server, uv_loop_t *loop, const struct stub_answer *answers,
                size_t n_answers)
{
        struct sockaddr_in address;
        int n = sizeof(address);

        *server = (struct stub_server){ .loop = loop, .answers = answers, .n_answers = n_answers };
        list_init(&server->connections);
        server->listener.data = server;
        ck_assert_int_eq(uv_ip4_addr("127.0.0.1", 0, &address), 0);
        ck_assert_int_eq(uv_tcp_init(loop, &server->listener), 0);
        ck_assert_int_eq(uv_tcp_bind(&server->listener, (struct sockaddr *)&address, 0), 0);
        ck_assert_int_eq(uv_listen((uv_stream_t *)&server->listener, 64, stub_on_connection), 0);
        ck_assert_int_eq(uv_tcp_getsockname(&server->listener, (struct sockaddr *)&address, &n), 0);
        server->port = ntohs(address.sin_port);
        uv_timer_init(loop, &server->tick);
        server->tick.data = server;
}

void stub_set_deadline(struct stub_server *server)
{
        uv_update_time(server->loop);
        server->deadline_ms = uv_now(server->loop) + STUB_DEADLINE_MS;
        uv_timer_start(&server->tick, stub_on_tick, 2, 2);
}

void stub_run_until(struct stub_server *server, const unsigned *flag)
{
        stub_set_deadline(server);
        while (!*flag)
                uv_run(server->loop, UV_RUN_ONCE);
        uv_timer_stop(&server->tick);
}

void stub_run_until_requests(struct stub_server *server, size_t n)
{
        stub_set_deadline(server);
        while (server->n_requests < n)
                uv_run(server->loop, UV_RUN_ONCE);
        uv_timer_stop(&server->tick);
}

void stub_stop(struct stub_server *server)
{
        struct list *position;

        uv_close((uv_handle_t *)&server->listener, NULL);
        list_for_each (position, &server->connections)
                stub_close(container_of(position, struct stub_connection, link));
        stub_set_deadline(server);
        uv_unref((uv_handle_t *)&server->tick);
        uv_run(server->loop, UV_RUN_DEFAULT);
        uv_close((uv_handle_t *)&server->tick, NULL);
        uv_run(server->loop, UV_RUN_DEFAULT);
        ck_assert_int_eq(uv_loop_close(server->loop), 0);
        for (size_t i = 0; i < server->n_requests; ++i) {
                free(server->targets[i]);
                free(server->heads[i]);
                free(server->bodies[i]);
        }
}

char *stub_url(const struct stub_server *server)
{
        return xasprintf("http://127.0.0.1:%d", server->port);
}

struct http *stub_client(const struct stub_server *server)
{
        struct kube_credentials credentials = KUBE_CREDENTIALS_NULL;
        struct http *http;

        credentials.url = stub_url(server);
        ck_assert_int_eq(http_new(server->loop, &credentials, &http, NULL), 0);
        kube_credentials_deinit(&credentials);
        return http;
}
