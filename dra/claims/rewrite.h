/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records written again: the directory was taken away while the driver runs, or a claim was found
 * to be held that had no record. What is in memory is never given up for what is not on disk.
 */
#pragma once

#include "base/error.h"

#include <stdbool.h>

struct ledger;
struct records;

struct rewrite {
        const struct ledger *ledger;
        struct records *records;
        /* The claim's record is about to be removed: it is left out. */
        bool (*is_leaving)(void *owner, const char *uid);
        void *owner;
        bool is_behind;       /* claims are held that the disk may not have */
        unsigned n_saving;    /* orders on their way */
        struct error failure; /* of this pass */
        struct error told;    /* of the last; logged once */
};

/* From now on the disk may lack claims that are held. */
void rewrite_all(struct rewrite *rewrite);
/* For a slow timer: notices that the directory was taken away (true, once), and saves all that is
 * held, at each call until it is on disk. */
bool rewrite_look(struct rewrite *rewrite);
/* Why claims that are held are not on disk; NULL: they are. Borrowed until the next call. */
const char *rewrite_trouble(const struct rewrite *rewrite);
