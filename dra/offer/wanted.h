/* SPDX-License-Identifier: Apache-2.0 */
/* An inventory as the ResourceSlices (resource.k8s.io/v1) that shall be there. Pure. */
#pragma once

#include <stdint.h>

struct inventory;
struct json;

/* With taints a slice may have 64 devices (KEP-5055), without them 128. */
#define WANTED_SLICE_DEVICES 64

/* At least one: an empty slice says that the driver is there and has no device. */
unsigned wanted_n_slices(const struct inventory *wanted);

/* What a slice is besides its contents; strings are borrowed. */
struct wanted_slice {
        const char *node_name;
        const char *node_uid;
        unsigned index; /* of the pool's slices */
        int64_t generation;
        int64_t count;                /* slices of the pool */
        const char *resource_version; /* NULL: of a slice that is created */
};

/* The object to write; the caller's. */
struct json *wanted_slice(const struct inventory *wanted, const struct wanted_slice *slice);
