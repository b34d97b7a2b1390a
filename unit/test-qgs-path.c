/* SPDX-License-Identifier: Apache-2.0 */
#include "host/qgs_path.h"

#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"
#include "unit/suite.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A root where nothing exists: what is said of a path then comes from its text alone. */
#define NOWHERE "/nonexistent/root"

static char root[64];

static void enter(void)
{
        snprintf(root, sizeof(root), "/tmp/test-qgs.XXXXXX");
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

static void make_directory(const char *path)
{
        _cleanup_(free) char *full = xasprintf("%s%s", root, path);
        _cleanup_(close) int fd = -1;

        ck_assert_int_eq(file_open_directory(full, 0755, &fd, NULL), 0);
}

static void make_link(const char *target, const char *path)
{
        _cleanup_(free) char *full = xasprintf("%s%s", root, path);

        ck_assert_int_eq(symlink(target, full), 0);
}

static void make_file(const char *path)
{
        _cleanup_(free) char *full = xasprintf("%s%s", root, path);
        int fd = open(full, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);

        ck_assert_int_ge(fd, 0);
        close(fd);
}

static void ck_assert_fit(const char *path, const char *below)
{
        struct error error = ERROR_NULL;

        ck_assert_msg(qgs_path_check("--qgs-socket", path, below, &error) == 0, "%s: %s", path,
                      error.text);
}

/* Refused, and the text has the option, the remedy in full, and what the caller says. */
static void ck_assert_refused(const char *path, const char *below, const char *said)
{
        struct error error = ERROR_NULL;

        ck_assert_msg(qgs_path_check("--qgs-socket", path, below, &error) == -EINVAL, "%s", path);
        ck_assert_ptr_eq(strstr(error.text, "--qgs-socket: "), error.text);
        ck_assert_msg(strstr(error.text, QGS_PATH_DEFAULT " has") != NULL, "%s: %s", path,
                      error.text);
        ck_assert_msg(strstr(error.text, said) != NULL, "%s: %s", path, error.text);
}

START_TEST(directories_of_its_own_are_fit)
{
        static const char *const cases[] = {
                QGS_PATH_DEFAULT,
                "/run/tdx-qgs/qgs.socket",
                "/var/run/x/qgs.socket",
                "/var/lib/tdx-qgs/qgs.socket",
                "/var/lib/kubelet-qgs/s", /* begins like kubelet's, and is not */
                "/runner/x/s",
                "/opt/qgs/run/s",
                "/srv/qgs/s",
                "/var/tmp/qgs/s",
                "/var/opt/qgs/s",
                "/tmp/qgs/s",
                "/run/tdx..qgs/.s",
                "/run/tdx qgs/q g s",
                "/run/t\xc3\xa4x/s",
        };

        for (size_t i = 0; i < array_size(cases); ++i)
                ck_assert_fit(cases[i], NOWHERE);
}
END_TEST

START_TEST(malformed_paths_are_refused_with_their_fault)
{
        static const struct {
                const char *path;
                const char *said;
        } cases[] = {
                { "", "not an absolute path" },
                { "qgs.socket", "not an absolute path" },
                { "run/tdx/qgs.socket", "not an absolute path" },
                { "./run/tdx/qgs.socket", "not an absolute path" },
                { "@abstract", "not an absolute path" },
                { "/run/tdx/", "names a directory" },
                { "/", "names a directory" },
                { "/run//tdx/s", "empty component" },
                { "//run/tdx/s", "empty component" },
                { "/run/tdx/../s", ". or .. component" },
                { "/run/tdx/./s", ". or .. component" },
                { "/run/tdx/..", ". or .. component" },
                { "/run/tdx/.", ". or .. component" },
                { "/../run/tdx/s", ". or .. component" },
                { "/run/tdx\n/s", "control character as byte 9" },
                { "/run/tdx/s\x7f", "control character" },
                { "/run/tdx/\x1b[2J", "control character" },
                { "/run/t\xc3x/s", "not UTF-8" },
        };

        for (size_t i = 0; i < array_size(cases); ++i)
                ck_assert_refused(cases[i].path, NOWHERE, cases[i].said);
}
END_TEST

START_TEST(a_path_must_fit_a_socket_address)
{
        char path[QGS_PATH_MAX + 2];

        memset(path, 'x', sizeof(path));
        memcpy(path, "/run/tdx/", 9);
        path[QGS_PATH_MAX + 1] = '\0';
        ck_assert_refused(path, NOWHERE, "107 bytes");
        path[QGS_PATH_MAX] = '\0';
        ck_assert_fit(path, NOWHERE);
}
END_TEST

START_TEST(shared_directories_are_refused_by_name_even_where_they_do_not_exist)
{
        static const struct {
                const char *path;
                const char *said;
        } cases[] = {
                { "/qgs.socket", "/ is shared by the whole host" },
                { "/run/qgs.socket", "/run is shared by the whole host" },
                { "/var/run/qgs.socket", "/var/run is shared by the whole host" },
                { "/var/qgs.socket", "/var is shared" },
                { "/tmp/qgs.socket", "/tmp is shared" },
                { "/x/qgs.socket", "/x is shared by the whole host" },
                { "/var/lib/s", "/var/lib contains /var/lib/kubelet, which is kubelet's" },
                { "/var/tmp/s", "writable by every user" },
                { "/etc/s", "/etc is shared" },
                { "/etc/tdx/s", "the host's configuration" },
                { "/proc/1/root/run/tdx/s", "the kernel's" },
                { "/sys/fs/x/s", "the kernel's" },
                { "/dev/shm/qgs/s", "devices" },
                { "/boot/x/s", "boot loader" },
                { "/usr/local/qgs/s", "operating system" },
                { "/bin/x/s", "operating system" },
                { "/lib64/x/s", "operating system" },
                { "/root/x/s", "a person's" },
                { "/home/me/qgs/s", "people's" },
                { "/run/user/1000/s", "people's" },
                { "/run/containerd/s", "containerd's" },
                { "/var/run/containerd/x/s", "containerd's" },
                { "/run/crio/s", "CRI-O's" },
                { "/run/dbus/s", "system bus" },
                { "/var/run/dbus/s", "system bus" },
                { "/run/systemd/x/s", "systemd's" },
                { "/var/lib/kubelet/s", "kubelet's" },
                { "/var/lib/kubelet/plugins/tdx/s", "kubelet's" },
                { "/var/lock/x/s", "shared by the host's daemons" },
                { "/var/run/cdi/s", "CDI specs" },
        };

        for (size_t i = 0; i < array_size(cases); ++i)
                ck_assert_refused(cases[i].path, NOWHERE, cases[i].said);
}
END_TEST

START_TEST(links_are_followed_below_the_root_and_judged_where_they_lead)
{
        enter();
        make_directory("/run/tdx-qgs");
        make_directory("/run/containerd/io");
        make_directory("/var/lib/kubelet/plugins");
        make_directory("/srv/a/b");
        make_link("/run", "/var/run");
        make_link("../../run/containerd", "/srv/a/relative");
        make_link("/var/run/../run/containerd/./io/", "/srv/a/winding");
        make_link("/var/lib/kubelet/plugins", "/srv/a/kubelet");
        make_link("/", "/srv/a/root");
        make_link("../../../../../../../../run", "/srv/a/climber");
        make_link("b", "/srv/a/harmless");
        make_link("/srv/a/not-there-yet", "/srv/a/dangling");
        make_link("/run/not-there/yet", "/srv/a/dangling-too");
        make_link("/etc/not-there", "/srv/a/dangling-into-etc");

        ck_assert_fit("/var/run/tdx-qgs/qgs.socket", root);
        ck_assert_fit("/srv/a/harmless/s", root);
        ck_assert_fit("/srv/a/dangling/s", root);
        ck_assert_fit("/srv/a/dangling-too/s", root);
        ck_assert_fit("/srv/a/root/run/tdx-qgs/s", root);
        ck_assert_refused("/srv/a/relative/s", root, "containerd's");
        ck_assert_refused("/srv/a/relative/x/s", root, "containerd's");
        ck_assert_refused("/srv/a/winding/s", root, "containerd's");
        ck_assert_refused("/srv/a/kubelet/s", root, "kubelet's");
        ck_assert_refused("/srv/a/root/s", root, "/ is shared");
        ck_assert_refused("/srv/a/root/etc/tdx/s", root, "the host's configuration");
        ck_assert_refused("/srv/a/climber/s", root, "/run is shared");
        ck_assert_refused("/srv/a/dangling-into-etc/s", root, "the host's configuration");
        leave();
}
END_TEST

START_TEST(links_that_lead_nowhere_or_round_and_round_are_refused)
{
        _cleanup_(free) char *far = xmalloc(4001), *farther = NULL;

        enter();
        make_directory("/srv/a");
        make_link("loop", "/srv/a/loop");
        make_link("/srv/a/pong", "/srv/a/ping");
        make_link("/srv/a/ping", "/srv/a/pong");
        make_file("/srv/a/file");
        memset(far, 'x', 4000);
        for (size_t i = 0; i < 4000; i += 100)
                far[i] = '/';
        far[4000] = '\0';
        make_link(far, "/srv/a/far");
        farther = xasprintf("/srv/a/far%s", far);
        make_link(farther, "/srv/a/farther");

        ck_assert_refused("/srv/a/loop/s", root, "symbolic links");
        ck_assert_refused("/srv/a/ping/s", root, "symbolic links");
        ck_assert_refused("/srv/a/file/s", root, "is not a directory");
        ck_assert_refused("/srv/a/file/x/s", root, "Not a directory");
        ck_assert_refused("/srv/a/farther/s", root, "File name too long");
        leave();
}
END_TEST

START_TEST(a_directory_with_a_sensitive_neighbour_is_refused)
{
        static const char *const neighbours[] = { "containerd.sock", "crio.sock", "docker.sock",
                                                  "kubelet.sock", "system_bus_socket" };

        enter();
        make_directory("/run/tdx-qgs");
        make_directory("/srv/data");
        make_link("/srv/data", "/run/linked");
        for (size_t i = 0; i < array_size(neighbours); ++i) {
                _cleanup_(free) char *path = xasprintf("/srv/data/%s", neighbours[i]);
                _cleanup_(free) char *full = xasprintf("%s%s", root, path);

                ck_assert_fit("/srv/data/s", root);
                make_file(path);
                ck_assert_refused("/srv/data/s", root, neighbours[i]);
                ck_assert_refused("/run/linked/s", root, neighbours[i]);
                ck_assert_int_eq(unlink(full), 0);
        }
        make_file("/run/tdx-qgs/qgs.socket");
        ck_assert_fit("/run/tdx-qgs/qgs.socket", root);
        leave();
}
END_TEST

START_TEST(the_default_is_fit_on_this_very_host)
{
        ck_assert_fit(QGS_PATH_DEFAULT, "");
        ck_assert_refused("/proc/self/root/run/x/s", "", "the kernel's");
}
END_TEST

static void ck_assert_seen(const char *path, const char *below)
{
        _cleanup_(free) char *seen = qgs_path_seen(root, path);

        ck_assert_ptr_eq(strstr(seen, root), seen);
        ck_assert_str_eq(seen + strlen(root), below);
}

START_TEST(run_and_var_run_are_one_place_by_name)
{
        ck_assert(qgs_path_is_same("/run/x/s", "/var/run/x/s"));
        ck_assert(qgs_path_is_same("/var/run/x/s", "/var/run/x/s"));
        ck_assert(qgs_path_is_same("/srv/x", "/srv/x"));
        ck_assert(!qgs_path_is_same("/run/x/s", "/var/run/y/s"));
        ck_assert(!qgs_path_is_same("/run/x/s", "/var/lib/x/s"));
        ck_assert(!qgs_path_is_same("/runner/x", "/var/runner/x"));
        ck_assert(qgs_path_is_within("/var/run/cdi/x", "/run/cdi"));
        ck_assert(qgs_path_is_within("/run/cdi", "/var/run/cdi"));
        ck_assert(!qgs_path_is_within("/run/cdi2/x", "/var/run/cdi"));
        ck_assert(!qgs_path_is_within("/var/lib/kubelet", "/var/lib/kubelet/plugins"));
}
END_TEST

START_TEST(in_a_pod_that_has_only_var_run_mounted_run_is_looked_for_there)
{
        enter();
        make_directory("/var/run/tdx-qgs");

        ck_assert_seen("/run/tdx-qgs/qgs.socket", "/var/run/tdx-qgs/qgs.socket");
        ck_assert_seen("/var/run/tdx-qgs/qgs.socket", "/var/run/tdx-qgs/qgs.socket");
        ck_assert_seen("/run", "/var/run");
        ck_assert_seen("/srv/qgs/s", "/srv/qgs/s");
        ck_assert_seen("/runner/qgs/s", "/runner/qgs/s");
        leave();
}
END_TEST

START_TEST(where_var_run_is_a_link_out_of_the_root_it_is_looked_for_below_run)
{
        enter();
        make_directory("/run/tdx-qgs");
        make_directory("/var");
        ck_assert_seen("/var/run/tdx-qgs/s", "/run/tdx-qgs/s");
        make_link("/run", "/var/run");

        ck_assert_seen("/var/run/tdx-qgs/s", "/run/tdx-qgs/s");
        ck_assert_seen("/run/tdx-qgs/s", "/run/tdx-qgs/s");
        leave();
}
END_TEST

START_TEST(two_real_directories_are_two_and_none_is_taken_as_written)
{
        enter();
        ck_assert_seen("/var/run/x/s", "/var/run/x/s");
        ck_assert_seen("/run/x/s", "/run/x/s");
        make_directory("/run");
        make_directory("/var/run");

        ck_assert_seen("/var/run/x/s", "/var/run/x/s");
        ck_assert_seen("/run/x/s", "/run/x/s");
        leave();
}
END_TEST

START_TEST(what_is_there_under_the_other_name_is_judged_too)
{
        enter();
        make_directory("/var/run/data");
        make_directory("/var/run/containerd");
        make_link("containerd", "/var/run/linked");
        ck_assert_fit("/run/data/s", root);
        make_file("/var/run/data/containerd.sock");

        ck_assert_refused("/run/data/s", root, "containerd.sock");
        ck_assert_refused("/var/run/data/s", root, "containerd.sock");
        ck_assert_refused("/run/linked/s", root, "containerd's");
        leave();
}
END_TEST

static bool is_visible(const char *path)
{
        _cleanup_(free) char *seen = qgs_path_seen(root, path);

        return qgs_path_is_visible(root, seen);
}

static void give(const char *path, uid_t uid, mode_t mode)
{
        _cleanup_(free) char *full = xasprintf("%s%s", root, path);

        ck_assert_int_eq(chown(full, uid, 0), 0);
        ck_assert_int_eq(chmod(full, mode), 0);
}

/* As a user to whom permissions apply, which are to this what a read-only root is to the pod. */
START_TEST(a_directory_that_is_there_or_can_be_created_is_visible_and_no_other)
{
        if (geteuid() != 0)
                return;
        enter();
        make_directory("/var/run");
        make_directory("/srv/there");
        make_directory("/closed/there");
        make_file("/file");
        give("", 0, 0755);
        give("/var/run", 1, 0755);
        give("/srv", 0, 0555);
        give("/closed", 0, 0700);
        ck_assert_int_eq(setresuid(1, 1, 0), 0);

        ck_assert(is_visible("/run/tdx-qgs"));
        ck_assert(is_visible("/run/tdx-qgs/deep"));
        ck_assert(is_visible("/srv/there"));
        ck_assert(!is_visible("/srv/qgs"));
        ck_assert(!is_visible("/srv/qgs/deep"));
        ck_assert(!is_visible("/nowhere/qgs"));
        ck_assert(!is_visible("/closed/there"));
        /* A file is in the way: that is the host's own fault. */
        ck_assert(is_visible("/file/qgs"));
        ck_assert(qgs_path_is_visible("", "/proc/qgs"));

        ck_assert_int_eq(setresuid(0, 0, 0), 0);
        leave();
}
END_TEST

SUITE("qgs", directories_of_its_own_are_fit, malformed_paths_are_refused_with_their_fault,
      a_path_must_fit_a_socket_address,
      shared_directories_are_refused_by_name_even_where_they_do_not_exist,
      links_are_followed_below_the_root_and_judged_where_they_lead,
      links_that_lead_nowhere_or_round_and_round_are_refused,
      a_directory_with_a_sensitive_neighbour_is_refused, run_and_var_run_are_one_place_by_name,
      in_a_pod_that_has_only_var_run_mounted_run_is_looked_for_there,
      where_var_run_is_a_link_out_of_the_root_it_is_looked_for_below_run,
      two_real_directories_are_two_and_none_is_taken_as_written,
      what_is_there_under_the_other_name_is_judged_too,
      a_directory_that_is_there_or_can_be_created_is_visible_and_no_other,
      the_default_is_fit_on_this_very_host);
