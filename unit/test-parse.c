/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "base/parse.h"
#include "unit/suite.h"

#include <errno.h>
#include <string.h>

START_TEST(numbers_are_digits_that_fit)
{
        static const struct {
                const char *text;
                int result;
                uint64_t value;
        } cases[] = {
                { "0", 0, 0 },
                { "31", 0, 31 },
                { "007", 0, 7 },
                { "18446744073709551615", 0, UINT64_MAX },
                { "18446744073709551616", -ERANGE, 0 },
                { "99999999999999999999", -ERANGE, 0 },
                { "", -EINVAL, 0 },
                { "-1", -EINVAL, 0 },
                { "+1", -EINVAL, 0 },
                { " 1", -EINVAL, 0 },
                { "1 ", -EINVAL, 0 },
                { "0x10", -EINVAL, 0 },
                { "max", -EINVAL, 0 },
        };

        for (size_t i = 0; i < array_size(cases); ++i) {
                uint64_t value = 12345;
                int r = parse_u64(cases[i].text, strlen(cases[i].text), &value);

                ck_assert_int_eq(r, cases[i].result);
                ck_assert_uint_eq(value, r ? 12345 : cases[i].value);
        }
}
END_TEST

START_TEST(durations_carry_their_unit)
{
        static const struct {
                const char *text;
                int result;
                uint64_t ms;
        } cases[] = {
                { "0", 0, 0 },
                { "500ms", 0, 500 },
                { "30s", 0, 30000 },
                { "2m", 0, 120000 },
                { "1h", 0, 3600000 },
                { "30", -EINVAL, 0 },
                { "s", -EINVAL, 0 },
                { "1.5s", -EINVAL, 0 },
                { "-1s", -EINVAL, 0 },
                { "1d", -EINVAL, 0 },
                { "", -EINVAL, 0 },
                { "1s ", -EINVAL, 0 },
                { "999999h", -ERANGE, 0 },
                { "18446744073709551615h", -ERANGE, 0 },
        };

        for (size_t i = 0; i < array_size(cases); ++i) {
                uint64_t ms = 12345;
                int r = parse_duration_ms(cases[i].text, &ms);

                ck_assert_msg(r == cases[i].result, "\"%s\" gave %d", cases[i].text, r);
                ck_assert_uint_eq(ms, r ? 12345 : cases[i].ms);
        }
}
END_TEST

SUITE("parse", numbers_are_digits_that_fit, durations_carry_their_unit);
