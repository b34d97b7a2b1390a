/* SPDX-License-Identifier: Apache-2.0 */
#include "tenant.h"

#include "device.h"
#include "host/relay_message.h"
#include "ledger.h"
#include "plugin/holder.h"
#include "plugin/plugin.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* A slot has one holder. The socket of the slot is what the claim's CDI device
 * mounts, not that of the name which the scheduler chose. */
static bool has_slot(const struct ledger_claim *claim, unsigned slot)
{
        for (size_t i = 0; i < claim->n_devices; ++i)
                if (claim->devices[i].slot == slot)
                        return true;
        return false;
}

static void find_claim(const struct ledger *ledger, unsigned slot, struct tenant *ret)
{
        for (const struct ledger_claim *claim = ledger_next(ledger, NULL); claim;
             claim = ledger_next(ledger, claim)) {
                if (claim->is_uncertain || !has_slot(claim, slot))
                        continue;
                *ret = (struct tenant){ .namespace_ = claim->namespace_,
                                        .claim = claim->name,
                                        .pod_uid = claim->n_pods ? claim->pod_uids[0] : NULL };
                return;
        }
}

struct search {
        char id[DEVICE_NAME_SIZE];
        struct tenant *tenant;
};

/* The lingering holders come first, so that the last one stays. */
static void on_holder(void *owner, const struct plugin_holder *holder)
{
        struct search *search = owner;

        if (strcmp(holder->id, search->id) == 0)
                search->tenant->pod_uid = holder->pod_uid;
}

void tenant_find(const struct ledger *ledger, const struct plugin *plugin,
                 const struct relay_td *td, struct tenant *ret)
{
        struct search search = { .tenant = ret };

        *ret = (struct tenant){ 0 };
        if (td->path == RELAY_CLAIM) {
                find_claim(ledger, td->device, ret);
                return;
        }
        device_print(search.id, td->device);
        plugin_each_holder(plugin, on_holder, &search);
}
