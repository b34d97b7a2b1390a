/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection of the control socket, on a loop: lines of host/relay_message both ways, some with
 * a descriptor (SCM_RIGHTS). Sending never blocks and never fails: what the peer does not read yet
 * waits here.
 */
#pragma once

#include "host/relay_message.h"

#include <stdbool.h>
#include <stddef.h>

struct connection;
struct uv_loop_s;

/* Lines that may wait for the peer before connection_is_busy(). */
#define CONNECTION_BUSY 64

struct connection_handlers {
        /* fd: of RELAY_LISTENER, the callee's now; otherwise -1. May free the connection. */
        void (*on_message)(void *owner, struct connection *connection,
                           const struct relay_message *message, int fd);
        /* It has ended, reason: why. Nothing follows; the callee frees it. */
        void (*on_end)(void *owner, struct connection *connection, const char *reason);
        /* All lines are sent. Must not free it. May be NULL. */
        void (*on_idle)(void *owner, struct connection *connection);
};

/* fd becomes the connection's; it is non-blocking. */
struct connection *connection_new(struct uv_loop_s *loop, int fd,
                                  const struct connection_handlers *handlers, void *owner);
/* NULL is fine. What is not sent is dropped. */
void connection_free(struct connection *connection);

/* passed_fd: -1, or a descriptor that stays the caller's, open while the connection lives. */
void connection_send(struct connection *connection, const struct relay_message *message,
                     int passed_fd);
bool connection_is_busy(const struct connection *connection);
