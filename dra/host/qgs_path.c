/* SPDX-License-Identifier: Apache-2.0 */
#include "host/qgs_path.h"

#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "host/links.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define REMEDY "give QGS a separate directory, as its default " QGS_PATH_DEFAULT " has"

struct shared {
        const char *path; /* spelled as on a host where /var/run links to /run */
        bool is_tree;     /* nothing below it may be mounted either */
        const char *whose;
};

/* Mounting one of these into a VM's container would show the VM other programs' files, or hide the
 * container's own. A directory above one of them is refused for the same reason, and so is every
 * directory directly below /. */
/* clang-format off */
static const struct shared shared[] = {
        { "/var/lib/kubelet",    true,  "kubelet's" },
        { "/etc",                true,  "the host's configuration" },
        { "/proc",               true,  "the kernel's" },
        { "/sys",                true,  "the kernel's" },
        { "/dev",                true,  "where devices are" },
        { "/boot",               true,  "the boot loader's" },
        { "/usr",                true,  "the operating system's" },
        { "/bin",                true,  "the operating system's" },
        { "/sbin",               true,  "the operating system's" },
        { "/lib",                true,  "the operating system's" },
        { "/lib32",              true,  "the operating system's" },
        { "/lib64",              true,  "the operating system's" },
        { "/libx32",             true,  "the operating system's" },
        { "/root",               true,  "a person's" },
        { "/home",               true,  "people's" },
        { "/var/home",           true,  "people's" }, /* image-based systems keep /home here */
        { "/var/roothome",       true,  "a person's" },
        { "/var/tmp",            false, "writable by every user" },
        { "/var/cache",          false, "shared by the host's daemons" },
        { "/var/log",            true,  "where the host's logs are" },
        { "/var/opt",            false, "shared by the host's packages" },
        { "/var/spool",          false, "shared by the host's daemons" },
        { "/var/lock",           true,  "shared by the host's daemons" },
        { "/run/lock",           true,  "shared by the host's daemons" },
        { "/run/log",            true,  "where the host's logs are" },
        { "/run/user",           true,  "people's" },
        { "/run/dbus",           true,  "the system bus's" },
        { "/run/systemd",        true,  "systemd's" },
        { "/run/udev",           true,  "udev's" },
        { "/run/credentials",    true,  "where systemd keeps secrets" },
        { "/run/secrets",        true,  "where containers keep secrets" },
        { "/run/netns",          true,  "where network namespaces are" },
        { "/run/cdi",            true,  "where CDI specs are" },
        { "/run/nri",            true,  "the container runtime's" },
        { "/run/containerd",     true,  "containerd's" },
        { "/run/containers",     true,  "the container runtime's" },
        { "/run/crio",           true,  "CRI-O's" },
        { "/run/docker",         true,  "Docker's" },
        { "/run/podman",         true,  "Podman's" },
        { "/run/k3s",            true,  "k3s's" },
        { "/run/k0s",            true,  "k0s's" },
        { "/run/libvirt",        true,  "libvirt's" },
        { "/run/kubevirt",       true,  "KubeVirt's" },
        { "/var/lib/cni",        true,  "the network plugins'" },
        { "/var/lib/containerd", true,  "containerd's" },
        { "/var/lib/containers", true,  "the container runtime's" },
        { "/var/lib/docker",     true,  "Docker's" },
        { "/var/lib/etcd",       true,  "etcd's" },
        { "/var/lib/k0s",        true,  "k0s's" },
        { "/var/lib/rancher",    true,  "k3s's or RKE2's" },
        { "/var/snap",           true,  "where snaps such as MicroK8s are" },
};
/* clang-format on */

/* Sockets that no VM may see, in whichever directory they lie. */
static const char *const foreign_sockets[] = {
        "containerd.sock", "crio.sock",         "docker.sock",  "cri-dockerd.sock", "podman.sock",
        "kubelet.sock",    "system_bus_socket", "libvirt-sock", "virtqemud-sock",   "nri.sock"
};

/* ---- the path as written ---- */

static int refuse(const char *what, const char *path, const char *reason, struct error *err)
{
        return error_set(err, -EINVAL, "%s: \"%.*s\" %s; " REMEDY, what, QGS_PATH_MAX, path,
                         reason);
}

static int check_component(const char *what, const char *path, const char *component, size_t n,
                           struct error *err)
{
        if (!n)
                return refuse(what, path, "has an empty component (//)", err);
        if (strncmp(component, "..", n) == 0 && n <= 2)
                return refuse(what, path, "has a . or .. component", err);
        return 0;
}

int qgs_path_check_form(const char *what, const char *path, struct error *err)
{
        size_t n = strlen(path);

        for (size_t i = 0; i < n; ++i)
                if ((unsigned char)path[i] < 0x20 || path[i] == 0x7f)
                        return error_set(
                                err, -EINVAL,
                                "%s: the path has a control character as byte %zu; " REMEDY, what,
                                i + 1);
        if (n > QGS_PATH_MAX)
                return refuse(
                        what, path,
                        "and what follows is longer than the 107 bytes of a unix socket's path",
                        err);
        if (text_utf8_prefix(path, n) != n)
                return refuse(what, path, "is not UTF-8, as CDI wants it", err);
        if (path[0] != '/')
                return refuse(what, path, "is not an absolute path", err);
        if (path[n - 1] == '/')
                return refuse(what, path, "names a directory, not a socket", err);
        for (const char *component = path + 1;; ++component) {
                size_t n_component = strcspn(component, "/");
                int r = check_component(what, path, component, n_component, err);

                if (r < 0)
                        return r;
                component += n_component;
                if (!*component)
                        return 0;
        }
}

/* ---- the directory's owner, by name ---- */

static bool is_within(const char *path, const char *directory)
{
        size_t n = strlen(directory);

        return strncmp(path, directory, n) == 0 && (path[n] == '/' || !path[n]);
}

/* A container image may lack the host's link from /var/run to /run, so the names alone must compare
 * equal. */
const char *qgs_path_usual_name(const char *path)
{
        return is_within(path, "/var/run") ? path + strlen("/var") : path;
}

bool qgs_path_is_within(const char *path, const char *directory)
{
        return is_within(qgs_path_usual_name(path), qgs_path_usual_name(directory));
}

bool qgs_path_is_same(const char *a, const char *b)
{
        return strcmp(qgs_path_usual_name(a), qgs_path_usual_name(b)) == 0;
}

static bool is_real_directory(const char *root, const char *path)
{
        _cleanup_(free) char *full = xasprintf("%s%s", root, path);
        struct stat file;

        return lstat(full, &file) == 0 && S_ISDIR(file.st_mode);
}

/* The same place by the name that leads there below root; the caller's. */
static char *spell(const char *root, const char *path)
{
        const char *usual = qgs_path_usual_name(path);
        bool is_var = usual != path;

        if (!is_within(usual, "/run") || is_real_directory(root, is_var ? "/var/run" : "/run") ||
            !is_real_directory(root, is_var ? "/run" : "/var/run"))
                return xstrdup(path);
        return is_var ? xstrdup(usual) : xasprintf("/var%s", usual);
}

char *qgs_path_seen(const char *root, const char *path)
{
        _cleanup_(free) char *below = spell(root, path);

        return xasprintf("%s%s", root, below);
}

bool qgs_path_is_visible(const char *root, const char *seen_directory)
{
        _cleanup_(free) char *nearest = xstrdup(seen_directory);
        size_t n_root = strlen(root);
        char *slash;

        if (!n_root)
                return true;
        /* ENOTDIR and ELOOP come from the host's own files, so the host is visible. */
        while (access(nearest, F_OK) < 0) {
                slash = strrchr(nearest, '/');
                if (errno != ENOENT || !slash || slash < nearest + n_root)
                        return errno == ENOTDIR || errno == ELOOP;
                *slash = '\0';
        }
        return strlen(nearest) == strlen(seen_directory) || access(nearest, W_OK | X_OK) == 0 ||
               errno == ENOTDIR;
}

/* directory is absolute, without a final slash except for "/" itself. */
static int check_shared(const char *what, const char *path, const char *directory,
                        struct error *err)
{
        const char *name = qgs_path_usual_name(directory);

        if (!strchr(name + 1, '/'))
                return error_set(err, -EINVAL,
                                 "%s: the directory of \"%s\" is mounted into the VMs' containers, "
                                 "and %.200s is shared by "
                                 "the whole host; " REMEDY,
                                 what, path, directory);
        for (size_t i = 0; i < array_size(shared); ++i) {
                bool is_below = is_within(name, shared[i].path);

                if (is_below ? shared[i].is_tree || strlen(name) == strlen(shared[i].path)
                             : is_within(shared[i].path, name))
                        return error_set(err, -EINVAL,
                                         "%s: the directory of \"%s\" is mounted into the VMs' "
                                         "containers, and %.100s %s "
                                         "%s, which is %s; " REMEDY,
                                         what, path, directory,
                                         is_below ? "is or lies in" : "contains", shared[i].path,
                                         shared[i].whose);
        }
        return 0;
}

/* ---- the directory's real path ---- */

static int find_below(void *owner, const char *path, char **ret_file)
{
        *ret_file = qgs_path_seen(owner, path);
        return 0;
}

int qgs_path_resolve(const char *root, const char *path, char **ret)
{
        _cleanup_(free) char *below = spell(root, path);

        return links_resolve(below, find_below, (void *)(uintptr_t)root, ret);
}

/* ---- the directory's contents ---- */

static int check_contents(const char *what, const char *path, const char *root,
                          const char *directory, struct error *err)
{
        _cleanup_(free) char *full = xasprintf("%s%s", root, directory);
        struct stat file;

        /* It may not exist yet. */
        if (lstat(full, &file) < 0)
                return 0;
        if (!S_ISDIR(file.st_mode))
                return error_set(err, -EINVAL,
                                 "%s: the directory of \"%s\", %.200s, is not a directory; " REMEDY,
                                 what, path, full);
        for (size_t i = 0; i < array_size(foreign_sockets); ++i) {
                _cleanup_(free) char *neighbour = xasprintf("%s/%s", full, foreign_sockets[i]);

                if (lstat(neighbour, &file) == 0)
                        return error_set(err, -EINVAL,
                                         "%s: the directory of \"%s\" is mounted into the VMs' "
                                         "containers, and also holds "
                                         "%s, which no VM may reach; " REMEDY,
                                         what, path, foreign_sockets[i]);
        }
        return 0;
}

int qgs_path_check(const char *what, const char *path, const char *root, struct error *err)
{
        _cleanup_(free) char *directory = NULL, *real = NULL;
        int r;

        r = qgs_path_check_form(what, path, err);
        if (r < 0)
                return r;
        directory = file_directory_of(path);
        r = check_shared(what, path, *directory ? directory : "/", err);
        if (r < 0)
                return r;
        r = qgs_path_resolve(root, directory, &real);
        if (r < 0)
                return error_set(err, -EINVAL,
                                 "%s: the directory of \"%s\" cannot be resolved (%s); " REMEDY,
                                 what, path, strerror(-r));
        /* Again for the real directory: a link must not lead into a shared one. */
        r = check_shared(what, path, *real ? real : "/", err);
        if (!r)
                r = check_contents(what, path, root, real, err);
        return r;
}
