/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Follows the Quote Generation Service's socket: the shell around host/qgs_verdict.
 *
 * inotify tells of changes in the socket's directory and in every directory above it, because
 * systemd removes the whole directory and makes another when it restarts the service
 * (RuntimeDirectory=), and /var/run may be a link. A request for PLATFORM_INFO every 8 s tells
 * whether QGS answers; it needs no TD. There is one connection at a time, which is waited for as
 * host/qgs_probe.h says, also if another socket is to be followed meanwhile.
 */
#pragma once

#include "host/qgs_verdict.h"

#include <uv.h>

struct qgs_watch;

struct qgs_watch_options {
        uv_loop_t *loop;
        const char
                *root; /* prefix of all host sockets' paths, not part of those passed in; "": / */
        void (*on_changed)(void *owner); /* what is in force has */
        void *owner;
};

struct qgs_watch *qgs_watch_new(const struct qgs_watch_options *options);

/* Follow this socket from now on, which the VM finds as vm_socket. If there is none, that is in
 * force when this returns; otherwise the verdict is when QGS has answered or had its time.
 * on_changed is not called from here. */
void qgs_watch_set_socket(struct qgs_watch *watch, const char *socket, const char *vm_socket);

/* What is in force; QGS_UNKNOWN before there is anything. */
const struct qgs_verdict_state *qgs_watch_state(const struct qgs_watch *watch);

/* The loop then waits for a connection that is under way, QGS_PROBE_STOP_MS at most. NULL is
 * fine. */
void qgs_watch_free(struct qgs_watch *watch);
