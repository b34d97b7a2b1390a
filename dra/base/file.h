/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small files: read whole with a bound, replaced so that a reader or a crash finds either the old
 * or the new content, or made longer.
 *
 * Functions take a directory descriptor as openat(2) does (AT_FDCWD is fine) and return 0 or -errno
 * with the file's name in err.
 */
#pragma once

#include <stddef.h>
#include <sys/types.h>

struct error;

/* Read a whole file of at most max bytes: *ret_bytes is the caller's and NUL-terminated after
 * *ret_n bytes. -EFBIG where there is more. Works on pseudo files that report no size, and never
 * blocks on a FIFO. */
int file_read(int dir_fd, const char *path, size_t max, char **ret_bytes, size_t *ret_n,
              struct error *err);

/* As file_read(), of a regular file that lies under path itself: -EBADMSG for a link (never
 * followed), FIFO, socket, device or directory. */
int file_read_regular(int dir_fd, const char *path, size_t max, char **ret_bytes, size_t *ret_n,
                      struct error *err);

enum file_sync {
        FILE_UNSYNCED, /* on tmpfs, or where a crash may lose it */
        FILE_SYNCED /* the file is synced before the rename; the directory is the caller's to sync
                     */
};

/* Write n bytes to a temporary name in the same directory (".<name>.<random>.tmp"), then rename it
 * over name. On failure nothing is left behind. */
int file_replace(int dir_fd, const char *name, const void *bytes, size_t n, mode_t mode,
                 enum file_sync sync, struct error *err);

/* Add n bytes, few, to the end of a file that is there. After a failure some of them may be. */
int file_append(int dir_fd, const char *path, const void *bytes, size_t n, struct error *err);

/* Remove what file_replace() may have left in a directory when it was killed: every ".*.tmp". */
void file_sweep_temporaries(int dir_fd);

/* mkdir -p with mode for what is missing, then open the directory (O_DIRECTORY|O_CLOEXEC). *ret_fd
 * is the caller's. */
int file_open_directory(const char *path, mode_t mode, int *ret_fd, struct error *err);
