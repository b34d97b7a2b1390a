/* SPDX-License-Identifier: Apache-2.0 */
/* Turns an inventory into the ResourceSlices (resource.k8s.io/v1) to publish. Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct inventory;
struct json;

/* A slice may have 64 devices with taints (KEP-5055), 128 without. */
#define WANTED_SLICE_DEVICES 64

/* At least one: an empty slice says that the driver is present and has no devices. */
unsigned wanted_n_slices(const struct inventory *wanted);
/* The index of the slice that we give that name on that node; UINT_MAX: none. */
unsigned wanted_index_of(const char *node_name, const char *name);
/* Whether a slice has the same devices in both inventories: most changes affect one slice of many.
 */
bool wanted_is_same_slice(const struct inventory *a, const struct inventory *b, unsigned index);

/* The parts of a slice that do not come from the inventory; strings are borrowed. */
struct wanted_slice {
        const char *node_name;
        const char *node_uid;
        unsigned index; /* among the pool's slices */
        int64_t generation;
        int64_t count;                /* slices of the pool */
        const char *resource_version; /* NULL: the slice is new */
};

/* The object to write; the caller's. */
struct json *wanted_slice(const struct inventory *wanted, const struct wanted_slice *slice);
