/* SPDX-License-Identifier: Apache-2.0 */
#include "base/socket.h"

#include "base/memory.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

int socket_try(const char *path)
{
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        _cleanup_(close) int fd = -1;
        size_t n = strlen(path);
        struct stat file;

        if (lstat(path, &file) < 0)
                return -errno;
        if (!S_ISSOCK(file.st_mode))
                return -ENOTSOCK;
        if (n >= sizeof(address.sun_path))
                return -ENAMETOOLONG;
        memcpy(address.sun_path, path, n);
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return -errno;
        if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 || errno == EAGAIN)
                return 0;
        return -errno;
}
