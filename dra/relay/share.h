/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many requests at QGS this relay's worker may have at a time: --qgs-threads, less what others
 * still occupy. Pure.
 */
#pragma once

#include <stdbool.h>

struct share {
        unsigned n_threads;   /* --qgs-threads */
        unsigned n_orphans;   /* connections to QGS whose worker died */
        unsigned n_inherited; /* what the predecessor still needs */
        unsigned n_at_qgs;    /* connections to QGS, the orphans too */
        /* A successor takes over: the worker gets no new VMs, and half of the threads is enough for
         * those it has. */
        bool is_handing_over;
        bool is_state_known;    /* the worker has told n_connections since then */
        unsigned n_connections; /* of VMs */
};

/* The worker's part. */
unsigned share_of_worker(const struct share *share);
/* What a successor must leave to this relay and its predecessor. */
unsigned share_remaining(const struct share *share);
