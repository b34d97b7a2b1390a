/* SPDX-License-Identifier: Apache-2.0 */
/* Which socket is at a path, and for how long: kubelet recreates its sockets at each start. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

/* A file's identity over time; inode numbers alone are reused at once. */
struct socket_identity {
        dev_t device;
        ino_t inode;
        struct timespec changed;
};

/* False: there is no socket. */
bool socket_identify(const char *path, struct socket_identity *ret);
bool socket_identity_equal(const struct socket_identity *a, const struct socket_identity *b);

/* For one path; all zeros at first. */
struct socket_age {
        struct socket_identity file;
        uint64_t since_ms; /* when we first saw it */
};

/* How long ago the socket at path was made; UINT64_MAX: there is none. now_ms is of a monotonic
 * clock. The file's change time counts, too, unless it lies in the future: clocks are set back. */
uint64_t socket_age_ms(struct socket_age *age, const char *path, uint64_t now_ms);
