/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "device.h"
#include "unit/suite.h"

#include <errno.h>

START_TEST(a_name_is_tdx_and_an_index)
{
        static const char *const bad[] = { "",      "tdx",     "tdx-1", "tdx01", "TDX1", "gpu0",
                                           "tdx1 ", "tdx4096", "tdx0x", "td",    "t" };
        unsigned index = 7;

        for (size_t i = 0; i < array_size(bad); ++i)
                ck_assert_msg(device_parse(bad[i], &index) == -EINVAL, "\"%s\"", bad[i]);
        ck_assert_uint_eq(index, 7);
        ck_assert_int_eq(device_parse("tdx0", &index), 0);
        ck_assert_uint_eq(index, 0);
        ck_assert_int_eq(device_parse("tdx4095", &index), 0);
        ck_assert_uint_eq(index, 4095);
}
END_TEST

START_TEST(what_is_printed_is_parsed)
{
        for (unsigned i = 0; i < DEVICE_INDEX_MAX; ++i) {
                char name[DEVICE_NAME_SIZE];
                unsigned index = DEVICE_INDEX_MAX;

                device_print(name, i);

                ck_assert_int_eq(device_parse(name, &index), 0);
                ck_assert_uint_eq(index, i);
        }
}
END_TEST

SUITE("device", a_name_is_tdx_and_an_index, what_is_printed_is_parsed);
