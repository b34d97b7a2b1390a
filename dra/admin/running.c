/* SPDX-License-Identifier: Apache-2.0 */
#include "admin/running.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"
#include "capacity.h"
#include "config.h"
#include "device.h"
#include "host/misc_tree.h"

#include <stdio.h>

static void print_place(const struct misc_tree_place *place)
{
        const char *uid = place->pod_uid;

        if (place->running)
                printf("  %u in %s%s%s%s\n", place->running, *uid ? "pod " : "cgroup ", uid,
                       *uid ? ", cgroup " : "", place->path);
        if (place->leaked)
                printf("  %u leaked: charged to cgroup %s, which has no process\n", place->leaked,
                       place->path);
}

void running_print(const struct config *config, const struct capacity_sight *capacity)
{
        _cleanup_(misc_tree) struct misc_tree tree = MISC_TREE_NULL;
        struct error error = ERROR_NULL;
        uint64_t limit = DEVICE_INDEX_MAX;
        int r;

        if (config->capacity < 0 && capacity->n_host)
                limit = capacity->n_host;
        r = misc_tree_read(config->cgroup_root, limit, &tree, &error);
        if (r == MISC_TREE_NOT_VISIBLE) {
                printf("running    not known: no misc.current below %s\n", config->cgroup_root);
                return;
        }
        if (r < 0) {
                printf("running    not known: %s\n", error.text);
                return;
        }
        printf("running    %u TD%s on this host, with or without a holder%s\n", tree.total,
               text_plural(tree.total), config->is_ignoring_foreign ? " (--foreign=ignore)" : "");
        for (size_t i = 0; i < tree.n_places; ++i)
                print_place(&tree.places[i]);
        if (tree.n_refused)
                printf("  %llu start%s refused by misc.max\n", (unsigned long long)tree.n_refused,
                       text_plural(tree.n_refused));
        if (*tree.impossible)
                printf("  a count cannot be right: %s\n", tree.impossible);
}
