/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#define CHUNK 4096

static int read_all(int fd, const char *path, size_t max, char **ret_bytes, size_t *ret_n,
                    struct error *err)
{
        _cleanup_(text) struct text content = TEXT_NULL;

        for (;;) {
                char chunk[CHUNK];
                ssize_t n = read(fd, chunk, sizeof(chunk));

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return error_errno(err, -errno, "cannot read %s", path);
                if (!n)
                        break;
                if ((size_t)n > max - content.n)
                        return error_set(err, -EFBIG,
                                         "%s is larger than the %zu bytes that are read", path,
                                         max);
                text_add_bytes(&content, chunk, (size_t)n);
        }
        *ret_n = content.n;
        *ret_bytes = text_take(&content);
        return 0;
}

int file_read(int dir_fd, const char *path, size_t max, char **ret_bytes, size_t *ret_n,
              struct error *err)
{
        _cleanup_(close) int fd = -1;

        fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        if (fd < 0)
                return error_errno(err, -errno, "cannot open %s", path);
        return read_all(fd, path, max, ret_bytes, ret_n, err);
}

static int check_regular(const struct stat *file, const char *path, struct error *err)
{
        if (S_ISREG(file->st_mode))
                return 0;
        return error_set(err, -EBADMSG, "%s is a %s, not a regular file", path,
                         S_ISLNK(file->st_mode)    ? "link"
                         : S_ISDIR(file->st_mode)  ? "directory"
                         : S_ISFIFO(file->st_mode) ? "FIFO"
                         : S_ISSOCK(file->st_mode) ? "socket"
                                                   : "device");
}

int file_read_regular(int dir_fd, const char *path, size_t max, char **ret_bytes, size_t *ret_n,
                      struct error *err)
{
        _cleanup_(close) int fd = -1;
        struct stat file;
        int r;

        /* Check before opening, because opening a device has side effects. */
        if (fstatat(dir_fd, path, &file, AT_SYMLINK_NOFOLLOW) < 0)
                return error_errno(err, -errno, "cannot look at %s", path);
        r = check_regular(&file, path, err);
        if (r < 0)
                return r;
        fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW);
        if (fd < 0)
                return error_errno(err, -errno, "cannot open %s", path);
        if (fstat(fd, &file) < 0)
                return error_errno(err, -errno, "cannot look at %s", path);
        r = check_regular(&file, path, err);
        return r < 0 ? r : read_all(fd, path, max, ret_bytes, ret_n, err);
}

static int write_all(int fd, const char *bytes, size_t n)
{
        while (n) {
                ssize_t written = write(fd, bytes, n);

                if (written < 0 && errno == EINTR)
                        continue;
                if (written < 0)
                        return -errno;
                bytes += written;
                n -= (size_t)written;
        }
        return 0;
}

static int fill_temporary(int dir_fd, const char *temporary, const void *bytes, size_t n,
                          mode_t mode, enum file_sync sync)
{
        _cleanup_(close) int fd = -1;
        int r;

        fd = openat(dir_fd, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
                return -errno;
        r = write_all(fd, bytes, n);
        /* fchmod() rather than open()'s mode, which the umask would trim. */
        if (!r && fchmod(fd, mode) < 0)
                r = -errno;
        if (!r && sync == FILE_SYNCED && fsync(fd) < 0)
                r = -errno;
        /* Network and quota file systems may report a failed write only at close. */
        if (close(take_fd(&fd)) < 0 && !r)
                r = -errno;
        return r;
}

int file_replace(int dir_fd, const char *name, const void *bytes, size_t n, mode_t mode,
                 enum file_sync sync, struct error *err)
{
        _cleanup_(free) char *temporary = NULL;
        uint64_t tag = 0;
        int r;

        if (getrandom(&tag, sizeof(tag), 0) != sizeof(tag))
                return error_errno(err, -errno, "cannot get random bytes");
        temporary = xasprintf(".%s.%016llx.tmp", name, (unsigned long long)tag);
        r = fill_temporary(dir_fd, temporary, bytes, n, mode, sync);
        if (!r && renameat(dir_fd, temporary, dir_fd, name) < 0)
                r = -errno;
        if (r < 0) {
                (void)unlinkat(dir_fd, temporary, 0);
                return error_errno(err, r, "cannot write %s", name);
        }
        return 0;
}

int file_append(int dir_fd, const char *path, const void *bytes, size_t n, struct error *err)
{
        _cleanup_(close) int fd = -1;
        int r;

        fd = openat(dir_fd, path, O_WRONLY | O_APPEND | O_NOFOLLOW | O_CLOEXEC);
        r = fd < 0 ? -errno : write_all(fd, bytes, n);
        return r < 0 ? error_errno(err, r, "cannot write %s", path) : 0;
}

static bool is_temporary(const char *name)
{
        size_t n = strlen(name);

        return name[0] == '.' && n > 5 && strcmp(name + n - 4, ".tmp") == 0;
}

void file_sweep_temporaries(int dir_fd)
{
        int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        const struct dirent *entry;
        DIR *directory;

        if (fd < 0)
                return;
        directory = fdopendir(fd);
        if (!directory) {
                close(fd);
                return;
        }
        while ((entry = readdir(directory)))
                if (is_temporary(entry->d_name))
                        (void)unlinkat(dir_fd, entry->d_name, 0);
        closedir(directory);
}

int file_open_directory(const char *path, mode_t mode, int *ret_fd, struct error *err)
{
        _cleanup_(free) char *partial = xstrdup(path);
        int fd;

        for (char *slash = partial + 1; *partial && (slash = strchr(slash, '/')); ++slash) {
                *slash = '\0';
                if (mkdir(partial, mode) < 0 && errno != EEXIST)
                        return error_errno(err, -errno, "cannot create directory %s", partial);
                *slash = '/';
        }
        if (mkdir(path, mode) < 0 && errno != EEXIST)
                return error_errno(err, -errno, "cannot create directory %s", path);
        fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return error_errno(err, -errno, "cannot open directory %s", path);
        *ret_fd = fd;
        return 0;
}

char *file_directory_of(const char *path)
{
        return xstrndup(path, (size_t)(strrchr(path, '/') - path));
}

bool file_is_same(const struct stat *a, const struct stat *b)
{
        return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

bool file_is_unchanged(const struct stat *a, const struct stat *b)
{
        return file_is_same(a, b) && a->st_size == b->st_size &&
               a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

const char *file_remedy(int r, const char *read_only, const char *denied)
{
        switch (r) {
        case -ENOSPC:
        case -EDQUOT:
                return "; free space there";
        case -EROFS:
                return read_only;
        case -EACCES:
        case -EPERM:
                return denied;
        case -EISDIR:
        case -ENOTEMPTY:
        case -EEXIST:
                return "; something else has that name: remove it";
        case -ENOTDIR:
                return "; a file is where a directory should be: remove it";
        default:
                return "";
        }
}
