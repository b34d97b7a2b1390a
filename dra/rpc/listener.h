/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A unix stream socket in kubelet's directories.
 *
 * gRPC never binds: its own listener dies for good after one EMFILE (CVE-2023-4785), unlinks a live
 * socket when it binds and its successor's when it stops. Here the socket is bound under a dot-name
 * and renamed into place, so that kubelet, which watches the directory, finds it listening; it is
 * unlinked only while the path still is our inode.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

struct error;
struct rpc_listener;

#define RPC_LISTENER_PATH_MAX 107 /* bytes that fit sun_path with its NUL (unix(7)) */

/* A connection of a peer that runs as root (or as ourselves); the descriptor is the callee's. */
typedef void rpc_on_connection(void *owner, int fd);

/* 0, or -EINVAL where a path or its temporary name (n bytes longer) cannot be a socket's. Text
 * names the remedy. */
int rpc_listener_check_path(const char *path, struct error *err);

struct rpc_listener *rpc_listener_new(uv_loop_t *loop, const char *path,
                                      rpc_on_connection *on_connection, void *owner);

/* Bind, listen and put in place; replaces whatever socket lies there, a live one of an earlier
 * listen included (its accepted connections live on). -EEXIST where something that is no socket is
 * in the way. */
int rpc_listener_listen(struct rpc_listener *listener, struct error *err);

/* Whether the path still leads to this listener's socket. */
bool rpc_listener_is_in_place(const struct rpc_listener *listener);
const char *rpc_listener_path(const struct rpc_listener *listener);

/* Take the socket away (where it is still ours) and stop accepting; listen() may follow. */
void rpc_listener_withdraw(struct rpc_listener *listener);
/* Withdraw and free; not from inside on_connection. */
void rpc_listener_free(struct rpc_listener *listener);

/* Remove the socket at path if nobody listens on it: what a killed instance left behind. True:
 * removed. */
bool rpc_listener_sweep_dead(const char *path);
