/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the ResourceSlices there are to the ones there should be, one write at a time: pure.
 *
 * The scheduler uses the slices of a pool's highest generation, and only when as many are there as
 * each says (resource.k8s.io/v1, ResourcePool). So a change that one write can make keeps the
 * generation; anything more begins a new generation, which stays incomplete, and thus unused, until
 * its last slice is written. Planning again after each write (or after a crash, or after somebody
 * else's write) goes on where things stand.
 *
 * The rules are those of k8s.io/dynamic-resource-allocation/resourceslice; slices are matched by
 * name here.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sliceplan_slice {
        unsigned index;     /* which of the wanted slices this is, by its name; >= n_wanted: none of
                               them */
        int64_t generation; /* of the pool, as this slice says */
        int64_t count;      /* slices in the pool, as this slice says */
        bool has_wanted_contents;
};

enum sliceplan_verb { SLICEPLAN_NOTHING, SLICEPLAN_DELETE, SLICEPLAN_UPDATE, SLICEPLAN_CREATE };

struct sliceplan_step {
        enum sliceplan_verb verb;
        size_t observed;    /* DELETE, UPDATE: position in the slices given */
        unsigned index;     /* UPDATE, CREATE: which wanted slice */
        int64_t generation; /* UPDATE, CREATE: what to write; the count to write is n_wanted */
};

/* The next write: deletions first, then updates, then creations. At most one slice stands for each
 * index. */
struct sliceplan_step sliceplan_next(const struct sliceplan_slice *slices, size_t n_slices,
                                     unsigned n_wanted);
