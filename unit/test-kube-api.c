/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/api.h"

#include "base/json.h"
#include "base/memory.h"
#include "kube/credentials.h"
#include "unit/stub-http.h"
#include "unit/suite.h"

#include <errno.h>

static uv_loop_t loop;
static struct stub_server server;
static struct http *http;
static struct kube_api *api;

struct seen {
        unsigned n_replies;
        enum kube_outcome outcome;
        int status;
        char *name; /* metadata.name of the object; NULL: there was none */
        uint64_t retry_after_ms;
        struct error error;
};

static void on_reply(void *owner, const struct kube_reply *reply)
{
        struct seen *seen = owner;
        const char *name = json_string(json_get(json_get(reply->object, "metadata"), "name"));

        ++seen->n_replies;
        seen->outcome = reply->outcome;
        seen->status = reply->status;
        seen->name = name ? xstrdup(name) : NULL;
        seen->retry_after_ms = reply->retry_after_ms;
        seen->error = reply->error;
}

static void set_up(const struct stub_answer *answers, size_t n_answers)
{
        ck_assert_int_eq(uv_loop_init(&loop), 0);
        stub_start(&server, &loop, answers, n_answers);
        http = stub_client(&server);
        api = kube_api_new(http);
}

static void tear_down(void)
{
        kube_api_free(api);
        http_free(http);
        stub_stop(&server);
}

static void get(const char *path, struct seen *seen)
{
        kube_get(api, path, "Node", on_reply, seen);
        stub_run_until(&server, &seen->n_replies);
}

START_TEST(an_object_of_the_expected_kind_is_ok)
{
        static const struct stub_answer answers[] = {
                { 200, NULL, "{\"kind\":\"Node\",\"metadata\":{\"name\":\"n\"}}" }
        };
        struct seen seen = { 0 };

        set_up(answers, 1);
        get("/api/v1/nodes/n", &seen);

        ck_assert_int_eq(seen.outcome, KUBE_OK);
        ck_assert_int_eq(seen.error.code, 0);
        ck_assert_str_eq(seen.name, "n");
        free(seen.name);
        tear_down();
}
END_TEST

#define STATUS(code, rest) "{\"kind\":\"Status\",\"code\":" #code "," rest "}"

START_TEST(answers_are_sorted_by_what_can_be_done)
{
        static const struct {
                struct stub_answer answer;
                enum kube_outcome outcome;
                int code;
                const char *text;
        } table[] = {
                { { 404, NULL,
                    STATUS(404, "\"message\":\"nodes \\\"n\\\" not found\",\"details\":"
                                "{\"name\":\"n\",\"kind\":\"nodes\"}") },
                  KUBE_NOT_FOUND,
                  -ENOENT,
                  "GET /n: nodes \"n\" not found (HTTP 404)" },
                { { 404, NULL, "404 page not found\n" },
                  KUBE_NOT_SERVED,
                  -EOPNOTSUPP,
                  "GET /n: HTTP 404, not served" },
                { { 404, NULL,
                    STATUS(404, "\"message\":\"the server could not find the requested "
                                "resource\",\"details\":{}") },
                  KUBE_NOT_SERVED,
                  -EOPNOTSUPP,
                  "GET /n: the server could not find the requested resource (HTTP 404)" },
                { { 409, NULL, STATUS(409, "\"reason\":\"AlreadyExists\"") },
                  KUBE_ALREADY_EXISTS,
                  -EEXIST,
                  "GET /n: HTTP 409, already exists" },
                { { 409, NULL, STATUS(409, "\"reason\":\"Conflict\"") },
                  KUBE_CONFLICT,
                  -ESTALE,
                  "GET /n: HTTP 409, conflict" },
                { { 410, NULL, STATUS(410, "\"reason\":\"Expired\"") },
                  KUBE_GONE,
                  -ESTALE,
                  "GET /n: HTTP 410, gone" },
                { { 401, NULL, NULL }, KUBE_FORBIDDEN, -EACCES, "GET /n: HTTP 401, forbidden" },
                { { 403, NULL, NULL }, KUBE_FORBIDDEN, -EACCES, "GET /n: HTTP 403, forbidden" },
                { { 400, NULL, NULL }, KUBE_INVALID, -EINVAL, "GET /n: HTTP 400, invalid" },
                { { 413, NULL, NULL }, KUBE_INVALID, -EINVAL, "GET /n: HTTP 413, invalid" },
                { { 422, NULL, NULL }, KUBE_INVALID, -EINVAL, "GET /n: HTTP 422, invalid" },
                { { 500, NULL, "<html>" }, KUBE_TRY_AGAIN, -EAGAIN, "GET /n: HTTP 500, try again" },
                { { 503, NULL, NULL }, KUBE_TRY_AGAIN, -EAGAIN, "GET /n: HTTP 503, try again" },
                { { 307, NULL, NULL }, KUBE_TRY_AGAIN, -EAGAIN, "GET /n: HTTP 307, try again" },
                { { 200, NULL, "<html>" },
                  KUBE_TRY_AGAIN,
                  -EAGAIN,
                  "GET /n: HTTP 200 with an unusable body" },
                { { 200, NULL, "{\"kind\":\"NodeList\"}" },
                  KUBE_TRY_AGAIN,
                  -EAGAIN,
                  "GET /n: HTTP 200 with an object of kind NodeList where Node was expected" },
                { { 200, NULL, "{}" },
                  KUBE_TRY_AGAIN,
                  -EAGAIN,
                  "GET /n: HTTP 200 with an object of kind (none) where Node was expected" },
                { { 200, NULL, "{\"kind\":", .is_cut = true },
                  KUBE_TRY_AGAIN,
                  -ECONNRESET,
                  "GET /n: the connection broke after 8 bytes" },
                { { .is_closed = true },
                  KUBE_TRY_AGAIN,
                  -ECONNRESET,
                  "GET /n: the connection broke after 0 bytes" },
        };

        for (size_t i = 0; i < array_size(table); ++i) {
                struct seen seen = { 0 };

                set_up(&table[i].answer, 1);
                get("/n", &seen);

                ck_assert_msg(seen.outcome == table[i].outcome, "%zu: %s: %s", i,
                              kube_outcome_name(seen.outcome), seen.error.text);
                ck_assert_msg(seen.error.code == table[i].code, "%zu: %d", i, seen.error.code);
                ck_assert_msg(strncmp(seen.error.text, table[i].text, strlen(table[i].text)) == 0,
                              "%zu: %s", i, seen.error.text);
                ck_assert_ptr_null(seen.name);
                tear_down();
        }
}
END_TEST

START_TEST(a_long_or_broken_message_is_made_fit)
{
        _cleanup_(text) struct text body = TEXT_NULL;
        struct stub_answer answers[] = { { 503, "Retry-After: 3\r\n", NULL } };
        struct seen seen = { 0 };

        text_add(&body, "{\"kind\":\"Status\",\"message\":\"\xff");
        for (unsigned i = 0; i < 2000; ++i)
                text_add(&body, "\xc3\xa4");
        text_add(&body, "\"}");
        answers[0].body = body.bytes;
        set_up(answers, 1);
        get("/n", &seen);

        ck_assert_int_eq(seen.outcome, KUBE_TRY_AGAIN);
        ck_assert_uint_eq(seen.retry_after_ms, 3000);
        ck_assert_uint_eq(text_utf8_prefix(seen.error.text, ERROR_TEXT_SIZE),
                          strlen(seen.error.text));
        tear_down();
}
END_TEST

START_TEST(create_replace_and_delete_say_so)
{
        static const struct stub_answer answers[] = { { 201, NULL, "{\"kind\":\"Node\"}" },
                                                      { 200, NULL, "{\"kind\":\"Node\"}" },
                                                      { 200, NULL, "{\"kind\":\"Status\"}" } };
        _cleanup_(json) struct json *body = json_new_object();
        struct seen seen[3] = { 0 };

        json_add_string(body, "kind", "Node");
        set_up(answers, 3);
        kube_create(api, "/c", body, on_reply, &seen[0]);
        stub_run_until(&server, &seen[0].n_replies);
        kube_replace(api, "/r", body, on_reply, &seen[1]);
        stub_run_until(&server, &seen[1].n_replies);
        kube_delete(api, "/d", NULL, on_reply, &seen[2]);
        stub_run_until(&server, &seen[2].n_replies);

        for (size_t i = 0; i < 3; ++i)
                ck_assert_int_eq(seen[i].outcome, KUBE_OK);
        ck_assert_str_eq(server.targets[0], "POST /c");
        ck_assert_str_eq(server.bodies[0], "{\"kind\":\"Node\"}");
        ck_assert_str_eq(server.targets[1], "PUT /r");
        ck_assert_str_eq(server.targets[2], "DELETE /d");
        ck_assert_str_eq(server.bodies[2], "");
        tear_down();
}
END_TEST

START_TEST(a_cancelled_call_is_never_heard_of_again)
{
        static const struct stub_answer answers[] = { { 0 }, { 200, NULL, "{\"kind\":\"Node\"}" } };
        struct seen cancelled = { 0 }, next = { 0 };
        struct kube_call *call;

        set_up(answers, 2);
        call = kube_get(api, "/hangs", "Node", on_reply, &cancelled);
        stub_run_until_requests(&server, 1);
        kube_cancel(call);
        get("/next", &next);

        ck_assert_uint_eq(cancelled.n_replies, 0);
        ck_assert_int_eq(next.outcome, KUBE_OK);
        tear_down();
}
END_TEST

static void free_everything(void *owner, const struct kube_reply *reply)
{
        unsigned *n_replies = owner;

        ++*n_replies;
        kube_api_free(api);
        http_free(http);
}

START_TEST(everything_may_be_freed_from_a_reply)
{
        static const struct stub_answer answers[] = { { 404 } };
        unsigned n_replies = 0;

        set_up(answers, 1);
        kube_get(api, "/n", "Node", free_everything, &n_replies);
        stub_run_until(&server, &n_replies);
        stub_stop(&server);

        ck_assert_uint_eq(n_replies, 1);
}
END_TEST

START_TEST(paths_are_encoded)
{
        _cleanup_(text) struct text text = TEXT_NULL;
        char *paths[] = { kube_path_claim("ns", "a/../b?c"), kube_path_slice("s-0"),
                          kube_path_node("node.example"), kube_path_events("default"),
                          kube_slices_selector("tdx.kubevirt.io", "n") };
        static const char *const expected[] = {
                "/apis/resource.k8s.io/v1/namespaces/ns/resourceclaims/a%2F..%2Fb%3Fc",
                "/apis/resource.k8s.io/v1/resourceslices/s-0",
                "/api/v1/nodes/node.example",
                "/api/v1/namespaces/default/events",
                "spec.driver=tdx.kubevirt.io,spec.nodeName=n",
        };

        for (size_t i = 0; i < array_size(paths); ++i) {
                ck_assert_str_eq(paths[i], expected[i]);
                free(paths[i]);
        }
        kube_encode(&text, "aZ09-._~ =,&+%\xc3\xa4");
        ck_assert_str_eq(text.bytes, "aZ09-._~%20%3D%2C%26%2B%25%C3%A4");
}
END_TEST

SUITE("kube-api", an_object_of_the_expected_kind_is_ok, answers_are_sorted_by_what_can_be_done,
      a_long_or_broken_message_is_made_fit, create_replace_and_delete_say_so,
      a_cancelled_call_is_never_heard_of_again, everything_may_be_freed_from_a_reply,
      paths_are_encoded);
