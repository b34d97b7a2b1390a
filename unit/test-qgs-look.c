/* SPDX-License-Identifier: Apache-2.0 */
#include "host/qgs_look.h"

#include "base/memory.h"
#include "host/vm_groups.h"
#include "unit/suite.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#define QGS_USER  991
#define QGS_GROUP 988

static char root[64];

static int remove_one(const char *path, const struct stat *file, int type, struct FTW *place)
{
        return remove(path);
}

static void remove_root(void)
{
        (void)nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static const char *below(const char *path)
{
        static char full[4][256];
        static unsigned n;

        n = (n + 1) % 4;
        (void)snprintf(full[n], sizeof(full[n]), "%s%s", root, path);
        return full[n];
}

/* A host with QGS's directory, which is empty. */
static void make_host(void)
{
        (void)snprintf(root, sizeof(root), "/tmp/test-qgs-look.XXXXXX");
        ck_assert_ptr_nonnull(mkdtemp(root));
        atexit(remove_root);
        ck_assert_int_eq(chmod(root, 0755), 0);
        ck_assert_int_eq(mkdir(below("/run"), 0755), 0);
        ck_assert_int_eq(mkdir(below("/run/tdx-qgs"), 0755), 0);
}

static void make_socket(const char *path)
{
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        ck_assert_uint_lt(strlen(below(path)), sizeof(address.sun_path));
        memcpy(address.sun_path, below(path), strlen(below(path)));
        ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
        close(fd);
}

static char *look(struct qgs_sight *sight)
{
        const struct qgs_place place = { .root = root,
                                         .socket = "/run/tdx-qgs/qgs.socket",
                                         .vm_socket = "/var/run/vm/qgs.socket" };

        return qgs_look(&place, sight);
}

/* As the manifest runs the driver: uid 0 with these capabilities and no more. */
static void drop_capabilities(uint32_t kept)
{
        struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
        struct __user_cap_data_struct sets[2] = { { .effective = kept, .permitted = kept } };

        ck_assert_int_eq((int)syscall(SYS_capset, &header, sets), 0);
}

#define SETGID (1U << CAP_SETGID)

static bool is_root(void)
{
        return geteuid() == 0;
}

START_TEST(a_socket_is_seen_with_its_directory)
{
        _cleanup_(free) char *path = NULL;
        struct qgs_sight sight;

        make_host();
        make_socket("/run/tdx-qgs/qgs.socket");
        ck_assert_int_eq(chmod(below("/run/tdx-qgs"), 0751), 0);
        ck_assert_int_eq(chmod(below("/run/tdx-qgs/qgs.socket"), 0660), 0);

        path = look(&sight);

        ck_assert_int_eq(sight.code, 0);
        ck_assert_str_eq(path, below("/run/tdx-qgs/qgs.socket"));
        ck_assert_uint_eq(sight.n_directories, 1);
        ck_assert_uint_eq(sight.directories[0].mode, 0751);
        ck_assert_uint_eq(sight.file.mode, 0660);
        ck_assert_uint_eq(sight.file.uid, geteuid());
}
END_TEST

START_TEST(what_is_missing_or_not_a_socket_is_told_and_the_directory_is_seen_nevertheless)
{
        struct qgs_sight sight;

        make_host();
        ck_assert_ptr_null(look(&sight));
        ck_assert_int_eq(sight.code, -ENOENT);
        ck_assert_uint_eq(sight.n_directories, 1);

        close(open(below("/run/tdx-qgs/qgs.socket"), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
        ck_assert_ptr_null(look(&sight));
        ck_assert_int_eq(sight.code, -ENOTSOCK);

        remove(below("/run/tdx-qgs/qgs.socket"));
        rmdir(below("/run/tdx-qgs"));
        ck_assert_ptr_null(look(&sight));
        ck_assert_int_eq(sight.code, -ENOENT);
        ck_assert_uint_eq(sight.n_directories, 0);

        close(open(below("/run/tdx-qgs"), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
        ck_assert_ptr_null(look(&sight));
        ck_assert_int_eq(sight.code, -ENOTDIR);
}
END_TEST

/* The socket is /run/tdx-qgs/real or /run/tdx-qgs/sub/real; the VM's container has the directory as
 * /var/run/vm. */
START_TEST(a_link_in_the_place_of_the_socket_is_followed_as_in_the_vms_container)
{
        static const struct {
                const char *target;
                int code;
                const char *real;
        } rows[] = {
                { "real", 0, "/run/tdx-qgs/real" },
                { "./sub/../real", 0, "/run/tdx-qgs/real" },
                { "sub/real", 0, "/run/tdx-qgs/sub/real" },
                { "../vm/real", 0, "/run/tdx-qgs/real" },
                /* Absolute, in the container's names. */
                { "/var/run/vm/real", 0, "/run/tdx-qgs/real" },
                { "/run/vm/real", 0, "/run/tdx-qgs/real" },
                { "/run/vm/sub/real", 0, "/run/tdx-qgs/sub/real" },
                { "link-to-real", 0, "/run/tdx-qgs/real" },
                { "nothing", -ENOLINK, NULL },
                { "sub/nothing", -ENOLINK, NULL },
                { "none/real", -ENOLINK, NULL },
                { "/run/vm/nothing", -ENOLINK, NULL },
                /* There on the host, and not in the container. */
                { "../out/real", -EXDEV, NULL },
                { "/run/out/real", -EXDEV, NULL },
                { "/run/tdx-qgs/real", -EXDEV, NULL },
                { "/var/run/tdx-qgs/real", -EXDEV, NULL },
                { "..", -EXDEV, NULL },
                { "/run/out/../vm/real", -EXDEV, NULL },
                { "qgs.socket", -ELOOP, NULL },
                { "sub", -ENOTSOCK, NULL },
        };

        make_host();
        ck_assert_int_eq(mkdir(below("/run/out"), 0755), 0);
        ck_assert_int_eq(mkdir(below("/run/tdx-qgs/sub"), 0710), 0);
        make_socket("/run/out/real");
        make_socket("/run/tdx-qgs/real");
        make_socket("/run/tdx-qgs/sub/real");
        ck_assert_int_eq(symlink("real", below("/run/tdx-qgs/link-to-real")), 0);
        for (size_t i = 0; i < array_size(rows); ++i) {
                _cleanup_(free) char *path = NULL;
                struct qgs_sight sight;

                ck_assert_int_eq(symlink(rows[i].target, below("/run/tdx-qgs/qgs.socket")), 0);
                path = look(&sight);
                ck_assert_msg(sight.code == rows[i].code, "%s: %s", rows[i].target,
                              strerror(-sight.code));
                ck_assert((path != NULL) == (rows[i].real != NULL));
                if (path)
                        ck_assert_str_eq(path, below(rows[i].real));
                if (path && strstr(rows[i].real, "/sub/")) {
                        ck_assert_uint_eq(sight.n_directories, 2);
                        ck_assert_uint_eq(sight.directories[1].mode, 0710);
                }
                ck_assert_int_eq(remove(below("/run/tdx-qgs/qgs.socket")), 0);
        }
}
END_TEST

START_TEST(links_above_the_socket_are_the_hosts)
{
        _cleanup_(free) char *path = NULL;
        struct qgs_sight sight;

        make_host();
        ck_assert_int_eq(rmdir(below("/run/tdx-qgs")), 0);
        ck_assert_int_eq(mkdir(below("/srv"), 0755), 0);
        /* Absolute: not of this process's root. */
        ck_assert_int_eq(symlink("/srv", below("/run/tdx-qgs")), 0);
        make_socket("/srv/qgs.socket");

        path = look(&sight);

        ck_assert_int_eq(sight.code, 0);
        ck_assert_str_eq(path, below("/srv/qgs.socket"));
}
END_TEST

/* The manifests' pod has the host's /var/run alone, which is /run there. */
START_TEST(a_link_of_the_hosts_to_run_is_followed_in_a_pod_that_has_var_run)
{
        _cleanup_(free) char *path = NULL;
        struct qgs_sight sight;

        make_host();
        ck_assert_int_eq(rmdir(below("/run/tdx-qgs")), 0);
        ck_assert_int_eq(rmdir(below("/run")), 0);
        ck_assert_int_eq(mkdir(below("/var"), 0755), 0);
        ck_assert_int_eq(mkdir(below("/var/run"), 0755), 0);
        ck_assert_int_eq(mkdir(below("/var/run/other"), 0755), 0);
        ck_assert_int_eq(symlink("/run/other", below("/var/run/tdx-qgs")), 0);
        make_socket("/var/run/other/qgs.socket");

        path = look(&sight);

        ck_assert_int_eq(sight.code, 0);
        ck_assert_str_eq(path, below("/var/run/other/qgs.socket"));
}
END_TEST

static void give_to_qgs(mode_t directory)
{
        make_host();
        make_socket("/run/tdx-qgs/qgs.socket");
        ck_assert_int_eq(chown(below("/run/tdx-qgs/qgs.socket"), QGS_USER, QGS_GROUP), 0);
        ck_assert_int_eq(chmod(below("/run/tdx-qgs/qgs.socket"), 0660), 0);
        ck_assert_int_eq(chown(below("/run/tdx-qgs"), QGS_USER, QGS_GROUP), 0);
        ck_assert_int_eq(chmod(below("/run/tdx-qgs"), directory), 0);
}

START_TEST(with_setgid_alone_the_driver_sees_what_the_vm_sees)
{
        static const struct {
                mode_t directory;
                uint32_t capabilities;
                int code;
        } rows[] = { { 0755, SETGID, 0 },
                     { 0750, SETGID, 0 },
                     { 0700, SETGID, -EACCES },
                     { 0755, 0, 0 },
                     { 0750, 0, -EACCES } };

        if (!is_root())
                return;
        for (size_t i = 0; i < array_size(rows); ++i) {
                pid_t child;
                int status;

                give_to_qgs(rows[i].directory);
                child = fork();
                if (!child) {
                        struct qgs_sight sight;

                        drop_capabilities(rows[i].capabilities);
                        free(look(&sight));
                        /* The directory itself is seen in any case. */
                        _exit(sight.code != rows[i].code || sight.n_directories != 1 ||
                              sight.directories[0].gid != QGS_GROUP ||
                              sight.has_vm_groups != (rows[i].capabilities == SETGID));
                }
                ck_assert_int_eq(waitpid(child, &status, 0), child);
                ck_assert_msg(status == 0, "row %zu", i);
                remove_root();
        }
}
END_TEST

/* ---- host/vm_groups ---- */

START_TEST(a_vms_groups_are_taken_by_the_thread_and_given_back)
{
        gid_t own[] = { 4711, 4712 }, seen[8];
        struct vm_groups groups = VM_GROUPS_NULL;

        if (!is_root())
                return;
        ck_assert_int_eq(setgroups(2, own), 0);
        drop_capabilities(SETGID);
        ck_assert_int_eq(prctl(PR_GET_DUMPABLE), 1);

        ck_assert(vm_groups_take(QGS_GROUP, &groups));
        ck_assert_int_eq(getgroups(8, seen), 1);
        ck_assert_uint_eq(seen[0], QGS_GROUP);
        ck_assert_int_eq((int)syscall(SYS_setfsgid, -1), VM_GROUPS_VM_ID);
        vm_groups_give_back(&groups);

        ck_assert_int_eq(getgroups(8, seen), 2);
        ck_assert(memcmp(seen, own, sizeof(own)) == 0);
        ck_assert_int_eq((int)syscall(SYS_setfsgid, -1), 0);
        ck_assert_int_eq(prctl(PR_GET_DUMPABLE), 1);
        ck_assert_uint_eq(geteuid(), 0);

        ck_assert(vm_groups_take(VM_GROUPS_NONE, &groups));
        ck_assert_int_eq(getgroups(8, seen), 0);
        vm_groups_give_back(&groups);
        vm_groups_give_back(&groups); /* once more does nothing */
        ck_assert_int_eq(getgroups(8, seen), 2);
}
END_TEST

START_TEST(without_setgid_nothing_changes)
{
        gid_t own[] = { 4711 }, seen[8];
        struct vm_groups groups = VM_GROUPS_NULL;

        if (!is_root())
                return;
        ck_assert_int_eq(setgroups(1, own), 0);
        drop_capabilities(0);

        ck_assert(!vm_groups_take(QGS_GROUP, &groups));
        vm_groups_give_back(&groups);

        ck_assert_int_eq(getgroups(8, seen), 1);
        ck_assert_uint_eq(seen[0], 4711);
        ck_assert_int_eq((int)syscall(SYS_setfsgid, -1), 0);
}
END_TEST

SUITE("look", a_socket_is_seen_with_its_directory,
      what_is_missing_or_not_a_socket_is_told_and_the_directory_is_seen_nevertheless,
      a_link_in_the_place_of_the_socket_is_followed_as_in_the_vms_container,
      links_above_the_socket_are_the_hosts,
      a_link_of_the_hosts_to_run_is_followed_in_a_pod_that_has_var_run,
      with_setgid_alone_the_driver_sees_what_the_vm_sees,
      a_vms_groups_are_taken_by_the_thread_and_given_back, without_setgid_nothing_changes);
