/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the node makes of the host's readings: TDs that run on this host and that no claim or plugin
 * device holds, and key IDs that are leaked: what is made of the host's readings (host/misc_tree),
 * and what is said of it. Reads no file.
 *
 * Tells a person of each change, by the log and by an Event.
 */
#pragma once

#include "host/measure.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ledger;
struct misc_tree;
struct plugin;

struct foreign {
        bool is_ignoring; /* --foreign=ignore: shown, and offered all the same */
        unsigned reserve; /* TDs that are not offered anyway */
        struct measure measure;
        struct measure_found latest; /* of the last reading, not settled yet */
        /* An Event for the Node object. */
        void (*on_event)(void *owner, bool is_warning, const char *reason, const char *text);
        void *owner;
};

/* A reading of host/misc_tree, beside what claims and plugin devices hold, which is known. Whether
 * foreign_withheld() may have changed. */
bool foreign_take(struct foreign *foreign, const struct misc_tree *tree,
                  const struct ledger *ledger, const struct plugin *plugin, uint64_t now_ms);

/* TDs of the total (less the reserve) that must not be offered; 0 with is_ignoring. */
unsigned foreign_withheld(const struct foreign *foreign);
