/* SPDX-License-Identifier: Apache-2.0 */
#include "host/measure.h"

#include "base/memory.h"
#include "host/misc_tree.h"

#include <string.h>

/* ---- attribution ---- */

static unsigned least(unsigned a, unsigned b)
{
        return a < b ? a : b;
}

/* Attributes TDs in the holder's pods to it, holder->tds at most, and returns how many. unclaimed:
 * for each place, the TDs that no holder has taken yet. */
static unsigned take_from_pods(const struct misc_tree *tree, const struct measure_holder *holder,
                               unsigned *unclaimed)
{
        unsigned taken = 0;

        for (size_t i = 0; i < tree->n_places; ++i)
                for (size_t j = 0; j < holder->n_pods && unclaimed[i]; ++j) {
                        unsigned n;

                        if (tree->places[i].kind != MISC_TREE_POD ||
                            strcmp(tree->places[i].pod_uid, holder->pod_uids[j]) != 0)
                                continue;
                        n = least(unclaimed[i], holder->tds - taken);
                        unclaimed[i] -= n;
                        taken += n;
                }
        return taken;
}

/* Takes up to most TDs from places of this kind, and returns how many. */
static unsigned take_from(const struct misc_tree *tree, enum misc_tree_kind kind, unsigned most,
                          unsigned *unclaimed)
{
        unsigned taken = 0;

        for (size_t i = 0; i < tree->n_places; ++i) {
                unsigned n = least(unclaimed[i], most - taken);

                if (tree->places[i].kind != kind)
                        continue;
                unclaimed[i] -= n;
                taken += n;
        }
        return taken;
}

void measure_attribute(const struct misc_tree *tree, const struct measure_holder *holders,
                       size_t n_holders, struct measure_found *ret, unsigned **ret_foreign_at)
{
        _cleanup_(free) unsigned *unclaimed = xcalloc(tree->n_places, sizeof(*unclaimed));
        unsigned ours = 0, running = 0, leaked = 0, idle = 0, unplaced = 0, n;

        for (size_t i = 0; i < tree->n_places; ++i) {
                unclaimed[i] = tree->places[i].running;
                running += tree->places[i].running;
                leaked += tree->places[i].leaked;
        }
        for (size_t i = 0; i < n_holders; ++i) {
                n = take_from_pods(tree, &holders[i], unclaimed);
                ours += n;
                if (holders[i].n_pods)
                        idle += holders[i].tds - n;
                else
                        unplaced += holders[i].tds;
        }
        /* Holders without known pods come last, so that they take only TDs that no known pod
         * explains. */
        n = take_from(tree, MISC_TREE_POD, unplaced, unclaimed);
        ours += n;
        ours += take_from(tree, MISC_TREE_UNSPLIT, unplaced - n + idle, unclaimed);
        *ret_foreign_at = take_ptr(unclaimed);
        *ret = (struct measure_found){ .ours = ours, .foreign = running - ours, .leaked = leaked };
}

/* ---- hysteresis ---- */

static bool level_take(struct measure_level *level, unsigned n, bool is_first, uint64_t now_ms)
{
        unsigned before = level->in_force;

        if (n <= before || is_first) {
                *level = (struct measure_level){ .in_force = n };
        } else if (!level->is_rising) {
                level->rising = n;
                level->is_rising = true;
                level->rising_since_ms = now_ms;
        } else {
                /* The lowest reading of the rise counts, so a short peak does not. */
                level->rising = least(level->rising, n);
                if (now_ms - level->rising_since_ms >= MEASURE_SETTLE_MS)
                        *level = (struct measure_level){ .in_force = level->rising };
        }
        return level->in_force != before;
}

bool measure_take(struct measure *measure, const struct measure_found *found, uint64_t now_ms)
{
        bool is_first = !measure->is_known, is_changed = is_first;

        measure->is_known = true;
        is_changed |= level_take(&measure->foreign, found->foreign, is_first, now_ms);
        is_changed |= level_take(&measure->leaked, found->leaked, is_first, now_ms);
        return is_changed;
}

unsigned measure_withheld(const struct measure *measure, unsigned reserve)
{
        unsigned n = measure->foreign.in_force + measure->leaked.in_force;

        return n > reserve ? n - reserve : 0;
}
