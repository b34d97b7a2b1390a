/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes the records again, after the directory was lost while the driver runs, or after a held
 * claim was found to have no record. Memory wins over the disk: a lost file never releases a claim.
 */
#pragma once

#include "base/error.h"

#include <stdbool.h>

struct ledger;
struct records;

struct rewrite {
        const struct ledger *ledger;
        struct records *records;
        /* True if the claim's record is about to be removed: skip it. */
        bool (*is_leaving)(void *owner, const char *uid);
        void *owner;
        bool is_behind;       /* the disk may lack held claims */
        bool is_lost;         /* the directory was lost; rewrite_take_lost() has not told yet */
        unsigned n_saving;    /* writes in flight */
        struct error failure; /* of this pass */
        struct error told;    /* of the pass before, already logged */
};

/* The disk may lack held claims: the next look saves them all. */
void rewrite_all(struct rewrite *rewrite);
/* For a slow timer. Notices that the directory was lost, and saves all held claims at each call
 * until they are on disk. */
void rewrite_look(struct rewrite *rewrite);
/* Whether the directory was lost since the last call. */
bool rewrite_take_lost(struct rewrite *rewrite);
/* Why held claims are missing on disk; NULL: none are. Borrowed until the next call. */
const char *rewrite_trouble(const struct rewrite *rewrite);
