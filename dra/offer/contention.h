/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does another client keep undoing what this driver publishes? Pure; the caller passes the time, in
 * milliseconds of any monotonic clock.
 *
 * A write is undone if the same contents must be written again, or if a slice that nobody asked for
 * turns up and must be deleted. It need not be the last write of a publication: a client that
 * undoes the first of several slices never lets the rest be written.
 *
 * A few undone writes are nothing: kubelet deletes our slices at each start, an admin tries an
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
#define CONTENTION_SLICES   64U     /* indices of slices are below this (wanted.h) */

struct json;

struct contention {
        uint64_t written; /* a bit for the index of each slice that was written as we want it */
        bool has_intruder;
        unsigned n_undone;
        uint64_t last_ms;
};

/* Other contents are wanted now, or kubelet has deleted the slices: the writes that follow are no
 * repetitions. How far a fight has gone is kept. */
void contention_forget_writes(struct contention *contention);
/* The slice of that index is being written. */
void contention_note_write(struct contention *contention, unsigned index);
/* That write was refused, or the server did not keep what was sent: writing again is no repetition.
 */
void contention_note_failed(struct contention *contention, unsigned index);
/* A slice with an index that is not wanted has turned up, though the list did not have it. */
void contention_note_intruder(struct contention *contention);

/* The slice of that index must be written or deleted (any other index: a slice that is not wanted):
 * how long to wait first. Asking again after that time is 0. *ret_is_news: this is the first delay,
 * so the admin should hear of it. */
uint64_t contention_delay(struct contention *contention, unsigned index, uint64_t now_ms,
                          bool *ret_is_news);

/* What to tell the admin then; the caller's. object: the slice to be corrected; NULL: it is gone.
 * us: our own field manager. */
char *contention_describe(const struct json *object, const char *us);
