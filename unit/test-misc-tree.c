/* SPDX-License-Identifier: Apache-2.0 */
#include "host/misc_tree.h"

#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"
#include "unit/suite.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define UID     "e40eaf51-ca4d-46df-82c1-36e38882a6f6"
#define ESCAPED "e40eaf51_ca4d_46df_82c1_36e38882a6f6"
#define POD     "kubepods.slice/kubepods-pod" ESCAPED ".slice"

static char root[64];

static void enter(void)
{
        snprintf(root, sizeof(root), "/tmp/test-misc-tree.XXXXXX");
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

static void write_file(const char *cgroup, const char *name, const char *text)
{
        _cleanup_(free) char *path = xasprintf("%s/%s", root, cgroup);
        _cleanup_(close) int fd = -1;

        ck_assert_int_eq(file_open_directory(path, 0755, &fd, NULL), 0);
        ck_assert_int_eq(file_replace(fd, name, text, strlen(text), 0644, FILE_UNSYNCED, NULL), 0);
}

/* A cgroup of v2 that is charged with so many; NULL: it has no misc controller. */
static void cgroup(const char *path, const char *current, bool has_process)
{
        _cleanup_(free) char *line = current ? xasprintf("sev 0\ntdx %s\n", current) : NULL;

        if (line)
                write_file(path, "misc.current", line);
        write_file(path, "cgroup.procs", has_process ? "0\n" : "");
        if (*path)
                write_file(path, "cgroup.events",
                           has_process ? "populated 1\nfrozen 0\n" : "populated 0\nfrozen 0\n");
        else
                write_file(path, "cgroup.controllers", "cpu misc\n");
}

static struct misc_tree read_tree(void)
{
        struct misc_tree tree = MISC_TREE_NULL;
        struct error error = ERROR_NULL;

        ck_assert_msg(misc_tree_read(root, 8, &tree, &error) == 0, "%s", error.text);
        return tree;
}

static const struct misc_tree_place *find(const struct misc_tree *tree, const char *path)
{
        for (size_t i = 0; i < tree->n_places; ++i)
                if (strcmp(tree->places[i].path, path) == 0)
                        return &tree->places[i];
        ck_abort_msg("nothing is charged to %s", path);
}

static void check_place(const struct misc_tree *tree, const char *path, enum misc_tree_kind kind,
                        unsigned running, unsigned leaked)
{
        const struct misc_tree_place *place = find(tree, path);

        ck_assert_int_eq(place->kind, kind);
        ck_assert_uint_eq(place->running, running);
        ck_assert_uint_eq(place->leaked, leaked);
}

START_TEST(names_of_pods_are_known_whatever_their_parents_are)
{
        static const struct {
                const char *name, *uid;
        } cases[] = {
                { "pod" UID, UID },
                { "kubepods-pod" ESCAPED ".slice", UID },
                { "kubepods-besteffort-pod" ESCAPED ".slice", UID },
                { "kubelet-kubepods-burstable-pod" ESCAPED ".slice", UID },
                { "pod0a1b2c3d4e5f60718293a4b5c6d7e8f9", "0a1b2c3d4e5f60718293a4b5c6d7e8f9" },
                { "kubepods-pod0a1b2c3d4e5f60718293a4b5c6d7e8f9.slice",
                  "0a1b2c3d4e5f60718293a4b5c6d7e8f9" },
                { "kubepods.slice", NULL },
                { "kubepods-burstable.slice", NULL },
                { "podman.service", NULL },
                { "libpod" UID, NULL },
                { "pod" UID "x", NULL },
                { "pod", NULL },
                { "pod" ESCAPED, NULL },
                { "", NULL },
                { "kubepods-pod" UID ".slice", NULL },
        };

        for (size_t i = 0; i < array_size(cases); ++i) {
                char uid[MISC_TREE_UID_SIZE] = "untouched";
                bool is_pod = misc_tree_pod_uid(cases[i].name, uid);

                ck_assert_msg(is_pod == (cases[i].uid != NULL), "%s", cases[i].name);
                ck_assert_str_eq(uid, cases[i].uid ? cases[i].uid : "untouched");
        }
}
END_TEST

START_TEST(each_charge_is_told_once_where_it_is_deepest)
{
        struct misc_tree tree;

        enter();
        cgroup("", "4", true);
        cgroup("kubepods.slice", "2", false);
        cgroup(POD, "2", false);
        cgroup(POD "/cri-containerd-1.scope", "2", true);
        cgroup("machine.slice", "1", false);
        cgroup("machine.slice/qemu-1.scope", "1", true);
        cgroup("system.slice", "1", false);
        cgroup("system.slice/qemu.service", "1", true);

        tree = read_tree();

        ck_assert_uint_eq(tree.total, 4);
        ck_assert_uint_eq(tree.n_places, 3);
        check_place(&tree, "/" POD, MISC_TREE_POD, 2, 0);
        ck_assert_str_eq(find(&tree, "/" POD)->pod_uid, UID);
        check_place(&tree, "/machine.slice/qemu-1.scope", MISC_TREE_ELSEWHERE, 1, 0);
        check_place(&tree, "/system.slice/qemu.service", MISC_TREE_ELSEWHERE, 1, 0);
        ck_assert_str_eq(tree.impossible, "");
        misc_tree_deinit(&tree);
        leave();
}
END_TEST

START_TEST(without_a_sum_at_the_root_the_top_level_is_added_up)
{
        struct misc_tree tree;

        enter();
        cgroup("", NULL, true);
        cgroup("a", "1", true);
        cgroup("b", "2", true);
        cgroup("c", "0", false);

        tree = read_tree();

        ck_assert_uint_eq(tree.total, 3);
        ck_assert_uint_eq(tree.n_places, 2);
        misc_tree_deinit(&tree);
        leave();
}
END_TEST

START_TEST(a_charge_without_a_process_is_leaked)
{
        struct misc_tree tree;

        enter();
        cgroup("", "6", true);
        cgroup("init.scope", "0", true);
        cgroup("kubepods.slice", "4", false);
        cgroup(POD, "3", false);
        cgroup(POD "/one", "1", true);
        cgroup(POD "/two", "1", false); /* and a third container that has been removed */
        cgroup("left.scope", "1", false);

        tree = read_tree();

        ck_assert_uint_eq(tree.total, 6);
        check_place(&tree, "/" POD, MISC_TREE_POD, 1, 2);
        check_place(&tree, "/kubepods.slice", MISC_TREE_ELSEWHERE, 0, 1);
        check_place(&tree, "/left.scope", MISC_TREE_ELSEWHERE, 0, 1);
        check_place(&tree, "/", MISC_TREE_ELSEWHERE, 0, 1);
        misc_tree_deinit(&tree);
        leave();
}
END_TEST

START_TEST(without_systemd_a_vm_may_run_in_the_root_cgroup)
{
        struct misc_tree tree;

        enter();
        cgroup("", "1", true);
        cgroup("kubepods", "0", false);

        tree = read_tree();

        check_place(&tree, "/", MISC_TREE_ELSEWHERE, 1, 0);
        misc_tree_deinit(&tree);
        leave();
}
END_TEST

START_TEST(cgroup_v1_does_not_tell_what_is_leaked)
{
        struct misc_tree tree;

        enter();
        write_file("misc", "misc.current", "tdx 1\n");
        write_file("misc/left", "misc.current", "tdx 1\n");
        write_file("misc/left", "cgroup.procs", "");

        tree = read_tree();

        check_place(&tree, "/left", MISC_TREE_ELSEWHERE, 1, 0);
        misc_tree_deinit(&tree);
        leave();
}
END_TEST

START_TEST(pods_without_the_controller_share_what_is_above_them)
{
        struct misc_tree tree;

        enter();
        cgroup("", "2", true);
        cgroup("kubepods.slice", "2", true);
        cgroup(POD, NULL, false);
        cgroup(POD "/one", NULL, true);

        tree = read_tree();

        check_place(&tree, "/kubepods.slice", MISC_TREE_UNSPLIT, 2, 0);
        misc_tree_deinit(&tree);
        leave();
}
END_TEST

START_TEST(a_sum_below_what_runs_under_it_is_told_and_not_used)
{
        struct misc_tree tree;

        enter();
        cgroup("", "1", true);
        cgroup("a", "2", true);
        cgroup("b", "1", true);

        tree = read_tree();

        ck_assert_uint_eq(tree.total, 3);
        ck_assert_ptr_nonnull(strstr(tree.impossible, "/misc.current"));
        misc_tree_deinit(&tree);
        leave();
}
END_TEST

START_TEST(a_number_below_zero_is_told_and_not_used)
{
        struct misc_tree tree;

        enter();
        cgroup("", "18446744073709551615", true);
        cgroup("a", "18446744073709551615", true);
        cgroup("b", "1", true);

        tree = read_tree();

        ck_assert_uint_eq(tree.total, 1);
        ck_assert_ptr_nonnull(strstr(tree.impossible, "18446744073709551615"));
        misc_tree_deinit(&tree);
        leave();
}
END_TEST

START_TEST(more_than_the_host_can_run_is_refused)
{
        struct misc_tree tree = MISC_TREE_NULL;
        struct error error = ERROR_NULL;

        enter();
        cgroup("", "8", true);
        cgroup("a", "7", true);
        cgroup("b", "7", true);

        ck_assert_int_eq(misc_tree_read(root, 8, &tree, &error), -ERANGE);

        ck_assert_ptr_nonnull(strstr(error.text, "14"));
        ck_assert_ptr_null(tree.places);
        leave();
}
END_TEST

START_TEST(what_is_not_there_is_not_zero)
{
        struct misc_tree tree = MISC_TREE_NULL;
        struct error error = ERROR_NULL;

        enter();
        ck_assert_int_eq(misc_tree_read(root, 8, &tree, &error), MISC_TREE_NOT_VISIBLE);
        cgroup("", NULL, true);
        cgroup("a", NULL, true);
        ck_assert_int_eq(misc_tree_read(root, 8, &tree, &error), MISC_TREE_NOT_VISIBLE);
        ck_assert_int_eq(misc_tree_read("/nonexistent", 8, &tree, &error), MISC_TREE_NOT_VISIBLE);
        /* Without TDX the file is there, and has no tdx line. */
        write_file("", "misc.current", "sev 0\n");
        ck_assert_int_eq(misc_tree_read(root, 8, &tree, &error), 0);
        ck_assert_uint_eq(tree.total, 0);
        misc_tree_deinit(&tree);
        leave();
}
END_TEST

START_TEST(refused_starts_are_added_up_and_the_cgroup_is_named)
{
        struct misc_tree tree;

        enter();
        cgroup("", "0", true);
        cgroup("kubepods.slice", "0", false);
        write_file("kubepods.slice", "misc.events", "sev.max 9\ntdx.max 3\n");
        cgroup(POD, "0", false);
        write_file(POD, "misc.events", "tdx.max 3\n");
        cgroup("machine.slice", "0", false);
        write_file("machine.slice", "misc.events", "tdx.max 1\n");

        tree = read_tree();

        ck_assert_uint_eq(tree.n_refused, 4);
        ck_assert_uint_eq(tree.n_refusals, 2);
        for (size_t i = 0; i < tree.n_refusals; ++i)
                ck_assert_str_eq(tree.refusals[i].path,
                                 tree.refusals[i].n == 3 ? "/" POD : "/machine.slice");
        misc_tree_deinit(&tree);
        leave();
}
END_TEST

START_TEST(a_file_that_cannot_be_read_fails_with_its_name)
{
        struct misc_tree tree = MISC_TREE_NULL;
        struct error error = ERROR_NULL;

        enter();
        cgroup("", "1", true);
        cgroup("a", "many", true);

        ck_assert_int_eq(misc_tree_read(root, 8, &tree, &error), -EBADMSG);

        ck_assert_ptr_nonnull(strstr(error.text, "/a/misc.current"));
        leave();
}
END_TEST

SUITE("misc-tree", names_of_pods_are_known_whatever_their_parents_are,
      each_charge_is_told_once_where_it_is_deepest,
      without_a_sum_at_the_root_the_top_level_is_added_up, a_charge_without_a_process_is_leaked,
      without_systemd_a_vm_may_run_in_the_root_cgroup, cgroup_v1_does_not_tell_what_is_leaked,
      pods_without_the_controller_share_what_is_above_them,
      a_sum_below_what_runs_under_it_is_told_and_not_used, a_number_below_zero_is_told_and_not_used,
      more_than_the_host_can_run_is_refused, what_is_not_there_is_not_zero,
      refused_starts_are_added_up_and_the_cgroup_is_named,
      a_file_that_cannot_be_read_fails_with_its_name);
