/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Another file in the CDI directory that names our devices: a backup, a tool's leftover. A runtime
 * then takes each such device for a conflict and resolves it in neither file (CDI
 * pkg/cdi/cache.go), so that no VM starts, and the runtime's message names no driver. The same in a
 * directory of lower priority (/etc/cdi beside /var/run/cdi) is harmless.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Whether a spec of these bytes has a device of our kind. is_json: it is read as such; any other
 * (YAML) is searched for the names, as our spec has them. Pure. */
bool cdi_conflict_names_us(const char *bytes, size_t n, bool is_json);

/* The first file beside our spec, in alphabetical order, that names our devices; NULL: none, or the
 * directory cannot be read. The path is the caller's. */
char *cdi_conflict_find(const char *directory);
