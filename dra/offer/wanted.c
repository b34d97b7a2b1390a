/* SPDX-License-Identifier: Apache-2.0 */
#include "offer/wanted.h"

#include "base/json.h"
#include "base/memory.h"
#include "base/parse.h"
#include "config.h"
#include "device.h"
#include "kube/slice.h"
#include "offer/inventory.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

unsigned wanted_n_slices(const struct inventory *wanted)
{
        size_t n = (inventory_n_listed(wanted) + WANTED_SLICE_DEVICES - 1) / WANTED_SLICE_DEVICES;

        return n ? (unsigned)n
                 : 1; /* an empty slice says that the driver is present and has no devices */
}

unsigned wanted_index_of(const char *node_name, const char *name)
{
        const char *dash = strrchr(name, '-');
        _cleanup_(free) char *wanted = NULL;
        uint64_t index;

        if (!dash || parse_u64(dash + 1, strlen(dash + 1), &index) < 0 ||
            index >= DEVICE_INDEX_MAX / WANTED_SLICE_DEVICES)
                return UINT_MAX;
        wanted = slice_name(node_name, DRIVER_NAME, (unsigned)index);
        return strcmp(wanted, name) == 0 ? (unsigned)index : UINT_MAX;
}

bool wanted_is_same_slice(const struct inventory *a, const struct inventory *b, unsigned index)
{
        size_t first = (size_t)index * WANTED_SLICE_DEVICES;
        size_t n_a = a->n_devices > first ? a->n_devices - first : 0;
        size_t n_b = b->n_devices > first ? b->n_devices - first : 0;

        n_a = n_a < WANTED_SLICE_DEVICES ? n_a : WANTED_SLICE_DEVICES;
        n_b = n_b < WANTED_SLICE_DEVICES ? n_b : WANTED_SLICE_DEVICES;
        return n_a == n_b && (!n_a || memcmp(a->devices + first, b->devices + first,
                                             n_a * sizeof(*a->devices)) == 0);
}

/* {"attestation": {"bool": true}, ...}: attributes that a request may select on. They contain no
 * platform identifier. The names have the driver's domain (resource.k8s.io/v1, QualifiedName). */
static struct json *build_attributes(const struct inventory *wanted)
{
        const char *version = wanted->terms.module_version;
        struct json *attributes = json_new_object();

        json_add_bool(json_add_object(attributes, "attestation"), "bool",
                      wanted->terms.is_attesting);
        json_add_int(json_add_object(attributes, "totalTDs"), "int", wanted->n_tds);
        if (version)
                json_add_string(json_add_object(attributes, "moduleVersion"), "version", version);
        return attributes;
}

/* KEP-5055; NULL: none. */
static struct json *build_taints(const struct inventory *wanted)
{
        struct json *taints, *taint;

        if (!wanted->terms.taint || wanted->terms.is_withdrawing)
                return NULL;
        taint = json_new_object();
        json_add_string(taint, "key", DRIVER_NAME "/qgs");
        json_add_string(taint, "value", wanted->terms.taint);
        json_add_string(taint, "effect", "NoSchedule");
        taints = json_new_array();
        json_append(taints, taint);
        return taints;
}

struct json *wanted_slice(const struct inventory *wanted, const struct wanted_slice *slice)
{
        char names[WANTED_SLICE_DEVICES][DEVICE_NAME_SIZE];
        struct slice_device devices[WANTED_SLICE_DEVICES];
        _cleanup_(json) struct json *attributes = build_attributes(wanted);
        _cleanup_(json) struct json *taints = build_taints(wanted);
        size_t first = (size_t)slice->index * WANTED_SLICE_DEVICES, n = 0;
        size_t n_listed = inventory_n_listed(wanted);

        for (; n < WANTED_SLICE_DEVICES && first + n < n_listed; ++n) {
                device_print(names[n], wanted->devices[first + n]);
                devices[n] = (struct slice_device){ .name = names[n],
                                                    .attributes = attributes,
                                                    .taints = taints };
        }
        return slice_build(&(struct slice_options){ .driver = DRIVER_NAME,
                                                    .node_name = slice->node_name,
                                                    .node_uid = slice->node_uid,
                                                    .generation = slice->generation,
                                                    .index = slice->index,
                                                    .count = (unsigned)slice->count,
                                                    .devices = devices,
                                                    .n_devices = n,
                                                    .resource_version = slice->resource_version });
}
