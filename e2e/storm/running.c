/* SPDX-License-Identifier: Apache-2.0 */
/* The contents of the host's misc cgroups: TDs of pods, foreign TDs and leaked key IDs. */
#include "base/memory.h"
#include "e2e/storm/world.h"
#include "host/misc_tree.h"

#include <stdio.h>

#define STARTS_MS 2000U /* from the answer for a pod to its TD's start */

static struct misc_tree shown;

static void add(struct misc_tree *tree, enum misc_tree_kind kind, const char *uid, unsigned running,
                unsigned leaked)
{
        struct misc_tree_place *place;

        if (!running && !leaked)
                return;
        tree->places = xreallocarray(tree->places, tree->n_places + 1, sizeof(*tree->places));
        place = &tree->places[tree->n_places++];
        *place = (struct misc_tree_place){
                .kind = kind, .path = xstrdup("/somewhere"), .running = running, .leaked = leaked
        };
        snprintf(place->pod_uid, sizeof(place->pod_uid), "%s", uid);
        tree->total += running + leaked;
}

/* A VM does not start if no key ID is free. */
static unsigned n_running(const struct pod *pod, unsigned n_free)
{
        if (!pod->holds || clock_now() - pod->since_ms < STARTS_MS)
                return 0;
        return pod->n_wanted < n_free ? pod->n_wanted : n_free;
}

static void look(struct misc_tree *tree)
{
        const struct list *position;
        unsigned n_others = host.n_foreign + host.n_leaked,
                 n_free = host.capacity > n_others ? host.capacity - n_others : 0;

        misc_tree_deinit(tree);
        add(tree, MISC_TREE_ELSEWHERE, "", host.n_foreign, 0);
        add(tree, MISC_TREE_ELSEWHERE, "", 0, host.n_leaked);
        list_for_each (position, &pods) {
                const struct pod *pod = container_of((struct list *)position, struct pod, link);
                unsigned n = n_running(pod, n_free);

                /* A cgroup whose name does not look like a pod's to the driver. */
                if (pod->has_odd_cgroup)
                        add(tree, MISC_TREE_UNSPLIT, "", n, 0);
                else
                        add(tree, MISC_TREE_POD, pod->uid, n, 0);
                n_free -= n;
        }
}

const struct misc_tree *host_running(void)
{
        look(&shown);
        return shown.total <= host.capacity ? &shown : NULL;
}

unsigned host_n_free(void)
{
        struct misc_tree tree = MISC_TREE_NULL;
        unsigned n_free;

        look(&tree);
        n_free = tree.total < host.capacity ? host.capacity - tree.total : 0;
        misc_tree_deinit(&tree);
        return n_free;
}

void host_running_deinit(void)
{
        misc_tree_deinit(&shown);
}
