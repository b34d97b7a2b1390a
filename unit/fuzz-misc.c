/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as misc.capacity, against a second reading by other means. */
#include "base/error.h"
#include "base/memory.h"
#include "host/misc.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static bool is_tdx_line(const char *line)
{
        return strncmp(line, "tdx", 3) == 0 && (!line[3] || line[3] == ' ' || line[3] == '\t');
}

static unsigned count_tdx_lines(char *text)
{
        unsigned n_lines = 0;

        for (char *line; (line = strsep(&text, "\n"));)
                n_lines += is_tdx_line(line);
        return n_lines;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
        _cleanup_(free) char *text = xstrndup((const char *)bytes, n);
        _cleanup_(free) char *shown = NULL;
        struct error error = ERROR_NULL;
        uint64_t tds = 4711;
        char *found;
        int r;

        r = misc_parse((const char *)bytes, n, &tds, &error);
        assert(r == 0 || r == MISC_NO_TDX || r == -EBADMSG);
        assert(r == 0 || tds == 4711);
        assert((r < 0) == (error.code == -EBADMSG) && (r < 0) == (error.text[0] != '\0'));
        if (strlen(text) != n)
                return 0; /* the second reading stops at a NUL */
        shown = xasprintf("%llu", (unsigned long long)tds);
        found = strstr(text, shown);
        assert(r != 0 || found);
        switch (count_tdx_lines(text)) {
        case 0:
                assert(r == MISC_NO_TDX);
                break;
        case 1:
                assert(r != MISC_NO_TDX);
                break;
        default:
                assert(r == -EBADMSG);
        }
        return 0;
}
