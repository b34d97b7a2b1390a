/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control socket, relay.sock: its clients, and what is told to them unasked
 * (host/relay_message.h has the lines).
 *
 * A client is a driver once it has asked for something that a driver asks for, and the successor
 * once it has asked to succeed. There is at most one successor.
 */
#pragma once

#include "host/relay_message.h"

#include <stdbool.h>

struct client;
struct control;
struct error;
struct outcomes;
struct uv_loop_s;

struct control_options {
        struct uv_loop_s *loop;
        const char *directory; /* the relay's; outlives the control */
        struct outcomes *outcomes;

        void (*on_configure)(void *owner, struct client *client,
                             const struct relay_configuration *configuration);
        void (*on_ask)(void *owner);
        /* Hand over to it. The drivers hear no more of quotes until control_resume(). */
        void (*on_succeed)(void *owner, struct client *successor);
        void (*on_serving)(void *owner); /* the successor serves */
        void (*on_successor_gone)(void *owner);
        void *owner;
};

struct control *control_new(const struct control_options *options);
/* Its socket's file stays. NULL is fine. */
void control_free(struct control *control);

/* Bind relay.sock in place of whatever has that name, and listen. */
int control_listen(struct control *control, struct error *err);
/* Another relay has the name: listen no more, and end the drivers' connections. */
void control_yield(struct control *control);
/* There is no successor any more, or it never served. */
void control_resume(struct control *control);

/* fd: as connection_send(). */
void control_send(struct client *client, const struct relay_message *message, int fd);
/* NULL: none. */
struct client *control_successor(const struct control *control);
/* Quotes have been added to the outcomes. */
void control_tell_quotes(struct control *control);
/* From now on to each driver that connects, too. */
void control_tell_qgs(struct control *control, const struct relay_qgs *qgs);
