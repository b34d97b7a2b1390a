/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which TDX module runs, if the kernel shows it (Documentation/ABI/testing/sysfs-faux-tdx_host).
 *
 * Linux 7.2 can replace the module at run time, so the caller polls. After a failed update the file
 * is no longer readable: TDX is lost until the next boot.
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
        MODULE_SAME,    /* also if reading failed on our side, such as with EMFILE */
        MODULE_CHANGED, /* or known for the first time */
        MODULE_LOST     /* it was known and is no longer readable: version is NULL now */
};

enum module_news module_read(struct module *module);
void module_deinit(struct module *module);
