/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests to the Kubernetes API, with answers classified by what a caller can do about them.
 *
 * Sources: kubernetes.io/docs "Kubernetes API Concepts"; apimachinery metav1.Status for errors.
 * Limits: 2 MiB per reply, 10 s per call. Loop thread only; callbacks come from the loop only.
 */
#pragma once

#include "base/error.h"
#include "kube/http.h"

#include <stddef.h>
#include <stdint.h>

struct json;
struct kube_api;
struct kube_call;
struct text;

#define KUBE_REPLY_MAX  2097152U /* bytes: 2 MiB; etcd keeps objects of 1.5 MiB */
#define KUBE_TIMEOUT_MS 10000U

/* In parentheses: error.code. */
enum kube_outcome {
        KUBE_OK,
        KUBE_NOT_FOUND,  /* the object, or its namespace, does not exist (-ENOENT) */
        KUBE_NOT_SERVED, /* the server does not know the group, version or resource (-EOPNOTSUPP) */
        KUBE_ALREADY_EXISTS, /* create: the name is taken (-EEXIST) */
        KUBE_CONFLICT,       /* resourceVersion or precondition is out of date (-ESTALE) */
        KUBE_GONE,           /* 410: the resourceVersion or continue token is too old (-ESTALE) */
        KUBE_FORBIDDEN,      /* 401, 403: credentials or RBAC (-EACCES) */
        KUBE_INVALID,        /* the server will never take this request (-EINVAL) */
        KUBE_TRY_AGAIN /* 429, 5xx, no answer or an unusable one (-EAGAIN, or http.h's code) */
};

#define KUBE_N_OUTCOMES (KUBE_TRY_AGAIN + 1)

const char *kube_outcome_name(enum kube_outcome outcome); /* "not served" */

struct kube_reply {
        enum kube_outcome outcome;
        int status;                /* HTTP's; 0: no answer */
        const struct json *object; /* borrowed; KUBE_OK only, NULL after kube_stream() */
        uint64_t retry_after_ms;   /* 0: the server named none */
        struct error error;        /* "GET /path: <the Status message, shortened>"; valid UTF-8 */
};

/* The call is over and its handle invalid. reply is borrowed. */
typedef void kube_on_reply(void *owner, const struct kube_reply *reply);

struct kube_api *kube_api_new(struct http *http); /* http is borrowed and must outlive the api */
/* End or cancel its calls first: free watches and event posters before it, http after it. */
void kube_api_free(struct kube_api *api);

/* How many calls have ended with this outcome so far. */
uint64_t kube_api_count(const struct kube_api *api, enum kube_outcome outcome);

/* expected_kind: the "kind" that a valid answer has (NULL: any object), because proxies and captive
 * portals answer 200 with other content. */
struct kube_call *kube_get(struct kube_api *api, const char *path, const char *expected_kind,
                           kube_on_reply *on_reply, void *owner);
/* POST to a collection / PUT of an object; the answer must be of body's kind. body is borrowed. */
struct kube_call *kube_create(struct kube_api *api, const char *path, const struct json *body,
                              kube_on_reply *on_reply, void *owner);
struct kube_call *kube_replace(struct kube_api *api, const char *path, const struct json *body,
                               kube_on_reply *on_reply, void *owner);
/* options: a DeleteOptions with preconditions, or NULL. */
struct kube_call *kube_delete(struct kube_api *api, const char *path, const struct json *options,
                              kube_on_reply *on_reply, void *owner);
/* A GET whose 200 body goes to on_bytes as it arrives (see http.h). timeout_ms limits the whole
 * call. */
struct kube_call *kube_stream(struct kube_api *api, const char *path, uint32_t timeout_ms,
                              http_on_bytes *on_bytes, kube_on_reply *on_reply, void *owner);

/* on_reply and on_bytes do not run again. */
void kube_cancel(struct kube_call *call);

/* The outcome for an HTTP status and its metav1.Status (NULL: there is none); its message goes to
 * err. Pure. */
enum kube_outcome kube_status_classify(int status, const struct json *object, struct error *err);

/* Paths and queries, percent-encoded; strings are the caller's. */
#define KUBE_PATH_SLICES    "/apis/resource.k8s.io/v1/resourceslices"
#define KUBE_PATH_KUBEVIRTS "/apis/kubevirt.io/v1/kubevirts"

char *kube_path_claim(const char *namespace_, const char *name);
char *kube_path_slice(const char *name);
char *kube_path_node(const char *name);
char *kube_path_events(const char *namespace_);
/* "spec.driver=<driver>,spec.nodeName=<node>", not encoded, for kube_watch_options. */
char *kube_slices_selector(const char *driver, const char *node_name);
/* Append value, percent-encoding everything except RFC 3986's unreserved characters. */
void kube_encode(struct text *text, const char *value);
