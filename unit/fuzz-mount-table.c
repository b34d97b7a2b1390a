/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as /proc/self/mountinfo, against a second reading by other means. */
#include "base/memory.h"
#include "host/mount_table.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

#define ID "36"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
        _cleanup_(free) char *root = mount_table_root((const char *)bytes, n, 36);
        _cleanup_(free) char *text = xstrndup((const char *)bytes, n);
        char *rest = text, *line;

        if (strlen(text) != n)
                return 0; /* the second reading stops at a NUL */
        while ((line = strsep(&rest, "\n"))) {
                const char *id = strsep(&line, " "), *fields[3] = { 0 };

                for (size_t i = 0; i < array_size(fields) && line; ++i)
                        fields[i] = strsep(&line, " ");
                if (strcmp(id + strspn(id, "0"), ID) != 0)
                        continue;
                assert(fields[2] && *fields[2] ? root && strcmp(root, fields[2]) == 0 : !root);
                return 0;
        }
        assert(!root);
        return 0;
}
