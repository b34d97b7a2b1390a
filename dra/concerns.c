/* SPDX-License-Identifier: Apache-2.0 */
#include "concerns.h"

#include "base/log.h"
#include "base/memory.h"
#include "cdi/conflict.h"
#include "cdi/spec.h"
#include "kube/runtime.h"
#include "overcommit.h"

#include <string.h>

struct concerns {
        void (*on_event)(void *owner, bool is_warning, const char *reason, const char *text);
        void *owner;
        struct overcommit overcommit;
        char *cdi_conflict; /* the other file that names our devices; NULL: none */
        char *runtime;      /* NULL: not known */
        bool is_runtime_told;
};

struct concerns *concerns_new(void (*on_event)(void *owner, bool is_warning, const char *reason,
                                               const char *text),
                              void *owner)
{
        struct concerns *concerns = xcalloc(1, sizeof(*concerns));

        concerns->on_event = on_event;
        concerns->owner = owner;
        return concerns;
}

void concerns_free(struct concerns *concerns)
{
        if (!concerns)
                return;
        free(concerns->cdi_conflict);
        free(concerns->runtime);
        free(concerns);
}

void concerns_look_at_held(struct concerns *concerns, const struct overcommit_facts *facts)
{
        __attribute__((cleanup(cleanup_free))) char *text = NULL;
        int news = overcommit_look(&concerns->overcommit, facts, &text);

        if (news == OVERCOMMIT_WORSE) {
                log_warn("more TDs are held than there are", log_str("detail", text));
                concerns->on_event(concerns->owner, true, "TDXOvercommitted", text);
        } else if (news == OVERCOMMIT_OVER) {
                log_info("no more TDs are held than there are", log_str("detail", text));
        }
}

void concerns_look_at_cdi(struct concerns *concerns, const char *cdi_dir)
{
        __attribute__((cleanup(cleanup_free))) char *before = take_ptr(concerns->cdi_conflict);
        __attribute__((cleanup(cleanup_free))) char *text = NULL;

        concerns->cdi_conflict = cdi_conflict_find(cdi_dir);
        if (!concerns->cdi_conflict && before)
                log_info("no other CDI spec names our devices any more", log_str("was", before));
        if (!concerns->cdi_conflict || (before && strcmp(before, concerns->cdi_conflict) == 0))
                return;
        text = xasprintf("%s names the devices of " CDI_KIND
                         ", as this driver's own spec does: the "
                         "container runtime resolves neither, and no VM starts. Remove it",
                         concerns->cdi_conflict);
        log_error("another CDI spec names our devices", log_str("detail", text));
        concerns->on_event(concerns->owner, true, "TDXCDIConflict", text);
}

void concerns_set_runtime(struct concerns *concerns, const char *version)
{
        free(concerns->runtime);
        concerns->runtime = version ? xstrdup(version) : NULL;
        concerns->is_runtime_told = false;
}

void concerns_look_at_group(struct concerns *concerns, unsigned group)
{
        if (!group || concerns->is_runtime_told || !runtime_rejects_groups(concerns->runtime))
                return;
        concerns->is_runtime_told = true;
        log_warn("the container runtime is too old for the CDI spec, which gives VMs the group of "
                 "QGS's socket: containers with claims fail. Update it (containerd 1.7.20, CRI-O "
                 "1.30 or later), or make the socket writable for all (mode 0666)",
                 log_str("runtime", concerns->runtime), log_int("group", group));
}
