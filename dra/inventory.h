/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this node offers to the scheduler, computed from facts: pure.
 *
 * DRA is offered as many device names as the node has TDs. Where the total shrinks, what is
 * withdrawn is always unheld: names that claims hold stay listed, then the lowest free names fill
 * up. Otherwise the scheduler, which derives free devices from the slice and the claims (KEP-4381),
 * would count room that is not there.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ledger;

struct inventory {
        bool is_known; /* false before the first reading of the capacity: publish nothing, withdraw
                          nothing */
        size_t n_devices;
        uint16_t *devices; /* indexes of "tdx<index>", ascending; owned */
};

#define INVENTORY_NULL \
        {              \
                0      \
        }

void inventory_compute(const struct ledger *ledger, bool is_known, struct inventory *ret);
void inventory_copy(const struct inventory *inventory, struct inventory *ret);
bool inventory_equal(const struct inventory *a, const struct inventory *b);
void inventory_deinit(struct inventory *inventory);
