/* SPDX-License-Identifier: Apache-2.0 */
#include "host/module.h"

#include "base/file.h"
#include "base/memory.h"
#include "base/parse.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#define FILE_MAX 64

/* One number of the version, without its leading zeros. Returns the byte after it; NULL: none. */
static const char *take_number(const char *bytes, const char *end, uint64_t *ret)
{
        const char *last = bytes;

        while (last < end && *last >= '0' && *last <= '9')
                ++last;
        while (last - bytes > 1 && *bytes == '0')
                ++bytes;
        return parse_u64(bytes, (size_t)(last - bytes), ret) < 0 ? NULL : last;
}

char *module_parse(const char *bytes, size_t n)
{
        const char *end = bytes + n;
        uint64_t parts[3];

        for (size_t i = 0; i < array_size(parts); ++i) {
                if (i && (bytes == end || *bytes++ != '.'))
                        return NULL;
                bytes = take_number(bytes, end, &parts[i]);
                if (!bytes)
                        return NULL;
        }
        while (bytes < end && *bytes == '\n')
                ++bytes;
        if (bytes < end)
                return NULL;
        return xasprintf("%" PRIu64 ".%" PRIu64 ".%" PRIu64, parts[0], parts[1], parts[2]);
}

/* Failures on our side say nothing about the module. */
static bool is_our_trouble(int r)
{
        return r == -EMFILE || r == -ENFILE || r == -ENOMEM || r == -EINTR;
}

enum module_news module_read(struct module *module)
{
        _cleanup_(free) char *bytes = NULL, *version = NULL;
        size_t n;
        int r;

        r = file_read(AT_FDCWD, module->file, FILE_MAX, &bytes, &n, NULL);
        if (is_our_trouble(r))
                return MODULE_SAME;
        if (!r)
                version = module_parse(bytes, n);
        if (version ? module->version && strcmp(version, module->version) == 0 : !module->version)
                return MODULE_SAME;
        free(module->version);
        module->version = take_ptr(version);
        return module->version ? MODULE_CHANGED : MODULE_LOST;
}

void module_deinit(struct module *module)
{
        free(take_ptr(module->version));
}
