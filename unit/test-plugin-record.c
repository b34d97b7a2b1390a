/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "base/memory.h"
#include "plugin/record.h"
#include "unit/suite.h"

#include <errno.h>
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
        strcpy(state_dir, "/tmp/test-heldrecord.XXXXXX");
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

static void see(void *owner, const char *id)
{
        strcat(seen, id);
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

        return plugin_record_write(record, &id, 1, &error);
}

static int append_one(const char *id)
{
        struct error error = ERROR_NULL;

        return plugin_record_append(record, &id, 1, &error);
}

START_TEST(what_was_written_and_added_is_read_together)
{
        const char *ids[] = { "tdx1", "tdx2" };
        struct error error = ERROR_NULL;

        enter();
        ck_assert_uint_eq(plugin_record_read(state_dir, see, NULL), 0);
        ck_assert_int_eq(write_one("odd \"name\"\n"), 0);
        ck_assert_int_eq(plugin_record_append(record, ids, 2, &error), 0);
        ck_assert_int_eq(append_one("tdx3"), 0);
        ck_assert_str_eq(read_all(), "odd \"name\"\n tdx1 tdx2 tdx3 ");
        ck_assert_uint_eq(plugin_record_read(state_dir, NULL, NULL), 4);

        ck_assert_int_eq(plugin_record_write(record, ids, 2, &error), 0);
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
        const char *id = "tdx0";

        enter();
        ck_assert_int_eq(rmdir(state_dir), 0);
        ck_assert_int_eq(write_one("tdx0"), 0);
        ck_assert_int_eq(append_one("tdx1"), 0);
        ck_assert_str_eq(read_all(), "tdx0 tdx1 ");

        plugin_record_free(record);
        record = plugin_record_new("/proc/nowhere");
        ck_assert_int_lt(plugin_record_write(record, &id, 1, &error), 0);
        ck_assert_ptr_nonnull(strstr(error.text, "/proc/nowhere"));
        leave();
}
END_TEST

SUITE("heldrecord", what_was_written_and_added_is_read_together,
      nothing_is_added_to_a_record_that_another_process_left_or_that_was_removed,
      a_line_that_was_cut_off_costs_that_line_alone,
      a_state_directory_that_is_missing_is_made_and_one_that_cannot_be_is_an_error);
