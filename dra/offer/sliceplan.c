/* SPDX-License-Identifier: Apache-2.0 */
#include "offer/sliceplan.h"

#define GENERATION_MAX (INT64_C(1) << 53) /* largest integer that base/json.h writes exactly */

/* The slices, counted by what must be done with them. */
struct tally {
        int64_t highest;   /* generation */
        size_t n_right;    /* of the highest generation, with wanted contents and count */
        size_t n_wrong;    /* of the highest generation, with other contents or count */
        size_t n_outdated; /* of a lower generation */
        bool is_recounted; /* at least one of n_wrong has another count */
};

static bool is_right(const struct sliceplan_slice *slice, int64_t generation, unsigned n_wanted)
{
        return slice->generation == generation && slice->count == n_wanted &&
               slice->has_wanted_contents;
}

static struct tally take_tally(const struct sliceplan_slice *slices, size_t n_slices,
                               unsigned n_wanted)
{
        struct tally tally = { 0 };

        for (size_t i = 0; i < n_slices; ++i)
                if (slices[i].generation > tally.highest)
                        tally.highest = slices[i].generation;
        for (size_t i = 0; i < n_slices; ++i) {
                if (is_right(&slices[i], tally.highest, n_wanted)) {
                        ++tally.n_right;
                } else if (slices[i].generation == tally.highest) {
                        ++tally.n_wrong;
                        tally.is_recounted |= slices[i].count != n_wanted;
                } else {
                        ++tally.n_outdated;
                }
        }
        return tally;
}

/* Wrong slices of the highest generation must never be part of a complete pool, not even for a
 * moment: unless a single write corrects everything, start a higher generation. */
static int64_t choose_generation(const struct tally *tally, bool is_missing)
{
        bool is_single_change =
                tally->n_wrong == 1 && !tally->is_recounted && !tally->n_outdated && !is_missing;

        if (!tally->n_wrong && tally->n_right)
                return tally->highest;
        return is_single_change ? tally->highest : tally->highest + 1;
}

/* Another client wrote the highest possible generation, which leaves none above it: delete its
 * slices. */
static struct sliceplan_step delete_one_of(const struct sliceplan_slice *slices, int64_t generation)
{
        struct sliceplan_step step = { .verb = SLICEPLAN_DELETE };

        while (slices[step.observed].generation != generation)
                ++step.observed;
        return step;
}

static bool has_index(const struct sliceplan_slice *slices, size_t n_slices, unsigned index)
{
        for (size_t i = 0; i < n_slices; ++i)
                if (slices[i].index == index)
                        return true;
        return false;
}

struct sliceplan_step sliceplan_next(const struct sliceplan_slice *slices, size_t n_slices,
                                     unsigned n_wanted)
{
        struct sliceplan_step step = { .verb = SLICEPLAN_NOTHING };
        struct tally tally;

        for (size_t i = 0; i < n_slices; ++i)
                if (slices[i].index >= n_wanted)
                        return (struct sliceplan_step){ .verb = SLICEPLAN_DELETE, .observed = i };
        tally = take_tally(slices, n_slices, n_wanted);
        step.generation = choose_generation(&tally, n_slices < n_wanted);
        if (step.generation > GENERATION_MAX)
                return delete_one_of(slices, tally.highest);
        for (size_t i = 0; i < n_slices; ++i)
                if (!is_right(&slices[i], step.generation, n_wanted)) {
                        step.verb = SLICEPLAN_UPDATE;
                        step.observed = i;
                        step.index = slices[i].index;
                        return step;
                }
        for (step.index = 0; step.index < n_wanted; ++step.index)
                if (!has_index(slices, n_slices, step.index)) {
                        step.verb = SLICEPLAN_CREATE;
                        return step;
                }
        return step;
}
