/* SPDX-License-Identifier: Apache-2.0 */
#include "host/boot.h"

#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>

#define BOOT_ID_FILE "/proc/sys/kernel/random/boot_id"

static bool is_uuid(const char *string, size_t n)
{
        if (n != BOOT_ID_SIZE - 1)
                return false;
        for (size_t i = 0; i < n; ++i) {
                bool wants_dash = i == 8 || i == 13 || i == 18 || i == 23;

                if (wants_dash ? string[i] != '-' : !isxdigit((unsigned char)string[i]))
                        return false;
        }
        return true;
}

int boot_id_read(const char *path, char ret_id[BOOT_ID_SIZE], struct error *err)
{
        _cleanup_(free) char *bytes = NULL;
        size_t n;
        int r;

        if (!path)
                path = BOOT_ID_FILE;
        r = file_read(AT_FDCWD, path, 256, &bytes, &n, err);
        if (r < 0)
                return r;
        if (n && bytes[n - 1] == '\n')
                bytes[--n] = '\0';
        if (!is_uuid(bytes, n))
                return error_set(err, -EBADMSG, "%s holds no boot id", path);
        /* With the NUL that file_read() appends. */
        memcpy(ret_id, bytes, BOOT_ID_SIZE);
        return 0;
}
