/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The relay's first process: it binds and keeps the sockets that VMs connect to, reads no byte of a
 * VM, and alone may reach QGS. The worker (relay/worker) carries the bytes.
 *
 * It runs as root with CAP_SETGID (to connect to QGS in its group) and CAP_SETUID (to start and to
 * kill a worker of another user), and needs nothing else.
 */
#pragma once

#include "relay/worker_message.h"

struct error;

struct holder_options {
        const char *directory; /* the relay's */
        const char *root;      /* prefix of the host's files; "": / */
        unsigned worker_uid;   /* and gid */
        unsigned n_threads;    /* requests at QGS at a time */
        struct worker_limits limits;
        char **worker_arguments; /* its command line, NULL at the end */
};

/* Serve until SIGTERM or SIGINT. 0, or -errno with the reason: the directory cannot be used. */
int holder_run(const struct holder_options *options, struct error *err);
