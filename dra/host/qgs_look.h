/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One look at the Quote Generation Service's socket, as a VM reaches it.
 *
 * The container runtime resolves the directory's own links on the host and mounts the directory
 * into the VM's container; links below it are resolved there. So a link in the socket's place may
 * lead to nothing in the container although it leads to a socket on the host, or vice versa.
 *
 * The driver looks with the VM's groups if it has CAP_SETGID (host/vm_groups).
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>
#include <time.h>

#define QGS_LOOK_DIRECTORIES 4 /* at most, from the mount down to the socket */

struct qgs_place {
        const char *root;      /* where this process sees the host's root; "": / */
        const char *socket;    /* on the host */
        const char *vm_socket; /* in the VM's container, with the same file name */
};

struct qgs_owner {
        mode_t mode; /* permission bits */
        uid_t uid;
        gid_t gid;
};

struct qgs_sight {
        /* 0: a socket. -ENOENT: nothing. -ENOTSOCK: another kind of file. -ENOLINK: a link to
         * nothing. -EXDEV: a link out of the directory. -EACCES or another negative errno: the
         * driver may not look. */
        int code;
        bool has_vm_groups; /* the driver looked with the VM's groups */
        /* The directories that a VM must be able to search, as far as they exist: the mounted one,
         * then those in it. */
        unsigned n_directories;
        struct qgs_owner directories[QGS_LOOK_DIRECTORIES];
        /* The socket's. */
        struct qgs_owner file;
        dev_t device;
        ino_t inode;
        struct timespec changed;
};

/* Returns the path by which this process reaches the socket, the caller's; NULL: *ret has no
 * socket. */
char *qgs_look(const struct qgs_place *place, struct qgs_sight *ret);
