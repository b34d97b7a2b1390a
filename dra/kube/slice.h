/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Our ResourceSlices (resource.k8s.io/v1): parses the server's, builds the wanted ones, compares
 * them. Pure.
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
        /* Its identity can be read (name, UID, version, driver and node), but the rest cannot: err
           names the field. Do not ignore it, because the scheduler may be able to read it. */
        SLICE_ODD = 1
};

/* 0, SLICE_ODD, or -EBADMSG naming the field that is missing or of the wrong type. */
int slice_parse(const struct json *object, struct slice *ret, struct error *err);
void slice_deinit(struct slice *slice);
/* Whether version is older than known: resourceVersions increase (KEP-5504). One that is not a
 * number counts as newer. */
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
        size_t n_devices; /* <= SLICE_DEVICES_MAX; may be 0: the driver is present and has no
                             devices */
        const char *resource_version; /* of the slice to replace; NULL: create one */
};

/* The object to POST or PUT. Its owner is the Node, so it is deleted with the Node. The caller's.
 */
struct json *slice_build(const struct slice_options *options);

/* "<node>-<driver>-<index>": the same after a restart, so that a slice is replaced, not doubled. If
 * that would not be a DNS subdomain, the node name is cut and its hash appended. The caller's. */
char *slice_name(const char *node_name, const char *driver, unsigned index);

/* Whether the owner or spec (driver, nodeName, pool, devices in their order) differ from what we
 * want. Ignores other members of spec and the server's taints[].timeAdded. */
bool slice_differs(const struct json *wanted, const struct json *observed);

/* The first member of wanted's spec that the server dropped from its answer to our write, as it
 * does with fields of features that are off ("spec.devices[0].taints"); NULL: none. The caller's.
 */
char *slice_dropped_field(const struct json *wanted, const struct json *answered);
