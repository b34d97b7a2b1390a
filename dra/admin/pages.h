/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small HTTP server for text pages: metrics and health. The caller prints the pages; this file
 * knows nothing of the driver.
 *
 * It runs on the loop, without threads (libmicrohttpd's external event loop), and without a timer
 * while no client is connected. GET and HEAD only. Anyone who reaches the port may be a client, so
 * each is bounded: at most PAGES_CONNECTIONS_MAX connections, and a new one beyond that cuts off
 * the one without progress for longest, so that no client can lock out kubelet's probes;
 * PAGES_PATIENCE_MS from connecting, or from the previous answer, to the end of the next answer,
 * however slowly bytes drip; PAGES_REQUEST_MAX bytes for a request's head.
 */
#pragma once

#include <stddef.h>
#include <uv.h>

struct error;
struct pages;
struct text;

#define PAGES_CONNECTIONS_MAX 32
#define PAGES_PATIENCE_MS     10000
#define PAGES_REQUEST_MAX     8192 /* in effect a little less: libmicrohttpd needs some of it */

struct page {
        const char *path;    /* "/metrics" */
        const char *type;    /* Content-Type */
        const char *meaning; /* its line in the index at "/" */
        /* Appends the page at once; returns the HTTP status. */
        unsigned (*print)(void *owner, struct text *text);
};

struct pages_options {
        uv_loop_t *loop;
        const char *listen; /* in the form of address_parse() */
        const struct page *pages;
        size_t n_pages;
        unsigned patience_ms; /* 0: PAGES_PATIENCE_MS; tests make it short */
        void *owner;
};

/* Starts to listen. Borrows everything that options points to. */
int pages_start(const struct pages_options *options, struct pages **ret, struct error *err);
/* Where it listens: "127.0.0.1:43125", "[::]:8080". Borrowed. */
const char *pages_address(const struct pages *pages);
/* Cuts the connections. NULL is fine. */
void pages_stop(struct pages *pages);
