/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "base/memory.h"
#include "relay/listeners.h"
#include "unit/suite.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <time.h>

static char directory[32];
static unsigned n_added;

static void on_added(void *owner, const struct listener *listener)
{
        ck_assert_ptr_eq(owner, &n_added);
        ck_assert_int_ge(listener->fd, 0);
        ++n_added;
}

static struct listeners *open_listeners(void)
{
        struct error error = ERROR_NULL;
        struct listeners *listeners = NULL;

        n_added = 0;
        ck_assert_msg(listeners_new(directory, on_added, &n_added, &listeners, &error) == 0, "%s",
                      error.text);
        return listeners;
}

static void make_directory(void)
{
        (void)snprintf(directory, sizeof(directory), "/tmp/relay.XXXXXX");
        ck_assert_ptr_nonnull(mkdtemp(directory));
}

static void remove_directory(void)
{
        _cleanup_(free) char *command = xasprintf("rm -rf %s", directory);

        ck_assert_int_eq(system(command), 0);
}

static struct stat look(const char *below)
{
        _cleanup_(free) char *path = xasprintf("%s/%s", directory, below);
        struct stat file;

        ck_assert_msg(lstat(path, &file) == 0, "%s: %s", path, strerror(errno));
        return file;
}

static int try_connect(const char *below)
{
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        _cleanup_(close) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

        (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", directory, below);
        return connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;
}

static const struct listener *find(const struct listeners *listeners, const char *td_name,
                                   const char *name)
{
        const struct listener *listener = NULL;
        struct relay_td td;

        ck_assert_int_eq(relay_td_parse(td_name, &td), 0);
        while ((listener = listeners_next(listeners, listener)))
                if (memcmp(&listener->td, &td, sizeof(td)) == 0 &&
                    strcmp(listener->name, name) == 0)
                        return listener;
        return NULL;
}

START_TEST(each_td_has_a_directory_and_a_socket_for_each_path)
{
        struct listeners *listeners;

        make_directory();
        umask(0077);
        listeners = open_listeners();
        ck_assert_int_eq(listeners_bind_named(listeners, 3, "qgs.socket", NULL), 0);

        ck_assert_uint_eq(n_added, 6);
        ck_assert_uint_eq(listeners_count(listeners), 6);
        ck_assert_uint_eq(look("").st_mode & 07777, 0700);
        ck_assert_uint_eq(look("qgs").st_mode & 07777, 0755);
        ck_assert_uint_eq(look("qgs/claim-tdx0").st_mode & 07777, 0755);
        ck_assert_uint_eq(look("qgs/plugin-tdx2/qgs.socket").st_mode, S_IFSOCK | 0666);
        ck_assert_int_eq(try_connect("qgs/claim-tdx2/qgs.socket"), 0);
        ck_assert_ptr_nonnull(find(listeners, "claim-tdx1", "qgs.socket"));
        listeners_free(listeners);
        remove_directory();
}
END_TEST

START_TEST(another_name_is_added_and_none_is_taken_away)
{
        struct listeners *listeners;
        struct stat before, after;

        make_directory();
        listeners = open_listeners();
        ck_assert_int_eq(listeners_bind_named(listeners, 2, "qgs.socket", NULL), 0);
        before = look("qgs/claim-tdx1/qgs.socket");
        ck_assert_int_eq(listeners_bind_named(listeners, 1, "other", NULL), 0);
        ck_assert_int_eq(listeners_bind_named(listeners, 1, "qgs.socket", NULL), 0);

        after = look("qgs/claim-tdx1/qgs.socket");
        ck_assert_uint_eq(before.st_ino, after.st_ino);
        ck_assert_uint_eq(listeners_count(listeners), 6);
        ck_assert_int_eq(try_connect("qgs/claim-tdx0/other"), 0);
        ck_assert_int_eq(try_connect("qgs/claim-tdx0/qgs.socket"), 0);
        ck_assert_int_eq(try_connect("qgs/claim-tdx1/other"), -ENOENT);
        listeners_free(listeners);
        remove_directory();
}
END_TEST

START_TEST(after_a_kill_all_sockets_are_bound_again_in_the_same_directories_at_once)
{
        struct listeners *listeners;
        struct stat before, after;
        struct timespec begin, end;
        int64_t ms;

        make_directory();
        listeners = open_listeners();
        ck_assert_int_eq(listeners_bind_named(listeners, 128, "qgs.socket", NULL), 0);
        ck_assert_int_eq(listeners_bind_named(listeners, 4, "second", NULL), 0);
        before = look("qgs/claim-tdx127");
        listeners_free(listeners); /* the files stay, as after a kill */
        ck_assert_int_eq(try_connect("qgs/claim-tdx127/qgs.socket"), -ECONNREFUSED);

        (void)clock_gettime(CLOCK_MONOTONIC, &begin);
        listeners = open_listeners();
        ck_assert_int_eq(listeners_bind_found(listeners, NULL), 0);
        (void)clock_gettime(CLOCK_MONOTONIC, &end);

        ms = (end.tv_sec - begin.tv_sec) * 1000 + (end.tv_nsec - begin.tv_nsec) / 1000000;
        ck_assert_msg(ms < 5000, "%lld ms", (long long)ms); /* 200 on an idle machine */
        ck_assert_uint_eq(listeners_count(listeners), 264);
        after = look("qgs/claim-tdx127");
        ck_assert_uint_eq(before.st_ino, after.st_ino);
        ck_assert_int_eq(try_connect("qgs/claim-tdx127/qgs.socket"), 0);
        ck_assert_int_eq(try_connect("qgs/plugin-tdx3/second"), 0);
        listeners_free(listeners);
        remove_directory();
}
END_TEST

START_TEST(what_is_not_ours_in_the_directories_is_left_alone)
{
        _cleanup_(free) char *command = NULL;
        struct listeners *listeners;

        make_directory();
        command = xasprintf("cd %s && mkdir -p qgs/claim-tdx1/sub qgs/other && "
                            "touch qgs/claim-tdx1/file qgs/claim-tdx2 && "
                            "ln -s /etc/passwd qgs/claim-tdx1/link && ln -s /etc qgs/claim-tdx3",
                            directory);
        ck_assert_int_eq(system(command), 0);
        listeners = open_listeners();

        ck_assert_int_lt(listeners_bind_found(listeners, NULL), 0); /* claim-tdx2, claim-tdx3 */
        ck_assert_uint_eq(listeners_count(listeners), 0);
        ck_assert_uint_eq(look("qgs/claim-tdx1/file").st_mode & S_IFMT, S_IFREG);
        ck_assert_uint_eq(look("qgs/claim-tdx1/link").st_mode & S_IFMT, S_IFLNK);
        listeners_free(listeners);
        remove_directory();
}
END_TEST

START_TEST(one_td_that_cannot_be_bound_does_not_keep_others_from_it)
{
        _cleanup_(free) char *command = NULL;
        struct error error = ERROR_NULL;
        struct listeners *listeners;

        make_directory();
        command = xasprintf("mkdir -p %s/qgs/claim-tdx1/qgs.socket", directory);
        ck_assert_int_eq(system(command), 0);
        listeners = open_listeners();

        ck_assert_int_eq(listeners_bind_named(listeners, 3, "qgs.socket", &error), -EISDIR);
        ck_assert_ptr_nonnull(strstr(error.text, "claim-tdx1/qgs.socket"));
        ck_assert_uint_eq(listeners_count(listeners), 5);
        ck_assert_int_eq(try_connect("qgs/claim-tdx2/qgs.socket"), 0);
        listeners_free(listeners);
        remove_directory();
}
END_TEST

START_TEST(names_are_bounded)
{
        struct error error = ERROR_NULL;
        struct listeners *listeners;

        make_directory();
        listeners = open_listeners();
        for (int i = 0; i < 16; ++i) {
                _cleanup_(free) char *name = xasprintf("q%d", i);

                ck_assert_int_eq(listeners_bind_named(listeners, 1, name, NULL), 0);
        }
        ck_assert_int_eq(listeners_bind_named(listeners, 1, "q16", &error), -ENOSPC);
        ck_assert_ptr_nonnull(strstr(error.text, "\"q16\""));
        ck_assert_int_eq(listeners_bind_named(listeners, 2, "q3", NULL), 0);
        ck_assert_uint_eq(listeners_count(listeners), 34);
        listeners_free(listeners);
        remove_directory();
}
END_TEST

START_TEST(a_name_too_long_for_a_socket_is_refused_with_its_path)
{
        char deep[140];
        struct error error = ERROR_NULL;
        struct listeners *listeners = NULL;

        make_directory();
        (void)snprintf(deep, sizeof(deep), "%s/%0100d", directory, 0);
        ck_assert_int_eq(listeners_new(deep, on_added, &n_added, &listeners, &error), 0);
        ck_assert_int_eq(listeners_bind_named(listeners, 1, "qgs.socket", &error), -ENAMETOOLONG);
        ck_assert_ptr_nonnull(strstr(error.text, "cannot bind"));
        listeners_free(listeners);
        remove_directory();
}
END_TEST

START_TEST(an_adopted_socket_is_not_bound_again)
{
        const struct listener *handed;
        struct listeners *old, *new;
        struct relay_td td;
        struct stat before, after;

        make_directory();
        old = open_listeners();
        ck_assert_int_eq(listeners_bind_named(old, 1, "qgs.socket", NULL), 0);
        before = look("qgs/claim-tdx0/qgs.socket");
        handed = find(old, "claim-tdx0", "qgs.socket");
        td = handed->td;

        new = open_listeners();
        listeners_adopt(new, &td, "qgs.socket", dup(handed->fd));
        listeners_adopt(new, &td, "qgs.socket", dup(handed->fd)); /* closed */
        ck_assert_uint_eq(listeners_count(new), 1);
        ck_assert_uint_eq(n_added, 1);
        listeners_free(old);
        ck_assert_int_eq(listeners_bind_named(new, 1, "qgs.socket", NULL), 0);

        after = look("qgs/claim-tdx0/qgs.socket");
        ck_assert_uint_eq(before.st_ino, after.st_ino);
        ck_assert_int_eq(try_connect("qgs/claim-tdx0/qgs.socket"), 0);
        ck_assert_uint_eq(listeners_count(new), 2);
        listeners_free(new);
        remove_directory();
}
END_TEST

/* Without SELinux the attribute is an ordinary one of root's. */
START_TEST(where_the_directory_has_a_label_vms_get_one_that_lets_them_in)
{
        static const char *const names[] = { "qgs/claim-tdx0", "qgs/claim-tdx0/qgs.socket",
                                             "qgs/plugin-tdx0/qgs.socket" };
        static const char var_run[] = "system_u:object_r:var_run_t:s0";
        struct listeners *listeners;

        make_directory();
        if (lsetxattr(directory, "security.selinux", var_run, sizeof(var_run), 0) < 0) {
                ck_assert_msg(errno == ENOTSUP || errno == EPERM, "%s", strerror(errno));
                remove_directory();
                return;
        }
        listeners = open_listeners();
        ck_assert_int_eq(listeners_bind_named(listeners, 1, "qgs.socket", NULL), 0);

        for (size_t i = 0; i < array_size(names); ++i) {
                _cleanup_(free) char *path = xasprintf("%s/%s", directory, names[i]);
                char label[128] = "";

                ck_assert_msg(lgetxattr(path, "security.selinux", label, sizeof(label) - 1) > 0,
                              "%s: %s", path, strerror(errno));
                ck_assert_str_eq(label, "system_u:object_r:container_file_t:s0");
        }
        listeners_free(listeners);
        remove_directory();
}
END_TEST

SUITE("relay-listeners", each_td_has_a_directory_and_a_socket_for_each_path,
      another_name_is_added_and_none_is_taken_away,
      after_a_kill_all_sockets_are_bound_again_in_the_same_directories_at_once,
      what_is_not_ours_in_the_directories_is_left_alone,
      one_td_that_cannot_be_bound_does_not_keep_others_from_it, names_are_bounded,
      a_name_too_long_for_a_socket_is_refused_with_its_path,
      where_the_directory_has_a_label_vms_get_one_that_lets_them_in,
      an_adopted_socket_is_not_bound_again);
