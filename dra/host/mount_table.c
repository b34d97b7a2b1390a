/* SPDX-License-Identifier: Apache-2.0 */
#include "host/mount_table.h"

#include "base/memory.h"
#include "base/parse.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#define FIELD_ID   0U
#define FIELD_ROOT 3U

int mount_table_id(const char *path, uint64_t *ret_id)
{
        struct statx found = { 0 };

        if (statx(AT_FDCWD, path, 0, STATX_MNT_ID, &found) < 0)
                return -errno;
        if (!(found.stx_mask & STATX_MNT_ID))
                return -ENOTSUP;
        *ret_id = found.stx_mnt_id;
        return 0;
}

/* The field of a line, whose fields are parted by one blank each; its length is 0 if there is none.
 */
static const char *field_of(const char *line, size_t n, unsigned index, size_t *ret_n)
{
        const char *end = line + n, *blank = NULL;

        for (; (blank = memchr(line, ' ', (size_t)(end - line))) && index; --index)
                line = blank + 1;
        *ret_n = index ? 0 : (size_t)((blank ? blank : end) - line);
        return line;
}

static bool is_of(const char *line, size_t n, uint64_t id)
{
        uint64_t found = 0;
        size_t n_field;
        const char *field = field_of(line, n, FIELD_ID, &n_field);

        return parse_u64(field, n_field, &found) == 0 && found == id;
}

char *mount_table_root(const char *table, size_t n, uint64_t id)
{
        for (size_t begin = 0, end; begin < n; begin = end + 1) {
                const char *newline = memchr(table + begin, '\n', n - begin), *root;
                size_t n_root;

                end = newline ? (size_t)(newline - table) : n;
                if (!is_of(table + begin, end - begin, id))
                        continue;
                root = field_of(table + begin, end - begin, FIELD_ROOT, &n_root);
                return n_root ? xstrndup(root, n_root) : NULL;
        }
        return NULL;
}
