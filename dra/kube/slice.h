/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Our ResourceSlices (resource.k8s.io/v1): as the server shows them, and as we want them: pure.
 *
 * Source: k8s.io/api/resource/v1 types.go, ResourceSliceSpec; its limits are
 * ResourceSliceMaxDevices (128) and ResourceSliceMaxDevicesWithTaintsOrConsumesCounters (64).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct json;

#define SLICE_DEVICES_MAX 128U

/* All strings owned. */
struct slice {
        char *name;
        char *uid;
        char *resource_version;
        char *driver;
        char *node_name; /* NULL: the slice is not bound to one node by name */
        char *pool;
        int64_t generation; /* of the pool */
        int64_t count;      /* spec.pool.resourceSliceCount */
        size_t n_devices;
        char **devices; /* names, in their order */
};

#define SLICE_NULL \
        {          \
                0  \
        }

enum slice_outcome {
        /* Whose it is can be read (name, UID, version, driver and node), and the rest cannot: err
         * names the field. The scheduler may read it otherwise, so it is not one to pass over. */
        SLICE_ODD = 1
};

/* 0, SLICE_ODD, or -EBADMSG naming the field that is missing or of the wrong type. */
int slice_parse(const struct json *object, struct slice *ret, struct error *err);
void slice_deinit(struct slice *slice);
/* Whether one resourceVersion is before another: they count upwards (KEP-5504). What cannot be read
 * as a number is taken for newer. */
bool slice_is_older(const char *version, const char *known);

static inline void cleanup_slice(struct slice *slice)
{
        slice_deinit(slice);
}

struct slice_device {
        const char *name;
        const struct json *attributes; /* {"name": {"bool": true}}; NULL: none. Copied */
        const struct json *taints;     /* [{"key": ..., "effect": ...}]; NULL: none. Copied */
};

struct slice_options {
        const char *driver;
        const char *node_name; /* also the pool's name */
        const char *node_uid;
        int64_t generation; /* of the pool, >= 1 */
        unsigned index;     /* of this slice in the pool, from 0 */
        unsigned count;     /* slices in the pool, > index */
        const struct slice_device *devices;
        size_t n_devices; /* <= SLICE_DEVICES_MAX; 0 is fine: the driver is there, no device is */
        const char *resource_version; /* of what is to be replaced; NULL: to be created */
};

/* The object to POST or PUT, owned by its Node and thus removed with it; the caller's. */
struct json *slice_build(const struct slice_options *options);

/* "<node>-<driver>-<index>": the same after a restart, so that a slice is replaced, not doubled.
 * A node name with which that is no DNS subdomain is cut and a hash of it added. The caller's. */
char *slice_name(const char *node_name, const char *driver, unsigned index);

/* Whether what we want of the owner and of spec (driver, nodeName, pool, devices in their order) is
 * not what the server shows. Left out of the comparison: other members of spec, the server's
 * taints[].timeAdded.
 */
bool slice_differs(const struct json *wanted, const struct json *observed);

/* The first member of wanted's spec that the server dropped from its answer to our write, as it
 * does with fields of features that are off ("spec.devices[0].taints"); NULL: none. The caller's.
 */
char *slice_dropped_field(const struct json *wanted, const struct json *answered);
