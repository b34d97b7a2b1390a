/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/lines.h"

#include "base/json.h"
#include "base/memory.h"
#include "base/text.h"
#include "unit/suite.h"

#include <errno.h>

static int note_line(void *owner, const char *line, size_t n)
{
        struct text *seen = owner;

        text_addf(seen, "<%.*s>", (int)n, line);
        return n == 4 && memcmp(line, "stop", 4) == 0 ? 7 : 0;
}

START_TEST(lines_are_the_same_however_they_are_cut)
{
        static const char bytes[] = "one\ntwo\r\n\n\r\nthree, longer\nrest";

        for (size_t n_piece = 1; n_piece < sizeof(bytes); ++n_piece) {
                _cleanup_(text) struct text seen = TEXT_NULL;
                struct watch_lines lines = WATCH_LINES_NULL;

                for (size_t at = 0; at < sizeof(bytes) - 1; at += n_piece) {
                        size_t left = sizeof(bytes) - 1 - at;

                        ck_assert_int_eq(watch_lines_feed(&lines, bytes + at,
                                                          left < n_piece ? left : n_piece,
                                                          note_line, &seen, NULL),
                                         0);
                }
                ck_assert_str_eq(seen.bytes, "<one><two><three, longer>");
                watch_lines_reset(&lines);
        }
}
END_TEST

START_TEST(a_line_may_stop_the_feeding)
{
        _cleanup_(text) struct text seen = TEXT_NULL;
        struct watch_lines lines = WATCH_LINES_NULL;

        ck_assert_int_eq(watch_lines_feed(&lines, "a\nstop\nb\n", 9, note_line, &seen, NULL), 7);

        ck_assert_str_eq(seen.bytes, "<a><stop>");
        watch_lines_reset(&lines);
}
END_TEST

START_TEST(a_line_beyond_the_limit_is_an_error)
{
        _cleanup_(free) char *bytes = xmalloc(WATCH_LINE_MAX + 1);
        _cleanup_(text) struct text seen = TEXT_NULL;
        struct watch_lines lines = WATCH_LINES_NULL;

        memset(bytes, 'x', WATCH_LINE_MAX + 1);
        ck_assert_int_eq(watch_lines_feed(&lines, bytes, WATCH_LINE_MAX, note_line, &seen, NULL),
                         0);
        ck_assert_int_eq(watch_lines_feed(&lines, "\n", 1, note_line, &seen, NULL), 0);
        ck_assert_uint_eq(seen.n, WATCH_LINE_MAX + 2);

        ck_assert_int_eq(
                watch_lines_feed(&lines, bytes, WATCH_LINE_MAX + 1, note_line, &seen, NULL),
                -EMSGSIZE);
        watch_lines_feed(&lines, bytes, 1, note_line, &seen, NULL);
        ck_assert_int_eq(watch_lines_feed(&lines, bytes, WATCH_LINE_MAX, note_line, &seen, NULL),
                         -EMSGSIZE);
        watch_lines_reset(&lines);
}
END_TEST

START_TEST(a_line_is_read_or_refused)
{
        static const struct {
                const char *text;
                int result;
                enum watch_line_type type;
                const char *resource_version;
        } table[] = {
                { "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"resourceVersion\":\"5\"}}}", 0,
                  WATCH_LINE_ADDED, "5" },
                { "{\"type\":\"DELETED\",\"object\":{\"metadata\":{\"resourceVersion\":\"6\"}}}", 0,
                  WATCH_LINE_DELETED, "6" },
                { "{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"7\"}}}",
                  0, WATCH_LINE_BOOKMARK, "7" },
                { "{\"type\":\"ERROR\",\"object\":{\"code\":410}}", 0, WATCH_LINE_ERROR, NULL },
                { "{\"type\":\"NEWER\",\"object\":{}}", 0, WATCH_LINE_OTHER, NULL },
                { "{\"type\":\"ADDED\",\"object\":{\"metadata\":{}}}", -EBADMSG },
                { "{\"type\":\"MODIFIED\",\"object\":{\"metadata\":{\"resourceVersion\":\"\"}}}",
                  -EBADMSG },
                { "{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":5}}}",
                  -EBADMSG },
                { "{\"type\":\"ADDED\",\"object\":[]}", -EBADMSG },
                { "{\"type\":\"ADDED\"}", -EBADMSG },
                { "{\"object\":{}}", -EBADMSG },
                { "[]", -EBADMSG },
                { "<html>", -EBADMSG },
        };

        for (size_t i = 0; i < array_size(table); ++i) {
                struct watch_line line = WATCH_LINE_NULL;
                int r = watch_line_parse(table[i].text, strlen(table[i].text), &line, NULL);

                ck_assert_msg(r == table[i].result, "%s: %d", table[i].text, r);
                if (r == 0)
                        ck_assert_int_eq(line.type, table[i].type);
                ck_assert_pstr_eq(line.resource_version, table[i].resource_version);
                watch_line_deinit(&line);
        }
}
END_TEST

SUITE("lines", lines_are_the_same_however_they_are_cut, a_line_may_stop_the_feeding,
      a_line_beyond_the_limit_is_an_error, a_line_is_read_or_refused);
