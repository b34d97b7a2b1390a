/* SPDX-License-Identifier: Apache-2.0 */
#include "host/qgs_look.h"

#include "base/file.h"
#include "base/memory.h"
#include "host/links.h"
#include "host/qgs_path.h"
#include "host/vm_groups.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

struct container {
        const char *mounted; /* the directory, as this process sees it */
        const char *target;  /* its path in the container, by the usual name */
};

static struct qgs_owner owner_of(const struct stat *file)
{
        return (struct qgs_owner){ .mode = file->st_mode & 07777,
                                   .uid = file->st_uid,
                                   .gid = file->st_gid };
}

/* The container has only the mounted directory of the host. The image's directories above it are
 * unknown: assume that none is a link except /var/run. */
static int find_in_container(void *owner, const char *path, char **ret_file)
{
        const struct container *container = owner;
        const char *name = qgs_path_usual_name(path);

        if (qgs_path_is_within(name, container->target)) {
                const char *below = name + strlen(container->target);

                *ret_file = *below ? xasprintf("%s%s", container->mounted, below) : NULL;
                return 0;
        }
        *ret_file = NULL;
        return qgs_path_is_within(container->target, name) || strcmp(name, "/var") == 0 ? 0
                                                                                        : -EXDEV;
}

/* The directories below the mounted one down to path. */
static int note_directories(const struct container *container, const char *path,
                            struct qgs_sight *sight)
{
        const char *slash = path + strlen(container->mounted);
        struct stat file;

        while ((slash = strchr(slash + 1, '/'))) {
                _cleanup_(free) char *directory = xstrndup(path, (size_t)(slash - path));

                if (sight->n_directories == QGS_LOOK_DIRECTORIES)
                        return -ENAMETOOLONG;
                if (lstat(directory, &file) < 0)
                        return -errno;
                sight->directories[sight->n_directories++] = owner_of(&file);
        }
        return 0;
}

static int note_socket(const char *path, bool is_link, struct qgs_sight *sight)
{
        struct stat file;

        if (lstat(path, &file) < 0)
                return errno == ENOENT && is_link ? -ENOLINK : -errno;
        if (!S_ISSOCK(file.st_mode))
                return -ENOTSOCK;
        sight->file = owner_of(&file);
        sight->device = file.st_dev;
        sight->inode = file.st_ino;
        sight->changed = file.st_ctim;
        return 0;
}

static int look_within(const struct container *container, const char *vm_socket, char **ret_path,
                       struct qgs_sight *sight)
{
        _cleanup_(free) char *named =
                xasprintf("%s%s", container->mounted, strrchr(vm_socket, '/'));
        _cleanup_(free) char *real = NULL, *path = NULL;
        struct stat file;
        bool is_link;
        int r;

        if (lstat(named, &file) < 0)
                return -errno;
        /* A link to nothing differs from no socket: QGS cannot bind its socket over the link. */
        is_link = S_ISLNK(file.st_mode);
        r = links_resolve(vm_socket, find_in_container, (void *)(uintptr_t)container, &real);
        if (r < 0)
                return r;
        if (!qgs_path_is_within(qgs_path_usual_name(real), container->target))
                return -EXDEV;
        path = xasprintf("%s%s", container->mounted,
                         qgs_path_usual_name(real) + strlen(container->target));
        r = note_directories(container, path, sight);
        if (!r)
                r = note_socket(path, is_link, sight);
        else if (r == -ENOENT || r == -ENOTDIR)
                r = -ENOLINK;
        if (!r)
                *ret_path = take_ptr(path);
        return r;
}

char *qgs_look(const struct qgs_place *place, struct qgs_sight *ret)
{
        _cleanup_(free) char *directory = file_directory_of(place->socket);
        _cleanup_(free) char *real = NULL, *mounted = NULL;
        _cleanup_(free) char *target = file_directory_of(place->vm_socket);
        struct container container = { .target = qgs_path_usual_name(target) };
        struct vm_groups groups = VM_GROUPS_NULL;
        char *path = NULL;
        struct stat file;

        *ret = (struct qgs_sight){ .code = qgs_path_resolve(place->root, directory, &real) };
        if (ret->code)
                return NULL;
        mounted = qgs_path_seen(place->root, real);
        if (stat(mounted, &file) < 0) {
                ret->code = -errno;
                return NULL;
        }
        if (!S_ISDIR(file.st_mode)) {
                ret->code = -ENOTDIR;
                return NULL;
        }
        ret->directories[ret->n_directories++] = owner_of(&file);
        container.mounted = mounted;
        /* With the directory's group, which a VM can be given unless it is root's
         * (host/qgs_verdict). */
        ret->has_vm_groups = vm_groups_take(file.st_gid ? file.st_gid : VM_GROUPS_NONE, &groups);
        ret->code = look_within(&container, place->vm_socket, &path, ret);
        vm_groups_give_back(&groups);
        return path;
}
