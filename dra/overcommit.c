/* SPDX-License-Identifier: Apache-2.0 */
#include "overcommit.h"

#include "base/log.h"
#include "base/memory.h"

unsigned overcommit_excess(const struct overcommit_facts *facts)
{
        unsigned n_held = facts->n_claims + facts->n_pods;

        return n_held > facts->total ? n_held - facts->total : 0;
}

static char *describe(const struct overcommit_facts *facts)
{
        unsigned n_held = facts->n_claims + facts->n_pods;

        return xasprintf(
                "%u %s held (%u by claims, %u by the device plugin's pods) and this "
                "node has %u: a VM may fail to start. Delete %u of the pods. If KubeVirt's "
                "own plugin hands out TDs beside claims, keep its pods to one path "
                "(README: Beside KubeVirt's own device plugin)",
                n_held, n_held == 1 ? "TD is" : "TDs are", facts->n_claims, facts->n_pods,
                facts->total, overcommit_excess(facts));
}

int overcommit_look(struct overcommit *overcommit, const struct overcommit_facts *facts,
                    char **ret_text)
{
        unsigned excess = overcommit_excess(facts), n_told = overcommit->n_told;

        /* A smaller excess is not reported, but remembered, so that one more pod afterwards is news
         * again. */
        overcommit->n_told = excess;
        if (excess > n_told) {
                *ret_text = describe(facts);
                return OVERCOMMIT_WORSE;
        }
        if (!n_told || excess)
                return 0;
        *ret_text = xasprintf("%u of %u TDs held: no longer more than there are",
                              facts->n_claims + facts->n_pods, facts->total);
        return OVERCOMMIT_OVER;
}

void overcommit_tell(struct overcommit *overcommit, const struct overcommit_facts *facts,
                     void (*on_event)(void *owner, bool is_warning, const char *reason,
                                      const char *text),
                     void *owner)
{
        _cleanup_(free) char *text = NULL;
        int news = overcommit_look(overcommit, facts, &text);

        if (news == OVERCOMMIT_WORSE) {
                log_warn("more TDs are held than there are", log_str("detail", text));
                on_event(owner, true, "TDXOvercommitted", text);
        } else if (news == OVERCOMMIT_OVER) {
                /* No Event: the end of an excess asks nothing of a person. */
                log_info("no more TDs are held than there are", log_str("detail", text));
        }
}
