/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The directories that VMs mount, one a TD and path, and the listening sockets in them:
 *
 *     <directory>/                     0700: only root comes this far
 *     <directory>/qgs/claim-tdx5/      0755: a VM has a mount of it
 *     <directory>/qgs/claim-tdx5/NAME  0666: the VM's QEMU connects here
 *
 * A directory is never removed nor made again, because a VM's mount would keep the old one. Nor is
 * a socket taken away: which VM still uses the name is not known here. A socket whose process died
 * is replaced by one rename, so its name is never missing.
 */
#pragma once

#include "host/relay_message.h"

#include <stdint.h>

struct error;
struct listeners;

/* One listening socket, non-blocking. */
struct listener {
        uint32_t id; /* unique among all */
        struct relay_td td;
        const char *name;
        int fd; /* the listeners' */
};

/* It has just been bound or adopted. */
typedef void listeners_on_added(void *owner, const struct listener *listener);

/* Opens or makes the directory and qgs/ in it. directory must not contain a link that a VM or
 * another user could change: it is root's. */
int listeners_new(const char *directory, listeners_on_added *on_added, void *owner,
                  struct listeners **ret, struct error *err);
/* Closes the sockets; their files stay. NULL is fine. */
void listeners_free(struct listeners *listeners);

/* The directory's descriptor; borrowed. */
int listeners_directory_fd(const struct listeners *listeners);

/* Bind again whatever is in the directories and has no listener here. 0, or the first -errno; what
 * can be bound is. */
int listeners_bind_found(struct listeners *listeners, struct error *err);
/* Bind a socket of this name for tdx0 to tdx<n-1>, each path, where there is none yet. 0, or the
 * first -errno; what can be bound is. */
int listeners_bind_named(struct listeners *listeners, uint32_t n_devices, const char *name,
                         struct error *err);
/* Take a listening socket of a predecessor. fd becomes the listeners' in any case. */
void listeners_adopt(struct listeners *listeners, const struct relay_td *td, const char *name,
                     int fd);

/* In the order of their ids; NULL as previous: the first. NULL: no more. */
const struct listener *listeners_next(const struct listeners *listeners,
                                      const struct listener *previous);
uint32_t listeners_count(const struct listeners *listeners);
