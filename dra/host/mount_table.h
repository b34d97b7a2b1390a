/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which directory of its filesystem a mount shows, from /proc/self/mountinfo
 * (proc_pid_mountinfo(5), field 4). A bind mount stays with its directory: when the host renames
 * that, or a directory above it, the field shows the new name.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define MOUNT_TABLE_FILE "/proc/self/mountinfo"
#define MOUNT_TABLE_MAX  (4U << 20) /* its size; a container has some ten kilobytes */

/* The ID of the mount that the path is on, following symbolic links: 0, or -errno (-ENOTSUP: the
 * kernel, older than 5.8, does not tell). */
int mount_table_id(const char *path, uint64_t *ret_id);

/* The directory that this mount shows, below the root of its filesystem and with the kernel's
 * escapes ("\040"), from the n bytes of the table: pure. The caller's; NULL: the table does not
 * have that mount. */
char *mount_table_root(const char *table, size_t n, uint64_t id);
