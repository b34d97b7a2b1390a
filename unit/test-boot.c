/* SPDX-License-Identifier: Apache-2.0 */
#include "host/boot.h"

#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"
#include "unit/suite.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#define ID "b7ad2f1e-8c2e-4a9e-9f57-0d6a3c1f4e55"

/* Reads bytes as if they were the kernel's file. */
static int read_from(const char *bytes, char ret_id[BOOT_ID_SIZE], struct error *err)
{
        char directory[] = "/tmp/test-boot.XXXXXX";
        _cleanup_(free) char *path = NULL;
        _cleanup_(close) int fd = -1;
        int r;

        ck_assert_ptr_nonnull(mkdtemp(directory));
        path = xasprintf("%s/boot_id", directory);
        ck_assert_int_eq(file_open_directory(directory, 0700, &fd, NULL), 0);
        ck_assert_int_eq(
                file_replace(fd, "boot_id", bytes, strlen(bytes), 0600, FILE_UNSYNCED, NULL), 0);
        r = boot_id_read(path, ret_id, err);
        ck_assert_int_eq(unlink(path), 0);
        ck_assert_int_eq(rmdir(directory), 0);
        return r;
}

START_TEST(this_boot_has_an_id_and_keeps_it)
{
        char first[BOOT_ID_SIZE] = "", second[BOOT_ID_SIZE] = "";

        ck_assert_int_eq(boot_id_read(NULL, first, NULL), 0);
        ck_assert_int_eq(boot_id_read(NULL, second, NULL), 0);

        ck_assert_uint_eq(strlen(first), 36);
        ck_assert_str_eq(first, second);
}
END_TEST

START_TEST(an_id_is_a_uuid_and_nothing_else)
{
        static const struct {
                const char *bytes;
                bool is_id;
        } cases[] = {
                { ID "\n", true },
                { ID, true },
                { "", false },
                { "\n", false },
                { ID " \n", false },
                { ID "0\n", false },
                { " " ID, false },
                { "b7ad2f1e-8c2e-4a9e-9f57-0d6a3c1f4e5\n", false },
                { "b7ad2f1e-8c2e-4a9e-9f57-0d6a3c1f4e5g\n", false },
                { "b7ad2f1e08c2e04a9e09f5700d6a3c1f4e55\n", false },
                { "------------------------------------\n", false },
                { ID "\n" ID "\n", false },
        };

        for (size_t i = 0; i < array_size(cases); ++i) {
                char id[BOOT_ID_SIZE] = "untouched";
                struct error error = ERROR_NULL;
                int r = read_from(cases[i].bytes, id, &error);

                ck_assert_msg(r == (cases[i].is_id ? 0 : -EBADMSG), "\"%s\"", cases[i].bytes);
                ck_assert_str_eq(id, cases[i].is_id ? ID : "untouched");
                ck_assert(cases[i].is_id || strstr(error.text, "boot_id"));
        }
}
END_TEST

START_TEST(a_file_that_is_not_there_is_named)
{
        struct error error = ERROR_NULL;
        char id[BOOT_ID_SIZE] = "";

        ck_assert_int_eq(boot_id_read("/nowhere/boot_id", id, &error), -ENOENT);

        ck_assert_ptr_nonnull(strstr(error.text, "/nowhere/boot_id"));
}
END_TEST

SUITE("boot", this_boot_has_an_id_and_keeps_it, an_id_is_a_uuid_and_nothing_else,
      a_file_that_is_not_there_is_named);
