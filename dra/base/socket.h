/* SPDX-License-Identifier: Apache-2.0 */
/* Unix sockets by their path, for those who only want to know whether anybody is there. */
#pragma once

#include <stdbool.h>

/* Connect and hang up. 0: a process listens there, also if its backlog is full; -ECONNREFUSED: a
 * socket that nobody listens on; -ENOTSOCK, -ENAMETOOLONG or another -errno. Not for QGS, which an
 * early end of a connection harms. */
int socket_try(const char *path);

static inline bool socket_is_served(const char *path)
{
        return socket_try(path) == 0;
}
