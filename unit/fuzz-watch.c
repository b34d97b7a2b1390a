/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as the body of a watch: cut into pieces (the first byte says how large) or whole, the
 * lines are the same, and each is read or refused. */
#include "base/error.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/text.h"
#include "kube/lines.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static int on_line(void *owner, const char *bytes, size_t n)
{
        _cleanup_(watch_line) struct watch_line line = WATCH_LINE_NULL;
        struct text *seen = owner;
        struct error error = ERROR_NULL;

        assert(n > 0 && !memchr(bytes, '\n', n));
        text_add_bytes(seen, bytes, n);
        text_add(seen, "\n");
        if (watch_line_parse(bytes, n, &line, &error) < 0)
                assert(error.code < 0 && *error.text && !line.root);
        else
                assert(json_is_object(line.object) &&
                       (line.type >= WATCH_LINE_ERROR || *line.resource_version));
        return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
        _cleanup_(text) struct text in_pieces = TEXT_NULL, whole = TEXT_NULL;
        struct watch_lines lines = WATCH_LINES_NULL;
        size_t n_piece = n ? bytes[0] % 64U + 1 : 1;
        const char *body = (const char *)bytes + (n ? 1 : 0);

        n -= n ? 1 : 0;
        for (size_t at = 0; at < n; at += n_piece)
                watch_lines_feed(&lines, body + at, n - at < n_piece ? n - at : n_piece, on_line,
                                 &in_pieces, NULL);
        watch_lines_reset(&lines);
        watch_lines_feed(&lines, body, n, on_line, &whole, NULL);
        watch_lines_reset(&lines);
        assert(in_pieces.n == whole.n &&
               (!whole.n || memcmp(in_pieces.bytes, whole.bytes, whole.n) == 0));
        return 0;
}
