/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as the TDX module's version: what is accepted is a semantic version, and stays the same
 * when it is read once more. */
#include "base/memory.h"
#include "host/module.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static unsigned count_dots(const char *text)
{
        unsigned n_dots = 0;

        for (; *text; ++text)
                n_dots += *text == '.';
        return n_dots;
}

static void check_numbers(const char *version)
{
        for (const char *part = version; part; part = strchr(part, '.')) {
                size_t n_digits;

                part += *part == '.';
                n_digits = strspn(part, "0123456789");
                assert(n_digits && (n_digits == 1 || *part != '0'));
                assert(part[n_digits] == '.' || !part[n_digits]);
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
        _cleanup_(free) char *version = module_parse((const char *)bytes, n);
        _cleanup_(free) char *again = NULL;

        if (!version)
                return 0;
        assert(!memchr(bytes, '\0', n));
        assert(count_dots(version) == 2);
        check_numbers(version);
        again = module_parse(version, strlen(version));
        assert(again && strcmp(again, version) == 0);
        return 0;
}
