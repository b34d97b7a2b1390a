/* SPDX-License-Identifier: Apache-2.0 */
/* Which TDX module runs, where the kernel tells (Documentation/ABI/testing/sysfs-faux-tdx_host). */
#pragma once

#define MODULE_VERSION_FILE "/sys/devices/faux/tdx_host/version"

/* "1.5.06" as the semantic version "1.5.6", which is what attributes of type version must be; the
 * caller's. NULL: the file is not there, or says something else. */
char *module_version(const char *file);
