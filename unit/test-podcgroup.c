/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "host/podcgroup.h"
#include "unit/suite.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define UID         "e40eaf51-ca4d-46df-82c1-36e38882a6f6"
#define ESCAPED_UID "e40eaf51_ca4d_46df_82c1_36e38882a6f6"

static char root[64];

static void run(const char *verb, const char *place)
{
        _cleanup_(free) char *command = xasprintf("%s '%s/%s'", verb, root, place);

        ck_assert_int_eq(system(command), 0);
}

static void enter(void)
{
        strcpy(root, "/tmp/test-podcgroup.XXXXXX");
        ck_assert_ptr_nonnull(mkdtemp(root));
}

static void leave(void)
{
        run("rm -rf", "");
}

static void check_place(const char *place)
{
        _cleanup_(free) char *path = NULL, *expected = NULL, *container = NULL, *processes = NULL;

        enter();
        expected = xasprintf("%s/%s", root, place);
        run("mkdir -p", place);
        ck_assert_ptr_null(podcgroup_find(root, UID)); /* no container yet */
        container = xasprintf("%s/cri-containerd-1.scope", place);
        run("mkdir", container);
        path = podcgroup_find(root, UID);
        ck_assert_ptr_nonnull(path);
        ck_assert_str_eq(path, expected);

        ck_assert(podcgroup_is_running(path));
        run("rmdir", container);
        processes = xasprintf("%s/cgroup.procs", place);
        run("touch", processes);
        ck_assert(!podcgroup_is_running(path));
        run("rm -rf", place);
        ck_assert(!podcgroup_is_running(path));
        leave();
}

START_TEST(
        a_pods_cgroup_is_found_where_either_driver_puts_it_and_is_told_over_when_its_containers_are)
{
        check_place("kubepods.slice/kubepods-burstable.slice/"
                    "kubepods-burstable-pod" ESCAPED_UID ".slice");
        check_place("kubepods.slice/kubepods-pod" ESCAPED_UID ".slice");
        check_place("kubepods/besteffort/pod" UID);
        check_place("kubepods/pod" UID);
        check_place("memory/kubepods/burstable/pod" UID);
        check_place("unified/kubepods.slice/kubepods-besteffort.slice/"
                    "kubepods-besteffort-pod" ESCAPED_UID ".slice");
}
END_TEST

START_TEST(what_is_no_uid_leads_nowhere)
{
        enter();
        run("mkdir -p", "kubepods/podx/container");
        run("mkdir -p", "elsewhere/container");
        ck_assert_ptr_null(podcgroup_find(root, ""));
        ck_assert_ptr_null(podcgroup_find(root, "x/../../elsewhere"));
        ck_assert_ptr_null(podcgroup_find(root, "x/."));
        ck_assert_ptr_null(podcgroup_find(root, "y"));
        ck_assert_ptr_null(podcgroup_find("/nowhere", "x"));
        leave();
}
END_TEST

START_TEST(what_cannot_be_seen_may_be_running)
{
        enter();
        run("touch", "file");
        {
                _cleanup_(free) char *path = xasprintf("%s/file/pod", root);

                ck_assert(podcgroup_is_running(path));
        }
        leave();
}
END_TEST

SUITE("podcgroup",
      a_pods_cgroup_is_found_where_either_driver_puts_it_and_is_told_over_when_its_containers_are,
      what_is_no_uid_leads_nowhere, what_cannot_be_seen_may_be_running);
