/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does another client keep undoing what this driver publishes? Pure; the caller passes the time, in
 * milliseconds of any monotonic clock.
 *
 * A few changes by others are nothing: kubelet deletes our slices at each start, an admin tries an
 * edit. Beyond that each is answered later than the one before it, for without a brake two drivers
 * that share a node's name write as fast as the API server lets them, for ever. Only quiet time
 * ends that, and success does not: in such a fight each write succeeds.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define CONTENTION_FREE     3    /* undone writes that are answered at once */
#define CONTENTION_FIRST_MS 1000 /* the delay of the next one; it doubles from there */
#define CONTENTION_MOST_MS  60000
#define CONTENTION_QUIET_MS 300000U /* after this time without one, all is forgotten */

struct json;

struct contention {
        unsigned n_undone;
        uint64_t last_ms;
        char *manager; /* who made the last change that is not ours; NULL: unknown */
};

void contention_deinit(struct contention *contention);

/* Another version of one of our objects has come. */
void contention_see(struct contention *contention, const struct json *object, const char *us);

/* Another client has undone a finished publication: how long to wait before writing again.
 * *ret_is_news: this is the first one with a delay, so the admin should hear of it. */
uint64_t contention_undone(struct contention *contention, uint64_t now_ms, bool *ret_is_news);
/* What to tell the admin then; the caller's. */
char *contention_describe(const struct contention *contention);

/* The client that changed an object last, other than us, from its metadata.managedFields (KEP-555);
 * NULL: nobody else did. Borrowed from object. */
const char *contention_other_manager(const struct json *object, const char *us);
