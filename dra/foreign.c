/* SPDX-License-Identifier: Apache-2.0 */
#include "foreign.h"

#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "host/misc_tree.h"
#include "ledger.h"
#include "plugin/holder.h"
#include "plugin/plugin.h"

/* An Event's text is limited to 1024 bytes, and each path may take 200 of them. */
#define PLACES_NAMED 4

unsigned foreign_withheld(const struct foreign *foreign)
{
        return foreign->is_ignoring ? 0 : measure_withheld(&foreign->measure, foreign->reserve);
}

/* "2 in cgroup /machine.slice/a.scope, 1 in cgroup /b and 3 elsewhere". counts: TDs at each place
 * of the tree. */
static char *describe(const struct misc_tree *tree, const unsigned *counts)
{
        struct text text = TEXT_NULL;
        unsigned n_named = 0, n_more = 0;

        for (size_t i = 0; i < tree->n_places; ++i) {
                if (!counts[i])
                        continue;
                if (n_named == PLACES_NAMED)
                        n_more += counts[i];
                else
                        text_addf(&text, "%s%u in cgroup %.200s", n_named++ ? ", " : "", counts[i],
                                  tree->places[i].path);
        }
        if (n_more)
                text_addf(&text, " and %u elsewhere", n_more);
        return text_take(&text);
}

static char *describe_leaked(const struct misc_tree *tree)
{
        _cleanup_(free) unsigned *counts = xcalloc(tree->n_places, sizeof(*counts));

        for (size_t i = 0; i < tree->n_places; ++i)
                counts[i] = tree->places[i].leaked;
        return describe(tree, counts);
}

static void tell(const struct foreign *foreign, bool is_warning, const char *reason,
                 const char *text)
{
        foreign->on_event(foreign->owner, is_warning, reason, text);
}

static void tell_foreign(const struct foreign *foreign, const struct misc_tree *tree,
                         const unsigned *foreign_at, unsigned before)
{
        unsigned now = foreign->measure.foreign.in_force;
        unsigned n_withheld = foreign_withheld(foreign);
        _cleanup_(free) char *where = describe(tree, foreign_at);
        _cleanup_(free) char *text = NULL;

        if (now == before)
                return;
        log_info("TDs that no claim or plugin device holds", log_int("tds", now),
                 log_int("leaked", foreign->measure.leaked.in_force),
                 log_int("withheld", n_withheld), log_int("reserve", foreign->reserve),
                 log_str("where", where));
        /* No Event for a partial decrease: the warning about foreign TDs still holds. */
        if (foreign->is_ignoring || (now && now < before))
                return;
        if (!now) {
                tell(foreign, false, "TDXForeign",
                     "no TD runs on this node any more that no claim and no pod holds");
                return;
        }
        text = xasprintf("%u %s on this node that no claim and no pod holds (%s): besides the "
                         "reserve of %u, %u %s not offered",
                         now, now == 1 ? "TD runs" : "TDs run", where, foreign->reserve, n_withheld,
                         n_withheld == 1 ? "TD is" : "TDs are");
        tell(foreign, true, "TDXForeign", text);
}

static void tell_leaked(const struct foreign *foreign, const struct misc_tree *tree,
                        unsigned before)
{
        unsigned now = foreign->measure.leaked.in_force;
        _cleanup_(free) char *where = NULL, *text = NULL;

        if (now == before)
                return;
        if (now < before) {
                log_info("key IDs that are charged without a process", log_int("leaked", now));
                return;
        }
        where = describe_leaked(tree);
        log_warn("TDX key IDs are leaked: they stay charged after their VM has gone, and no VM "
                 "gets them before the host boots again; see dmesg for HKID",
                 log_int("leaked", now), log_str("where", where));
        text = xasprintf("%u TDX key %s on this node: still charged although the VM has gone (%s), "
                         "and usable by no VM before the host boots again; see dmesg for HKID",
                         now, now == 1 ? "ID is leaked" : "IDs are leaked", where);
        tell(foreign, true, "TDXKeyIDsLeaked", text);
}

/* ---- who holds ---- */

struct holders {
        struct measure_holder *all;
        size_t n;
        const char **plugin_pods; /* pod UID of the n-th holder, if that is a plugin device */
};

static void add_device(void *owner, const struct plugin_holder *device)
{
        struct holders *holders = owner;
        const char **pod = &holders->plugin_pods[holders->n];

        *pod = device->pod_uid;
        holders->all[holders->n++] = (struct measure_holder){ .tds = 1,
                                                              .pod_uids = pod,
                                                              .n_pods = device->pod_uid ? 1 : 0 };
}

static void find_holders(const struct ledger *ledger, const struct plugin *plugin,
                         struct holders *ret)
{
        size_t n = ledger_n_claims(ledger) + plugin_n_held(plugin);

        ret->all = xcalloc(n, sizeof(*ret->all));
        ret->plugin_pods = xcalloc(n, sizeof(*ret->plugin_pods));
        plugin_each_holder(plugin, add_device, ret);
        /* A claim may be shared by several pods, so any of them may run its TDs. */
        for (const struct ledger_claim *claim = ledger_next(ledger, NULL); claim;
             claim = ledger_next(ledger, claim))
                ret->all[ret->n++] = (struct measure_holder){
                        .tds = ledger_claim_weight(claim),
                        .pod_uids = (const char *const *)claim->pod_uids,
                        .n_pods = claim->n_pods,
                };
}

/* ---- a reading ---- */

bool foreign_take(struct foreign *foreign, const struct misc_tree *tree,
                  const struct ledger *ledger, const struct plugin *plugin, uint64_t now_ms)
{
        _cleanup_(free) unsigned *foreign_at = NULL;
        struct holders holders = { 0 };
        unsigned n_foreign = foreign->measure.foreign.in_force,
                 n_leaked = foreign->measure.leaked.in_force;

        find_holders(ledger, plugin, &holders);
        measure_attribute(tree, holders.all, holders.n, &foreign->latest, &foreign_at);
        free(holders.all);
        free(holders.plugin_pods);
        if (!measure_take(&foreign->measure, &foreign->latest, now_ms))
                return false;
        tell_foreign(foreign, tree, foreign_at, n_foreign);
        tell_leaked(foreign, tree, n_leaked);
        return true;
}
