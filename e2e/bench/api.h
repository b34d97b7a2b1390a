/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The API server as far as the driver needs one, on the bench's own loop: a Node, the slices with
 * their LIST, WATCH, POST and PUT, and a claim for every name that is requested.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct connection;
struct json;

#define NODE_NAME  "n1"
#define SLICES     "/apis/resource.k8s.io/v1/resourceslices"
#define CLAIMS     "/apis/resource.k8s.io/v1/namespaces/default/resourceclaims/"
#define SLICES_MAX 64 /* each of 64 devices */

/* The stand-in API server of one node. */
struct api {
        uv_tcp_t listener;
        uv_timer_t bookmark;
        int port;
        unsigned capacity;
        int64_t version;
        struct json *slices[SLICES_MAX];
        size_t n_slices;
        struct connection *watch; /* NULL: none is open */
        uint64_t published_ns;    /* when the first slice arrived; 0: none yet */
};

void api_start(struct api *api, uv_loop_t *loop, unsigned capacity);

/* Defined by bench.c; both end the bench. */
void die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
void check(int r, const char *what); /* if a libuv result is an error */
