/* SPDX-License-Identifier: Apache-2.0 */
/* Whose VM a TD is: joins what the quote relay knows (a path and a number) with who holds it. */
#pragma once

struct ledger;
struct plugin;
struct relay_td;

/* NULL: not known. Borrowed until the ledger or the plugin's holders change. */
struct tenant {
        const char *namespace_; /* of the claim, as is its pod's; the claim path only */
        const char *claim;
        const char *pod_uid; /* of a claim that several pods share: the first */
};

/* The holder of the TD now; all NULL: no holder. A plugin device that is given to another pod while
 * the pod before it ends is the new one's. */
void tenant_find(const struct ledger *ledger, const struct plugin *plugin,
                 const struct relay_td *td, struct tenant *ret);
