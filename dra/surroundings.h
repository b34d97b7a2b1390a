/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host directories that the driver depends on, as its container sees them: each is a bind
 * mount. If the host removes one and creates it again, the mount still shows the removed directory
 * (st_nlink 0), in which no file can be created and which no other process reads. If the host
 * renames one, or a directory above it, the mount follows it, and host/mount_table sees the new
 * name. Only a new container gets a new mount, so /healthz fails and kubelet restarts the
 * container.
 *
 * Outside a container, or if the directory is missing, the path leads to the new one once it
 * exists: the modules that use the directory handle that.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct config;
struct surroundings;

/* Time from the first look that finds a directory removed or renamed until it counts as a problem:
 * a look between rmdir and mkdir on the host is harmless. */
#define SURROUNDINGS_PATIENCE_MS 5000

struct surroundings *surroundings_new(const struct config *config);
void surroundings_free(struct surroundings *surroundings); /* NULL is fine */

/* Check all directories. now_ms is from a monotonic clock. For a slow timer. */
void surroundings_look(struct surroundings *surroundings, uint64_t now_ms);
/* NULL: all is well. Otherwise which directory was removed or renamed, and the remedy; borrowed
 * until the next call of any function here. */
const char *surroundings_problem(const struct surroundings *surroundings);

/* The CDI directory through another mount, below --host-root; the caller's. NULL: there is none. */
char *surroundings_other_cdi_dir(const struct config *config);
