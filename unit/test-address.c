/* SPDX-License-Identifier: Apache-2.0 */
#include "base/address.h"
#include "base/error.h"
#include "base/memory.h"
#include "unit/suite.h"

#include <errno.h>
#include <string.h>

START_TEST(valid_addresses_are_parsed_and_anything_else_is_refused)
{
        static const char *const good[] = { ":8080",          "127.0.0.1:8080", "0.0.0.0:1",
                                            "[::1]:8080",     "[::]:65535",     ":0",
                                            "10.1.2.3:09091", "[fe80::1]:80" };
        static const char *const bad[] = { "",
                                           "8080",
                                           ":",
                                           ":65536",
                                           ":-1",
                                           ":http",
                                           ":80 ",
                                           "127.0.0.1",
                                           "localhost:8080",
                                           "::1:8080",
                                           "[::1]",
                                           "[::1:8080",
                                           "::1]:8080",
                                           "[]:8080",
                                           "[127.0.0.1]:8080",
                                           "256.0.0.1:80",
                                           "http://:8080",
                                           "[0000:0000:0000:0000:0000:0000:0000:0000:0000]:80" };
        struct sockaddr_storage parsed = { 0 };
        struct error error = ERROR_NULL;

        for (size_t i = 0; i < array_size(good); ++i)
                ck_assert_msg(address_parse(good[i], &parsed, &error) == 0, "%s", good[i]);
        for (size_t i = 0; i < array_size(bad); ++i)
                ck_assert_msg(address_parse(bad[i], &parsed, &error) == -EINVAL, "%s", bad[i]);
        ck_assert_ptr_nonnull(strstr(error.text, "like :8080, 127.0.0.1:8080 or [::1]:8080"));
}
END_TEST

SUITE("address", valid_addresses_are_parsed_and_anything_else_is_refused);
