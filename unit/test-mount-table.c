/* SPDX-License-Identifier: Apache-2.0 */
#include "host/mount_table.h"

#include "base/file.h"
#include "base/memory.h"
#include "unit/suite.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

static const char table[] =
        "36 35 98:0 / / rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n"
        "360 36 98:1 /var/lib/kubelet/plugins/a\\040b /state rw shared:7 - xfs /dev/sda1 rw\n"
        "37 36 98:1 /var/lib/cdi//deleted /cdi rw - xfs /dev/sda1 rw\n"
        "38 36 98:1 /last";

START_TEST(the_root_of_a_mount_is_found_by_its_id)
{
        static const struct {
                uint64_t id;
                const char *root;
        } rows[] = {
                { 36, "/" },     { 360, "/var/lib/kubelet/plugins/a\\040b" },
                { 38, "/last" }, { 37, "/var/lib/cdi//deleted" },
                { 3, NULL },     { 0, NULL },
        };

        for (size_t i = 0; i < array_size(rows); ++i) {
                _cleanup_(free) char *root = mount_table_root(table, strlen(table), rows[i].id);

                ck_assert_pstr_eq(root, rows[i].root);
        }
}
END_TEST

START_TEST(a_line_that_is_not_a_mount_has_none)
{
        static const char *const tables[] = { "",
                                              "\n",
                                              "7",
                                              "7 ",
                                              "7 1 98:0",
                                              "7 1 98:0 ",
                                              "7 1 98:0  /there rw",
                                              " 7 1 98:0 /x",
                                              "07x 1 0:1 /",
                                              "-7 1 0:1 /x" };

        for (size_t i = 0; i < array_size(tables); ++i) {
                _cleanup_(free) char *root = mount_table_root(tables[i], strlen(tables[i]), 7);

                ck_assert_msg(!root, "row %zu: %s", i, root);
        }
}
END_TEST

START_TEST(the_kernels_own_table_has_the_mount_of_a_path)
{
        _cleanup_(free) char *own = NULL, *root = NULL;
        uint64_t id;
        size_t n;

        ck_assert_int_eq(mount_table_id("/proc/self", &id), 0);
        ck_assert_int_eq(file_read(AT_FDCWD, MOUNT_TABLE_FILE, MOUNT_TABLE_MAX, &own, &n, NULL), 0);
        root = mount_table_root(own, n, id);
        ck_assert_pstr_eq(root, "/");
}
END_TEST

START_TEST(a_path_that_is_not_there_is_on_no_mount)
{
        uint64_t id = 4711;

        ck_assert_int_eq(mount_table_id("/nowhere/at/all", &id), -ENOENT);
        ck_assert_uint_eq(id, 4711);
}
END_TEST

SUITE("mount-table", the_root_of_a_mount_is_found_by_its_id, a_line_that_is_not_a_mount_has_none,
      the_kernels_own_table_has_the_mount_of_a_path, a_path_that_is_not_there_is_on_no_mount);
