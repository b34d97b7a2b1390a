/* SPDX-License-Identifier: Apache-2.0 */
#include "offer/inventory.h"

#include "base/memory.h"
#include "device.h"
#include "ledger.h"

#include <string.h>

static struct inventory_terms copy_of(const struct inventory_terms *terms)
{
        struct inventory_terms copy = *terms;

        copy.taint = terms->taint ? xstrdup(terms->taint) : NULL;
        copy.module_version = terms->module_version ? xstrdup(terms->module_version) : NULL;
        return copy;
}

void inventory_compute(const struct ledger *ledger, const struct inventory_terms *terms,
                       struct inventory *ret)
{
        unsigned usable = ledger_usable(ledger), kept = ledger_kept(ledger), n_held = 0, n_free,
                 n_devices, n = 0;

        *ret = (struct inventory)INVENTORY_NULL;
        ret->terms = copy_of(terms);
        if (!terms->is_known)
                return;
        ret->n_tds = ledger_total(ledger);
        for (unsigned i = 0; i < DEVICE_INDEX_MAX; ++i)
                n_held += ledger_is_device_held(ledger, i);
        /* Two claims may hold the same name for a moment (a forced deletion). That does not shorten
         * the pool, because Prepare counts TDs separately. */
        n_free = usable > n_held + kept ? usable - n_held - kept : 0;
        n_devices = n_held + n_free;
        ret->devices = xcalloc(n_devices, sizeof(*ret->devices));
        for (unsigned i = 0; n < n_devices; ++i) {
                bool is_held = ledger_is_device_held(ledger, i);

                if (!is_held && !n_free)
                        continue;
                n_free -= !is_held;
                ret->devices[n++] = (uint16_t)i;
        }
        ret->n_devices = n;
}

void inventory_copy(const struct inventory *inventory, struct inventory *ret)
{
        *ret = *inventory;
        ret->terms = copy_of(&inventory->terms);
        ret->devices = xcalloc(inventory->n_devices, sizeof(*ret->devices));
        if (inventory->n_devices)
                memcpy(ret->devices, inventory->devices,
                       inventory->n_devices * sizeof(*ret->devices));
}

size_t inventory_n_listed(const struct inventory *inventory)
{
        return inventory->terms.taint && inventory->terms.is_withdrawing ? 0 : inventory->n_devices;
}

static bool is_same_string(const char *a, const char *b)
{
        return a && b ? strcmp(a, b) == 0 : a == b;
}

bool inventory_same_terms(const struct inventory *a, const struct inventory *b)
{
        return a->n_tds == b->n_tds && a->terms.is_known == b->terms.is_known &&
               a->terms.is_attesting == b->terms.is_attesting &&
               a->terms.is_withdrawing == b->terms.is_withdrawing &&
               is_same_string(a->terms.taint, b->terms.taint) &&
               is_same_string(a->terms.module_version, b->terms.module_version);
}

bool inventory_equal(const struct inventory *a, const struct inventory *b)
{
        return inventory_same_terms(a, b) && a->n_devices == b->n_devices &&
               (!a->n_devices ||
                memcmp(a->devices, b->devices, a->n_devices * sizeof(*a->devices)) == 0);
}

void inventory_deinit(struct inventory *inventory)
{
        free(inventory->devices);
        free((char *)inventory->terms.taint);
        free((char *)inventory->terms.module_version);
        *inventory = (struct inventory)INVENTORY_NULL;
}
