/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The names of devices: "tdx0", "tdx1", ... on both paths, as KubeVirt's own device plugin has
 * them, so that VMs which run stay counted when this driver takes over from it.
 */
#pragma once

/* One more than the largest index: no TDX platform comes near (the key ID space has at most 2^15
 * ids, 31 to 127 in practice), and a bound keeps every table small. */
#define DEVICE_INDEX_MAX 4096U
#define DEVICE_NAME_SIZE 8 /* "tdx4095" with its NUL */

/* The index of a name: "tdx" and a decimal number without leading zeros, below DEVICE_INDEX_MAX. 0
 * or -EINVAL. */
int device_parse(const char *name, unsigned *ret_index);

/* The name of the index, which is below DEVICE_INDEX_MAX. */
void device_print(char ret[static DEVICE_NAME_SIZE], unsigned index);

/* A device of this driver that kubelet lists for a claim it has prepared. The strings are the
 * list's. */
struct device_prepared {
        const char *namespace_;
        const char *claim;
        const char *pool;
        const char *device;
        const char *cdi; /* qualified name of its first CDI device, or "" */
};
