/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as misc.events, against a second reading by other means. */
#include "base/error.h"
#include "base/memory.h"
#include "host/misc.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

/* The lines that are "tdx.max" followed by a blank or nothing; last: the last one's number, by
 * sscanf(), which takes more than we do. */
static unsigned count_lines(char *text, uint64_t *last)
{
        unsigned n_lines = 0;

        for (char *line; (line = strsep(&text, "\n"));)
                if (strncmp(line, "tdx.max", 7) == 0 && strchr(" \t", line[7])) {
                        ++n_lines;
                        (void)sscanf(line + 7, "%" SCNu64, last);
                }
        return n_lines;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
        _cleanup_(free) char *text = xstrndup((const char *)bytes, n);
        struct error error = ERROR_NULL;
        uint64_t refused = 4711, last = 0;
        unsigned n_lines;
        int r;

        r = misc_parse_events((const char *)bytes, n, &refused, &error);
        assert(r == 0 || r == MISC_NO_TDX || r == -EBADMSG);
        assert(r == 0 || refused == 4711);
        assert((r < 0) == (error.code == -EBADMSG) && (r < 0) == (error.text[0] != '\0'));
        if (strlen(text) != n)
                return 0; /* the second reading stops at a NUL */
        n_lines = count_lines(text, &last);
        assert((r == MISC_NO_TDX) == (n_lines == 0));
        assert(n_lines < 2 || r == -EBADMSG);
        assert(r != 0 || refused == last);
        return 0;
}
