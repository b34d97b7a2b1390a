/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 to one server, the API server, over keep-alive connections. Only http.c and http_failure
 * know curl.
 *
 * Everything runs on the loop thread and nothing blocks it. Callbacks come from the loop only,
 * never from inside a function of this header. A callback may call every function here, including
 * http_free().
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/error.h"

/* The API server names the writers of an object by it (managedFields). */
#define HTTP_USER_AGENT "dra-driver-tdx"

struct http;
struct http_call;
struct kube_credentials;

struct http_reply {
        int status;       /* 0: no complete answer came, the reason is in error */
        const char *body; /* NUL-terminated, borrowed; "" if on_bytes took it */
        size_t n_body;
        uint64_t retry_after_ms; /* 0: the server named none */
        struct error error;      /* if status is 0; names method, path and remedy */
};

/* A piece of the body of a 200 reply. The first call has n 0 and comes when the reply's headers are
 * in. */
typedef void http_on_bytes(void *owner, const char *bytes, size_t n);
/* The call is over and its handle invalid. reply is borrowed. */
typedef void http_on_reply(void *owner, const struct http_reply *reply);

/* Copied by http_start(), strings included. */
struct http_request {
        const char *method;
        const char *path;         /* with its query, percent-encoded, starts with a slash */
        const char *content_type; /* of body; NULL: application/json */
        const char *body;         /* NULL: none */
        size_t n_body;
        size_t max_reply;    /* bytes of a reply's body to keep: a larger body ends the call with
                                -EMSGSIZE. Does not limit what goes to on_bytes */
        uint32_t timeout_ms; /* for the whole call, with its time in the queue; 0: none */
        http_on_bytes *on_bytes; /* NULL: a 200's body is collected like any other */
        http_on_reply *on_reply;
        void *owner;
};

/* 0, or -EINVAL: kube_url_check() refuses the URL. credentials are copied; their files are read
 * when a connection or request needs them, so that rotated files take effect. */
int http_new(uv_loop_t *loop, const struct kube_credentials *credentials, struct http **ret_http,
             struct error *err);

/* Cancels pending calls. The loop must run once more to close the handles and free the memory. */
void http_free(struct http *http);

/* Sent at once, or queued if 8 connections are busy. After a 401 it reads the token file again and
 * repeats the request once, without telling the caller. */
struct http_call *http_start(struct http *http, const struct http_request *request);

/* No callback of the call runs again. */
void http_cancel(struct http_call *call);
