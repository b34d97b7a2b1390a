/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Follows the Quote Generation Service's socket: the shell around host/qgs_verdict.
 *
 * inotify reports changes in the socket's directory and in every directory above it, because
 * systemd replaces the whole directory when it restarts the service (RuntimeDirectory=), and
 * /var/run may be a link. A request for PLATFORM_INFO every 8 s tells whether QGS answers; it needs
 * no TD. There is one connection at a time. It is waited for as host/qgs_probe.h says, even after a
 * switch to another socket.
 */
#pragma once

#include "host/qgs_verdict.h"

#include <uv.h>

struct qgs_watch;

struct qgs_watch_options {
        uv_loop_t *loop;
        const char
                *root; /* prefix of all host sockets' paths, not part of those passed in; "": / */
        void (*on_changed)(void *owner); /* the verdict in force has changed */
        void *owner;
};

struct qgs_watch *qgs_watch_new(const struct qgs_watch_options *options);

/* Follow this socket from now on; the VM finds it as vm_socket. If there is no socket, that verdict
 * is in force when this returns; otherwise it comes when QGS has answered or timed out. on_changed
 * is not called from here. */
void qgs_watch_set_socket(struct qgs_watch *watch, const char *socket, const char *vm_socket);

/* The same, but the quote relay connects to it: look at nothing and ask nothing. The verdict is
 * what qgs_watch_hear() is told. */
void qgs_watch_set_relayed_socket(struct qgs_watch *watch, const char *socket);
/* How QGS did when the relay last asked; on_changed may be called. Only after the above. */
void qgs_watch_hear(struct qgs_watch *watch, bool is_absent, enum qgs_probe_result result,
                    const char *failure);

/* The verdict in force; QGS_UNKNOWN before the first. */
const struct qgs_verdict_state *qgs_watch_state(const struct qgs_watch *watch);

/* The loop then waits for an open connection, QGS_PROBE_STOP_MS at most. NULL is fine. */
void qgs_watch_free(struct qgs_watch *watch);
