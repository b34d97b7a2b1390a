/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An HTTP server on loopback and on the test's own loop, that answers from a script: the n-th
 * request gets the n-th answer. Included by the tests of dra/kube/; every function is static.
 */
#pragma once

#include "base/list.h"
#include "base/text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct http;

#define STUB_REQUESTS_MAX 128

struct stub_answer {
        int status;          /* 0: none comes, the connection stays open */
        const char *headers; /* further lines, each with its CRLF; NULL: none */
        const char *body;    /* NULL: "{}" */
        bool is_stream;      /* chunked, and not ended: stub_send() adds to it */
        bool is_cut;    /* Content-Length is one more than the body, then the connection closes */
        bool is_closed; /* the connection closes without an answer */
        bool is_early;  /* answered, and the connection reset, when the headers are in */
};

struct stub_connection {
        struct list link;
        struct stub_server *server;
        uv_tcp_t tcp;
        struct text in;
};

struct stub_server {
        uv_loop_t *loop;
        uv_tcp_t listener;
        uv_timer_t tick; /* turns the loop while nothing happens on it */
        uint64_t deadline_ms;
        int port;
        struct list connections;
        struct stub_connection *last; /* the one of the newest request; NULL once it closed */
        const struct stub_answer *answers;
        size_t n_answers; /* what comes beyond is answered by the last one again */
        size_t n_requests;
        size_t n_connections; /* ever accepted */
        size_t n_open, n_open_most;
        char *targets[STUB_REQUESTS_MAX]; /* "GET /path" */
        char *heads[STUB_REQUESTS_MAX];   /* all header lines */
        char *bodies[STUB_REQUESTS_MAX];
};

void stub_close(struct stub_connection *connection);
/* Close once all is written. */
void stub_finish(struct stub_connection *connection);
/* One chunk of a stream; "" ends it. */
void stub_send(struct stub_connection *connection, const char *bytes);
void stub_set_deadline(struct stub_server *server);
void stub_start(struct stub_server *server, uv_loop_t *loop, const struct stub_answer *answers,
                size_t n_answers);
/* Turn the loop until *flag is not 0. */
void stub_run_until(struct stub_server *server, const unsigned *flag);
/* Turn the loop until so many requests came. */
void stub_run_until_requests(struct stub_server *server, size_t n);
/* Close everything, turn the loop until nothing is left on it, and close that: what a module leaves
 * open fails the test here. */
void stub_stop(struct stub_server *server);
/* "http://127.0.0.1:<port>"; the caller's. */
char *stub_url(const struct stub_server *server);
/* A client of the server without credentials; the caller's. */
struct http *stub_client(const struct stub_server *server);
