/* SPDX-License-Identifier: Apache-2.0 */
#include "descriptors.h"

#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

void descriptors_open_standard(void)
{
        /* open() returns the lowest number that is free, so each gets its own. */
        for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd)
                if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd)
                        _exit(EXIT_FAILURE);
}

int descriptors_raise_limit(struct error *err)
{
        struct rlimit limit = { 0 };

        if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
                return error_errno(err, -errno, "cannot read the limit on open files");
        if (limit.rlim_max < DESCRIPTORS_MIN)
                return error_set(
                        err, -EMFILE,
                        "this process may open %llu files at a time (RLIMIT_NOFILE, ulimit "
                        "-n) and needs %d: raise the limit, LimitNOFILE= in a systemd unit",
                        (unsigned long long)limit.rlim_max, DESCRIPTORS_MIN);
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
                return error_errno(err, -errno, "cannot raise the limit on open files");
        return 0;
}
