/* SPDX-License-Identifier: Apache-2.0 */
#include "cdi/store.h"

#include "base/directory.h"
#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"
#include "cdi/spec.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define TEMPORARY  "." CDI_SPEC_FILE "." /* prefix of file_replace()'s temporary names */
#define SETTLED_MS 100                   /* several ticks of the slowest kernel clock (HZ=100) */

struct cdi_store {
        char *usual_directory;
        char *other_directory; /* the same directory through another mount; NULL: none */
        char *directory;       /* the directory in use */
        char *path;            /* path of the spec in directory */
        char *bytes;           /* what the file must hold; NULL: no file */
        size_t n;
        bool is_known; /* the file that known describes was read and found to hold bytes */
        struct stat known;
        bool has_swept;
};

struct cdi_store *cdi_store_new(const char *directory)
{
        struct cdi_store *store = xcalloc(1, sizeof(*store));

        store->usual_directory = xstrdup(directory);
        store->directory = xstrdup(directory);
        store->path = xasprintf("%s/%s", directory, CDI_SPEC_FILE);
        return store;
}

void cdi_store_free(struct cdi_store *store)
{
        if (!store)
                return;
        free(store->usual_directory);
        free(store->other_directory);
        free(store->directory);
        free(store->path);
        free(store->bytes);
        free(store);
}

void cdi_store_set_other_way(struct cdi_store *store, const char *directory)
{
        free(store->other_directory);
        store->other_directory = xstrdup(directory);
}

static void choose_directory(struct cdi_store *store)
{
        const char *chosen = store->usual_directory;

        if (store->other_directory && directory_is_removed(chosen) &&
            directory_is_there(store->other_directory))
                chosen = store->other_directory;
        if (strcmp(chosen, store->directory) == 0)
                return;
        free(store->directory);
        free(store->path);
        store->directory = xstrdup(chosen);
        store->path = xasprintf("%s/%s", chosen, CDI_SPEC_FILE);
        store->is_known = false;
}

/* Also by its ctime, which no tool sets back: the spec may be edited by a person. */
static bool is_same_spec(const struct stat *a, const struct stat *b)
{
        return file_is_unchanged(a, b) && a->st_ctim.tv_sec == b->st_ctim.tv_sec &&
               a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

/* Timestamps identify a file only once it is older than a clock tick: a second change within one
 * tick leaves the same timestamps. A file modified more recently (or in the future, after the clock
 * was set back) must be read. */
static bool is_settled(const struct stat *file)
{
        struct timespec now;
        int64_t ms;

        clock_gettime(CLOCK_REALTIME_COARSE, &now);
        ms = (int64_t)(now.tv_sec - file->st_ctim.tv_sec) * 1000 +
             (now.tv_nsec - file->st_ctim.tv_nsec) / 1000000;
        return ms > SETTLED_MS;
}

static bool holds_wanted(const struct cdi_store *store)
{
        _cleanup_(free) char *bytes = NULL;
        size_t n;

        return file_read(AT_FDCWD, store->path, store->n, &bytes, &n, NULL) == 0 && n == store->n &&
               memcmp(bytes, store->bytes, n) == 0;
}

/* Whether the file has the wanted content. If its stat is known, that is enough; otherwise (after a
 * restart, or if another process touched it) read it. */
static bool is_in_place(struct cdi_store *store)
{
        struct stat now;

        if (stat(store->path, &now) < 0)
                return false;
        if (store->is_known && is_same_spec(&now, &store->known))
                return true;
        store->is_known = false;
        if (!holds_wanted(store))
                return false;
        store->is_known = is_settled(&now);
        store->known = now;
        return true;
}

/* ---- writing ---- */

#define CDI_MAY_NOT                                                                               \
        "; the driver must be able to write there: mount the host's directory writable, or name " \
        "the one that the container runtime reads with --cdi-dir"
#define QGS_MAY_NOT                                                                              \
        "; the driver must be able to write there: mount the host's directory writable, create " \
        "it on the host, or name another one with --qgs-socket"

static int fail(const struct cdi_store *store, int r, struct error *err)
{
        if (directory_is_removed(store->directory))
                return error_set(err, r,
                                 "cannot write the CDI spec: %s was removed on the host, and this "
                                 "container's mount still shows the removed directory; restart the "
                                 "container (kubelet does), or delete the driver's pod",
                                 store->directory);
        return error_set(err, r, "cannot write the CDI spec %s: %s%s", store->path, strerror(-r),
                         file_remedy(r, CDI_MAY_NOT, CDI_MAY_NOT));
}

/* Remove temporary files from a run that was killed. Only our own: other drivers also write to this
 * directory. */
static void sweep(int directory_fd)
{
        int fd = openat(directory_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *directory = fd < 0 ? NULL : fdopendir(fd);
        const struct dirent *entry;

        if (!directory) {
                if (fd >= 0)
                        close(fd);
                return;
        }
        while ((entry = readdir(directory)))
                if (strncmp(entry->d_name, TEMPORARY, strlen(TEMPORARY)) == 0)
                        (void)unlinkat(directory_fd, entry->d_name, 0);
        closedir(directory);
}

static int write_spec(struct cdi_store *store, struct error *err)
{
        _cleanup_(close) int directory_fd = -1;
        int r;

        r = file_open_directory(store->directory, 0755, &directory_fd, NULL);
        if (r < 0)
                return fail(store, r, err);
        if (!store->has_swept)
                sweep(directory_fd);
        store->has_swept = true;
        r = file_replace(directory_fd, CDI_SPEC_FILE, store->bytes, store->n, 0644, FILE_UNSYNCED,
                         NULL);
        /* If the file is missing, a pod with a hostPath volume of it creates an empty directory in
         * its place. */
        if (r == -EISDIR && unlinkat(directory_fd, CDI_SPEC_FILE, AT_REMOVEDIR) == 0)
                r = file_replace(directory_fd, CDI_SPEC_FILE, store->bytes, store->n, 0644,
                                 FILE_UNSYNCED, NULL);
        return r < 0 ? fail(store, r, err) : CDI_STORE_WRITTEN;
}

static int remove_spec(const struct cdi_store *store, struct error *err)
{
        if (unlink(store->path) == 0)
                return CDI_STORE_WRITTEN;
        if (errno == ENOENT || errno == ENOTDIR)
                return 0;
        return error_set(err, -errno, "cannot remove the CDI spec %s: %s%s", store->path,
                         strerror(errno), file_remedy(-errno, CDI_MAY_NOT, CDI_MAY_NOT));
}

int cdi_store_verify(struct cdi_store *store, struct error *err)
{
        choose_directory(store);
        if (!store->bytes)
                return remove_spec(store, err);
        return is_in_place(store) ? 0 : write_spec(store, err);
}

int cdi_store_set(struct cdi_store *store, const char *bytes, size_t n, struct error *err)
{
        free(store->bytes);
        store->bytes = NULL;
        store->n = n;
        store->is_known = false;
        if (bytes) {
                store->bytes = xmalloc(n);
                memcpy(store->bytes, bytes, n);
        }
        return cdi_store_verify(store, err);
}

/* ---- what the mounts need ---- */

/* Set the mode explicitly, because under a strict umask a VM's uid could not search the directory.
 */
static int make_one(const char *path)
{
        if (mkdir(path, 0755) == 0)
                return chmod(path, 0755) < 0 ? -errno : 0;
        return errno == EEXIST ? 0 : -errno;
}

static int make_path(const char *path)
{
        _cleanup_(free) char *partial = xstrdup(path);
        int r = 0;

        for (char *slash = partial + 1; !r && (slash = strchr(slash, '/')); ++slash) {
                *slash = '\0';
                r = make_one(partial);
                *slash = '/';
        }
        return r ? r : make_one(path);
}

int cdi_ensure_mount_source(const char *path, const char *host_path, struct error *err)
{
        struct stat file;
        int r;

        if (stat(path, &file) < 0) {
                r = make_path(path);
                if (!r && stat(path, &file) < 0)
                        r = -errno;
                if (r < 0)
                        return error_set(
                                err, r, "cannot create the directory %s, which VMs mount: %s%s",
                                host_path, strerror(-r), file_remedy(r, QGS_MAY_NOT, QGS_MAY_NOT));
        }
        if (!S_ISDIR(file.st_mode))
                return error_set(err, -ENOTDIR,
                                 "%s, which VMs mount, is not a directory; remove it, and QGS or "
                                 "this driver will create the directory",
                                 host_path);
        return 0;
}
