/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A unix stream socket in kubelet's directories.
 *
 * We bind sockets instead of gRPC, because gRPC's listener dies for good after one EMFILE
 * (CVE-2023-4785), unlinks a live socket when it binds, and its successor's when it stops. We bind
 * under a dot-name and rename into place, so that kubelet, which watches the directory, finds the
 * socket listening; we unlink it only while the path is still our inode.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

struct error;
struct rpc_listener;

#define RPC_LISTENER_PATH_MAX 107 /* bytes that fit sun_path with its NUL (unix(7)) */

/* Called for each connection of a peer with root's uid or ours; the callee owns the descriptor. */
typedef void rpc_on_connection(void *owner, int fd);

/* 0, or -EINVAL if the path or its temporary name (one byte longer) cannot be a socket path. The
 * error text names the remedy. */
int rpc_listener_check_path(const char *path, struct error *err);

struct rpc_listener *rpc_listener_new(uv_loop_t *loop, const char *path,
                                      rpc_on_connection *on_connection, void *owner);

/* Bind, listen and rename into place. Replaces any socket at the path, including a live one of an
 * earlier listen (its accepted connections live on). -EEXIST if a file that is not a socket is in
 * the way. */
int rpc_listener_listen(struct rpc_listener *listener, struct error *err);

/* Whether the path still leads to this listener's socket. */
bool rpc_listener_is_in_place(const struct rpc_listener *listener);
const char *rpc_listener_path(const struct rpc_listener *listener);

/* Remove the socket (if it is still ours) and stop accepting; listen() may follow. */
void rpc_listener_withdraw(struct rpc_listener *listener);
/* Withdraw and free; not from inside on_connection. */
void rpc_listener_free(struct rpc_listener *listener);

/* Remove the socket at path if no process listens on it, because a killed instance left it behind.
 * True: removed. */
bool rpc_listener_sweep_dead(const char *path);
