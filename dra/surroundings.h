/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's directories that the driver lives on, as its container has them: each is a bind mount.
 * If the host removes one and creates it again, the mount stays with the removed directory
 * (st_nlink 0), in which nothing can be created and nobody looks. Only a new container gets a new
 * mount, so /healthz says so, and kubelet restarts the container.
 *
 * Outside a container, and for a directory that is missing, paths lead to the new one: that is the
 * affair of whoever uses it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct config;
struct surroundings;

/* From the first look that finds a directory removed until it is a problem: a look between rmdir
 * and mkdir on the host itself is none. */
#define SURROUNDINGS_PATIENCE_MS 5000

struct surroundings *surroundings_new(const struct config *config);
void surroundings_free(struct surroundings *surroundings); /* NULL is fine */

/* Look at all of them. now_ms is of a monotonic clock. For a slow timer, and before the next. */
void surroundings_look(struct surroundings *surroundings, uint64_t now_ms);
/* NULL: all are as they should be. Otherwise which is not, and what helps; borrowed until the next
 * call of any function here. */
const char *surroundings_problem(const struct surroundings *surroundings);

/* The CDI directory by another mount, below --host-root; the caller's. NULL: there is none. */
char *surroundings_other_cdi_dir(const struct config *config);
