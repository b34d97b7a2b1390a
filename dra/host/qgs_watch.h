/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Follows the Quote Generation Service's socket: the shell around host/verdict.
 *
 * inotify tells of changes in the socket's directory and in every directory above it, because
 * systemd removes and makes anew the whole directory when it restarts the service
 * (RuntimeDirectory=), and /var/run may be a link. A connection now and then tells whether anybody
 * is there; on request it asks for PLATFORM_INFO (Intel DCAP, qgs_msg_lib), which exercises the
 * service down to its enclave but needs no TD.
 */
#pragma once

#include "host/qgs_verdict.h"

#include <uv.h>

struct qgs_watch;

enum qgs_watch_probe { QGS_WATCH_CONNECT, QGS_WATCH_PLATFORM_INFO };

struct qgs_watch_options {
        uv_loop_t *loop;
        enum qgs_watch_probe probe;
        const char *root; /* the sockets' paths are below it, though not in words; "": / */
        void (*on_changed)(void *owner); /* what is in force has */
        void *owner;
};

struct qgs_watch *qgs_watch_new(const struct qgs_watch_options *options);

/* Follow this socket from now on. With QGS_WATCH_CONNECT its verdict is in force when this returns;
 * otherwise when the service has answered or had its time. on_changed is not called from here. */
void qgs_watch_set_socket(struct qgs_watch *watch, const char *socket);

/* What is in force; QGS_UNKNOWN before there is anything. */
const struct qgs_verdict_state *qgs_watch_state(const struct qgs_watch *watch);
/* For how long it has been that. */
uint64_t qgs_watch_age_ms(const struct qgs_watch *watch);

/* The memory goes when the loop has turned. NULL is fine. */
void qgs_watch_free(struct qgs_watch *watch);
