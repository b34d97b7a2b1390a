/* SPDX-License-Identifier: Apache-2.0 */
#include "host/module.h"

#include "base/file.h"
#include "base/memory.h"
#include "base/parse.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

#define FILE_MAX 64

char *module_version(const char *file)
{
        __attribute__((cleanup(cleanup_free))) char *bytes = NULL;
        uint64_t parts[3];
        const char *rest;
        size_t n;

        if (file_read(AT_FDCWD, file, FILE_MAX, &bytes, &n, NULL) < 0)
                return NULL;
        rest = bytes;
        for (size_t i = 0; i < array_size(parts); ++i) {
                size_t n_digits = strspn(rest, "0123456789");

                while (n_digits > 1 && *rest == '0') {
                        ++rest;
                        --n_digits;
                }
                if (parse_u64(rest, n_digits, &parts[i]) < 0)
                        return NULL;
                rest += n_digits;
                if (i < 2 && *rest++ != '.')
                        return NULL;
        }
        if (rest[strspn(rest, "\n")])
                return NULL;
        return xasprintf("%" PRIu64 ".%" PRIu64 ".%" PRIu64, parts[0], parts[1], parts[2]);
}
