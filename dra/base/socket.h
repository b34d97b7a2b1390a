/* SPDX-License-Identifier: Apache-2.0 */
/* Checks whether any process listens on a unix socket path. */
#pragma once

#include <stdbool.h>

/* Connect and hang up. 0: a process listens, even if its backlog is full; -ECONNREFUSED: a socket
 * without a listener; -ENOTSOCK, -ENAMETOOLONG or another -errno. Never use it on QGS, which a
 * connection that is closed early harms. */
int socket_try(const char *path);

static inline bool socket_is_served(const char *path)
{
        return socket_try(path) == 0;
}
