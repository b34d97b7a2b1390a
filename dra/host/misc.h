/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many TDs the host can run at once: the value of the "tdx" line in the root cgroup's
 * misc.capacity (kernel/cgroup/misc.c; set by KVM in __tdx_bringup() to the number of guest key
 * IDs, 0 and so absent when kvm_intel is unloaded). The file exists in the root cgroup only, and
 * does not notify of changes: the caller polls it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;

enum misc_outcome {
        MISC_NO_TDX =
                1, /* readable, but without a tdx line: TDX is off, or kvm_intel not loaded yet */
        MISC_NO_FILE = 2 /* no misc.capacity at any known place: no misc controller, or a
                                private cgroup namespace */
};

/* The tdx line of a misc.capacity or misc.current text of n bytes ("name value\n" lines, the last
 * newline optional). 0; MISC_NO_TDX; or -EBADMSG if the line's value is not a decimal number of 64
 * bits, or the line is there twice. */
int misc_parse(const char *bytes, size_t n, uint64_t *ret_tds, struct error *err);

/* How many TD starts a limit (misc.max) of this cgroup or of one below it has refused since the
 * cgroup was created: the "tdx.max" line of a misc.events text of n bytes. As misc_parse(). The
 * kernel counts refusals by a cgroup's limit here, not those by the whole host's capacity
 * (misc_cg_event() begins at the cgroup that refused, and the root has no such file). */
int misc_parse_events(const char *bytes, size_t n, uint64_t *ret_refused, struct error *err);

/* Read file (an explicit path, which must exist) or, if it is NULL, the first existing file below
 * cgroup_root ("/sys/fs/cgroup") in the places of cgroup v2, v1 and hybrid: misc.capacity,
 * misc/misc.capacity, unified/misc.capacity. As misc_parse(), or MISC_NO_FILE, or -errno with the
 * file's name in err; at most 64 KiB are read. path_buffer (PATH_MAX bytes) receives the path that
 * was read or that failed, "" with MISC_NO_FILE. */
int misc_read(const char *file, const char *cgroup_root, uint64_t *ret_tds, char *path_buffer,
              struct error *err);
