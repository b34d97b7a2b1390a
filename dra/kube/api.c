/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/api.h"

#include "base/json.h"
#include "base/memory.h"
#include "base/text.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

/* A claim's opaque parameters are for other drivers, and a user may put 640 KiB of them into a
 * claim (resource.k8s.io/v1: 32 configurations of 10 KiB, copied into the allocation). */
#define NOT_READ "parameters"

struct kube_api {
        struct http *http;
        size_t n_calls;
        uint64_t counts[KUBE_N_OUTCOMES];
};

struct kube_call {
        struct kube_api *api;
        struct http_call *http_call;
        char *label; /* "GET /path" */
        char *expected_kind;
        bool is_stream;
        http_on_bytes *on_bytes;
        kube_on_reply *on_reply;
        void *owner;
};

const char *kube_outcome_name(enum kube_outcome outcome)
{
        static const char *const names[] = {
                [KUBE_OK] = "ok",
                [KUBE_NOT_FOUND] = "not found",
                [KUBE_NOT_SERVED] = "not served",
                [KUBE_ALREADY_EXISTS] = "already exists",
                [KUBE_CONFLICT] = "conflict",
                [KUBE_GONE] = "gone",
                [KUBE_FORBIDDEN] = "forbidden",
                [KUBE_INVALID] = "invalid",
                [KUBE_TRY_AGAIN] = "try again",
        };

        return (size_t)outcome < array_size(names) ? names[outcome] : "unknown";
}

static int code_of(enum kube_outcome outcome)
{
        static const int codes[] = {
                [KUBE_OK] = 0,
                [KUBE_NOT_FOUND] = -ENOENT,
                [KUBE_NOT_SERVED] = -EOPNOTSUPP,
                [KUBE_ALREADY_EXISTS] = -EEXIST,
                [KUBE_CONFLICT] = -ESTALE,
                [KUBE_GONE] = -ESTALE,
                [KUBE_FORBIDDEN] = -EACCES,
                [KUBE_INVALID] = -EINVAL,
                [KUBE_TRY_AGAIN] = -EAGAIN,
        };

        return codes[outcome];
}

static enum kube_outcome outcome_of(int status, const struct json *object)
{
        const char *reason = json_string(json_get(object, "reason"));
        const char *name = json_string(json_get(json_get(object, "details"), "name"));

        if (status >= 200 && status < 300)
                return KUBE_OK;
        switch (status) {
        case 404:
                /* Only a handler that knows the resource names the object that it did not find. For
                 * an unknown group the answer is a plain "404 page not found", for an unknown
                 * resource a Status without a name. */
                return name && *name ? KUBE_NOT_FOUND : KUBE_NOT_SERVED;
        case 409:
                return reason && strcmp(reason, "AlreadyExists") == 0 ? KUBE_ALREADY_EXISTS
                                                                      : KUBE_CONFLICT;
        case 410:
                return KUBE_GONE;
        case 401:
        case 403:
                return KUBE_FORBIDDEN;
        case 408:
        case 429:
                return KUBE_TRY_AGAIN;
        default:
                return status >= 400 && status < 500 ? KUBE_INVALID : KUBE_TRY_AGAIN;
        }
}

enum kube_outcome kube_status_classify(int status, const struct json *object, struct error *err)
{
        enum kube_outcome outcome = outcome_of(status, object);
        const char *message = json_string(json_get(object, "message"));

        if (outcome == KUBE_OK)
                return outcome;
        if (message && *message)
                error_set(err, code_of(outcome), "%s (HTTP %d)", message, status);
        else
                error_set(err, code_of(outcome), "HTTP %d, %s", status, kube_outcome_name(outcome));
        return outcome;
}

struct kube_api *kube_api_new(struct http *http)
{
        struct kube_api *api = xcalloc(1, sizeof(*api));

        api->http = http;
        return api;
}

void kube_api_free(struct kube_api *api)
{
        if (!api)
                return;
        assert(api->n_calls == 0);
        free(api);
}

uint64_t kube_api_count(const struct kube_api *api, enum kube_outcome outcome)
{
        return api->counts[outcome];
}

static void call_free(struct kube_call *call)
{
        --call->api->n_calls;
        free(call->label);
        free(call->expected_kind);
        free(call);
}

static void read_answer(const struct kube_call *call, const struct http_reply *answer,
                        struct json **ret_root, struct kube_reply *reply)
{
        const char *kind;

        if (json_parse_without(answer->body, answer->n_body, NOT_READ, ret_root, &reply->error) <
            0) {
                error_prefix(&reply->error, "%s: HTTP %d with an unusable body", call->label,
                             answer->status);
                reply->error.code = -EAGAIN;
                reply->outcome = KUBE_TRY_AGAIN;
                return;
        }
        kind = json_string(json_get(*ret_root, "kind"));
        if (!kind || (call->expected_kind && strcmp(kind, call->expected_kind) != 0)) {
                error_set(&reply->error, -EAGAIN,
                          "%s: HTTP %d with an object of kind %.64s where %s was expected; is this "
                          "the Kubernetes API server?",
                          call->label, answer->status, kind ? kind : "(none)",
                          call->expected_kind ? call->expected_kind : "a Kubernetes object");
                reply->outcome = KUBE_TRY_AGAIN;
                return;
        }
        reply->outcome = KUBE_OK;
        reply->object = *ret_root;
}

static void on_answer(void *owner, const struct http_reply *answer)
{
        struct kube_call *call = owner;
        _cleanup_(json) struct json *root = NULL;
        struct kube_reply reply = {
                .status = answer->status,
                .retry_after_ms = answer->retry_after_ms,
        };
        bool is_success = answer->status >= 200 && answer->status < 300;
        kube_on_reply *on_reply = call->on_reply;
        void *on_reply_owner = call->owner;

        if (answer->status == 0) {
                reply.outcome = KUBE_TRY_AGAIN;
                reply.error = answer->error;
        } else if (is_success && call->is_stream) {
                reply.outcome = KUBE_OK;
        } else if (is_success) {
                read_answer(call, answer, &root, &reply);
        } else {
                (void)json_parse(answer->body, answer->n_body, &root, NULL);
                reply.outcome = kube_status_classify(answer->status, root, &reply.error);
                error_prefix(&reply.error, "%s", call->label);
        }
        ++call->api->counts[reply.outcome];
        /* Unlink first, so that the callback may free the api. */
        call_free(call);
        on_reply(on_reply_owner, &reply);
}

static void on_bytes(void *owner, const char *bytes, size_t n)
{
        const struct kube_call *call = owner;

        call->on_bytes(call->owner, bytes, n);
}

static struct kube_call *call_new(struct kube_api *api, const char *method, const char *path,
                                  kube_on_reply *on_reply, void *owner)
{
        struct kube_call *call = xcalloc(1, sizeof(*call));

        call->api = api;
        call->label = xasprintf("%s %.200s", method, path);
        call->on_reply = on_reply;
        call->owner = owner;
        ++api->n_calls;
        return call;
}

static struct kube_call *call_start(struct kube_call *call, const char *method, const char *path,
                                    const struct json *body, uint32_t timeout_ms)
{
        _cleanup_(free) char *text = body ? json_print(body) : NULL;
        struct http_request request = {
                .method = method,
                .path = path,
                .body = text,
                .n_body = text ? strlen(text) : 0,
                .max_reply = KUBE_REPLY_MAX,
                .timeout_ms = timeout_ms,
                .on_bytes = call->is_stream ? on_bytes : NULL,
                .on_reply = on_answer,
                .owner = call,
        };

        call->http_call = http_start(call->api->http, &request);
        return call;
}

static void expect_kind(struct kube_call *call, const char *kind)
{
        call->expected_kind = kind ? xstrdup(kind) : NULL;
}

struct kube_call *kube_get(struct kube_api *api, const char *path, const char *expected_kind,
                           kube_on_reply *on_reply, void *owner)
{
        struct kube_call *call = call_new(api, "GET", path, on_reply, owner);

        expect_kind(call, expected_kind);
        return call_start(call, "GET", path, NULL, KUBE_TIMEOUT_MS);
}

struct kube_call *kube_create(struct kube_api *api, const char *path, const struct json *body,
                              kube_on_reply *on_reply, void *owner)
{
        struct kube_call *call = call_new(api, "POST", path, on_reply, owner);

        expect_kind(call, json_string(json_get(body, "kind")));
        return call_start(call, "POST", path, body, KUBE_TIMEOUT_MS);
}

struct kube_call *kube_replace(struct kube_api *api, const char *path, const struct json *body,
                               kube_on_reply *on_reply, void *owner)
{
        struct kube_call *call = call_new(api, "PUT", path, on_reply, owner);

        expect_kind(call, json_string(json_get(body, "kind")));
        return call_start(call, "PUT", path, body, KUBE_TIMEOUT_MS);
}

struct kube_call *kube_delete(struct kube_api *api, const char *path, const struct json *options,
                              kube_on_reply *on_reply, void *owner)
{
        struct kube_call *call = call_new(api, "DELETE", path, on_reply, owner);

        return call_start(call, "DELETE", path, options, KUBE_TIMEOUT_MS);
}

struct kube_call *kube_stream(struct kube_api *api, const char *path, uint32_t timeout_ms,
                              http_on_bytes *on_stream_bytes, kube_on_reply *on_reply, void *owner)
{
        struct kube_call *call = call_new(api, "GET", path, on_reply, owner);

        call->is_stream = true;
        call->on_bytes = on_stream_bytes;
        return call_start(call, "GET", path, NULL, timeout_ms);
}

void kube_cancel(struct kube_call *call)
{
        http_cancel(call->http_call);
        call_free(call);
}

void kube_encode(struct text *text, const char *value)
{
        for (; *value; ++value) {
                unsigned char c = (unsigned char)*value;

                if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    strchr("-._~", c))
                        text_add_bytes(text, value, 1);
                else
                        text_addf(text, "%%%02X", c);
        }
}

/* Parts alternate: literal, value to encode, literal, and so on. NULL ends; an even number is fine.
 */
static char *build_path(const char *const *parts)
{
        struct text path = TEXT_NULL;

        for (size_t i = 0; parts[i]; ++i) {
                if (i % 2)
                        kube_encode(&path, parts[i]);
                else
                        text_add(&path, parts[i]);
        }
        return text_take(&path);
}

char *kube_path_claim(const char *namespace_, const char *name)
{
        const char *const parts[] = { "/apis/resource.k8s.io/v1/namespaces/", namespace_,
                                      "/resourceclaims/", name, NULL };

        return build_path(parts);
}

char *kube_path_slice(const char *name)
{
        const char *const parts[] = { KUBE_PATH_SLICES "/", name, NULL };

        return build_path(parts);
}

char *kube_path_node(const char *name)
{
        const char *const parts[] = { "/api/v1/nodes/", name, NULL };

        return build_path(parts);
}

char *kube_path_events(const char *namespace_)
{
        const char *const parts[] = { "/api/v1/namespaces/", namespace_, "/events", NULL };

        return build_path(parts);
}

char *kube_slices_selector(const char *driver, const char *node_name)
{
        return xasprintf("spec.driver=%s,spec.nodeName=%s", driver, node_name);
}
