/* SPDX-License-Identifier: Apache-2.0 */
/* Which boot this is: /proc/sys/kernel/random/boot_id
 * (Documentation/admin-guide/sysctl/kernel.rst). */
#pragma once

struct error;

#define BOOT_ID_SIZE 37 /* a UUID in text and its NUL */

/* Read the boot id from path, or from the kernel's file if NULL. 0 or -errno (-EBADMSG: not a
 * UUID). */
int boot_id_read(const char *path, char ret_id[BOOT_ID_SIZE], struct error *err);
