/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/lines.h"

#include "base/error.h"
#include "base/json.h"

#include <errno.h>
#include <string.h>

static int too_long(struct error *err)
{
        return error_set(err, -EMSGSIZE, "a watch event is larger than %u bytes", WATCH_LINE_MAX);
}

static int pass_on(watch_on_line *on_line, void *owner, const char *line, size_t n)
{
        while (n && line[n - 1] == '\r')
                --n;
        return n ? on_line(owner, line, n) : 0;
}

int watch_lines_feed(struct watch_lines *lines, const char *bytes, size_t n, watch_on_line *on_line,
                     void *owner, struct error *err)
{
        while (n) {
                const char *end = memchr(bytes, '\n', n);
                size_t length = end ? (size_t)(end - bytes) : n;
                int r;

                if (length > WATCH_LINE_MAX - lines->partial.n)
                        return too_long(err);
                if (!end) {
                        text_add_bytes(&lines->partial, bytes, n);
                        return 0;
                }
                if (lines->partial.n) {
                        text_add_bytes(&lines->partial, bytes, length);
                        r = pass_on(on_line, owner, lines->partial.bytes, lines->partial.n);
                        /* Free the buffer: most lines arrive whole, and this one may have been 8
                         * MiB. */
                        text_deinit(&lines->partial);
                } else {
                        r = pass_on(on_line, owner, bytes, length);
                }
                if (r)
                        return r;
                bytes += length + 1;
                n -= length + 1;
        }
        return 0;
}

void watch_lines_reset(struct watch_lines *lines)
{
        text_deinit(&lines->partial);
}

static enum watch_line_type type_of(const char *name)
{
        static const char *const names[] = {
                [WATCH_LINE_ADDED] = "ADDED",     [WATCH_LINE_MODIFIED] = "MODIFIED",
                [WATCH_LINE_DELETED] = "DELETED", [WATCH_LINE_BOOKMARK] = "BOOKMARK",
                [WATCH_LINE_ERROR] = "ERROR",
        };

        for (size_t i = 0; i < array_size(names); ++i)
                if (strcmp(name, names[i]) == 0)
                        return (enum watch_line_type)i;
        return WATCH_LINE_OTHER;
}

int watch_line_parse(const char *bytes, size_t n, struct watch_line *ret, struct error *err)
{
        _cleanup_(json) struct json *root = NULL;
        struct watch_line line = WATCH_LINE_NULL;
        const char *type;
        int r;

        r = json_parse(bytes, n, &root, err);
        if (r < 0) {
                error_prefix(err, "watch event");
                return r;
        }
        type = json_string(json_get(root, "type"));
        line.object = json_get(root, "object");
        if (!type || !json_is_object(line.object))
                return error_set(err, -EBADMSG, "watch event has no %s", type ? "object" : "type");
        line.type = type_of(type);
        if (line.type < WATCH_LINE_ERROR) {
                line.resource_version =
                        json_string(json_get(json_get(line.object, "metadata"), "resourceVersion"));
                if (!line.resource_version || !*line.resource_version)
                        return error_set(err, -EBADMSG,
                                         "object of a watch event has no resourceVersion");
        }
        line.root = take_ptr(root);
        *ret = line;
        return 0;
}

void watch_line_deinit(struct watch_line *line)
{
        json_free(line->root);
        *line = (struct watch_line)WATCH_LINE_NULL;
}
