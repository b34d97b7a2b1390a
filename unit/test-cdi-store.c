/* SPDX-License-Identifier: Apache-2.0 */
#include "cdi/store.h"

#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"
#include "cdi/spec.h"
#include "unit/suite.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

static char directory[64]; /* of the test */
static char *cdi;          /* below it: the runtime's */
static char *spec;
static struct cdi_store *store;

static void enter(void)
{
        snprintf(directory, sizeof(directory), "/tmp/test-cdi-store.XXXXXX");
        ck_assert_ptr_nonnull(mkdtemp(directory));
        cdi = xasprintf("%s/run/cdi", directory);
        spec = xasprintf("%s/" CDI_SPEC_FILE, cdi);
        store = cdi_store_new(cdi);
}

static int remove_one(const char *path, const struct stat *file, int type, struct FTW *place)
{
        return remove(path);
}

static void remove_tree(const char *path)
{
        ck_assert_int_eq(nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static void leave(void)
{
        cdi_store_free(store);
        free(cdi);
        free(spec);
        remove_tree(directory);
}

static int set(const char *bytes, struct error *error)
{
        return cdi_store_set(store, bytes, strlen(bytes), error);
}

static void ck_assert_spec(const char *wanted)
{
        _cleanup_(free) char *bytes = NULL;
        struct error error = ERROR_NULL;
        size_t n = 0;

        ck_assert_msg(file_read(AT_FDCWD, spec, 4096, &bytes, &n, &error) == 0, "%s", error.text);
        ck_assert_str_eq(bytes, wanted);
}

static void overwrite(const char *bytes, int flags)
{
        int fd = open(spec, O_WRONLY | O_CLOEXEC | flags);

        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(pwrite(fd, bytes, strlen(bytes), 0), (ssize_t)strlen(bytes));
        close(fd);
}

static unsigned count_entries(void)
{
        DIR *stream = opendir(cdi);
        unsigned n = 0;

        while (readdir(stream))
                ++n;
        closedir(stream);
        return n - 2;
}

/* Gives the file the looks of one that was written long ago: the store then goes by its stat. */
static void age(void)
{
        const struct timespec old[2] = { { .tv_sec = 1000 }, { .tv_sec = 1000 } };
        struct stat file;

        ck_assert_int_eq(utimensat(AT_FDCWD, spec, old, 0), 0);
        ck_assert_int_eq(stat(spec, &file), 0);
        ck_assert_int_eq(file.st_mtim.tv_sec, 1000);
}

START_TEST(what_is_set_is_written_once_and_readable_to_all)
{
        struct error error = ERROR_NULL;
        struct stat first, second;
        mode_t old_mask;

        enter();
        old_mask = umask(077);
        ck_assert_int_eq(set("one", &error), CDI_STORE_WRITTEN);
        umask(old_mask);
        ck_assert_spec("one");
        ck_assert_int_eq(stat(spec, &first), 0);
        ck_assert_uint_eq(first.st_mode & 07777, 0644);
        ck_assert_uint_eq(count_entries(), 1);

        ck_assert_int_eq(cdi_store_verify(store, &error), 0);
        ck_assert_int_eq(set("one", &error), 0);
        ck_assert_int_eq(stat(spec, &second), 0);
        ck_assert_uint_eq(first.st_ino, second.st_ino);
        ck_assert_int_eq(set("two", &error), CDI_STORE_WRITTEN);
        ck_assert_spec("two");
        leave();
}
END_TEST

START_TEST(a_restart_leaves_a_right_file_alone)
{
        struct error error = ERROR_NULL;
        struct stat first, second;

        enter();
        set("one", &error);
        ck_assert_int_eq(stat(spec, &first), 0);
        cdi_store_free(store);
        store = cdi_store_new(cdi);

        ck_assert_int_eq(set("one", &error), 0);
        ck_assert_int_eq(stat(spec, &second), 0);
        ck_assert_uint_eq(first.st_ino, second.st_ino);
        leave();
}
END_TEST

static void delete_it(void)
{
        ck_assert_int_eq(unlink(spec), 0);
}

static void delete_the_directory(void)
{
        remove_tree(cdi);
}

static void recreate_the_directory(void)
{
        remove_tree(cdi);
        ck_assert_int_eq(mkdir(cdi, 0755), 0);
}

static void truncate_it(void)
{
        ck_assert_int_eq(truncate(spec, 1), 0);
}

static void append_to_it(void)
{
        overwrite("wanted and more", 0);
}

static void change_a_byte(void)
{
        overwrite("wanteD", 0);
}

static void replace_it(void)
{
        _cleanup_(close) int fd = open(cdi, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        ck_assert_int_eq(file_replace(fd, CDI_SPEC_FILE, "theirs", 6, 0644, FILE_UNSYNCED, NULL),
                         0);
}

static void put_an_empty_directory_there(void)
{
        delete_it();
        ck_assert_int_eq(mkdir(spec, 0755), 0);
}

static void put_a_fifo_there(void)
{
        delete_it();
        ck_assert_int_eq(mkfifo(spec, 0644), 0);
}

static void put_a_dangling_link_there(void)
{
        delete_it();
        ck_assert_int_eq(symlink("/nowhere/at/all", spec), 0);
}

START_TEST(whatever_is_done_to_the_file_it_comes_back)
{
        static void (*const deeds[])(void) = { delete_it,
                                               delete_the_directory,
                                               recreate_the_directory,
                                               truncate_it,
                                               append_to_it,
                                               change_a_byte,
                                               replace_it,
                                               put_an_empty_directory_there,
                                               put_a_fifo_there,
                                               put_a_dangling_link_there };
        struct error error = ERROR_NULL;

        enter();
        for (size_t i = 0; i < 2 * array_size(deeds); ++i) {
                set("wanted", &error);
                ck_assert_int_eq(cdi_store_verify(store, &error), 0);
                if (i % 2)
                        age();

                deeds[i / 2]();
                ck_assert_msg(cdi_store_verify(store, &error) == CDI_STORE_WRITTEN, "deed %zu: %s",
                              i / 2, error.text);
                ck_assert_spec("wanted");
                ck_assert_int_eq(cdi_store_verify(store, &error), 0);
        }
        leave();
}
END_TEST

static int64_t ms_since_change(void)
{
        struct timespec now;
        struct stat file;

        ck_assert_int_eq(stat(spec, &file), 0);
        clock_gettime(CLOCK_REALTIME_COARSE, &now);
        return (int64_t)(now.tv_sec - file.st_ctim.tv_sec) * 1000 +
               (now.tv_nsec - file.st_ctim.tv_nsec) / 1000000;
}

START_TEST(a_file_at_rest_is_verified_without_reading_it)
{
        static void (*const deeds[])(void) = { change_a_byte, replace_it };
        size_t n = 4 << 20;
        _cleanup_(free) char *bytes = xcalloc(n, 1);
        struct timespec before, after;
        struct error error = ERROR_NULL;

        enter();
        for (size_t i = 0; i < array_size(deeds); ++i) {
                cdi_store_set(store, bytes, n, &error);
                while (ms_since_change() <= 150)
                        sched_yield();
                ck_assert_int_eq(cdi_store_verify(store, &error), 0);
                clock_gettime(CLOCK_THREAD_CPUTIME_ID, &before);
                for (int j = 0; j < 100; ++j)
                        ck_assert_int_eq(cdi_store_verify(store, &error), 0);
                clock_gettime(CLOCK_THREAD_CPUTIME_ID, &after);
                /* To read it takes a millisecond or more each time. */
                ck_assert_int_lt((after.tv_sec - before.tv_sec) * 1000 +
                                         (after.tv_nsec - before.tv_nsec) / 1000000,
                                 30);

                deeds[i]();
                ck_assert_int_eq(cdi_store_verify(store, &error), CDI_STORE_WRITTEN);
        }
        leave();
}
END_TEST

START_TEST(a_touched_file_is_not_written_again)
{
        struct error error = ERROR_NULL;

        enter();
        set("wanted", &error);
        age();

        ck_assert_int_eq(cdi_store_verify(store, &error), 0);
        overwrite("wanted", 0);
        ck_assert_int_eq(cdi_store_verify(store, &error), 0);
        leave();
}
END_TEST

START_TEST(no_bytes_mean_no_file)
{
        struct error error = ERROR_NULL;

        enter();
        ck_assert_int_eq(cdi_store_set(store, NULL, 0, &error), 0);
        set("one", &error);

        ck_assert_int_eq(cdi_store_set(store, NULL, 0, &error), CDI_STORE_WRITTEN);
        ck_assert_int_eq(access(spec, F_OK), -1);
        ck_assert_int_eq(cdi_store_verify(store, &error), 0);
        replace_it();
        ck_assert_int_eq(cdi_store_verify(store, &error), CDI_STORE_WRITTEN);
        ck_assert_int_eq(access(spec, F_OK), -1);
        leave();
}
END_TEST

START_TEST(a_full_directory_in_the_files_place_is_an_error_and_stays)
{
        _cleanup_(free) char *inside = NULL;
        struct error error = ERROR_NULL;

        enter();
        inside = xasprintf("%s/precious", spec);
        ck_assert_int_eq(cdi_ensure_mount_source(inside, inside, &error), 0);

        ck_assert_int_lt(set("one", &error), 0);
        ck_assert_ptr_nonnull(strstr(error.text, spec));
        ck_assert_ptr_nonnull(strstr(error.text, "remove it"));
        ck_assert_int_eq(access(inside, F_OK), 0);
        ck_assert_uint_eq(count_entries(), 1);
        remove_tree(spec);
        ck_assert_int_eq(cdi_store_verify(store, &error), CDI_STORE_WRITTEN);
        leave();
}
END_TEST

START_TEST(only_our_own_temporaries_are_swept)
{
        static const char *const names[] = { "." CDI_SPEC_FILE ".0123456789abcdef.tmp",
                                             ".nvidia.com-gpu.json.1.tmp" };
        struct error error = ERROR_NULL;

        enter();
        ck_assert_int_eq(cdi_ensure_mount_source(cdi, cdi, &error), 0);
        for (size_t i = 0; i < array_size(names); ++i) {
                _cleanup_(free) char *path = xasprintf("%s/%s", cdi, names[i]);

                ck_assert_int_eq(mknod(path, S_IFREG | 0600, 0), 0);
        }

        set("one", &error);

        ck_assert_uint_eq(count_entries(), 2);
        leave();
}
END_TEST

/* Runs the test body as nobody, since root may write everywhere. Skipped (true) where that is not
 * possible. */
static bool as_nobody(void (*body)(void))
{
        pid_t child = fork();
        int status;

        if (!child) {
                if (setgid(65534) < 0 || setuid(65534) < 0)
                        _exit(77);
                body();
                _exit(0);
        }
        ck_assert_int_eq(waitpid(child, &status, 0), child);
        ck_assert(WIFEXITED(status));
        return WEXITSTATUS(status) == 77;
}

static void fail_to_write(void)
{
        struct error error = ERROR_NULL;

        if (set("one", &error) != -EACCES || !strstr(error.text, spec) ||
            !strstr(error.text, "--cdi-dir"))
                abort();
}

START_TEST(an_unwritable_directory_is_named_with_the_remedy)
{
        struct error error = ERROR_NULL;

        enter();
        ck_assert_int_eq(chmod(directory, 0755), 0);
        ck_assert_int_eq(cdi_ensure_mount_source(cdi, cdi, &error), 0);
        if (geteuid())
                ck_assert_int_eq(chmod(cdi, 0555), 0);

        if (geteuid())
                fail_to_write();
        else if (as_nobody(fail_to_write))
                fputs("# skipped: cannot become nobody\n", stderr);
        leave();
}
END_TEST

START_TEST(a_file_where_the_directory_should_be_is_an_error)
{
        _cleanup_(free) char *run = NULL;
        struct error error = ERROR_NULL;

        enter();
        run = xasprintf("%s/run", directory);
        ck_assert_int_eq(mknod(run, S_IFREG | 0600, 0), 0);

        ck_assert_int_eq(set("one", &error), -ENOTDIR);
        ck_assert_ptr_nonnull(strstr(error.text, spec));
        leave();
}
END_TEST

START_TEST(a_mount_source_is_made_once_and_searchable_to_all)
{
        _cleanup_(free) char *source = NULL, *above = NULL;
        struct error error = ERROR_NULL;
        struct stat file;
        mode_t old_mask;

        enter();
        above = xasprintf("%s/tdx", directory);
        source = xasprintf("%s/qgs", above);
        old_mask = umask(077);
        ck_assert_int_eq(cdi_ensure_mount_source(source, source, &error), 0);
        umask(old_mask);

        ck_assert_int_eq(stat(above, &file), 0);
        ck_assert_uint_eq(file.st_mode & 07777, 0755);
        ck_assert_int_eq(stat(source, &file), 0);
        ck_assert_uint_eq(file.st_mode & 07777, 0755);
        ck_assert_int_eq(chmod(source, 0711), 0);
        ck_assert_int_eq(cdi_ensure_mount_source(source, source, &error), 0);
        ck_assert_int_eq(stat(source, &file), 0);
        ck_assert_uint_eq(file.st_mode & 07777,
                          0711); /* an existing directory keeps the mode that its creator chose */
        leave();
}
END_TEST

START_TEST(a_mount_source_that_is_not_a_directory_is_named)
{
        _cleanup_(free) char *source = NULL, *below = NULL, *link = NULL;
        struct error error = ERROR_NULL;

        enter();
        source = xasprintf("%s/qgs", directory);
        below = xasprintf("%s/further", source);
        link = xasprintf("%s/link", directory);
        ck_assert_int_eq(mknod(source, S_IFSOCK | 0600, 0), 0);
        ck_assert_int_eq(symlink("/nowhere/at/all", link), 0);

        ck_assert_int_eq(cdi_ensure_mount_source(source, source, &error), -ENOTDIR);
        ck_assert_ptr_nonnull(strstr(error.text, source));
        ck_assert_ptr_nonnull(strstr(error.text, "is not a directory"));
        ck_assert_int_eq(cdi_ensure_mount_source(below, below, &error), -ENOTDIR);
        ck_assert_ptr_nonnull(strstr(error.text, below));
        ck_assert_int_eq(cdi_ensure_mount_source(link, link, &error), -ENOENT);
        leave();
}
END_TEST

/* /sys takes no directories, not even from root, and is read-only in a container. */
START_TEST(the_error_for_a_mount_source_that_cannot_be_created_has_a_specific_remedy)
{
        struct error error = ERROR_NULL;

        ck_assert_int_lt(cdi_ensure_mount_source("/sys/tdx-qgs", "/sys/tdx-qgs", &error), 0);
        ck_assert_ptr_nonnull(strstr(error.text, "the directory /sys/tdx-qgs, which VMs mount"));
        ck_assert_ptr_nonnull(strstr(error.text, "--qgs-socket"));
        ck_assert_ptr_null(strstr(error.text, "--cdi-dir"));
}
END_TEST

SUITE("cdi-store", what_is_set_is_written_once_and_readable_to_all,
      a_restart_leaves_a_right_file_alone, whatever_is_done_to_the_file_it_comes_back,
      a_file_at_rest_is_verified_without_reading_it, a_touched_file_is_not_written_again,
      no_bytes_mean_no_file, a_full_directory_in_the_files_place_is_an_error_and_stays,
      only_our_own_temporaries_are_swept, an_unwritable_directory_is_named_with_the_remedy,
      a_file_where_the_directory_should_be_is_an_error,
      a_mount_source_is_made_once_and_searchable_to_all,
      a_mount_source_that_is_not_a_directory_is_named,
      the_error_for_a_mount_source_that_cannot_be_created_has_a_specific_remedy);
