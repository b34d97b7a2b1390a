/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small files: read whole with a size limit, append to, or replace so that a reader or a crash
 * finds either the old or the new content.
 *
 * Functions take a directory descriptor as openat(2) does (AT_FDCWD is fine) and return 0 or -errno
 * with the file's name in err.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct error;
struct stat;

/* Read a whole file of at most max bytes: *ret_bytes is the caller's and NUL-terminated after
 * *ret_n bytes. -EFBIG if there is more. Works on pseudo files that report no size, and never
 * blocks on a FIFO. */
int file_read(int dir_fd, const char *path, size_t max, char **ret_bytes, size_t *ret_n,
              struct error *err);

/* As file_read(), but only if path itself is a regular file: -EBADMSG for a link (never followed),
 * FIFO, socket, device or directory. */
int file_read_regular(int dir_fd, const char *path, size_t max, char **ret_bytes, size_t *ret_n,
                      struct error *err);

enum file_sync {
        FILE_UNSYNCED, /* for tmpfs, or if a crash may lose the file */
        FILE_SYNCED    /* sync the file before the rename; the caller syncs the directory */
};

/* Write n bytes to a temporary name in the same directory (".<name>.<random>.tmp"), then rename it
 * over name. On failure nothing is left behind. */
int file_replace(int dir_fd, const char *name, const void *bytes, size_t n, mode_t mode,
                 enum file_sync sync, struct error *err);

/* Append n bytes (few) to an existing file. After a failure some of them may be in it. */
int file_append(int dir_fd, const char *path, const void *bytes, size_t n, struct error *err);

/* Remove what file_replace() may have left in a directory when it was killed: every ".*.tmp". */
void file_sweep_temporaries(int dir_fd);

/* mkdir -p, with mode for the directories that are missing, then open the last one
 * (O_DIRECTORY|O_CLOEXEC). *ret_fd is the caller's. */
int file_open_directory(const char *path, mode_t mode, int *ret_fd, struct error *err);

/* The directory of a path that has a slash: "/run/a" for "/run/a/b", "" for "/a". The caller's. */
char *file_directory_of(const char *path);

/* One file, by device and inode. */
bool file_is_same(const struct stat *a, const struct stat *b);
/* The same, and by its size and mtime not written to between the two. */
bool file_is_unchanged(const struct stat *a, const struct stat *b);

/* What to do about -errno of a write, to be put after strerror()'s words: "; free space there", or
 * "". read_only and denied: the same for -EROFS, and for -EACCES and -EPERM. */
const char *file_remedy(int r, const char *read_only, const char *denied);
