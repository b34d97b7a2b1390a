/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plans the way from the existing ResourceSlices to the wanted ones, one write at a time: pure.
 *
 * The scheduler uses the slices of a pool's highest generation, and only if their number is the
 * count that each states (resource.k8s.io/v1, ResourcePool). So a change that takes one write keeps
 * the generation; a larger one starts a new generation, which stays incomplete, and thus unused,
 * until its last slice is written. Planning again after each write (or after a crash, or after
 * another client's write) continues from the current state.
 *
 * The rules are those of k8s.io/dynamic-resource-allocation/resourceslice, except that we match
 * slices by name.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sliceplan_slice {
        unsigned index;     /* of the wanted slice with this name; >= n_wanted: none has it */
        int64_t generation; /* of the pool, as stated in this slice */
        int64_t count;      /* slices in the pool, as stated in this slice */
        bool has_wanted_contents;
};

enum sliceplan_verb { SLICEPLAN_NOTHING, SLICEPLAN_DELETE, SLICEPLAN_UPDATE, SLICEPLAN_CREATE };

struct sliceplan_step {
        enum sliceplan_verb verb;
        size_t observed;    /* DELETE, UPDATE: position in the slices argument */
        unsigned index;     /* UPDATE, CREATE: which wanted slice */
        int64_t generation; /* UPDATE, CREATE: the generation to write; the count to write is
                               n_wanted */
};

/* The next write: deletions first, then updates, then creations. slices has at most one for each
 * index. */
struct sliceplan_step sliceplan_next(const struct sliceplan_slice *slices, size_t n_slices,
                                     unsigned n_wanted);
