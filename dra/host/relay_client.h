/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver's end of the quote relay's control socket. It connects whenever a relay is there,
 * configures it, and passes on what it tells. A relay that is updated ends the connection, and its
 * successor, already there, gets the next one.
 */
#pragma once

#include "host/relay_message.h"

#include <stdbool.h>
#include <stdint.h>

struct relay_client;
struct uv_loop_s;

/* A relay that is away for this time is told as gone; an update takes less. */
#define RELAY_CLIENT_PATIENCE_MS 5000
#define RELAY_CLIENT_RETRY_MS    500

enum relay_client_state {
        RELAY_CLIENT_UNKNOWN,   /* none has answered yet, and the patience is not over */
        RELAY_CLIENT_AWAY,      /* none answers */
        RELAY_CLIENT_REFUSING,  /* it cannot bind the sockets that it was asked for */
        RELAY_CLIENT_CONFIGURED /* all sockets are bound */
};

struct relay_client_options {
        struct uv_loop_s *loop;
        const char *directory; /* outlives the client */
        /* relay_client_state() has changed. */
        void (*on_state)(void *owner);
        /* RELAY_QUOTE, RELAY_SNAPSHOT or RELAY_QGS. */
        void (*on_message)(void *owner, const struct relay_message *message);
        void *owner;
};

struct relay_client *relay_client_new(const struct relay_client_options *options);
/* NULL is fine. */
void relay_client_free(struct relay_client *client);

/* What every relay is to serve from now on; copied. Sends nothing if it is the same as before. */
void relay_client_configure(struct relay_client *client,
                            const struct relay_configuration *configuration);
/* Have QGS asked now: a RELAY_QGS follows. False: no relay is connected. */
bool relay_client_ask(struct relay_client *client);

enum relay_client_state relay_client_state(const struct relay_client *client);
/* A relay is connected at this moment. */
bool relay_client_is_connected(const struct relay_client *client);
/* Why a relay refuses, or why none can be connected to; "": neither. Borrowed. */
const char *relay_client_reason(const struct relay_client *client);
