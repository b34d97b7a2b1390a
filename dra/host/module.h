/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which TDX module runs, where the kernel tells (Documentation/ABI/testing/sysfs-faux-tdx_host).
 *
 * Linux 7.2 exchanges the module at run time, so it is read again and again. After an update that
 * failed the file cannot be read any more: TDX is lost until the next boot.
 */
#pragma once

#include <stddef.h>

#define MODULE_VERSION_FILE "/sys/devices/faux/tdx_host/version"

/* "1.5.06" as the semantic version "1.5.6", which is what attributes of type version must be; the
 * caller's. NULL: the n bytes say something else. Pure. */
char *module_parse(const char *bytes, size_t n);

struct module {
        const char *file; /* borrowed */
        char *version;    /* semantic; NULL: not known */
};

enum module_news {
        MODULE_SAME,    /* also if it cannot be read for a reason of ours, such as EMFILE */
        MODULE_CHANGED, /* or known for the first time */
        MODULE_LOST     /* it was known, and cannot be read any more: version is NULL now */
};

enum module_news module_read(struct module *module);
void module_deinit(struct module *module);
