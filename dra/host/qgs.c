/* SPDX-License-Identifier: Apache-2.0 */
#include "host/qgs.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#define LINKS_MAX 40 /* as the kernel's own bound, fs/namei.c MAXSYMLINKS */

/* Directories that others use, too. Binding one of them into a VM's container would show or hide
 * what is theirs. */
static const struct {
        const char *path;
        bool is_tree; /* everything below it is shared as well */
} shared[] = {
        { "/", false },
        { "/run", false },
        { "/var", false },
        { "/var/run", false },
        { "/var/lib", false },
        { "/var/tmp", false },
        { "/tmp", false },
        { "/dev", true },
        { "/proc", true },
        { "/sys", true },
        { "/etc", true },
        { "/usr", true },
        { "/bin", true },
        { "/sbin", true },
        { "/lib", true },
        { "/lib64", true },
        { "/boot", true },
        { "/root", true },
        { "/home", true },
        { "/opt", false },
        { "/mnt", false },
        { "/srv", false },
        { "/media", false },
        { "/run/user", true },
        { "/run/lock", true },
        { "/run/dbus", true },
        { "/run/systemd", true },
        { "/run/udev", true },
        { "/run/containerd", true },
        { "/run/crio", true },
        { "/run/docker", true },
        { "/run/podman", true },
        { "/run/cdi", true },
        { "/run/libvirt", true },
        { "/run/kubevirt", true },
        { "/run/secrets", true },
        { "/var/lib/kubelet", true },
        { "/var/lib/containerd", true },
        { "/var/lib/containers", true },
        { "/var/lib/docker", true },
        { "/var/lib/etcd", true },
        { "/var/log", true },
};

/* Whose sockets no VM may see, wherever they lie. */
static const char *const foreign_sockets[] = {
        "containerd.sock", "crio.sock",   "docker.sock",
        "kubelet.sock",    "podman.sock", "system_bus_socket"
};

static const char *find_shared(const char *directory)
{
        for (size_t i = 0; i < array_size(shared); ++i) {
                size_t n = strlen(shared[i].path);

                if (strcmp(directory, shared[i].path) == 0)
                        return shared[i].path;
                if (shared[i].is_tree && strncmp(directory, shared[i].path, n) == 0 &&
                    directory[n] == '/')
                        return shared[i].path;
        }
        return NULL;
}

static int refuse(const char *what, const char *path, const char *reason, struct error *err)
{
        return error_set(err, -EINVAL, "%s: \"%.120s\" %s", what, path, reason);
}

static int check_form(const char *what, const char *path, struct error *err)
{
        size_t n = strlen(path);

        if (n > QGS_SOCKET_MAX)
                return refuse(what, path,
                              "is longer than the 107 bytes a unix socket's path can have", err);
        for (size_t i = 0; i < n; ++i)
                if ((unsigned char)path[i] < 0x20 || path[i] == 0x7f)
                        return error_set(err, -EINVAL, "%s: the path contains a control character",
                                         what);
        if (text_utf8_prefix(path, n) != n)
                return error_set(err, -EINVAL, "%s: the path is not UTF-8, as CDI wants it", what);
        if (path[0] != '/')
                return refuse(what, path, "is not an absolute path", err);
        if (path[n - 1] == '/')
                return refuse(what, path, "names a directory, not a socket", err);
        for (const char *component = path + 1;; ++component) {
                size_t length = strcspn(component, "/");

                if (!length)
                        return refuse(what, path, "has an empty component (//)", err);
                if ((length == 1 && component[0] == '.') ||
                    (length == 2 && component[0] == '.' && component[1] == '.'))
                        return refuse(what, path, "has a . or .. component; write it without", err);
                component += length;
                if (!*component)
                        return 0;
        }
}

/* Replaces path, absolute below root, by what it leads to when every symbolic link is followed
 * below root; what does not exist stays as written. -ELOOP, -ENAMETOOLONG. */
static int resolve(const char *root, const char *path, char ret_resolved[PATH_MAX])
{
        char rest[PATH_MAX], link[PATH_MAX];
        unsigned n_links = 0;
        size_t n = 0;

        if (strlen(path) >= PATH_MAX)
                return -ENAMETOOLONG;
        memcpy(rest, path, strlen(path) + 1);
        ret_resolved[0] = '\0';
        for (char *component = rest; *(component += strspn(component, "/"));) {
                __attribute__((cleanup(cleanup_free))) char *full = NULL;
                size_t length = strcspn(component, "/");
                ssize_t n_link;

                if (length == 2 && component[0] == '.' && component[1] == '.') {
                        char *slash = strrchr(ret_resolved, '/');

                        n = slash ? (size_t)(slash - ret_resolved) : 0;
                        ret_resolved[n] = '\0';
                        component += length;
                        continue;
                }
                if (length == 1 && component[0] == '.') {
                        component += length;
                        continue;
                }
                if (n + 1 + length >= PATH_MAX)
                        return -ENAMETOOLONG;
                full = xasprintf("%s%s/%.*s", root, ret_resolved, (int)length, component);
                n_link = readlink(full, link, sizeof(link) - 1);
                if (n_link < 0) {
                        ret_resolved[n++] = '/';
                        memcpy(ret_resolved + n, component, length);
                        n += length;
                        ret_resolved[n] = '\0';
                        component += length;
                        continue;
                }
                if (++n_links > LINKS_MAX)
                        return -ELOOP;
                /* Go on with the link's target, then what came after the link. */
                if ((size_t)n_link + strlen(component + length) + 1 >= sizeof(rest))
                        return -ENAMETOOLONG;
                memmove(rest + n_link, component + length, strlen(component + length) + 1);
                memcpy(rest, link, (size_t)n_link);
                if (link[0] == '/') {
                        n = 0;
                        ret_resolved[0] = '\0';
                }
                component = rest;
        }
        if (!n)
                memcpy(ret_resolved, "/", 2);
        return 0;
}

static int check_shared(const char *what, const char *path, const char *directory,
                        struct error *err)
{
        const char *found = find_shared(directory);

        if (!found && strchr(directory + 1, '/'))
                return 0;
        return error_set(
                err, -EINVAL,
                "%s: the directory of \"%.120s\" is mounted into the VM's container, but %.120s is "
                "shared with "
                "others: give QGS a directory of its own, as its default " QGS_DEFAULT_SOCKET,
                what, path, found ? found : directory);
}

static int check_neighbours(const char *what, const char *path, const char *root,
                            const char *directory, struct error *err)
{
        for (size_t i = 0; i < array_size(foreign_sockets); ++i) {
                __attribute__((cleanup(cleanup_free))) char *socket =
                        xasprintf("%s%s/%s", root, directory, foreign_sockets[i]);
                struct stat file;

                if (lstat(socket, &file) == 0)
                        return error_set(
                                err, -EINVAL,
                                "%s: the directory of \"%.120s\" also holds %s, which no VM may "
                                "reach: give QGS "
                                "a directory of its own, as its default " QGS_DEFAULT_SOCKET,
                                what, path, foreign_sockets[i]);
        }
        return 0;
}

int qgs_check_socket_path(const char *what, const char *path, const char *root, struct error *err)
{
        __attribute__((cleanup(cleanup_free))) char *directory = NULL;
        char resolved[PATH_MAX];
        int r;

        r = check_form(what, path, err);
        if (r < 0)
                return r;
        directory = xstrndup(path, (size_t)(strrchr(path, '/') - path));
        r = check_shared(what, path, *directory ? directory : "/", err);
        if (r < 0)
                return r;
        r = resolve(root, directory, resolved);
        if (r < 0)
                return error_errno(err, r, "%s: \"%.120s\" cannot be resolved", what, path);
        r = check_shared(what, path, resolved, err);
        if (!r)
                r = check_neighbours(what, path, root, resolved, err);
        return r;
}
