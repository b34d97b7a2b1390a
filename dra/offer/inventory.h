/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The devices that this node offers to the scheduler, computed from facts: pure.
 *
 * The scheduler is offered as many device names as the node has TDs. If the total shrinks, only
 * unheld names are withdrawn: names that claims hold stay listed, and the lowest free names fill
 * the rest. Otherwise the scheduler, which derives free devices from the slices and the claims
 * (KEP-4381), would count room that does not exist.
 *
 * TDs used outside Kubernetes (libvirt, Kata, leaked key IDs) are withdrawn in the same way.
 *
 * A taint applies to every device, including held ones: a device released while nothing may be
 * placed must not look free even for a moment.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ledger;

/* The properties that all devices share. */
struct inventory_terms {
        bool is_known; /* false until every fact was read once: publish nothing, withdraw nothing */
        bool is_attesting;   /* a VM that gets a device now can attest */
        const char *taint;   /* one word: why nothing new may be placed; NULL: it may */
        bool is_withdrawing; /* the API server drops taints: list no device instead of tainting them
                              */
        const char *module_version; /* of the TDX module, as a semantic version; NULL: not known */
};

struct inventory {
        struct inventory_terms terms; /* its strings are owned */
        unsigned n_tds;               /* the node's total for both paths */
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
/* How many of the devices the slices list: all, or none while they are withdrawn. Even held ones
 * are withdrawn then, because the scheduler considers a deleted claim's device free before the
 * container has ended. */
size_t inventory_n_listed(const struct inventory *inventory);
bool inventory_equal(const struct inventory *a, const struct inventory *b);
/* Whether the terms are the same; the devices may differ. */
bool inventory_same_terms(const struct inventory *a, const struct inventory *b);
void inventory_deinit(struct inventory *inventory);
