/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "host/qgs_connect.h"
#include "host/qgs_verdict.h"
#include "unit/suite.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#define SOCKET "/run/tdx-qgs/qgs.socket"

static char root[64];

static int remove_one(const char *path, const struct stat *file, int type, struct FTW *place)
{
        return remove(path);
}

static void remove_root(void)
{
        (void)nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static char *below(const char *path)
{
        return xasprintf("%s%s", root, path);
}

static void make_directory(const char *path)
{
        _cleanup_(free) char *full = below(path);

        ck_assert_int_eq(mkdir(full, 0755), 0);
}

static void make_host(void)
{
        (void)snprintf(root, sizeof(root), "/tmp/test-qgs-connect.XXXXXX");
        ck_assert_ptr_nonnull(mkdtemp(root));
        atexit(remove_root);
        ck_assert_int_eq(chmod(root, 0755), 0);
        make_directory("/run");
        make_directory("/run/tdx-qgs");
}

/* Returns the listening descriptor. */
static int serve(const char *path)
{
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        struct sockaddr_un address = { .sun_family = AF_UNIX };

        ck_assert_int_eq(chdir(root), 0);
        (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path + 1);
        ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
        ck_assert_int_eq(listen(fd, 8), 0);
        return fd;
}

static int try_connect(void)
{
        int fd = qgs_connect_on_host(root, SOCKET);

        if (fd < 0)
                return fd;
        ck_assert(fcntl(fd, F_GETFL) & O_NONBLOCK);
        ck_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
        close(fd);
        return 0;
}

START_TEST(a_socket_is_found_through_links_that_lead_anywhere_on_the_host)
{
        _cleanup_(free) char *link = NULL;

        make_host();
        make_directory("/run/other");
        link = below(SOCKET);
        ck_assert_int_eq(symlink("/run/other/real", link), 0);
        ck_assert_int_eq(try_connect(), -ENOENT);

        (void)serve("/run/other/real");
        ck_assert_int_eq(try_connect(), 0);
}
END_TEST

START_TEST(what_keeps_a_connect_from_qgs_is_told)
{
        _cleanup_(free) char *file = NULL, *directory = NULL;

        make_host();
        ck_assert_int_eq(try_connect(), -ENOENT);
        close(serve(SOCKET));
        ck_assert_int_eq(try_connect(), -ECONNREFUSED);
        file = below(SOCKET);
        directory = below("/run/tdx-qgs");
        ck_assert_int_eq(remove(file), 0);
        ck_assert_int_eq(remove(directory), 0);
        ck_assert_int_eq(try_connect(), -ENOENT);

        ck_assert_int_eq(qgs_probe_result_of_connect(-ECONNREFUSED), QGS_PROBE_REFUSED);
        ck_assert_int_eq(qgs_probe_result_of_connect(-EAGAIN), QGS_PROBE_FULL);
        ck_assert_int_eq(qgs_probe_result_of_connect(-EACCES), QGS_PROBE_NOT_ALLOWED);
        ck_assert_int_eq(qgs_probe_result_of_connect(-EMFILE), QGS_PROBE_OURS);
}
END_TEST

START_TEST(a_path_that_the_hosts_root_makes_too_long_is_reached)
{
        char deep[200];

        make_host();
        (void)serve(SOCKET);
        (void)snprintf(deep, sizeof(deep), "%s", root);
        while (strlen(deep) < 120)
                memcpy(deep + strlen(deep), "/.", sizeof("/."));
        ck_assert_int_ge(qgs_connect_on_host(deep, SOCKET), 0);
}
END_TEST

/* As the manifest runs the relay. */
static void keep_setgid_alone(void)
{
        struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
        struct __user_cap_data_struct sets[2] = { { .effective = 1U << CAP_SETGID,
                                                    .permitted = 1U << CAP_SETGID } };

        ck_assert_int_eq((int)syscall(SYS_capset, &header, sets), 0);
}

START_TEST(the_group_of_the_socket_or_of_its_directory_lets_root_without_capabilities_in)
{
        static const struct {
                mode_t directory, socket;
                gid_t socket_group;
                int code;
        } rows[] = {
                { 0755, 0660, 990, 0 },       { 0750, 0660, 990, 0 },
                { 0750, 0666, 990, 0 },       { 0750, 0666, 0, 0 },
                { 0755, 0660, 36, 0 },        { 0755, 0755, 990, -EACCES },
                { 0700, 0666, 990, -EACCES }, { 0755, 0600, 990, -EACCES },
        };
        _cleanup_(free) char *file = NULL, *directory = NULL;

        if (geteuid() != 0)
                return;
        make_host();
        (void)serve(SOCKET);
        file = below(SOCKET);
        directory = below("/run/tdx-qgs");
        for (size_t i = 0; i < array_size(rows); ++i) {
                int code, status;
                pid_t pid;

                ck_assert_int_eq(chown(directory, 991, 990), 0);
                ck_assert_int_eq(chown(file, 991, rows[i].socket_group), 0);
                ck_assert_int_eq(chmod(directory, rows[i].directory), 0);
                ck_assert_int_eq(chmod(file, rows[i].socket), 0);
                pid = fork();
                if (pid == 0) {
                        keep_setgid_alone();
                        code = try_connect();
                        _exit(code == rows[i].code ? 0 : 1);
                }
                ck_assert_int_eq(waitpid(pid, &status, 0), pid);
                ck_assert_msg(status == 0, "row %zu", i);
        }
}
END_TEST

SUITE("qgs-connect", a_socket_is_found_through_links_that_lead_anywhere_on_the_host,
      what_keeps_a_connect_from_qgs_is_told, a_path_that_the_hosts_root_makes_too_long_is_reached,
      the_group_of_the_socket_or_of_its_directory_lets_root_without_capabilities_in);
