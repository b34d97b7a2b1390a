/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"
#include "plugin/holder.h"
#include "plugin/record.h"
#include "unit/suite.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static char state_dir[64], file[96];
static char seen[256];
static struct plugin_record *record;

static void enter(void)
{
        strcpy(state_dir, "/tmp/test-plugin-record.XXXXXX");
        ck_assert_ptr_nonnull(mkdtemp(state_dir));
        snprintf(file, sizeof(file), "%s/plugin-devices", state_dir);
        record = plugin_record_new(state_dir);
}

static void leave(void)
{
        plugin_record_free(record);
        (void)unlink(file);
        ck_assert_int_eq(rmdir(state_dir), 0);
}

static void see(void *owner, const struct plugin_holder *holder)
{
        strcat(seen, holder->id);
        if (holder->pod_uid)
                strcat(strcat(seen, " of "), holder->pod_uid);
        if (holder->cgroup)
                strcat(strcat(seen, " in "), holder->cgroup);
        strcat(seen, " ");
}

static const char *read_all(void)
{
        seen[0] = '\0';
        plugin_record_read(state_dir, see, NULL);
        return seen;
}

static int write_one(const char *id)
{
        struct error error = ERROR_NULL;

        return plugin_record_write(record, &(struct plugin_holder){ id, NULL, NULL }, 1, &error);
}

static int append_one(const char *id)
{
        struct error error = ERROR_NULL;

        return plugin_record_append(record, &(struct plugin_holder){ id, NULL, NULL }, 1, &error);
}

START_TEST(what_was_written_and_added_is_read_together)
{
        const struct plugin_holder two[] = { { "tdx1", NULL, NULL }, { "tdx2", NULL, NULL } };
        struct error error = ERROR_NULL;

        enter();
        ck_assert_uint_eq(plugin_record_read(state_dir, see, NULL), 0);
        ck_assert_int_eq(write_one("odd \"name\"\n"), 0);
        ck_assert_int_eq(plugin_record_append(record, two, 2, &error), 0);
        ck_assert_int_eq(append_one("tdx3"), 0);
        ck_assert_str_eq(read_all(), "odd \"name\"\n tdx1 tdx2 tdx3 ");
        ck_assert_uint_eq(plugin_record_read(state_dir, NULL, NULL), 4);

        ck_assert_int_eq(plugin_record_write(record, two, 2, &error), 0);
        ck_assert_int_eq(append_one("tdx4"), 0);
        ck_assert_str_eq(read_all(), "tdx1 tdx2 tdx4 ");
        ck_assert_int_eq(plugin_record_write(record, NULL, 0, &error), 0);
        ck_assert_str_eq(read_all(), "");
        leave();
}
END_TEST

START_TEST(nothing_is_added_to_a_record_that_another_process_left_or_that_was_removed)
{
        enter();
        ck_assert_int_eq(write_one("tdx0"), 0);
        plugin_record_free(record);
        record = plugin_record_new(state_dir);
        ck_assert_int_eq(append_one("tdx1"), -ESTALE);
        ck_assert_int_eq(write_one("tdx1"), 0);
        ck_assert_int_eq(unlink(file), 0);
        ck_assert_int_eq(append_one("tdx2"), -ESTALE);
        ck_assert_int_eq(append_one("tdx2"), -ESTALE);
        ck_assert_int_eq(write_one("tdx2"), 0);
        ck_assert_int_eq(append_one("tdx3"), 0);
        ck_assert_str_eq(read_all(), "tdx2 tdx3 ");
        leave();
}
END_TEST

START_TEST(a_line_that_was_cut_off_costs_that_line_alone)
{
        struct rlimit room = { .rlim_max = RLIM_INFINITY }, before;
        struct stat status;

        enter();
        ck_assert_int_eq(write_one("tdx0"), 0);
        ck_assert_int_eq(append_one("tdx1"), 0);
        ck_assert_int_eq(stat(file, &status), 0);
        ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
        signal(SIGXFSZ, SIG_IGN);
        room.rlim_cur = (rlim_t)status.st_size + 4;
        ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &room), 0);
        ck_assert_int_eq(append_one("tdx2"), -EFBIG);
        ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
        ck_assert_int_eq(append_one("tdx3"), -ESTALE);
        ck_assert_str_eq(read_all(), "tdx0 tdx1 ");
        leave();
}
END_TEST

START_TEST(a_state_directory_that_is_missing_is_made_and_one_that_cannot_be_is_an_error)
{
        struct error error = ERROR_NULL;
        const struct plugin_holder holder = { "tdx0", NULL, NULL };

        enter();
        ck_assert_int_eq(rmdir(state_dir), 0);
        ck_assert_int_eq(write_one("tdx0"), 0);
        ck_assert_int_eq(append_one("tdx1"), 0);
        ck_assert_str_eq(read_all(), "tdx0 tdx1 ");

        plugin_record_free(record);
        record = plugin_record_new("/proc/nowhere");
        ck_assert_int_lt(plugin_record_write(record, &holder, 1, &error), 0);
        ck_assert_ptr_nonnull(strstr(error.text, "/proc/nowhere"));
        leave();
}
END_TEST

START_TEST(a_pod_and_its_cgroup_are_read_beside_the_device_and_version_1_is_read_too)
{
        const struct plugin_holder three[] = { { "tdx1", "uid1", "/cg/pod1" },
                                               { "tdx2", "uid2", NULL },
                                               { "tdx3", NULL, "/cg/pod3" } };
        static const char old[] = "[\"tdx1\",\"tdx2\"]\n[\"tdx3\"]\n";
        static const char newer[] = "[{\"version\":3},\"tdx1\",{\"pod\":{}},7,\"tdx2\",[]]\n";
        struct error error = ERROR_NULL;

        enter();
        ck_assert_int_eq(plugin_record_write(record, three, 3, &error), 0);
        ck_assert_str_eq(read_all(), "tdx1 of uid1 in /cg/pod1 tdx2 of uid2 tdx3 in /cg/pod3 ");
        leave();

        seen[0] = '\0';
        ck_assert_uint_eq(plugin_record_parse(old, sizeof(old) - 1, see, NULL, &error), 3);
        ck_assert_str_eq(seen, "tdx1 tdx2 tdx3 ");
        seen[0] = '\0';
        ck_assert_uint_eq(plugin_record_parse(newer, sizeof(newer) - 1, see, NULL, &error), 2);
        ck_assert_str_eq(seen, "tdx1 tdx2 ");
        ck_assert_int_eq(error.code, 0);
}
END_TEST

START_TEST(what_an_older_version_reads_of_the_record_is_each_id)
{
        const struct plugin_holder two[] = { { "tdx1", "uid1", "/cg" }, { "tdx2", NULL, NULL } };
        _cleanup_(free) char *bytes = NULL;
        struct error error = ERROR_NULL;
        size_t n;

        enter();
        ck_assert_int_eq(plugin_record_write(record, two, 2, &error), 0);
        ck_assert_int_eq(file_read(AT_FDCWD, file, 4096, &bytes, &n, &error), 0);
        ck_assert_str_eq(bytes, "[{\"version\":2},\"tdx1\",{\"pod\":\"uid1\",\"cgroup\":\"/cg\"},"
                                "\"tdx2\"]\n");
        leave();
}
END_TEST

SUITE("plugin-record", what_was_written_and_added_is_read_together,
      nothing_is_added_to_a_record_that_another_process_left_or_that_was_removed,
      a_line_that_was_cut_off_costs_that_line_alone,
      a_state_directory_that_is_missing_is_made_and_one_that_cannot_be_is_an_error,
      a_pod_and_its_cgroup_are_read_beside_the_device_and_version_1_is_read_too,
      what_an_older_version_reads_of_the_record_is_each_id);
