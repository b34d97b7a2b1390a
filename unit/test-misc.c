/* SPDX-License-Identifier: Apache-2.0 */
#include "host/misc.h"

#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"
#include "unit/suite.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static char root[64];

static void enter(void)
{
        snprintf(root, sizeof(root), "/tmp/test-capacity.XXXXXX");
        ck_assert_ptr_nonnull(mkdtemp(root));
}

static int remove_one(const char *path, const struct stat *file, int type, struct FTW *place)
{
        return remove(path);
}

static void leave(void)
{
        ck_assert_int_eq(nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

/* Writes <root>/<directory>/<name>; directory "" is the root itself. */
static void write_file(const char *directory, const char *name, const char *bytes, size_t n)
{
        _cleanup_(free) char *path = xasprintf("%s/%s", root, directory);
        _cleanup_(close) int fd = -1;

        ck_assert_int_eq(file_open_directory(path, 0755, &fd, NULL), 0);
        ck_assert_int_eq(file_replace(fd, name, bytes, n, 0644, FILE_UNSYNCED, NULL), 0);
}

START_TEST(the_tdx_line_is_found_among_others)
{
        static const struct {
                const char *text;
                uint64_t tds;
        } cases[] = {
                { "tdx 63\n", 63 },
                { "tdx 63", 63 },
                { "sev 509\nsev_es 99\ntdx 31\n", 31 },
                { "tdx 31\nsev 509", 31 },
                { "tdxfoo 7\ntdx 1\nxtdx 9\n", 1 },
                { "\n\ntdx 5\n\n", 5 },
                { "tdx 0\n", 0 },
                { "tdx 007\n", 7 },
                { "tdx 5000\n", 5000 },
                { "tdx 18446744073709551615\n", UINT64_MAX },
        };

        for (size_t i = 0; i < array_size(cases); ++i) {
                struct error error = ERROR_NULL;
                uint64_t tds = 12345;

                ck_assert_msg(misc_parse(cases[i].text, strlen(cases[i].text), &tds, &error) == 0,
                              "%s: %s", cases[i].text, error.text);
                ck_assert_uint_eq(tds, cases[i].tds);
        }
}
END_TEST

START_TEST(a_text_without_a_tdx_line_means_no_tdx)
{
        static const char *const cases[] = { "",        "\n",     "sev 509\n", "tdxfoo 7\n",
                                             "TDX 7\n", "td 7\n", " tdx 7\n",  "x\0tdx 7" };

        for (size_t i = 0; i < array_size(cases); ++i) {
                uint64_t tds = 12345;

                ck_assert_int_eq(misc_parse(cases[i], strlen(cases[i]), &tds, NULL), MISC_NO_TDX);
                ck_assert_uint_eq(tds, 12345);
        }
}
END_TEST

START_TEST(a_value_that_is_no_number_is_quoted_in_the_error)
{
        static const struct {
                const char *text;
                const char *said;
        } cases[] = {
                { "tdx max\n", "\"max\" is not a decimal number" },
                { "tdx -3\n", "\"-3\" is not a decimal number" },
                { "tdx +3\n", "\"+3\" is not a decimal number" },
                { "tdx 0x1f\n", "\"0x1f\" is not a decimal number" },
                { "tdx 3.5\n", "\"3.5\" is not a decimal number" },
                { "tdx 3 4\n", "\"3 4\" is not a decimal number" },
                { "tdx\n", "\"\" is not a decimal number" },
                { "tdx", "\"\" is not a decimal number" },
                { "tdx \n", "\"\" is not a decimal number" },
                { "tdx 99999999999999999999\n", "does not fit 64 bits" },
                { "tdx 18446744073709551616\n", "does not fit 64 bits" },
                { "tdx 1\ntdx 1\n", "twice" },
                { "tdx 1\ntdx max\n", "twice" },
        };

        for (size_t i = 0; i < array_size(cases); ++i) {
                struct error error = ERROR_NULL;
                uint64_t tds = 12345;

                ck_assert_int_eq(misc_parse(cases[i].text, strlen(cases[i].text), &tds, &error),
                                 -EBADMSG);
                ck_assert_msg(strstr(error.text, cases[i].said) != NULL, "%s: %s", cases[i].text,
                              error.text);
                ck_assert_uint_eq(tds, 12345);
        }
}
END_TEST

START_TEST(bytes_after_the_given_ones_are_not_looked_at)
{
        uint64_t tds = 0;

        ck_assert_int_eq(misc_parse("tdx 123", 6, &tds, NULL), 0);
        ck_assert_uint_eq(tds, 12);
        ck_assert_int_eq(misc_parse("tdx 123", 2, &tds, NULL), MISC_NO_TDX);
}
END_TEST

START_TEST(v2_is_looked_at_before_v1_and_hybrid)
{
        static const char *const places[] = { "unified", "misc", "" };
        struct error error = ERROR_NULL;
        char path[PATH_MAX];
        uint64_t tds = 0;

        enter();
        ck_assert_int_eq(misc_read(NULL, root, &tds, path, &error), MISC_NO_FILE);
        for (unsigned i = 0; i < array_size(places); ++i) {
                char text[16];

                write_file(places[i], "misc.capacity", text,
                           (size_t)snprintf(text, sizeof(text), "tdx %u\n", i + 1));
                ck_assert_int_eq(misc_read(NULL, root, &tds, path, &error), 0);
                ck_assert_uint_eq(tds, i + 1);
                ck_assert_ptr_eq(strstr(path, root), path);
                ck_assert_ptr_nonnull(strstr(path, "/misc.capacity"));
        }
        leave();
}
END_TEST

START_TEST(a_file_named_explicitly_is_read_and_must_be_there)
{
        _cleanup_(free) char *file = NULL;
        struct error error = ERROR_NULL;
        char path[PATH_MAX];
        uint64_t tds = 7;

        enter();
        file = xasprintf("%s/capacity", root);
        ck_assert_int_eq(misc_read(file, NULL, &tds, path, &error), -ENOENT);
        ck_assert_ptr_nonnull(strstr(error.text, file));
        write_file("", "capacity", "tdx 3\n", 6);
        ck_assert_int_eq(misc_read(file, "/nowhere", &tds, path, &error), 0);

        ck_assert_uint_eq(tds, 3);
        ck_assert_str_eq(path, file);
        leave();
}
END_TEST

START_TEST(whatever_is_wrong_with_the_file_is_said_with_its_name)
{
        _cleanup_(free) char *huge = xmalloc(1000000);
        _cleanup_(free) char *directory = NULL, *file = NULL, *too_long = NULL;
        struct error error = ERROR_NULL;
        char path[PATH_MAX];
        uint64_t tds = 7;

        enter();
        memset(huge, 'x', 1000000);
        write_file("", "misc.capacity", huge, 1000000);
        file = xasprintf("%s/misc.capacity", root);
        ck_assert_int_eq(misc_read(NULL, root, &tds, path, &error), -EFBIG);
        ck_assert_ptr_nonnull(strstr(error.text, file));
        ck_assert_ptr_nonnull(strstr(error.text, "larger than"));

        write_file("", "misc.capacity", "tdx max\n", 8);
        ck_assert_int_eq(misc_read(NULL, root, &tds, path, &error), -EBADMSG);
        ck_assert_ptr_nonnull(strstr(error.text, file));

        directory = xasprintf("%s/d", root);
        ck_assert_int_eq(mkdir(directory, 0755), 0);
        ck_assert_int_eq(misc_read(directory, NULL, &tds, path, &error), -EISDIR);
        ck_assert_ptr_nonnull(strstr(error.text, directory));

        memset(huge, 'a', PATH_MAX);
        huge[0] = '/';
        huge[PATH_MAX] = '\0';
        too_long = xstrdup(huge);
        ck_assert_int_eq(misc_read(too_long, NULL, &tds, path, &error), -ENAMETOOLONG);
        ck_assert_int_eq(misc_read(NULL, too_long, &tds, path, &error), -ENAMETOOLONG);
        ck_assert_uint_eq(tds, 7);
        leave();
}
END_TEST

START_TEST(refused_starts_are_the_tdx_max_line)
{
        static const struct {
                const char *text;
                int outcome;
                uint64_t refused;
        } cases[] = {
                { "sev.max 0\nsev_es.max 4\ntdx.max 3\n", 0, 3 },
                { "tdx.max 0\n", 0, 0 },
                { "sev.max 1\n", MISC_NO_TDX, 0 },
                { "tdx 7\n", MISC_NO_TDX, 0 },
                { "", MISC_NO_TDX, 0 },
                { "tdx.max max\n", -EBADMSG, 0 },
                { "tdx.max 1\ntdx.max 1\n", -EBADMSG, 0 },
        };

        for (size_t i = 0; i < array_size(cases); ++i) {
                struct error error = ERROR_NULL;
                uint64_t refused = 0;

                ck_assert_int_eq(
                        misc_parse_events(cases[i].text, strlen(cases[i].text), &refused, &error),
                        cases[i].outcome);
                ck_assert_uint_eq(refused, cases[i].refused);
        }
}
END_TEST

SUITE("capacity", refused_starts_are_the_tdx_max_line, the_tdx_line_is_found_among_others,
      a_text_without_a_tdx_line_means_no_tdx, a_value_that_is_no_number_is_quoted_in_the_error,
      bytes_after_the_given_ones_are_not_looked_at, v2_is_looked_at_before_v1_and_hybrid,
      a_file_named_explicitly_is_read_and_must_be_there,
      whatever_is_wrong_with_the_file_is_said_with_its_name);
