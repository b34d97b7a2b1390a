/* SPDX-License-Identifier: Apache-2.0 */
/* Any string as the path of the QGS socket, on a host with tempting links. Of what is accepted, the
 * kernel is asked where it leads. */
#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"
#include "host/qgs_path.h"

#include <assert.h>
#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static char root[] = "/tmp/fuzz-qgs-path.XXXXXX";

static int remove_one(const char *path, const struct stat *file, int type, struct FTW *place)
{
        return remove(path);
}

static void remove_root(void)
{
        (void)nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void make(const char *path, const char *target)
{
        _cleanup_(free) char *full = xasprintf("%s%s", root, path);
        int r = target ? symlink(target, full) : mkdir(full, 0755);

        assert(r == 0);
}

static void make_root(void)
{
        static const char *const directories[] = { "/run", "/run/a",   "/run/containerd",  "/etc",
                                                   "/var", "/var/lib", "/var/lib/kubelet", "/s",
                                                   "/s/a", "/s/a/b" };
        bool has_directory = mkdtemp(root) != NULL;

        assert(has_directory);
        atexit(remove_root);
        for (size_t i = 0; i < array_size(directories); ++i)
                make(directories[i], NULL);
        /* Relative, so that the kernel stays below root, too. */
        make("/var/run", "../run");
        make("/s/a/r", "../../run");
        make("/s/a/e", "../../etc/x");
        make("/s/a/k", "../.././var/lib//kubelet");
        make("/s/a/l", "l");
        make("/s/a/d", "b/../../a");
        make("/s/a/c", "r/containerd");
}

/* directory is at or below one of these. */
static bool is_shared(const char *directory)
{
        static const char *const trees[] = { "/etc",      "/proc",
                                             "/sys",      "/dev",
                                             "/boot",     "/usr",
                                             "/bin",      "/root",
                                             "/home",     "/run/containerd",
                                             "/run/dbus", "/run/systemd",
                                             "/run/crio", "/var/lib/kubelet" };

        for (size_t i = 0; i < array_size(trees); ++i) {
                size_t n = strlen(trees[i]);

                if (strncmp(directory, trees[i], n) == 0 && (directory[n] == '/' || !directory[n]))
                        return true;
        }
        return !strchr(directory + 1, '/') || strcmp(directory, "/var/run") == 0 ||
               strcmp(directory, "/var/lib") == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
        _cleanup_(free) char *path = xstrndup((const char *)bytes, n);
        _cleanup_(free) char *full = NULL;
        struct error error = ERROR_NULL;
        char real[PATH_MAX];
        static bool is_made;
        int r;

        if (!is_made)
                make_root();
        is_made = true;
        r = qgs_path_check("--qgs-socket", path, root, &error);
        assert(r == 0 || r == -EINVAL);
        assert(r == error.code && !r == !error.text[0]);
        if (r) {
                assert(strstr(error.text, "--qgs-socket: ") == error.text);
                assert(strstr(error.text, QGS_PATH_DEFAULT));
                return 0;
        }
        assert(path[0] == '/' && strlen(path) <= QGS_PATH_MAX && path[strlen(path) - 1] != '/');
        assert(text_utf8_prefix(path, strlen(path)) == strlen(path) &&
               !strpbrk(path, "\n\t\r\x1b"));
        assert(!strstr(path, "//") && !strstr(path, "/../") && !strstr(path, "/./"));
        *strrchr(path, '/') = '\0';
        assert(!is_shared(path));
        full = xasprintf("%s%s", root, path);
        if (realpath(full, real))
                assert(strncmp(real, root, strlen(root)) == 0 && !is_shared(real + strlen(root)));
        return 0;
}
