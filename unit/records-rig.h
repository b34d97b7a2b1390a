/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A state directory and a driver that starts on its records, again and again; the system calls that
 * a record passes through, ours to break. One test program each: all is static.
 */
#pragma once

#pragma GCC diagnostic ignored "-Wunused-function"

#include "claims/record.h"
#include "claims/records.h"

#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"
#include "ledger.h"
#include "unit/suite.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#define BOOT "b7ad2f1e-8c2e-4a9e-9f57-0d6a3c1f4e55"

/* ---- the system calls that a record passes through, ours to break ---- */

static int n_calls_to_live = -1; /* at 0 SIGKILL replaces the next one; -1: never */
static int fsync_errno;          /* result of the next fsync() of a directory */
static int n_directory_syncs;

static const char *unreadable;             /* opening a file of this name fails */
static int unreadable_errno, n_unreadable; /* with this errno, this many times */

int openat(int fd, const char *name, int flags, ...)
{
        va_list args;
        mode_t mode;

        va_start(args, flags);
        mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
        va_end(args);
        if (n_unreadable && unreadable && strcmp(name, unreadable) == 0) {
                --n_unreadable;
                errno = unreadable_errno;
                return -1;
        }
        return (int)syscall(SYS_openat, fd, name, flags, mode);
}

static void count_down(void)
{
        if (n_calls_to_live == 0)
                kill(getpid(), SIGKILL);
        if (n_calls_to_live > 0)
                --n_calls_to_live;
}

ssize_t write(int fd, const void *bytes, size_t n)
{
        count_down();
        return syscall(SYS_write, fd, bytes, n);
}

int fsync(int fd)
{
        struct stat file;

        count_down();
        if (fstat(fd, &file) == 0 && S_ISDIR(file.st_mode)) {
                ++n_directory_syncs;
                if (fsync_errno) {
                        errno = fsync_errno;
                        return -1;
                }
        }
        return (int)syscall(SYS_fsync, fd);
}

int renameat(int old_fd, const char *old_name, int new_fd, const char *new_name)
{
        count_down();
        return (int)syscall(SYS_renameat2, old_fd, old_name, new_fd, new_name, 0);
}

int linkat(int old_fd, const char *old_name, int new_fd, const char *new_name, int flags)
{
        count_down();
        return (int)syscall(SYS_linkat, old_fd, old_name, new_fd, new_name, flags);
}

int unlinkat(int fd, const char *name, int flags)
{
        count_down();
        return (int)syscall(SYS_unlinkat, fd, name, flags);
}

/* ---- a state directory and a driver that starts on it, again and again ---- */

static char state[64];
static uv_loop_t loop;
static struct records *records;
static struct ledger *ledger;
static char damaged[256]; /* "<uid> <uid> ": the records that the last load rejected */
static struct error damage;

static void enter(void)
{
        snprintf(state, sizeof(state), "/tmp/test-records.XXXXXX");
        ck_assert_ptr_nonnull(mkdtemp(state));
}

static int remove_one(const char *path, const struct stat *file, int type, struct FTW *place)
{
        return remove(path);
}

static void leave(void)
{
        ck_assert_int_eq(nftw(state, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static void on_damaged(void *owner, const char *uid, const struct error *reason)
{
        size_t n = strlen(damaged);

        ck_assert_ptr_eq(owner, damaged);
        ck_assert_int_lt(reason->code, 0);
        snprintf(damaged + n, sizeof(damaged) - n, "%s ", uid);
        damage = *reason;
}

static void start(void)
{
        struct error error = ERROR_NULL;

        ck_assert_int_eq(uv_loop_init(&loop), 0);
        ledger = ledger_new();
        damaged[0] = '\0';
        ck_assert_msg(records_open(&loop, state, true, &records, &error) == 0, "%s", error.text);
        ck_assert_msg(records_load(records, ledger, BOOT, on_damaged, damaged, &error) == 0, "%s",
                      error.text);
}

static void stop(void)
{
        uv_run(&loop, UV_RUN_DEFAULT);
        records_free(records);
        ledger_free(ledger);
        ck_assert_int_eq(uv_loop_close(&loop), 0);
}

static void restart(void)
{
        stop();
        start();
}

static void write_file(const char *name, const void *bytes, size_t n)
{
        _cleanup_(close) int fd = open(state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        fd = openat(take_fd(&fd), name, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(write(fd, bytes, n), (ssize_t)n);
}

static unsigned count_entries(const char *below)
{
        _cleanup_(free) char *path = xasprintf("%s/%s", state, below);
        DIR *stream = opendir(path);
        unsigned n = 0;

        if (!stream)
                return 0;
        while (readdir(stream))
                ++n;
        closedir(stream);
        return n - 2;
}

static struct ledger_claim *make_claim(const char *uid, size_t n, uint32_t first_slot)
{
        struct ledger_claim *claim = ledger_claim_new(uid, "default", "a-claim", n);

        claim->boot_id = xstrdup("b7ad2f1e-8c2e-4a9e-9f57-0d6a3c1f4e55");
        for (size_t i = 0; i < n; ++i)
                claim->devices[i] = (struct ledger_device){ .request = xstrdup("td"),
                                                            .pool = xstrdup("node-1.example"),
                                                            .device = xasprintf("tdx%zu", i),
                                                            .slot = first_slot + (uint32_t)i };
        return claim;
}

/* ---- writing ---- */

struct told {
        int n;
        int order[64];
        struct error error; /* the latest */
};

struct asked {
        struct told *told;
        int number;
};

static void on_done(void *owner, const struct error *error)
{
        struct asked *asked = owner;

        asked->told->order[asked->told->n++] = asked->number;
        asked->told->error = *error;
        ck_assert(!records_is_idle(records));
}

static void save(const char *uid, uint32_t slot, struct asked *asked)
{
        _cleanup_(ledger_claim) struct ledger_claim *claim = make_claim(uid, 1, slot);

        records_save(records, claim, on_done, asked);
}

/* Carries out one order to its end. Returns its code. */
static int save_now(const char *uid, uint32_t slot, struct error *ret_error)
{
        struct told told = { 0 };
        struct asked asked = { &told, 0 };

        save(uid, slot, &asked);
        uv_run(&loop, UV_RUN_DEFAULT);
        ck_assert_int_eq(told.n, 1);
        if (ret_error)
                *ret_error = told.error;
        return told.error.code;
}

static int remove_now(const char *uid, struct error *ret_error)
{
        struct told told = { 0 };
        struct asked asked = { &told, 0 };

        records_remove(records, uid, on_done, &asked);
        uv_run(&loop, UV_RUN_DEFAULT);
        ck_assert_int_eq(told.n, 1);
        if (ret_error)
                *ret_error = told.error;
        return told.error.code;
}

/* The slot that the ledger has for the claim; -1: not held; -2: uncertain. */
static int64_t slot_of(const char *uid)
{
        const struct ledger_claim *claim = ledger_find(ledger, uid);

        return !claim ? -1 : claim->is_uncertain ? -2 : (int64_t)claim->devices[0].slot;
}
