/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether VMs reach QGS through the quote relay, and what keeps the relay from serving them.
 *
 * With --qgs=relay the relay's sockets are used from the moment that they are bound: they outlive
 * the relay's restarts, so a relay that is away for a moment changes nothing for a VM. On a node
 * where no relay has ever bound them, VMs are given QGS's own socket, and the admin is told so.
 */
#pragma once

#include "host/relay_message.h"

#include <stdbool.h>

struct config;
struct relaying;
struct uv_loop_s;

enum relaying_mode {
        RELAYING_UNDECIDED, /* at the start: a relay may still answer */
        RELAYING_DIRECT,
        RELAYING_RELAY
};

struct relaying_options {
        struct uv_loop_s *loop;
        const struct config *config;     /* outlives it */
        bool only_asks;                  /* leave the relay alone: decide by what is on disk */
        void (*on_changed)(void *owner); /* relaying_mode() or relaying_trouble() */
        /* RELAY_QUOTE, RELAY_SNAPSHOT or RELAY_QGS. */
        void (*on_message)(void *owner, const struct relay_message *message);
        void (*on_event)(void *owner, bool is_warning, const char *reason, const char *text);
        void *owner;
};

struct relaying *relaying_new(const struct relaying_options *options);
void relaying_free(struct relaying *relaying); /* NULL is fine */

/* Sockets for TDs with indexes below n; never fewer than before. */
void relaying_set_devices(struct relaying *relaying, unsigned n);
/* QGS's socket on the host, and the VM's path of its own. */
void relaying_set_sockets(struct relaying *relaying, const char *host_socket,
                          const char *vm_socket);

enum relaying_mode relaying_mode(const struct relaying *relaying);
/* RELAYING_RELAY only: why VMs get no quotes now, with the remedy; NULL: nothing known. Borrowed.
 */
const char *relaying_trouble(const struct relaying *relaying);
/* A relay is connected at this moment. */
bool relaying_is_connected(const struct relaying *relaying);
/* The directory with a directory of each TD ("claim-tdx5"). Borrowed. */
const char *relaying_directory(const struct relaying *relaying);
