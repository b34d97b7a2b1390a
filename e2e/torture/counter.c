/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counts the C library's calls that touch the outside, over all threads, and breaks one of them, by
 * LD_PRELOAD. Raw system calls and the dynamic loader's are not seen; nor are reads from sockets
 * and event descriptors, whose number depends on timing.
 *
 * TORTURE_CONTROL names a file of struct control, which e2e/torture/run maps, too: it arms the
 * counter, and reads what was called.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define N_CALLS 4096

enum fault { NO_FAULT, KILL_BEFORE, KILL_AFTER, FAIL, HALF, SKIP };

struct call {
        char name[16];
        char path[112]; /* what it is about, as far as that is known */
};

/* Little-endian, no holes; e2e/torture/run has the same layout. */
struct control {
        uint32_t is_armed;
        uint32_t target; /* 1: the first call after arming; 0: none, count alone */
        uint32_t fault;  /* enum fault; SKIP: of every call called `skipped`, not of one */
        uint32_t error;  /* FAIL: errno */
        char skipped[16];
        uint32_t n;      /* calls since arming */
        uint32_t is_hit; /* the target was reached */
        struct call calls[N_CALLS];
};

static struct control *control;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void __attribute__((constructor)) begin(void)
{
        const char *path = getenv("TORTURE_CONTROL");
        int fd;

        /* Through the kernel: our own open() is not ready. */
        fd = path ? (int)syscall(SYS_open, path, O_RDWR | O_CLOEXEC) : -1;
        if (fd < 0)
                return;
        control = mmap(NULL, sizeof(*control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (control == MAP_FAILED)
                control = NULL;
        syscall(SYS_close, fd);
}

static void *real(const char *name)
{
        void *symbol = dlsym(RTLD_NEXT, name);

        if (!symbol)
                abort();
        return symbol;
}

static void die(void)
{
        kill(getpid(), SIGKILL);
        for (;;)
                pause();
}

static void describe_fd(int fd, char *ret, size_t n)
{
        char link[32];
        ssize_t r;

        snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        r = readlink(link, ret, n - 1);
        ret[r < 0 ? 0 : r] = '\0';
}

/* Count the call. What the caller is to do: nothing special, die after it, fail, or do half. */
static enum fault note(const char *name, const char *path)
{
        enum fault fault = NO_FAULT;

        if (!control || !__atomic_load_n(&control->is_armed, __ATOMIC_ACQUIRE))
                return NO_FAULT;
        /* As if the source had no such call. */
        if (control->fault == SKIP && strcmp(name, control->skipped) == 0) {
                control->is_hit = 1;
                return SKIP;
        }
        pthread_mutex_lock(&lock);
        if (control->n < N_CALLS) {
                struct call *call = &control->calls[control->n];

                snprintf(call->name, sizeof(call->name), "%s", name);
                snprintf(call->path, sizeof(call->path), "%s", path);
        }
        ++control->n;
        if (control->n == control->target) {
                control->is_hit = 1;
                fault = (enum fault)control->fault;
        }
        if (fault == KILL_BEFORE)
                die(); /* with the lock: nobody counts on */
        if (fault != KILL_AFTER)
                pthread_mutex_unlock(&lock);
        return fault;
}

static enum fault note_fd(const char *name, int fd)
{
        char path[sizeof(control->calls[0].path)];

        if (!control || !control->is_armed)
                return NO_FAULT;
        describe_fd(fd, path, sizeof(path));
        return note(name, path);
}

static enum fault note_sync(int fd)
{
        struct stat file = { 0 };

        if (control && control->is_armed)
                (void)fstat(fd, &file);
        return note_fd(S_ISDIR(file.st_mode) ? "fsync-dir" : "fsync", fd);
}

/* To kubelet (unix) or to the API server (inet). */
static enum fault note_send(int fd)
{
        struct sockaddr_storage address = { 0 };
        socklen_t n = sizeof(address);

        if (!control || !control->is_armed)
                return NO_FAULT;
        (void)getsockname(fd, (struct sockaddr *)&address, &n);
        return note("send", address.ss_family == AF_UNIX ? "unix" : "inet");
}

static bool is_file(int fd)
{
        struct stat file;

        return control && control->is_armed && fd > STDERR_FILENO && fstat(fd, &file) == 0 &&
               (S_ISREG(file.st_mode) || S_ISDIR(file.st_mode));
}

/* One wrapper: TYPE NAME(PARAMETERS), counted by NOTE, called with ARGUMENTS. */
#define WRAP(type, name, parameters, noted, ...) \
        WRAP_OR(type, -1, name, parameters, noted, __VA_ARGS__)

/* The same, for a call that returns FAILURE instead of -1. */
#define WRAP_OR(type, failure, name, parameters, noted, ...) \
        type name parameters                                 \
        {                                                    \
                type(*call) parameters;                      \
                void *symbol = real(#name);                  \
                enum fault fault = noted;                    \
                type r;                                      \
                                                             \
                memcpy(&call, &symbol, sizeof(call));        \
                if (fault == FAIL) {                         \
                        errno = (int)control->error;         \
                        return (type)(failure);              \
                }                                            \
                if (fault == SKIP)                           \
                        return 0;                            \
                r = call(__VA_ARGS__);                       \
                if (fault == KILL_AFTER)                     \
                        die();                               \
                return r;                                    \
        }

#define WRAP_OPEN(name, parameters, path, ...)         \
        int name parameters                            \
        {                                              \
                int(*call) parameters;                 \
                void *symbol = real(#name);            \
                enum fault fault = note("open", path); \
                mode_t mode;                           \
                va_list arguments;                     \
                int r;                                 \
                                                       \
                va_start(arguments, flags);            \
                mode = va_arg(arguments, mode_t);      \
                va_end(arguments);                     \
                memcpy(&call, &symbol, sizeof(call));  \
                if (fault == FAIL) {                   \
                        errno = (int)control->error;   \
                        return -1;                     \
                }                                      \
                r = call(__VA_ARGS__, mode);           \
                if (fault == KILL_AFTER)               \
                        die();                         \
                return r;                              \
        }

#define WRAP_WRITE(name, parameters, ...)                                       \
        ssize_t name parameters                                                 \
        {                                                                       \
                ssize_t(*call) parameters;                                      \
                void *symbol = real(#name);                                     \
                enum fault fault = is_file(fd) ? note_fd(#name, fd) : NO_FAULT; \
                ssize_t r;                                                      \
                                                                                \
                memcpy(&call, &symbol, sizeof(call));                           \
                if (fault == FAIL) {                                            \
                        errno = (int)control->error;                            \
                        return -1;                                              \
                }                                                               \
                if (fault == HALF)                                              \
                        n /= 2;                                                 \
                r = call(__VA_ARGS__);                                          \
                if (fault == KILL_AFTER)                                        \
                        die();                                                  \
                return r;                                                       \
        }

WRAP_OPEN(open, (const char *path, int flags, ...), path, path, flags)
WRAP_OPEN(open64, (const char *path, int flags, ...), path, path, flags)
WRAP_OPEN(openat, (int at, const char *path, int flags, ...), path, at, path, flags)
WRAP(int, __open64_2, (const char *path, int flags), note("open", path), path, flags)

WRAP_OR(DIR *, NULL, opendir, (const char *path), note("opendir", path), path)
WRAP_OR(DIR *, NULL, fdopendir, (int fd), note_fd("opendir", fd), fd)
WRAP(int, scandir,
     (const char *path, struct dirent ***ret, int (*filter)(const struct dirent *),
      int (*compare)(const struct dirent **, const struct dirent **)),
     note("opendir", path), path, ret, filter, compare)
WRAP(int, inotify_init1, (int flags), note("inotify", ""), flags)

WRAP_WRITE(write, (int fd, const void *bytes, size_t n), fd, bytes, n)
WRAP_WRITE(pwrite64, (int fd, const void *bytes, size_t n, off64_t at), fd, bytes, n, at)

WRAP(ssize_t, read, (int fd, void *bytes, size_t n), is_file(fd) ? note_fd("read", fd) : NO_FAULT,
     fd, bytes, n)
WRAP(int, fsync, (int fd), note_sync(fd), fd)
WRAP(int, fdatasync, (int fd), note_sync(fd), fd)
WRAP(int, fchmod, (int fd, mode_t mode), note_fd("fchmod", fd), fd, mode)
WRAP(int, fchown, (int fd, uid_t user, gid_t group), note_fd("fchown", fd), fd, user, group)
WRAP(int, chmod, (const char *path, mode_t mode), note("chmod", path), path, mode)
WRAP(int, flock, (int fd, int operation), note_fd("flock", fd), fd, operation)
WRAP(int, close, (int fd), is_file(fd) ? note_fd("close", fd) : NO_FAULT, fd)

WRAP(int, rename, (const char *from, const char *to), note("rename", to), from, to)
WRAP(int, renameat, (int at, const char *from, int into, const char *to), note("rename", to), at,
     from, into, to)
WRAP(int, renameat2, (int at, const char *from, int into, const char *to, unsigned flags),
     note("rename", to), at, from, into, to, flags)
WRAP(int, link, (const char *from, const char *to), note("link", to), from, to)
WRAP(int, linkat, (int at, const char *from, int into, const char *to, int flags), note("link", to),
     at, from, into, to, flags)
WRAP(int, symlink, (const char *target, const char *path), note("symlink", path), target, path)
WRAP(int, symlinkat, (const char *target, int at, const char *path), note("symlink", path), target,
     at, path)
WRAP(int, unlink, (const char *path), note("unlink", path), path)
WRAP(int, unlinkat, (int at, const char *path, int flags), note("unlink", path), at, path, flags)
WRAP(int, mkdir, (const char *path, mode_t mode), note("mkdir", path), path, mode)
WRAP(int, rmdir, (const char *path), note("rmdir", path), path)

WRAP(int, socket, (int domain, int type, int protocol), note("socket", ""), domain, type, protocol)
WRAP(int, bind, (int fd, const struct sockaddr *address, socklen_t n), note_fd("bind", fd), fd,
     address, n)
WRAP(int, listen, (int fd, int backlog), note_fd("listen", fd), fd, backlog)
WRAP(int, connect, (int fd, const struct sockaddr *address, socklen_t n), note_fd("connect", fd),
     fd, address, n)
WRAP(int, accept4, (int fd, struct sockaddr *address, socklen_t *n, int flags),
     note_fd("accept", fd), fd, address, n, flags)
WRAP(ssize_t, send, (int fd, const void *bytes, size_t n, int flags), note_send(fd), fd, bytes, n,
     flags)
WRAP(ssize_t, sendmsg, (int fd, const struct msghdr *message, int flags), note_send(fd), fd,
     message, flags)
