/* SPDX-License-Identifier: Apache-2.0 */
#include "instance.h"

#include "base/error.h"
#include "base/memory.h"
#include "config.h"
#include "unit/suite.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static char root[64];
static char *state, *registry, *away;
static struct config config;
static uv_loop_t loop;
static unsigned n_active;

static void on_active(void *owner)
{
        ++n_active;
}

static void enter(void)
{
        snprintf(root, sizeof(root), "/tmp/test-instance.XXXXXX");
        ck_assert_ptr_nonnull(mkdtemp(root));
        state = xasprintf("%s/plugins/driver", root);
        registry = xasprintf("%s/registry", root);
        away = xasprintf("%s/away", root);
        ck_assert_int_eq(mkdir(registry, 0755), 0);
        config.state_dir = state;
        config.registration_socket = xasprintf("%s/driver-reg.sock", registry);
        ck_assert_int_eq(uv_loop_init(&loop), 0);
}

static int remove_one(const char *path, const struct stat *file, int type, struct FTW *place)
{
        return remove(path);
}

static void remove_tree(const char *path)
{
        ck_assert_int_eq(nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static void leave(void)
{
        uv_run(&loop, UV_RUN_DEFAULT);
        ck_assert_int_eq(uv_loop_close(&loop), 0);
        remove_tree(root);
        free(state);
        free(registry);
        free(away);
        free((char *)config.registration_socket);
}

static struct instance *start(int outcome)
{
        struct instance *instance = NULL;
        struct error error = ERROR_NULL;

        ck_assert_int_eq(instance_start(&loop, &config, on_active, NULL, &instance, &error),
                         outcome);
        return instance;
}

/* The loop, for as long as a waiting instance tries several times. */
static void on_over(uv_timer_t *timer)
{
        uv_stop(timer->loop);
}

static void run_for_a_while(void)
{
        uv_timer_t timer;

        uv_timer_init(&loop, &timer);
        uv_timer_start(&timer, on_over, 300, 0);
        uv_run(&loop, UV_RUN_DEFAULT);
        uv_close((uv_handle_t *)&timer, NULL);
        uv_run(&loop, UV_RUN_NOWAIT);
}

static void move_state_away(void)
{
        ck_assert_int_eq(rename(state, away), 0);
}

static void remove_state(void)
{
        remove_tree(state);
}

START_TEST(a_state_directory_that_was_taken_away_is_locked_anew_before_another_instance_can)
{
        void (*const ways[])(void) = { remove_state, move_state_away };

        for (size_t i = 0; i < array_size(ways); ++i) {
                struct instance *first, *second;

                enter();
                first = start(0);
                ways[i]();
                second = start(INSTANCE_STANDBY);

                ck_assert_int_eq(instance_check(first, NULL), 0);
                run_for_a_while();
                ck_assert_uint_eq(n_active, 0);
                instance_free(first);
                run_for_a_while();
                ck_assert_uint_eq(n_active, 1);
                ck_assert_int_eq(instance_check(second, NULL), 0);
                instance_free(second);
                n_active = 0;
                leave();
        }
}
END_TEST

START_TEST(an_instance_that_waits_at_a_lock_that_was_removed_waits_at_the_new_one)
{
        struct instance *first, *second;

        enter();
        first = start(0);
        second = start(INSTANCE_STANDBY);
        remove_state();
        remove_tree(registry);
        ck_assert_int_eq(mkdir(registry, 0755), 0);
        ck_assert_int_eq(instance_check(first, NULL), 0);
        run_for_a_while();

        ck_assert_uint_eq(n_active, 0);
        ck_assert_int_eq(instance_check(first, NULL), 0);
        instance_free(second);
        instance_free(first);
        leave();
}
END_TEST

START_TEST(a_state_directory_that_cannot_be_made_is_an_error_that_passes)
{
        struct error error = ERROR_NULL;
        struct instance *instance;
        char *plugins;

        enter();
        plugins = xasprintf("%s/plugins", root);
        instance = start(0);
        remove_tree(plugins);
        close(open(plugins, O_CREAT | O_CLOEXEC, 0600));

        ck_assert_int_eq(instance_check(instance, &error), -ENOTDIR);
        ck_assert_ptr_nonnull(strstr(error.text, plugins));
        ck_assert_int_eq(instance_check(instance, NULL), -ENOTDIR);
        ck_assert_int_eq(unlink(plugins), 0);
        ck_assert_int_eq(instance_check(instance, NULL), 0);
        ck_assert_int_eq(access(state, F_OK), 0);
        instance_free(instance);
        free(plugins);
        leave();
}
END_TEST

START_TEST(an_instance_whose_place_another_has_taken_is_told_to_go)
{
        struct instance *first, *second;

        enter();
        first = start(0);
        remove_tree(root);
        ck_assert_int_eq(mkdir(root, 0700), 0);
        ck_assert_int_eq(mkdir(registry, 0755), 0);
        second = start(0);

        ck_assert_int_eq(instance_check(first, NULL), -EBUSY);
        ck_assert_int_eq(instance_check(second, NULL), 0);
        instance_free(first);
        instance_free(second);
        leave();
}
END_TEST

START_TEST(without_a_registry_the_state_directory_decides)
{
        struct instance *first, *second;

        enter();
        remove_tree(registry);
        first = start(0);
        second = start(INSTANCE_STANDBY);
        instance_free(first);
        run_for_a_while();

        ck_assert_uint_eq(n_active, 1);
        instance_free(second);
        leave();
}
END_TEST

SUITE("instance", a_state_directory_that_was_taken_away_is_locked_anew_before_another_instance_can,
      an_instance_that_waits_at_a_lock_that_was_removed_waits_at_the_new_one,
      a_state_directory_that_cannot_be_made_is_an_error_that_passes,
      an_instance_whose_place_another_has_taken_is_told_to_go,
      without_a_registry_the_state_directory_decides);
