/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The CDI spec of this driver as data (CNCF Container Device Interface, SPEC.md): pure.
 *
 * One static spec with a device per TD and path ("dra-tdx5"; the classic plugin's "plugin-tdx5"
 * comes with it), since the edits depend on the TD and not on the claim. Each device mounts the
 * directory of the QGS socket, or its own directory with the quote relay's, at the path the VM
 * expects. The spec declares the lowest cdiVersion
 * that its fields need, because a runtime drops a file that is newer than its library: 0.3.0 for
 * mounts with options and without a type, 0.7.0 for additionalGids.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define CDI_KIND      "kubevirt.io/tdx"
#define CDI_SPEC_FILE "kubevirt.io-tdx.json"

/* The same mount for all devices or, if is_per_device, one for each: below host_path each TD has
 * its own directory, "claim-tdx5" (cdi_family.directory and the index). */
struct cdi_mount {
        const char *host_path;
        const char *container_path;
        bool is_per_device;
        const char *file; /* in that directory, mounted alone; NULL: the directory is mounted */
};

/* Devices of one name, numbered from 0. */
struct cdi_family {
        const char *name;      /* "dra-tdx" */
        const char *directory; /* "claim-tdx" */
};

struct cdi_spec {
        const struct cdi_family *families; /* each gives n_devices devices */
        size_t n_families;
        size_t n_devices;
        struct cdi_mount mount; /* bound read-only */
        unsigned group;         /* supplementary group for the container's processes; 0: none */
};

/* The file's bytes, compact JSON with a final newline; the caller's. NULL if n_devices is 0,
 * because CDI requires at least one device. */
char *cdi_spec_build(const struct cdi_spec *spec, size_t *ret_n);

/* What the device with this index mounts; the caller's. */
char *cdi_mount_source(const struct cdi_mount *mount, const char *directory, size_t index);

/* "kubevirt.io/tdx=dra-tdx5"; the caller's. */
char *cdi_device_id(const char *prefix, unsigned index);
