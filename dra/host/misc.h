/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many TDs the host can run at once: the value of the "tdx" line in the root cgroup's
 * misc.capacity (kernel/cgroup/misc.c; set by KVM in __tdx_bringup() to the number of guest key
 * IDs, 0 and so absent when kvm_intel is unloaded). The file exists in the root cgroup only, and
 * does not notify: it is read again and again.
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
 * newline optional). 0; MISC_NO_TDX; or -EBADMSG where the line is there but its value is no
 * decimal number that fits 64 bits, or it is there twice. */
int misc_parse(const char *bytes, size_t n, uint64_t *ret_tds, struct error *err);

/* How many starts of a TD a limit (misc.max) of this cgroup or of one below it has refused since
 * the cgroup was made: the "tdx.max" line of a misc.events text of n bytes. As misc_parse(). The
 * kernel counts here what a cgroup's limit refuses, not what the whole host's capacity does
 * (misc_cg_event() begins at the cgroup that refused, and the root has no such file). */
int misc_parse_events(const char *bytes, size_t n, uint64_t *ret_refused, struct error *err);

/* Read file (an explicit path, which must exist) or, when it is NULL, below cgroup_root
 * ("/sys/fs/cgroup") the first that exists of the places of cgroup v2, v1 and hybrid:
 * misc.capacity, misc/misc.capacity, unified/misc.capacity. As misc_parse(), or
 * MISC_NO_FILE, or -errno with the file's name in err; at most 64 KiB are read. path_buffer
 * (PATH_MAX bytes) receives the path that was read or complained of, "" with MISC_NO_FILE. */
int misc_read(const char *file, const char *cgroup_root, uint64_t *ret_tds, char *path_buffer,
              struct error *err);
