/* SPDX-License-Identifier: Apache-2.0 */
#include "capacity.h"

#include "base/memory.h"
#include "config.h"
#include "device.h"
#include "host/misc.h"
#include "unit/suite.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static char directory[64];
static char misc[96], kvm[96];
static struct config config;

static void enter(void)
{
        snprintf(directory, sizeof(directory), "/tmp/test-capacity.XXXXXX");
        ck_assert_ptr_nonnull(mkdtemp(directory));
        snprintf(misc, sizeof(misc), "%s/misc.capacity", directory);
        snprintf(kvm, sizeof(kvm), "%s/tdx", directory);
        config = (struct config){ .capacity = -1, .cgroup_root = directory };
}

static void leave(void)
{
        (void)unlink(misc);
        (void)unlink(kvm);
        ck_assert_int_eq(rmdir(directory), 0);
}

static void say(const char *file, const char *text)
{
        FILE *stream = fopen(file, "w");

        ck_assert_ptr_nonnull(stream);
        ck_assert_int_ge(fputs(text, stream), 0);
        ck_assert_int_eq(fclose(stream), 0);
}

static struct capacity_sight look(void)
{
        struct capacity_sight sight;

        capacity_look(&config, kvm, &sight);
        return sight;
}

static bool has(const struct capacity_sight *sight, const char *words)
{
        return strstr(sight->reason, words);
}

START_TEST(what_is_offered_is_what_the_host_runs_less_the_reserve)
{
        static const struct {
                const char *text;
                int64_t capacity; /* the flag */
                unsigned reserve;
                uint64_t n_host;
                unsigned n_offered;
        } cases[] = {
                { "tdx 31\n", -1, 0, 31, 31 }, { "tdx 31\n", -1, 1, 31, 30 },
                { "tdx 31\n", -1, 31, 31, 0 }, { "tdx 4\n", -1, 20, 4, 0 },
                { "tdx 0\n", -1, 0, 0, 0 },    { "tdx 31\n", 5, 2, 5, 3 },
                { "tdx 31\n", 0, 0, 0, 0 },    { "tdx 5000\n", -1, 96, 5000, 4000 },
        };

        enter();
        for (size_t i = 0; i < array_size(cases); ++i) {
                struct capacity_sight sight;

                say(misc, cases[i].text);
                config.capacity = cases[i].capacity;
                config.reserve = cases[i].reserve;
                sight = look();

                ck_assert_int_eq(sight.outcome, 0);
                ck_assert_uint_eq(sight.n_host, cases[i].n_host);
                ck_assert_uint_eq(sight.n_offered, cases[i].n_offered);
                ck_assert_int_eq(!sight.n_offered, *sight.reason != '\0');
                ck_assert_str_eq(sight.source, cases[i].capacity < 0 ? misc : "--capacity");
        }
        leave();
}
END_TEST

START_TEST(a_reserve_that_leaves_none_is_named)
{
        struct capacity_sight sight;

        enter();
        say(misc, "tdx 4\n");
        config.reserve = 20;
        sight = look();

        ck_assert(has(&sight, "--reserve 20 leaves none of the 4 TDs"));
        leave();
}
END_TEST

START_TEST(without_a_tdx_line_the_kernels_own_parameter_decides_the_remedy)
{
        static const struct {
                const char *parameter; /* NULL: the module is not loaded */
                enum kvm_tdx kvm;
                const char *words;
        } cases[] = {
                { NULL, KVM_TDX_ABSENT, "load kvm_intel with tdx=1" },
                { "Y\n", KVM_TDX_ON, "this kernel does not count TDs: give --capacity" },
                { "N\n", KVM_TDX_OFF, "dmesg" },
        };

        enter();
        say(misc, "sev 509\n");
        for (size_t i = 0; i < array_size(cases); ++i) {
                struct capacity_sight sight;

                if (cases[i].parameter)
                        say(kvm, cases[i].parameter);
                sight = look();

                ck_assert_int_eq(sight.outcome, MISC_NO_TDX);
                ck_assert_int_eq(sight.kvm, cases[i].kvm);
                ck_assert_uint_eq(sight.n_offered, 0);
                ck_assert(has(&sight, "misc.capacity has no tdx line"));
                ck_assert_msg(has(&sight, cases[i].words), "%s", sight.reason);
        }
        leave();
}
END_TEST

START_TEST(no_misc_capacity_at_all_is_a_mount_that_is_missing)
{
        struct capacity_sight sight;

        enter();
        sight = look();

        ck_assert_int_eq(sight.outcome, MISC_NO_FILE);
        ck_assert(has(&sight, "--cgroup-root"));
        ck_assert(has(&sight, directory));
        leave();
}
END_TEST

START_TEST(the_limit_of_a_cgroup_is_not_the_hosts_capacity)
{
        struct capacity_sight sight;

        enter();
        say(misc, "sev max\ntdx max\n");
        config.misc_capacity = misc;
        sight = look();

        ck_assert_int_eq(sight.outcome, -EBADMSG);
        ck_assert_msg(has(&sight, "misc.max"), "%s", sight.reason);
        ck_assert(has(&sight, "root cgroup's misc.capacity"));
        leave();
}
END_TEST

START_TEST(a_reading_that_fails_leaves_what_was_known)
{
        struct capacity total;

        enter();
        capacity_init(&total, &config);
        total.kvm_file = kvm;
        say(misc, "tdx max\n");
        ck_assert(!capacity_read(&total));
        ck_assert(!total.is_known);

        say(misc, "tdx 4\n");
        ck_assert(capacity_read(&total));
        ck_assert(total.is_known);
        ck_assert_uint_eq(total.tds, 4);
        ck_assert(!capacity_read(&total));

        say(misc, "tdx -1\n");
        ck_assert(!capacity_read(&total));
        ck_assert_uint_eq(total.tds, 4);

        say(misc, "sev 1\n");
        ck_assert(capacity_read(&total));
        ck_assert_uint_eq(total.tds, 0);
        leave();
}
END_TEST

START_TEST(none_is_known_as_soon_as_it_was_read)
{
        struct capacity total;

        enter();
        say(misc, "tdx 0\n");
        capacity_init(&total, &config);

        ck_assert(capacity_read(&total));
        ck_assert(total.is_known);
        ck_assert_uint_eq(total.tds, 0);
        ck_assert(!capacity_read(&total));
        leave();
}
END_TEST

SUITE("capacity", what_is_offered_is_what_the_host_runs_less_the_reserve,
      a_reserve_that_leaves_none_is_named,
      without_a_tdx_line_the_kernels_own_parameter_decides_the_remedy,
      no_misc_capacity_at_all_is_a_mount_that_is_missing,
      the_limit_of_a_cgroup_is_not_the_hosts_capacity, a_reading_that_fails_leaves_what_was_known,
      none_is_known_as_soon_as_it_was_read);
