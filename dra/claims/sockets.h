/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The DRA driver's two sockets, kept where kubelet looks for them: the registration socket in the
 * plugin watcher's directory, the service's own in the state directory.
 */
#pragma once

#include <stdbool.h>
#include <uv.h>

struct config;
struct error;
struct kubelet;
struct rpc_server;
struct sockets;

/* Borrows all arguments. Does not listen until sockets_listen(). */
struct sockets *sockets_new(uv_loop_t *loop, const struct config *config,
                            const struct kubelet *kubelet, struct rpc_server *server);
/* Removes the sockets. NULL is fine. */
void sockets_free(struct sockets *sockets);

/* Listen on the sockets that are missing. 0, or -errno with the path and the reason. */
int sockets_listen(struct sockets *sockets, struct error *err);
/* Restore missing sockets, and check whether the kubelet that registered us is still running. Call
 * this from a slow timer, at least every 30 s, and after a change in a directory. */
void sockets_keep(struct sockets *sockets);

/* Set what kubelet reported about the registration. */
void sockets_set_registered(struct sockets *sockets, bool is_registered);
/* Whether the kubelet that sockets_keep() saw last has registered us. If not, the registration
 * socket is made again within a minute, because every kubelet retries on a new socket file. */
bool sockets_is_registered(const struct sockets *sockets);
/* Whether both sockets are in place, so that kubelet can call. */
bool sockets_are_in_place(const struct sockets *sockets);
