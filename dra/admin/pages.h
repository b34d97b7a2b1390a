/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small HTTP server for pages that are text: metrics and health. What they say is the caller's;
 * nothing of the driver is known here.
 *
 * On the loop, without threads (libmicrohttpd's external event loop), and without a timer while
 * nobody is connected. GET and HEAD only. Clients are anybody who reaches the port, so each is
 * bounded: at most PAGES_CONNECTIONS_MAX connections, a newer one cuts off the one that has made no
 * progress for longest, so that nobody can keep the kubelet's probes out; PAGES_PATIENCE_MS from
 * the connection, or from the last answer, to the end of the next one, however slowly bytes drip;
 * PAGES_REQUEST_MAX bytes of a request's head.
 */
#pragma once

#include <stddef.h>
#include <uv.h>

struct error;
struct pages;
struct text;

#define PAGES_CONNECTIONS_MAX 32
#define PAGES_PATIENCE_MS     10000
#define PAGES_REQUEST_MAX     8192 /* a little less: libmicrohttpd's own needs are in it */

struct page {
        const char *path;    /* "/metrics" */
        const char *type;    /* Content-Type */
        const char *meaning; /* a line of the index, which "/" shows */
        /* Appends the page, now; returns the HTTP status. */
        unsigned (*print)(void *owner, struct text *text);
};

struct pages_options {
        uv_loop_t *loop;
        const char *listen; /* as address_parse() takes it */
        const struct page *pages;
        size_t n_pages;
        unsigned patience_ms; /* 0: PAGES_PATIENCE_MS; tests make it short */
        void *owner;
};

/* Listens from now on. Borrows what options points to. */
int pages_start(const struct pages_options *options, struct pages **ret, struct error *err);
/* Where it listens: "127.0.0.1:43125", "[::]:8080". Borrowed. */
const char *pages_address(const struct pages *pages);
/* Connections are cut. The memory goes when the loop has turned. NULL is fine. */
void pages_stop(struct pages *pages);
