/* SPDX-License-Identifier: Apache-2.0 */
#include "surroundings.h"

#include "base/memory.h"
#include "config.h"
#include "unit/suite.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[64];

/* A directory that is gone for everybody but us, as below a bind mount. */
static char *removed_directory(void)
{
        char path[96];
        int fd;

        snprintf(path, sizeof(path), "%s/removed", root);
        ck_assert_int_eq(mkdir(path, 0755), 0);
        fd = open(path, O_RDONLY | O_DIRECTORY);
        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(rmdir(path), 0);
        return xasprintf("/proc/self/fd/%d", fd);
}

static struct config make_config(void)
{
        strcpy(root, "/tmp/test-surroundings.XXXXXX");
        ck_assert_ptr_nonnull(mkdtemp(root));
        return (struct config){ .kubelet_dir = root,
                                .state_dir = root,
                                .device_plugin_dir = root,
                                .cdi_dir = root,
                                .host_root = (char *)"" };
}

START_TEST(a_directory_that_was_removed_below_its_mount_is_a_problem_after_a_while)
{
        struct config config = make_config();
        _cleanup_(free) char *removed = removed_directory();
        struct surroundings *surroundings;

        config.device_plugin_dir = removed;
        surroundings = surroundings_new(&config);
        surroundings_look(surroundings, 1000);
        ck_assert_ptr_null(surroundings_problem(surroundings));
        surroundings_look(surroundings, 1000 + SURROUNDINGS_PATIENCE_MS - 1);
        ck_assert_ptr_null(surroundings_problem(surroundings));
        surroundings_look(surroundings, 1000 + SURROUNDINGS_PATIENCE_MS);
        ck_assert_ptr_nonnull(surroundings_problem(surroundings));
        ck_assert_ptr_nonnull(strstr(surroundings_problem(surroundings), removed));

        surroundings_free(surroundings);
        rmdir(root);
}
END_TEST

START_TEST(directories_that_are_there_or_missing_are_none)
{
        struct config config = make_config();
        struct surroundings *surroundings;

        config.kubelet_dir = (char *)"/nowhere";
        surroundings = surroundings_new(&config);
        surroundings_look(surroundings, 1000);
        surroundings_look(surroundings, 1000 + 10 * SURROUNDINGS_PATIENCE_MS);
        ck_assert_ptr_null(surroundings_problem(surroundings));

        surroundings_free(surroundings);
        rmdir(root);
}
END_TEST

START_TEST(a_removed_cdi_directory_that_another_mount_shows_is_one_all_the_same)
{
        struct config config = make_config();
        _cleanup_(free) char *removed = removed_directory();
        char other[128], *slash;
        struct surroundings *surroundings;

        config.cdi_dir = removed;
        config.host_root = root;
        snprintf(other, sizeof(other), "%s%s", root, removed);
        surroundings = surroundings_new(&config);
        surroundings_look(surroundings, 1000);
        surroundings_look(surroundings, 1000 + SURROUNDINGS_PATIENCE_MS);
        ck_assert_ptr_nonnull(surroundings_problem(surroundings));

        for (slash = other + strlen(root) + 1; (slash = strchr(slash, '/')); ++slash) {
                *slash = '\0';
                ck_assert_int_eq(mkdir(other, 0755), 0);
                *slash = '/';
        }
        ck_assert_int_eq(mkdir(other, 0755), 0);
        surroundings_look(surroundings, 1001 + SURROUNDINGS_PATIENCE_MS);
        ck_assert_ptr_nonnull(surroundings_problem(surroundings));

        surroundings_free(surroundings);
        for (; (slash = strrchr(other, '/')) && strlen(other) >= strlen(root); *slash = '\0')
                ck_assert_int_eq(rmdir(other), 0);
}
END_TEST

SUITE("surroundings", a_directory_that_was_removed_below_its_mount_is_a_problem_after_a_while,
      directories_that_are_there_or_missing_are_none,
      a_removed_cdi_directory_that_another_mount_shows_is_one_all_the_same);
