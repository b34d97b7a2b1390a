/* SPDX-License-Identifier: Apache-2.0 */
#include "host/podcgroup.h"

#include "base/list.h"
#include "base/memory.h"
#include "base/text.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>

/* v2 first, then v1 hierarchies. Every container is in all of those. */
static const char *const hierarchies[] = { "", "/unified", "/systemd", "/cpu", "/memory", "/pids" };

/* The text before and after the UID. The systemd driver writes the UID with underscores. */
static const struct {
        const char *before, *after;
        bool has_underscores;
} places[] = {
        { "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod", ".slice", true },
        { "kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod", ".slice", true },
        { "kubepods.slice/kubepods-pod", ".slice", true },
        { "kubepods/burstable/pod", "", false },
        { "kubepods/besteffort/pod", "", false },
        { "kubepods/pod", "", false },
};

/* 1: there is a cgroup in it, 0: there is none, or -errno. */
static int has_child(const char *path)
{
        DIR *directory = opendir(path);
        const struct dirent *entry;
        int r = 0;

        if (!directory)
                return -errno;
        while (!r && (entry = readdir(directory)))
                r = entry->d_type == DT_DIR && entry->d_name[0] != '.';
        closedir(directory);
        return r;
}

char *podcgroup_find(const char *cgroup_root, const char *pod_uid)
{
        _cleanup_(free) char *escaped = xstrdup(pod_uid);

        /* From kubelet's files, and about to become part of a path. */
        if (!text_is_uid(pod_uid))
                return NULL;
        for (char *dash = escaped; (dash = strchr(dash, '-'));)
                *dash = '_';
        for (size_t i = 0; i < array_size(hierarchies); ++i)
                for (size_t j = 0; j < array_size(places); ++j) {
                        _cleanup_(free) char *path = xasprintf(
                                "%s%s/%s%s%s", cgroup_root, hierarchies[i], places[j].before,
                                places[j].has_underscores ? escaped : pod_uid, places[j].after);

                        if (has_child(path) == 1)
                                return take_ptr(path);
                }
        return NULL;
}

bool podcgroup_is_running(const char *path)
{
        int r = has_child(path);

        return r == 1 || (r < 0 && r != -ENOENT);
}
