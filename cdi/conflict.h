/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds another file in the CDI directory that names our devices, such as a backup or a tool's
 * leftover. A runtime treats such a device as a conflict and resolves it from neither file (CDI
 * pkg/cdi/cache.go), so no VM starts, and the runtime's message does not name the driver. Such a
 * file in a directory of lower priority (/etc/cdi beside /var/run/cdi) is harmless.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Whether these bytes are a spec with a device of our kind. is_json: parse them as JSON; otherwise
 * (YAML) search for the names that our spec uses. Pure. */
bool cdi_conflict_names_us(const char *bytes, size_t n, bool is_json);

/* The first file in alphabetical order, other than our spec, that names our devices; NULL: none, or
 * the directory cannot be read. The path is the caller's. */
char *cdi_conflict_find(const char *directory);
