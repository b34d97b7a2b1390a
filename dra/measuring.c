/* SPDX-License-Identifier: Apache-2.0 */
#include "measuring.h"

#include "base/log.h"
#include "base/memory.h"

#include <stdio.h>
#include <string.h>

void measuring_deinit(struct measuring *measuring)
{
        misc_tree_deinit(&measuring->before);
}

static uint64_t refusals_at(const struct misc_tree *tree, const char *path)
{
        for (size_t i = 0; i < tree->n_refusals; ++i)
                if (strcmp(tree->refusals[i].path, path) == 0)
                        return tree->refusals[i].n;
        return 0;
}

/* The first cgroup whose count has risen; NULL: it has been removed since. */
static const char *find_refusal(const struct misc_tree *before, const struct misc_tree *now)
{
        for (size_t i = 0; i < now->n_refusals; ++i)
                if (now->refusals[i].n > refusals_at(before, now->refusals[i].path))
                        return now->refusals[i].path;
        return NULL;
}

static void tell_refusals(struct measuring *measuring, const struct misc_tree *now)
{
        const struct misc_tree *before = &measuring->before;
        const char *path = find_refusal(before, now);
        _cleanup_(free) char *text = NULL;
        uint64_t n;

        /* A removed cgroup takes its counts along, so a total may fall. The first reading has none
         * to compare with: refusals from before our start are not news. */
        if (!measuring->has_before || now->n_refused <= before->n_refused)
                return;
        n = now->n_refused - before->n_refused;
        measuring->n_refused += n;
        log_warn("the kernel has refused to start TDs: the misc.max of a cgroup is reached",
                 log_int("refused", (int64_t)n), log_str("cgroup", path));
        text = xasprintf("the kernel has refused to start %llu TDs on this node: the tdx limit in "
                         "misc.max of cgroup %s, or of one above it, is reached. Raise it; no VM "
                         "of this driver needs one",
                         (unsigned long long)n, path ? path : "(gone)");
        measuring->on_event(measuring->owner, true, "TDXStartRefused", text);
}

static void tell_impossible(struct measuring *measuring, const char *impossible)
{
        if (strcmp(measuring->impossible, impossible) == 0)
                return;
        snprintf(measuring->impossible, sizeof(measuring->impossible), "%s", impossible);
        if (*impossible)
                log_warn("the kernel's count of TDs cannot be right, counting what runs below it "
                         "instead. Linux 6.16 counts too few after misc.max has refused a TD, "
                         "until the host boots again",
                         log_str("reason", impossible));
}

static void log_failure(struct measuring *measuring, const char *reason)
{
        if (strcmp(measuring->failure, reason) == 0)
                return;
        snprintf(measuring->failure, sizeof(measuring->failure), "%s", reason);
        if (*reason)
                log_warn("cannot count the TDs that run on this host; using the last known count",
                         log_str("reason", reason));
}

static void log_invisible(struct measuring *measuring)
{
        if (!measuring->is_invisible)
                log_info("TDs that others run on this host are not counted, for there is no "
                         "misc.current: mount the host's /sys/fs/cgroup and name it with "
                         "--cgroup-root, or see --reserve",
                         log_str("below", measuring->cgroup_root));
        measuring->is_invisible = true;
}

const struct misc_tree *measuring_read(struct measuring *measuring, uint64_t limit)
{
        struct misc_tree tree = MISC_TREE_NULL;
        struct error error = ERROR_NULL;
        int r;

        r = misc_tree_read(measuring->cgroup_root, limit, &tree, &error);
        if (r < 0) {
                log_failure(measuring, error.text);
                return NULL;
        }
        /* Forget the last failure, so that the same one is logged if it comes back. */
        log_failure(measuring, "");
        if (r == MISC_TREE_NOT_VISIBLE) {
                log_invisible(measuring);
                return NULL;
        }
        measuring->is_invisible = false;
        tell_impossible(measuring, tree.impossible);
        tell_refusals(measuring, &tree);
        misc_tree_deinit(&measuring->before);
        measuring->before = tree;
        measuring->has_before = true;
        return &measuring->before;
}
