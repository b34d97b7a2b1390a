/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this node offers to the scheduler, computed from facts: pure.
 *
 * DRA is offered as many device names as the node has TDs. Where the total shrinks, what is
 * withdrawn is always unheld: names that claims hold stay listed, then the lowest free names fill
 * up. Otherwise the scheduler, which derives free devices from the slice and the claims (KEP-4381),
 * would count room that is not there.
 *
 * TDs of others (libvirt, Kata, leaked key IDs) are withdrawn in the same way.
 *
 * A taint goes to every device, held ones included: what is given back while nothing may be placed
 * must not be free for a moment.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ledger;

/* What is to be said of the devices, besides their names. */
struct inventory_terms {
        bool is_known;     /* false before everything was read once: publish nothing, withdraw
                              nothing */
        bool is_attesting; /* a VM that gets one now will attest */
        const char *taint; /* nothing new may be placed, and this is why in a word; NULL: it may */
        bool is_withdrawing; /* the API server keeps no taints: while there would be one, the slices
                                list no device */
        const char *module_version; /* of the TDX module, as a semantic version; NULL: not known */
};

struct inventory {
        struct inventory_terms terms; /* its strings are owned */
        unsigned n_tds;               /* of the node, both paths */
        size_t n_devices;
        uint16_t *devices; /* indexes of "tdx<index>", ascending; owned */
};

#define INVENTORY_NULL \
        {              \
                0      \
        }

void inventory_compute(const struct ledger *ledger, const struct inventory_terms *terms,
                       struct inventory *ret);
void inventory_copy(const struct inventory *inventory, struct inventory *ret);
/* How many of the devices the slices list: all, or none while they are withdrawn. Not even held
 * ones then: a claim that is deleted is free for the scheduler before its container has ended. */
size_t inventory_n_listed(const struct inventory *inventory);
bool inventory_equal(const struct inventory *a, const struct inventory *b);
/* Whether they say the same of their devices, whichever those are. */
bool inventory_same_terms(const struct inventory *a, const struct inventory *b);
void inventory_deinit(struct inventory *inventory);
