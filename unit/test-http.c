/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/http.h"

#include "base/memory.h"
#include "kube/credentials.h"
#include "unit/stub-http.h"
#include "unit/suite.h"

#include <errno.h>
#include <fcntl.h>

static uv_loop_t loop;
static struct stub_server server;
static struct http *http;

/* What a call came to. */
struct seen {
        unsigned n_replies;
        int status;
        uint64_t retry_after_ms;
        struct text body;
        struct text stream;
        unsigned n_beginnings;
        struct error error;
        struct http_call *cancels_itself;
        unsigned *also_counts;
};

static void on_reply(void *owner, const struct http_reply *reply)
{
        struct seen *seen = owner;

        ++seen->n_replies;
        if (seen->also_counts)
                ++*seen->also_counts;
        seen->status = reply->status;
        seen->retry_after_ms = reply->retry_after_ms;
        seen->error = reply->error;
        text_add_bytes(&seen->body, reply->body, reply->n_body);
}

static void on_bytes(void *owner, const char *bytes, size_t n)
{
        struct seen *seen = owner;

        if (n == 0)
                ++seen->n_beginnings;
        text_add_bytes(&seen->stream, bytes, n);
        if (seen->cancels_itself && n > 0)
                http_cancel(seen->cancels_itself);
}

static void seen_deinit(struct seen *seen)
{
        text_deinit(&seen->body);
        text_deinit(&seen->stream);
}

static void set_up(const struct stub_answer *answers, size_t n_answers, const char *token_file)
{
        struct kube_credentials credentials = { .token_file = (char *)token_file };
        struct error error = ERROR_NULL;

        ck_assert_int_eq(uv_loop_init(&loop), 0);
        stub_start(&server, &loop, answers, n_answers);
        credentials.url = stub_url(&server);
        ck_assert_int_eq(http_new(&loop, &credentials, &http, &error), 0);
        free(credentials.url);
}

static void tear_down(void)
{
        http_free(http);
        stub_stop(&server);
}

static struct http_call *get(const char *path, struct seen *seen)
{
        struct http_request request = {
                .method = "GET",
                .path = path,
                .max_reply = 1000,
                .timeout_ms = 5000,
                .on_reply = on_reply,
                .owner = seen,
        };

        return http_start(http, &request);
}

static struct http_call *get_stream(const char *path, struct seen *seen)
{
        struct http_request request = {
                .method = "GET",
                .path = path,
                .max_reply = 1000,
                .on_bytes = on_bytes,
                .on_reply = on_reply,
                .owner = seen,
        };

        return http_start(http, &request);
}

START_TEST(a_get_brings_status_and_body)
{
        static const struct stub_answer answers[] = { { 200, NULL, "{\"a\":1}" } };
        struct seen seen = { 0 };

        set_up(answers, 1, NULL);
        get("/api/v1/nodes/n?x=1%202", &seen);
        ck_assert_uint_eq(seen.n_replies, 0);
        stub_run_until(&server, &seen.n_replies);

        ck_assert_int_eq(seen.status, 200);
        ck_assert_str_eq(seen.body.bytes, "{\"a\":1}");
        ck_assert_str_eq(server.targets[0], "GET /api/v1/nodes/n?x=1%202");
        ck_assert_ptr_nonnull(strstr(server.heads[0], "\r\nAccept: application/json\r\n"));
        ck_assert_ptr_nonnull(strstr(server.heads[0], "\r\nUser-Agent: dra-driver-tdx\r\n"));
        ck_assert_ptr_null(strstr(server.heads[0], "Accept-Encoding"));
        ck_assert_ptr_null(strstr(server.heads[0], "Authorization"));
        seen_deinit(&seen);
        tear_down();
}
END_TEST

START_TEST(a_body_of_any_size_is_sent_as_it_is)
{
        static const struct stub_answer answers[] = { { 201, NULL, NULL } };
        _cleanup_(free) char *body = xmalloc(2000000);
        struct http_request request = { .method = "PUT",
                                        .path = "/x",
                                        .body = body,
                                        .n_body = 2000000,
                                        .max_reply = 1000,
                                        .on_reply = on_reply };
        struct seen seen = { 0 };

        memset(body, 'x', 2000000);
        set_up(answers, 1, NULL);
        request.owner = &seen;
        http_start(http, &request);
        memset(body, 'y', 2000000);
        stub_run_until(&server, &seen.n_replies);

        ck_assert_int_eq(seen.status, 201);
        ck_assert_str_eq(server.targets[0], "PUT /x");
        ck_assert_uint_eq(strspn(server.bodies[0], "x"), 2000000);
        ck_assert_ptr_nonnull(strstr(server.heads[0], "\r\nContent-Type: application/json\r\n"));
        ck_assert_ptr_null(strstr(server.heads[0], "Expect"));
        seen_deinit(&seen);
        tear_down();
}
END_TEST

START_TEST(a_method_does_not_stick_to_the_next_request)
{
        static const struct stub_answer answers[] = { { 200 } };
        struct seen seen = { 0 };
        struct http_request request = { .method = "DELETE",
                                        .path = "/x",
                                        .body = "{}",
                                        .n_body = 2,
                                        .max_reply = 1000,
                                        .on_reply = on_reply,
                                        .owner = &seen };

        set_up(answers, 1, NULL);
        http_start(http, &request);
        stub_run_until(&server, &seen.n_replies);
        seen.n_replies = 0;
        get("/y", &seen);
        stub_run_until(&server, &seen.n_replies);

        ck_assert_str_eq(server.targets[0], "DELETE /x");
        ck_assert_str_eq(server.bodies[0], "{}");
        ck_assert_str_eq(server.targets[1], "GET /y");
        ck_assert_str_eq(server.bodies[1], "");
        ck_assert_ptr_null(strstr(server.heads[1], "Content-Type"));
        seen_deinit(&seen);
        tear_down();
}
END_TEST

START_TEST(requests_one_after_the_other_share_a_connection)
{
        static const struct stub_answer answers[] = { { 200 } };

        set_up(answers, 1, NULL);
        for (unsigned i = 0; i < 5; ++i) {
                struct seen seen = { 0 };

                get("/x", &seen);
                stub_run_until(&server, &seen.n_replies);
                seen_deinit(&seen);
        }

        ck_assert_uint_eq(server.n_requests, 5);
        ck_assert_uint_eq(server.n_connections, 1);
        tear_down();
}
END_TEST

START_TEST(a_connection_that_died_while_idle_costs_nothing)
{
        static const struct stub_answer answers[] = { { 200 } };
        struct seen seen = { 0 };

        set_up(answers, 1, NULL);
        get("/x", &seen);
        stub_run_until(&server, &seen.n_replies);
        stub_close(server.last);
        seen.n_replies = 0;
        get("/x", &seen);
        stub_run_until(&server, &seen.n_replies);

        ck_assert_int_eq(seen.status, 200);
        ck_assert_uint_eq(server.n_connections, 2);
        seen_deinit(&seen);
        tear_down();
}
END_TEST

START_TEST(a_reply_beyond_the_limit_is_an_error)
{
        char body[1002] = { 0 };
        struct stub_answer answers[] = { { 200, NULL, body }, { 200, NULL, body } };
        struct seen seen = { 0 };

        memset(body, ' ', 1001);
        set_up(answers, 2, NULL);
        get("/big", &seen);
        stub_run_until(&server, &seen.n_replies);
        ck_assert_int_eq(seen.status, 0);
        ck_assert_int_eq(seen.error.code, -EMSGSIZE);
        ck_assert_str_eq(seen.error.text, "GET /big: the reply is larger than 1000 bytes");

        body[1000] = '\0';
        seen.n_replies = 0;
        get("/fits", &seen);
        stub_run_until(&server, &seen.n_replies);
        ck_assert_int_eq(seen.status, 200);
        ck_assert_uint_eq(seen.body.n, 1000);
        seen_deinit(&seen);
        tear_down();
}
END_TEST

START_TEST(headers_beyond_the_limit_are_named_as_that)
{
        static char headers[1 << 20];
        struct stub_answer answer = { 200, headers, "" };

        memset(headers, 'x', sizeof(headers) - 3);
        memcpy(headers, "X-Big: ", 7);
        memcpy(headers + sizeof(headers) - 3, "\r\n", 3);
        struct seen seen = { 0 };

        set_up(&answer, 1, NULL);
        get("/", &seen);
        stub_run_until(&server, &seen.n_replies);
        ck_assert_int_eq(seen.error.code, -EMSGSIZE);
        ck_assert_ptr_nonnull(strstr(seen.error.text, "the headers of the reply"));
        seen_deinit(&seen);
        tear_down();
}
END_TEST

START_TEST(a_truncated_body_is_an_error)
{
        static const struct stub_answer answers[] = { { 200, NULL, "{\"a\":", .is_cut = true } };
        struct seen seen = { 0 };

        set_up(answers, 1, NULL);
        get("/x", &seen);
        stub_run_until(&server, &seen.n_replies);

        ck_assert_int_eq(seen.status, 0);
        ck_assert_int_eq(seen.error.code, -ECONNRESET);
        ck_assert_ptr_nonnull(
                strstr(seen.error.text, "GET /x: the connection broke after 5 bytes"));
        seen_deinit(&seen);
        tear_down();
}
END_TEST

START_TEST(a_server_that_hangs_up_is_an_error)
{
        static const struct stub_answer answers[] = { { .is_closed = true } };
        struct seen seen = { 0 };

        set_up(answers, 1, NULL);
        get("/x", &seen);
        stub_run_until(&server, &seen.n_replies);

        ck_assert_int_eq(seen.status, 0);
        ck_assert_int_eq(seen.error.code, -ECONNRESET);
        seen_deinit(&seen);
        tear_down();
}
END_TEST

START_TEST(a_server_that_does_not_listen_is_reported_in_words)
{
        static const struct stub_answer answers[] = { { 200 } };
        struct kube_credentials credentials = { .url = xstrdup("http://127.0.0.1:1") };
        struct http *other = NULL;
        struct seen seen = { 0 };
        struct http_request request = {
                .method = "GET", .path = "/x", .on_reply = on_reply, .owner = &seen
        };

        set_up(answers, 1, NULL);
        ck_assert_int_eq(http_new(&loop, &credentials, &other, NULL), 0);
        http_start(other, &request);
        stub_run_until(&server, &seen.n_replies);

        ck_assert_int_eq(seen.status, 0);
        ck_assert_int_eq(seen.error.code, -ECONNREFUSED);
        ck_assert_str_eq(seen.error.text,
                         "GET /x: cannot connect to http://127.0.0.1:1: Connection refused; is the "
                         "API server up, and its address right?");
        http_free(other);
        kube_credentials_deinit(&credentials);
        seen_deinit(&seen);
        tear_down();
}
END_TEST

START_TEST(no_answer_in_time_is_an_error)
{
        static const struct stub_answer answers[] = { { 0 } };
        struct seen seen = { 0 };
        struct http_request request = { .method = "GET",
                                        .path = "/x",
                                        .timeout_ms = 1000,
                                        .on_reply = on_reply,
                                        .owner = &seen };

        set_up(answers, 1, NULL);
        http_start(http, &request);
        stub_run_until(&server, &seen.n_replies);

        ck_assert_int_eq(seen.error.code, -ETIMEDOUT);
        ck_assert_ptr_nonnull(strstr(seen.error.text, "gave no complete answer within 1 s"));
        seen_deinit(&seen);
        tear_down();
}
END_TEST

START_TEST(an_early_refusal_of_a_big_body_is_heard_despite_the_reset)
{
        static const struct stub_answer answers[] = { { 413, "Connection: close\r\n", NULL,
                                                        .is_early = true } };
        _cleanup_(free) char *body = xcalloc(1, 8000000);
        struct seen seen = { 0 };
        struct http_request request = { .method = "POST",
                                        .path = "/x",
                                        .body = body,
                                        .n_body = 8000000,
                                        .max_reply = 1000,
                                        .timeout_ms = 5000,
                                        .on_reply = on_reply,
                                        .owner = &seen };

        set_up(answers, 1, NULL);
        http_start(http, &request);
        stub_run_until(&server, &seen.n_replies);

        /* Which of the two wins is up to the kernel; what may not happen is a wait for the timeout.
         */
        ck_assert(seen.status == 413 || seen.error.code == -ECONNRESET);
        seen_deinit(&seen);
        tear_down();
}
END_TEST

START_TEST(retry_after_is_passed_on)
{
        static const struct stub_answer answers[] = { { 429, "Retry-After: 7\r\n", NULL } };
        struct seen seen = { 0 };

        set_up(answers, 1, NULL);
        get("/x", &seen);
        stub_run_until(&server, &seen.n_replies);

        ck_assert_int_eq(seen.status, 429);
        ck_assert_uint_eq(seen.retry_after_ms, 7000);
        seen_deinit(&seen);
        tear_down();
}
END_TEST

START_TEST(a_redirect_is_not_followed)
{
        static const struct stub_answer answers[] = { { 302, "Location: /other\r\n", NULL } };
        struct seen seen = { 0 };

        set_up(answers, 1, NULL);
        get("/x", &seen);
        stub_run_until(&server, &seen.n_replies);

        ck_assert_int_eq(seen.status, 302);
        ck_assert_uint_eq(server.n_requests, 1);
        seen_deinit(&seen);
        tear_down();
}
END_TEST

START_TEST(a_proxy_from_the_environment_is_not_used)
{
        static const struct stub_answer answers[] = { { 200 } };
        struct seen seen = { 0 };

        setenv("http_proxy", "http://127.0.0.1:1", 1);
        setenv("all_proxy", "http://127.0.0.1:1", 1);
        set_up(answers, 1, NULL);
        get("/x", &seen);
        stub_run_until(&server, &seen.n_replies);

        ck_assert_int_eq(seen.status, 200);
        seen_deinit(&seen);
        tear_down();
}
END_TEST

START_TEST(a_stream_comes_in_pieces_after_a_beginning)
{
        static const struct stub_answer answers[] = { { 200, .is_stream = true } };
        struct seen seen = { 0 };

        set_up(answers, 1, NULL);
        get_stream("/watch", &seen);
        stub_run_until(&server, &seen.n_beginnings);
        ck_assert_uint_eq(seen.stream.n, 0);
        stub_send(server.last, "one");
        stub_send(server.last, "two");
        stub_send(server.last, "");
        stub_run_until(&server, &seen.n_replies);

        ck_assert_int_eq(seen.status, 200);
        ck_assert_str_eq(seen.stream.bytes, "onetwo");
        ck_assert_uint_eq(seen.body.n, 0);
        ck_assert_uint_eq(seen.n_beginnings, 1);
        seen_deinit(&seen);
        tear_down();
}
END_TEST

START_TEST(an_error_reply_does_not_reach_the_stream)
{
        static const struct stub_answer answers[] = { { 410, NULL, "{\"code\":410}" } };
        struct seen seen = { 0 };

        set_up(answers, 1, NULL);
        get_stream("/watch", &seen);
        stub_run_until(&server, &seen.n_replies);

        ck_assert_int_eq(seen.status, 410);
        ck_assert_str_eq(seen.body.bytes, "{\"code\":410}");
        ck_assert_uint_eq(seen.n_beginnings, 0);
        seen_deinit(&seen);
        tear_down();
}
END_TEST

START_TEST(a_cancelled_call_is_never_heard_of_again)
{
        static const struct stub_answer answers[] = { { 0 }, { 200 } };
        struct seen waiting = { 0 }, unsent = { 0 }, next = { 0 };
        struct http_call *call;

        set_up(answers, 2, NULL);
        call = get("/hangs", &waiting);
        stub_run_until_requests(&server, 1);
        http_cancel(call);
        http_cancel(get("/unsent", &unsent));
        get("/next", &next);
        stub_run_until(&server, &next.n_replies);

        ck_assert_uint_eq(waiting.n_replies, 0);
        ck_assert_uint_eq(unsent.n_replies, 0);
        ck_assert_uint_eq(server.n_requests, 2);
        seen_deinit(&next);
        tear_down();
}
END_TEST

START_TEST(a_call_may_be_cancelled_from_its_own_stream)
{
        static const struct stub_answer answers[] = { { 200, NULL, "x", .is_stream = true },
                                                      { 200 } };
        struct seen stream = { 0 }, next = { 0 };

        set_up(answers, 2, NULL);
        stream.cancels_itself = get_stream("/watch", &stream);
        stub_run_until(&server, &stream.n_beginnings);
        get("/next", &next);
        stub_run_until(&server, &next.n_replies);

        ck_assert_uint_eq(stream.n_replies, 0);
        ck_assert_str_eq(stream.stream.bytes, "x");
        seen_deinit(&stream);
        seen_deinit(&next);
        tear_down();
}
END_TEST

static void start_another(void *owner, const char *bytes, size_t n)
{
        if (n == 0)
                get("/other", owner);
}

START_TEST(a_call_may_be_started_from_a_stream)
{
        static const struct stub_answer answers[] = { { 200, .is_stream = true }, { 200 } };
        struct seen seen = { 0 };
        struct http_request request = { .method = "GET",
                                        .path = "/watch",
                                        .on_bytes = start_another,
                                        .on_reply = on_reply,
                                        .owner = &seen };

        set_up(answers, 2, NULL);
        http_start(http, &request);
        stub_run_until(&server, &seen.n_replies);

        ck_assert_str_eq(server.targets[1], "GET /other");
        seen_deinit(&seen);
        tear_down();
}
END_TEST

static void free_all(void *owner, const char *bytes, size_t n)
{
        unsigned *n_freed = owner;

        ++*n_freed;
        http_free(http);
}

START_TEST(everything_may_be_freed_from_a_stream)
{
        static const struct stub_answer answers[] = { { 200, .is_stream = true } };
        unsigned n_freed = 0;
        struct seen seen = { 0 };
        struct http_request request = { .method = "GET",
                                        .path = "/watch",
                                        .on_bytes = free_all,
                                        .on_reply = on_reply,
                                        .owner = &n_freed };

        set_up(answers, 1, NULL);
        get("/never-told", &seen);
        http_start(http, &request);
        stub_run_until(&server, &n_freed);
        stub_stop(&server);

        ck_assert_uint_eq(n_freed, 1);
        ck_assert_uint_eq(seen.n_replies, 0);
        seen_deinit(&seen);
}
END_TEST

START_TEST(the_time_in_the_queue_counts)
{
        static const struct stub_answer answers[] = { { 0 } };
        struct seen seen[40] = { 0 };
        unsigned n_replies = 0;
        uint64_t began = uv_hrtime();

        set_up(answers, 1, NULL);
        for (size_t i = 0; i < array_size(seen); ++i) {
                seen[i].also_counts = &n_replies;
                http_start(http, &(struct http_request){ .method = "GET",
                                                         .path = "/x",
                                                         .timeout_ms = 2000,
                                                         .on_reply = on_reply,
                                                         .owner = &seen[i] });
        }
        while (n_replies < array_size(seen))
                uv_run(&loop, UV_RUN_ONCE);

        for (size_t i = 0; i < array_size(seen); ++i) {
                ck_assert_int_eq(seen[i].error.code, -ETIMEDOUT);
                seen_deinit(&seen[i]);
        }
        /* Eight at a time, one after the other, they would take 10 s. */
        ck_assert_uint_lt((uv_hrtime() - began) / 1000000, 8000);
        tear_down();
}
END_TEST

START_TEST(more_calls_than_connections_are_queued_and_all_answered)
{
        static const struct stub_answer answers[] = { { 200 } };
        struct seen seen[100] = { 0 };
        unsigned n_replies = 0;

        set_up(answers, 1, NULL);
        for (size_t i = 0; i < array_size(seen); ++i) {
                seen[i].also_counts = &n_replies;
                get("/x", &seen[i]);
        }
        while (n_replies < array_size(seen))
                uv_run(&loop, UV_RUN_ONCE);

        for (size_t i = 0; i < array_size(seen); ++i) {
                ck_assert_uint_eq(seen[i].n_replies, 1);
                ck_assert_int_eq(seen[i].status, 200);
                seen_deinit(&seen[i]);
        }
        ck_assert_uint_eq(server.n_requests, array_size(seen));
        ck_assert_uint_le(server.n_open_most, 8);
        ck_assert_uint_eq(server.n_connections, 8);
        tear_down();
}
END_TEST

static char token_path[] = "/tmp/test-http-token.XXXXXX";

static void write_token(const char *content)
{
        FILE *file = fopen(token_path, "w");

        ck_assert_ptr_nonnull(file);
        ck_assert_int_ge(fputs(content, file), 0);
        ck_assert_int_eq(fclose(file), 0);
}

START_TEST(a_401_reads_the_token_again_and_repeats_once)
{
        static const struct stub_answer answers[] = { { 200 }, { 401 }, { 200 }, { 401 }, { 401 } };
        struct seen first = { 0 }, second = { 0 }, third = { 0 };
        struct stat status;
        struct timespec times[2];

        close(mkstemp(token_path));
        write_token("old-token\n");
        set_up(answers, 5, token_path);
        get("/1", &first);
        stub_run_until(&server, &first.n_replies);
        /* Same inode, size and time: only the 401 can tell that it is another one. */
        ck_assert_int_eq(stat(token_path, &status), 0);
        write_token("new-token\n");
        times[0] = status.st_atim;
        times[1] = status.st_mtim;
        ck_assert_int_eq(utimensat(AT_FDCWD, token_path, times, 0), 0);
        get("/2", &second);
        stub_run_until(&server, &second.n_replies);
        get("/3", &third);
        stub_run_until(&server, &third.n_replies);
        unlink(token_path);

        ck_assert_int_eq(first.status, 200);
        ck_assert_int_eq(second.status, 200);
        ck_assert_int_eq(third.status, 401);
        ck_assert_uint_eq(server.n_requests, 5);
        ck_assert_ptr_nonnull(strstr(server.heads[0], "\r\nAuthorization: Bearer old-token\r\n"));
        ck_assert_ptr_nonnull(strstr(server.heads[1], "\r\nAuthorization: Bearer old-token\r\n"));
        ck_assert_ptr_nonnull(strstr(server.heads[2], "\r\nAuthorization: Bearer new-token\r\n"));
        ck_assert_str_eq(server.targets[2], "GET /2");
        seen_deinit(&first);
        seen_deinit(&second);
        seen_deinit(&third);
        tear_down();
}
END_TEST

START_TEST(a_token_that_cannot_be_read_fails_the_call_later_and_not_inside)
{
        static const struct stub_answer answers[] = { { 200 } };
        struct seen seen = { 0 };

        set_up(answers, 1, "/nonexistent/token");
        get("/x", &seen);
        ck_assert_uint_eq(seen.n_replies, 0);
        stub_run_until(&server, &seen.n_replies);

        ck_assert_int_eq(seen.error.code, -ENOENT);
        ck_assert_str_eq(seen.error.text, "GET /x: cannot read token file /nonexistent/token: No "
                                          "such file or directory");
        ck_assert_uint_eq(server.n_requests, 0);
        seen_deinit(&seen);
        tear_down();
}
END_TEST

START_TEST(plain_http_to_another_machine_is_refused)
{
        struct kube_credentials credentials = { .url = xstrdup("http://10.0.0.1:6443") };
        struct error error = ERROR_NULL;
        struct http *none = NULL;

        ck_assert_int_eq(uv_loop_init(&loop), 0);
        ck_assert_int_eq(http_new(&loop, &credentials, &none, &error), -EINVAL);

        ck_assert_ptr_null(none);
        ck_assert_ptr_nonnull(strstr(error.text, "use https://"));
        kube_credentials_deinit(&credentials);
        ck_assert_int_eq(uv_loop_close(&loop), 0);
}
END_TEST

SUITE("http", a_get_brings_status_and_body, a_body_of_any_size_is_sent_as_it_is,
      a_method_does_not_stick_to_the_next_request, requests_one_after_the_other_share_a_connection,
      a_connection_that_died_while_idle_costs_nothing, a_reply_beyond_the_limit_is_an_error,
      headers_beyond_the_limit_are_named_as_that, a_truncated_body_is_an_error,
      a_server_that_hangs_up_is_an_error, a_server_that_does_not_listen_is_reported_in_words,
      no_answer_in_time_is_an_error, an_early_refusal_of_a_big_body_is_heard_despite_the_reset,
      retry_after_is_passed_on, a_redirect_is_not_followed,
      a_proxy_from_the_environment_is_not_used, a_stream_comes_in_pieces_after_a_beginning,
      an_error_reply_does_not_reach_the_stream, a_cancelled_call_is_never_heard_of_again,
      a_call_may_be_cancelled_from_its_own_stream, a_call_may_be_started_from_a_stream,
      everything_may_be_freed_from_a_stream, the_time_in_the_queue_counts,
      more_calls_than_connections_are_queued_and_all_answered,
      a_401_reads_the_token_again_and_repeats_once,
      a_token_that_cannot_be_read_fails_the_call_later_and_not_inside,
      plain_http_to_another_machine_is_refused);
