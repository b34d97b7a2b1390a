/* SPDX-License-Identifier: Apache-2.0 */
#include "cdi/store.h"

#include "base/error.h"
#include "base/file.h"
#include "cdi/spec.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

struct cdi_store {
        char *directory;
        char *path;
        char *bytes; /* what the file must hold; NULL: no file */
        size_t n;
        bool is_written;
        struct stat file; /* as we wrote it */
};

struct cdi_store *cdi_store_new(const char *directory)
{
        struct cdi_store *store = xcalloc(1, sizeof(*store));

        store->directory = xstrdup(directory);
        store->path = xasprintf("%s/%s", directory, CDI_SPEC_FILE);
        return store;
}

void cdi_store_free(struct cdi_store *store)
{
        if (!store)
                return;
        free(store->directory);
        free(store->path);
        free(store->bytes);
        free(store);
}

static bool is_same_file(const struct stat *a, const struct stat *b)
{
        return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
               a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
               a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

/* The file as it lies there has the wanted bytes: after a restart, or when somebody has only
 * touched it. */
static bool holds_wanted(const struct cdi_store *store)
{
        __attribute__((cleanup(cleanup_free))) char *bytes = NULL;
        size_t n;

        return file_read(AT_FDCWD, store->path, store->n, &bytes, &n, NULL) == 0 && n == store->n &&
               memcmp(bytes, store->bytes, n) == 0;
}

static int write_spec(struct cdi_store *store, struct error *err)
{
        __attribute__((cleanup(cleanup_close))) int directory_fd = -1;
        int r;

        r = file_open_directory(store->directory, 0755, &directory_fd, err);
        if (!r)
                r = file_replace(directory_fd, CDI_SPEC_FILE, store->bytes, store->n, 0644,
                                 FILE_UNSYNCED, err);
        if (r < 0) {
                error_prefix(err, "the CDI spec cannot be written to %s", store->directory);
                return r;
        }
        store->is_written = stat(store->path, &store->file) == 0;
        return CDI_STORE_WRITTEN;
}

int cdi_store_verify(struct cdi_store *store, struct error *err)
{
        struct stat now;

        if (!store->bytes) {
                if (unlink(store->path) < 0 && errno != ENOENT && errno != ENOTDIR)
                        return error_errno(err, -errno, "cannot remove %s", store->path);
                return 0;
        }
        if (stat(store->path, &now) == 0) {
                if (store->is_written && is_same_file(&now, &store->file))
                        return 0;
                if (holds_wanted(store)) {
                        store->is_written = true;
                        store->file = now;
                        return 0;
                }
        }
        return write_spec(store, err);
}

int cdi_store_set(struct cdi_store *store, const char *bytes, size_t n, struct error *err)
{
        free(store->bytes);
        store->bytes = NULL;
        store->n = n;
        store->is_written = false;
        if (bytes) {
                store->bytes = xmalloc(n);
                memcpy(store->bytes, bytes, n);
        }
        return cdi_store_verify(store, err);
}

int cdi_ensure_mount_source(const char *host_path, struct error *err)
{
        __attribute__((cleanup(cleanup_close))) int fd = -1;
        int r;

        r = file_open_directory(host_path, 0755, &fd, err);
        if (r < 0)
                error_prefix(err, "the directory that VMs mount is not there");
        return r;
}
