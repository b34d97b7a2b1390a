/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Splits the body of a watch into lines, one JSON object each, and parses them: pure.
 *
 * Source: kubernetes.io/docs "API Concepts", "Efficient detection of changes" and "Watch
 * bookmarks".
 */
#pragma once

#include "base/text.h"

#include <stddef.h>

struct error;
struct json;

#define WATCH_LINE_MAX 8388608U /* bytes: 8 MiB */

struct watch_lines {
        struct text partial; /* the incomplete last line */
};

#define WATCH_LINES_NULL  \
        {                 \
                TEXT_NULL \
        }

/* Not 0 stops the feeding. line is borrowed, not NUL-terminated, and without its end of line. */
typedef int watch_on_line(void *owner, const char *line, size_t n);

/* Add n bytes and pass on each line that is now complete, except empty ones. 0, on_line's result,
 * or -EMSGSIZE beyond WATCH_LINE_MAX. After a failure the rest is lost: reset. */
int watch_lines_feed(struct watch_lines *lines, const char *bytes, size_t n, watch_on_line *on_line,
                     void *owner, struct error *err);
void watch_lines_reset(struct watch_lines *lines);

enum watch_line_type {
        WATCH_LINE_ADDED,
        WATCH_LINE_MODIFIED,
        WATCH_LINE_DELETED,
        WATCH_LINE_BOOKMARK,
        WATCH_LINE_ERROR,
        WATCH_LINE_OTHER /* a type of a newer server: ignore it */
};

struct watch_line {
        enum watch_line_type type;
        struct json *root;            /* owned */
        const struct json *object;    /* in root; a metav1.Status for WATCH_LINE_ERROR */
        const char *resource_version; /* in root; NULL for WATCH_LINE_ERROR and WATCH_LINE_OTHER */
};

#define WATCH_LINE_NULL \
        {               \
                0       \
        }

/* 0, or -EBADMSG with the reason: not JSON, no type, no object, or no metadata.resourceVersion. */
int watch_line_parse(const char *bytes, size_t n, struct watch_line *ret, struct error *err);
void watch_line_deinit(struct watch_line *line);

static inline void cleanup_watch_line(struct watch_line *line)
{
        watch_line_deinit(line);
}
