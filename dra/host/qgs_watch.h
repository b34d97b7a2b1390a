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

struct qgswatch;

enum qgswatch_probe { QGSWATCH_CONNECT, QGSWATCH_PLATFORM_INFO };

struct qgswatch_options {
        uv_loop_t *loop;
        enum qgswatch_probe probe;
        const char *root; /* the sockets' paths are below it, though not in words; "": / */
        void (*on_changed)(void *owner); /* what is in force has */
        void *owner;
};

struct qgswatch *qgswatch_new(const struct qgswatch_options *options);

/* Follow this socket from now on. With QGSWATCH_CONNECT its verdict is in force when this returns;
 * otherwise when the service has answered or had its time. on_changed is not called from here. */
void qgswatch_set_socket(struct qgswatch *watch, const char *socket);

/* What is in force; QGS_UNKNOWN before there is anything. */
const struct verdict_state *qgswatch_state(const struct qgswatch *watch);
/* For how long it has been that. */
uint64_t qgswatch_age_ms(const struct qgswatch *watch);

/* The memory goes when the loop has turned. NULL is fine. */
void qgswatch_free(struct qgswatch *watch);
