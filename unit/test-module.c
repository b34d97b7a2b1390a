/* SPDX-License-Identifier: Apache-2.0 */
#include "host/module.h"

#include "base/memory.h"
#include "unit/file-rig.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

START_TEST(the_kernels_version_becomes_a_semantic_one)
{
        static const struct {
                const char *text, *version;
        } cases[] = {
                { "1.5.06\n", "1.5.6" },
                { "1.5.24", "1.5.24" },
                { "0.0.0\n", "0.0.0" },
                { "2.00.000\n\n", "2.0.0" },
                { "18446744073709551615.1.2", "18446744073709551615.1.2" },
        };

        for (size_t i = 0; i < array_size(cases); ++i) {
                _cleanup_(free) char *version = module_parse(cases[i].text, strlen(cases[i].text));

                ck_assert_ptr_nonnull(version);
                ck_assert_str_eq(version, cases[i].version);
        }
}
END_TEST

START_TEST(what_is_not_three_numbers_is_not_a_version)
{
        static const char *const cases[] = {
                "",       "\n",      "1",        "1.5",     "1.5.",    ".5.6",
                "1..6",   "1.5.6.7", "1.5.6 ",   " 1.5.6",  "1.5.6-1", "v1.5.6",
                "-1.5.6", "1.5.+6",  "1.5.0x10", "1,5,6\n", "1.5\n.6", "18446744073709551616.1.2",
        };

        for (size_t i = 0; i < array_size(cases); ++i)
                ck_assert_msg(!module_parse(cases[i], strlen(cases[i])), "\"%s\"", cases[i]);
        ck_assert_ptr_null(module_parse("1.5.6\0", 6));
}
END_TEST

START_TEST(an_update_at_run_time_is_seen)
{
        struct module module = { .file = file };

        enter();
        say("1.5.20\n");
        ck_assert_int_eq(module_read(&module), MODULE_CHANGED);
        ck_assert_str_eq(module.version, "1.5.20");
        ck_assert_int_eq(module_read(&module), MODULE_SAME);

        say("1.5.24\n");

        ck_assert_int_eq(module_read(&module), MODULE_CHANGED);
        ck_assert_str_eq(module.version, "1.5.24");
        module_deinit(&module);
        leave();
}
END_TEST

START_TEST(a_version_that_cannot_be_read_any_more_is_lost_once)
{
        struct module module = { .file = file };

        enter();
        say("1.5.24\n");
        ck_assert_int_eq(module_read(&module), MODULE_CHANGED);
        ck_assert_int_eq(unlink(file), 0);

        ck_assert_int_eq(module_read(&module), MODULE_LOST);
        ck_assert_ptr_null(module.version);
        ck_assert_int_eq(module_read(&module), MODULE_SAME);

        say("unknown\n");
        ck_assert_int_eq(module_read(&module), MODULE_SAME);
        say("1.5.24\n");
        ck_assert_int_eq(module_read(&module), MODULE_CHANGED);
        say("unknown\n");
        ck_assert_int_eq(module_read(&module), MODULE_LOST);
        module_deinit(&module);
        leave();
}
END_TEST

START_TEST(a_kernel_that_never_told_a_version_has_not_lost_one)
{
        struct module module = { .file = "/nowhere/version" };

        ck_assert_int_eq(module_read(&module), MODULE_SAME);
        ck_assert_ptr_null(module.version);
        module_deinit(&module);
}
END_TEST

START_TEST(a_version_is_not_lost_because_descriptors_have_run_out)
{
        struct module module = { .file = file };
        struct rlimit limit, none;

        enter();
        say("1.5.24\n");
        ck_assert_int_eq(module_read(&module), MODULE_CHANGED);
        ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
        none = (struct rlimit){ .rlim_cur = 0, .rlim_max = limit.rlim_max };
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);

        ck_assert_int_eq(module_read(&module), MODULE_SAME);

        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
        ck_assert_str_eq(module.version, "1.5.24");
        module_deinit(&module);
        leave();
}
END_TEST

SUITE("module", the_kernels_version_becomes_a_semantic_one,
      what_is_not_three_numbers_is_not_a_version, an_update_at_run_time_is_seen,
      a_version_that_cannot_be_read_any_more_is_lost_once,
      a_kernel_that_never_told_a_version_has_not_lost_one,
      a_version_is_not_lost_because_descriptors_have_run_out);
