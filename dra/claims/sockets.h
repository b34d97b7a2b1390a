/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two sockets on which kubelet finds the DRA driver, kept where it looks: its plugin watcher's
 * directory for the registration, the state directory for the service itself.
 */
#pragma once

#include <stdbool.h>
#include <uv.h>

struct config;
struct error;
struct kubelet;
struct rpc_server;
struct sockets;

/* Borrows everything. Nothing listens before sockets_listen(). */
struct sockets *sockets_new(uv_loop_t *loop, const struct config *config,
                            const struct kubelet *kubelet, struct rpc_server *server);
/* Takes them away. NULL is fine. */
void sockets_free(struct sockets *sockets);

/* Listen on those that are not in place. 0, or -errno with the path and the reason. */
int sockets_listen(struct sockets *sockets, struct error *err);
/* Put back what is gone, and see whether the kubelet that registered us still runs; for a slow
 * timer, at least every 30 s, and when a directory has changed. */
void sockets_keep(struct sockets *sockets);

/* What kubelet said of the registration. */
void sockets_set_registered(struct sockets *sockets, bool is_registered);
/* Whether the kubelet that runs now, as sockets_keep() saw it last, has registered us. If not, its
 * registration socket is made again within a minute, at which every kubelet tries again. */
bool sockets_is_registered(const struct sockets *sockets);
/* Whether both are in place: kubelet can call. */
bool sockets_are_in_place(const struct sockets *sockets);
