/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whose request goes to QGS next: pure.
 *
 * At most n_threads run at a time, because QGS has so many threads and serves first come, first
 * served: what waits there, a busy VM has put before the others. Each TD has at most n_per_td
 * running. Those with the fewest go first, and among equals the one that was served least recently:
 * so a TD that asks once waits for one thread, and not for a round of busy TDs.
 */
#pragma once

#include "base/list.h"

#include <stdbool.h>
#include <stdint.h>

struct turns {
        unsigned n_threads;
        unsigned n_per_td;
        unsigned n_running;
        unsigned n_waiting;
        uint64_t n_served; /* turns so far */
        struct list tds;   /* those with a waiting turn */
};

/* One participant: a TD, or the worker's own questions. */
struct turns_td {
        struct list in_turns;
        struct list waiting; /* turns, in their order */
        unsigned n_running;
        uint64_t last_served; /* which turn of all that was; 0: none yet */
};

struct turn {
        struct list in_td;
        struct turns_td *td; /* NULL: neither waiting nor running */
        bool is_running;
};

void turns_init(struct turns *turns, unsigned n_threads, unsigned n_per_td);
void turns_td_init(struct turns_td *td);
void turn_init(struct turn *turn);

/* Wait behind the TD's others. */
void turns_wait(struct turns *turns, struct turns_td *td, struct turn *turn);
/* The next one runs now. NULL: none may. */
struct turn *turns_next(struct turns *turns);
/* It neither waits nor runs any more. Harmless if it did not. */
void turns_leave(struct turns *turns, struct turn *turn);
