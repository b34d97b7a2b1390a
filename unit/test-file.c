/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"
#include "unit/suite.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

static char directory[64];
static int directory_fd;

static void enter(void)
{
        strcpy(directory, "/tmp/test-file.XXXXXX");
        ck_assert_ptr_nonnull(mkdtemp(directory));
        directory_fd = open(directory, O_RDONLY | O_DIRECTORY);
}

static void leave(void)
{
        const struct dirent *entry;
        DIR *stream = opendir(directory);

        while ((entry = readdir(stream)))
                unlinkat(directory_fd, entry->d_name, 0);
        closedir(stream);
        close(directory_fd);
        ck_assert_int_eq(rmdir(directory), 0);
}

static unsigned count_entries(void)
{
        DIR *stream = opendir(directory);
        unsigned n = 0;

        while (readdir(stream))
                ++n;
        closedir(stream);
        return n - 2;
}

START_TEST(what_was_written_is_read_back)
{
        _cleanup_(free) char *bytes = NULL;
        struct error error = ERROR_NULL;
        struct stat file;
        size_t n = 0;

        enter();
        ck_assert_int_eq(file_replace(directory_fd, "a", "old", 3, 0600, FILE_SYNCED, &error), 0);
        ck_assert_int_eq(file_replace(directory_fd, "a", "ne\0w", 4, 0644, FILE_SYNCED, &error), 0);

        ck_assert_int_eq(file_read(directory_fd, "a", 4, &bytes, &n, &error), 0);
        ck_assert_uint_eq(n, 4);
        ck_assert_mem_eq(bytes, "ne\0w", 5);
        ck_assert_int_eq(fstatat(directory_fd, "a", &file, 0), 0);
        ck_assert_uint_eq(file.st_mode & 07777, 0644);
        ck_assert_uint_eq(count_entries(), 1);
        leave();
}
END_TEST

START_TEST(a_file_beyond_the_bound_is_an_error_that_names_it)
{
        struct error error = ERROR_NULL;
        char *bytes = NULL;
        size_t n = 0;

        enter();
        file_replace(directory_fd, "big", "12345", 5, 0600, FILE_UNSYNCED, NULL);

        ck_assert_int_eq(file_read(directory_fd, "big", 4, &bytes, &n, &error), -EFBIG);
        ck_assert_ptr_nonnull(strstr(error.text, "big"));
        ck_assert_ptr_null(bytes);
        ck_assert_int_eq(file_read(directory_fd, "none", 4, &bytes, &n, &error), -ENOENT);
        ck_assert_int_eq(file_read(AT_FDCWD, directory, 4, &bytes, &n, &error), -EISDIR);
        leave();
}
END_TEST

START_TEST(a_fifo_does_not_block_the_reader)
{
        struct error error = ERROR_NULL;
        char *bytes = NULL;
        size_t n = 1;

        enter();
        ck_assert_int_eq(mkfifoat(directory_fd, "fifo", 0600), 0);

        ck_assert_int_eq(file_read(directory_fd, "fifo", 4, &bytes, &n, &error), 0);
        ck_assert_uint_eq(n, 0);
        free(bytes);
        leave();
}
END_TEST

START_TEST(a_failed_replacement_leaves_the_old_file_and_nothing_else)
{
        struct error error = ERROR_NULL;

        enter();
        mkdirat(directory_fd, "squatter", 0700);
        ck_assert_int_lt(file_replace(directory_fd, "squatter", "x", 1, 0600, FILE_SYNCED, &error),
                         0);
        ck_assert_ptr_nonnull(strstr(error.text, "squatter"));
        ck_assert_uint_eq(count_entries(), 1);
        unlinkat(directory_fd, "squatter", AT_REMOVEDIR);
        leave();
}
END_TEST

START_TEST(left_over_temporaries_are_swept_and_others_stay)
{
        enter();
        file_replace(directory_fd, ".a.0123.tmp", "", 0, 0600, FILE_UNSYNCED, NULL);
        file_replace(directory_fd, "keep.tmp", "", 0, 0600, FILE_UNSYNCED, NULL);
        file_replace(directory_fd, ".hidden", "", 0, 0600, FILE_UNSYNCED, NULL);

        file_sweep_temporaries(directory_fd);

        ck_assert_uint_eq(count_entries(), 2);
        leave();
}
END_TEST

START_TEST(directories_are_made_along_the_path)
{
        _cleanup_(free) char *path = NULL;
        struct error error = ERROR_NULL;
        int fd = -1;

        enter();
        path = xasprintf("%s/x/y", directory);
        ck_assert_int_eq(file_open_directory(path, 0700, &fd, &error), 0);
        close(fd);
        ck_assert_int_eq(file_open_directory(path, 0700, &fd, &error), 0);
        close(fd);
        ck_assert_int_eq(rmdir(path), 0);
        *strrchr(path, '/') = '\0';
        ck_assert_int_eq(rmdir(path), 0);
        file_replace(directory_fd, "plain", "", 0, 0600, FILE_UNSYNCED, NULL);
        free(path);
        path = xasprintf("%s/plain/y", directory);
        ck_assert_int_eq(file_open_directory(path, 0700, &fd, &error), -ENOTDIR);
        leave();
}
END_TEST

SUITE("file", what_was_written_is_read_back, a_file_beyond_the_bound_is_an_error_that_names_it,
      a_fifo_does_not_block_the_reader, a_failed_replacement_leaves_the_old_file_and_nothing_else,
      left_over_temporaries_are_swept_and_others_stay, directories_are_made_along_the_path);
