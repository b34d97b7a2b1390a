/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TDs that run on this host but are held by no claim or plugin device, and key IDs that are leaked:
 * the node's conclusions from the host's readings (host/misc_tree). Reads no file.
 *
 * Reports each change in the log and as an Event.
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
        bool is_ignoring; /* --foreign=ignore: show foreign TDs, but withhold nothing for them */
        unsigned reserve; /* TDs that are never offered (--reserve) */
        struct measure measure;
        struct measure_found latest; /* the last reading, before measure has settled it */
        /* Post an Event on the Node object. */
        void (*on_event)(void *owner, bool is_warning, const char *reason, const char *text);
        void *owner;
};

/* Compare a reading of host/misc_tree with what claims and plugin devices hold; the plugin's
 * holders must be known. True if foreign_withheld() may have changed. */
bool foreign_take(struct foreign *foreign, const struct misc_tree *tree,
                  const struct ledger *ledger, const struct plugin *plugin, uint64_t now_ms);

/* TDs of the total (after the reserve) that must not be offered; 0 with is_ignoring. */
unsigned foreign_withheld(const struct foreign *foreign);
