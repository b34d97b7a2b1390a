/* SPDX-License-Identifier: Apache-2.0 */
#include "base/parse.h"

#include <errno.h>
#include <string.h>

#define TEN_YEARS_MS (10ULL * 365 * 24 * 3600 * 1000)

int parse_u64(const char *bytes, size_t n, uint64_t *ret)
{
        uint64_t value = 0;

        if (!n)
                return -EINVAL;
        for (size_t i = 0; i < n; ++i)
                if (bytes[i] < '0' || bytes[i] > '9')
                        return -EINVAL;
        for (size_t i = 0; i < n; ++i)
                if (__builtin_mul_overflow(value, 10U, &value) ||
                    __builtin_add_overflow(value, (uint64_t)(bytes[i] - '0'), &value))
                        return -ERANGE;
        *ret = value;
        return 0;
}

int parse_duration_ms(const char *string, uint64_t *ret_ms)
{
        static const struct {
                const char *suffix;
                uint64_t ms;
        } units[] = { { "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 } };
        size_t n_digits = strspn(string, "0123456789");
        uint64_t value;
        int r;

        r = parse_u64(string, n_digits, &value);
        if (r < 0)
                return r;
        if (!string[n_digits]) {
                if (value)
                        return -EINVAL; /* a bare number does not say which unit it is in */
                *ret_ms = 0;
                return 0;
        }
        for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); ++i) {
                if (strcmp(string + n_digits, units[i].suffix) != 0)
                        continue;
                if (__builtin_mul_overflow(value, units[i].ms, &value) || value > TEN_YEARS_MS)
                        return -ERANGE;
                *ret_ms = value;
                return 0;
        }
        return -EINVAL;
}
