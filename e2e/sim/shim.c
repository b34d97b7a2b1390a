/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bad disk and a wrong clock, by LD_PRELOAD. From the environment:
 *
 *   SHIM_FSYNC_FAILS=FILE  while the file exists, syncs of directories fail with EIO
 *   SHIM_FSYNC_MS=N        a sync takes so long
 *   SHIM_CLOCK_S=N         the wall clock is so many seconds off
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static void *next(const char *name)
{
        return dlsym(RTLD_NEXT, name);
}

static long number(const char *variable)
{
        const char *value = getenv(variable);

        return value ? strtol(value, NULL, 10) : 0;
}

int fsync(int fd)
{
        const struct timespec pause = { number("SHIM_FSYNC_MS") / 1000,
                                        number("SHIM_FSYNC_MS") % 1000 * 1000000 };
        const char *fails = getenv("SHIM_FSYNC_FAILS");
        int (*real)(int);
        struct stat file;
        void *symbol = next("fsync");

        memcpy(&real, &symbol, sizeof(real));
        nanosleep(&pause, NULL);
        if (fails && fstat(fd, &file) == 0 && S_ISDIR(file.st_mode) && access(fails, F_OK) == 0) {
                errno = EIO;
                return -1;
        }
        return real(fd);
}

int clock_gettime(clockid_t clock, struct timespec *ret)
{
        int (*real)(clockid_t, struct timespec *);
        void *symbol = next("clock_gettime");
        int r;

        memcpy(&real, &symbol, sizeof(real));
        r = real(clock, ret);
        if (r == 0 && clock == CLOCK_REALTIME)
                ret->tv_sec += number("SHIM_CLOCK_S");
        return r;
}
