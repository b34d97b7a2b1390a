/* SPDX-License-Identifier: Apache-2.0 */
#include "host/misc.h"

#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/parse.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#define FILE_MAX 65536 /* the kernel shows a line per resource, a handful in all */

/* The value of "<name> <value>", or NULL for another line. The name ends at a blank: "tdxfoo" is
 * another resource. */
static const char *value_of(const char *name, const char *line, size_t n, size_t *ret_n)
{
        size_t at = strlen(name);

        if (n < at || memcmp(line, name, at) != 0 ||
            (n > at && line[at] != ' ' && line[at] != '\t'))
                return NULL;
        while (at < n && (line[at] == ' ' || line[at] == '\t'))
                ++at;
        while (n > at && (line[n - 1] == ' ' || line[n - 1] == '\t' || line[n - 1] == '\r'))
                --n;
        *ret_n = n - at;
        return line + at;
}

static int refuse_value(const char *name, const char *value, size_t n, int r, struct error *err)
{
        /* A misc.max given by mistake is the likely reason: its value may be "max". */
        bool is_limit = n == 3 && memcmp(value, "max", 3) == 0;

        return error_set(err, -EBADMSG, "the %s line's value \"%.*s\" %s%s", name,
                         (int)(n < 64 ? n : 64), value,
                         r == -ERANGE ? "does not fit 64 bits" : "is not a decimal number",
                         is_limit ? ": the file is a misc.max, the limit of a cgroup; name the "
                                    "root cgroup's misc.capacity"
                                  : "");
}

static int parse_line(const char *name, const char *bytes, size_t n, uint64_t *ret,
                      struct error *err)
{
        bool is_found = false;
        uint64_t number = 0;

        for (size_t at = 0; at < n;) {
                const char *end = memchr(bytes + at, '\n', n - at);
                size_t n_line = end ? (size_t)(end - bytes) - at : n - at;
                size_t n_value = 0;
                const char *value = value_of(name, bytes + at, n_line, &n_value);
                int r;

                at += n_line + 1;
                if (!value)
                        continue;
                /* The kernel shows each resource once, so this is not the kernel's file. */
                if (is_found)
                        return error_set(err, -EBADMSG, "the %s line is there twice", name);
                r = parse_u64(value, n_value, &number);
                if (r < 0)
                        return refuse_value(name, value, n_value, r, err);
                is_found = true;
        }
        if (!is_found)
                return MISC_NO_TDX;
        *ret = number;
        return 0;
}

int misc_parse(const char *bytes, size_t n, uint64_t *ret_tds, struct error *err)
{
        return parse_line("tdx", bytes, n, ret_tds, err);
}

int misc_parse_events(const char *bytes, size_t n, uint64_t *ret_refused, struct error *err)
{
        return parse_line("tdx.max", bytes, n, ret_refused, err);
}

static int read_one(const char *path, uint64_t *ret_tds, struct error *err)
{
        _cleanup_(free) char *bytes = NULL;
        size_t n;
        int r;

        r = file_read(AT_FDCWD, path, FILE_MAX, &bytes, &n, err);
        if (r < 0)
                return r;
        r = misc_parse(bytes, n, ret_tds, err);
        if (r < 0)
                error_prefix(err, "%s", path);
        return r;
}

int misc_read(const char *file, const char *cgroup_root, uint64_t *ret_tds, char *path_buffer,
              struct error *err)
{
        static const char *const places[] = { "misc.capacity", "misc/misc.capacity",
                                              "unified/misc.capacity" };

        if (file) {
                if (snprintf(path_buffer, PATH_MAX, "%s", file) >= PATH_MAX)
                        return error_set(err, -ENAMETOOLONG, "%.64s... is too long for a path",
                                         file);
                return read_one(path_buffer, ret_tds, err);
        }
        for (size_t i = 0; i < array_size(places); ++i) {
                int r;

                if (snprintf(path_buffer, PATH_MAX, "%s/%s", cgroup_root, places[i]) >= PATH_MAX)
                        return error_set(err, -ENAMETOOLONG, "%.64s... is too long for a path",
                                         cgroup_root);
                r = read_one(path_buffer, ret_tds, err);
                /* Any other error concerns a file that exists: the next place would hide it. */
                if (r != -ENOENT && r != -ENOTDIR)
                        return r;
        }
        path_buffer[0] = '\0';
        return MISC_NO_FILE;
}
