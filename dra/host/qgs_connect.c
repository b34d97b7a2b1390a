/* SPDX-License-Identifier: Apache-2.0 */
#include "host/qgs_connect.h"

#include "base/file.h"
#include "base/memory.h"
#include "host/qgs_path.h"
#include "host/vm_groups.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

/* --host-root may make a path too long for sun_path. Such a socket is reached through a descriptor
 * of its directory. */
static int shorten(const char *path, char *ret, size_t n_ret, int *ret_directory_fd)
{
        const char *slash = strrchr(path, '/');
        _cleanup_(free) char *directory = NULL;
        int n;

        if (strlen(path) < n_ret) {
                memcpy(ret, path, strlen(path) + 1);
                return 0;
        }
        directory = xstrndup(path, (size_t)(slash - path));
        *ret_directory_fd = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (*ret_directory_fd < 0)
                return -errno;
        n = snprintf(ret, n_ret, "/proc/self/fd/%d%s", *ret_directory_fd, slash);
        return n < (int)n_ret ? 0 : -ENAMETOOLONG;
}

static int connect_to(int fd, const char *path)
{
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        _cleanup_(close) int directory_fd = -1;
        int r = shorten(path, address.sun_path, sizeof(address.sun_path), &directory_fd);

        if (r < 0)
                return r;
        return connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;
}

int qgs_connect(const char *path, gid_t group)
{
        struct vm_groups groups = VM_GROUPS_NULL;
        _cleanup_(close) int fd = -1;
        int r;

        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return -errno;
        (void)vm_groups_take(group, &groups);
        r = connect_to(fd, path);
        vm_groups_give_back(&groups);
        return r < 0 ? r : take_fd(&fd);
}

/* Root's group is no VM's, nor needed by root. */
static gid_t group_of(const struct stat *file)
{
        return file->st_gid ? file->st_gid : VM_GROUPS_NONE;
}

/* Where the socket is, as this process sees it, and what it is; looked for with the directory's
 * group, because the directory may be closed to others. NULL: *ret_code says why not. */
static char *find(const char *root, const char *socket, gid_t directory_group, struct stat *ret,
                  int *ret_code)
{
        struct vm_groups groups = VM_GROUPS_NULL;
        _cleanup_(free) char *real = NULL, *path = NULL;
        bool is_found = false;

        (void)vm_groups_take(directory_group, &groups);
        *ret_code = qgs_path_resolve(root, socket, &real);
        if (*ret_code == 0) {
                path = qgs_path_seen(root, real);
                is_found = lstat(path, ret) == 0;
                *ret_code = -errno;
        }
        vm_groups_give_back(&groups);
        return is_found ? take_ptr(path) : NULL;
}

int qgs_connect_on_host(const char *root, const char *socket)
{
        _cleanup_(free) char *named = file_directory_of(socket);
        _cleanup_(free) char *directory = NULL, *seen = NULL, *path = NULL;
        struct stat above, file = { 0 };
        int r;

        r = qgs_path_resolve(root, *named ? named : "/", &directory);
        if (r < 0)
                return r;
        seen = qgs_path_seen(root, *directory ? directory : "/");
        if (stat(seen, &above) < 0)
                return -errno;
        path = find(root, socket, group_of(&above), &file, &r);
        if (!path)
                return r;
        return qgs_connect(path, group_of(file.st_mode & S_IWOTH ? &above : &file));
}
