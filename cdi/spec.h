/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The CDI spec of this driver as data (CNCF Container Device Interface, SPEC.md): pure.
 *
 * One static spec with a device per TD and path ("dra-tdx5"; the classic plugin's "plugin-tdx5"
 * comes with it), since the edits depend on the TD and not on the claim. Each device mounts the
 * directory of the QGS socket at the path the VM expects. The spec declares the lowest cdiVersion
 * that its fields need, because a runtime drops a file that is newer than its library: 0.3.0 for
 * mounts with options and without a type, 0.7.0 for additionalGids.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define CDI_KIND      "kubevirt.io/tdx"
#define CDI_SPEC_FILE "kubevirt.io-tdx.json"

struct cdi_mount {
        const char *host_path;
        const char *container_path;
};

struct cdi_spec {
        const char *const
                *prefixes; /* device name prefixes, each gives n_devices devices: "dra-tdx" */
        size_t n_prefixes;
        size_t n_devices;
        struct cdi_mount mount; /* the same for every device; bound read-only */
        unsigned group;         /* supplementary group for the container's processes; 0: none */
};

/* The file's bytes, compact JSON with a final newline; the caller's. NULL if n_devices is 0,
 * because CDI requires at least one device. */
char *cdi_spec_build(const struct cdi_spec *spec, size_t *ret_n);

/* "kubevirt.io/tdx=dra-tdx5"; the caller's. */
char *cdi_device_id(const char *prefix, unsigned index);
