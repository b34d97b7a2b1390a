/* SPDX-License-Identifier: Apache-2.0 */
#include "host/boot.h"

#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define BOOT_ID_FILE "/proc/sys/kernel/random/boot_id"

int boot_id_read(const char *path, char ret_id[BOOT_ID_SIZE], struct error *err)
{
        __attribute__((cleanup(cleanup_free))) char *bytes = NULL;
        size_t n;
        int r;

        if (!path)
                path = BOOT_ID_FILE;
        r = file_read(AT_FDCWD, path, 256, &bytes, &n, err);
        if (r < 0)
                return r;
        n = strcspn(bytes, "\n");
        bytes[n] = '\0';
        if (n != BOOT_ID_SIZE - 1 || strspn(bytes, "0123456789abcdef-") != n)
                return error_set(err, -EBADMSG, "%s holds no boot id", path);
        memcpy(ret_id, bytes, BOOT_ID_SIZE);
        return 0;
}
