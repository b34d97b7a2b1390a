/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A starting relay takes over from the one that runs, its predecessor: the listening sockets, so
 * that no connect of a VM fails, the configuration and the counts.
 *
 * The predecessor accepts no more VMs and ends what it has; until then both share --qgs-threads. If
 * this relay ends, the predecessor, if it still lives, accepts VMs again.
 */
#pragma once

#include "host/relay_message.h"

#include <stdbool.h>
#include <stdint.h>

struct succession;
struct uv_loop_s;

/* A predecessor that does not hand over within this time is hung; its sockets are bound again. */
#define SUCCESSION_PATIENCE_MS 5000
/* One relay starts at a time. One that does not come to its end within this time is passed by. */
#define SUCCESSION_TURN_MS 10000

struct succession_handlers {
        /* fd is the callee's. */
        void (*on_listener)(void *owner, const struct relay_listener *listener, int fd);
        /* All listeners have come. configuration NULL: the predecessor had none. */
        void (*on_taken)(void *owner, const struct relay_configuration *configuration);
        /* Instead of on_taken: there is no predecessor, or it is hung (reason, otherwise NULL). */
        void (*on_alone)(void *owner, const char *reason);
        /* The predecessor's quotes and counts, before on_taken and later. */
        void (*on_quote)(void *owner, const struct relay_quote *quote);
        void (*on_snapshot)(void *owner, const struct relay_snapshot *snapshot);
        /* So many of QGS's threads the predecessor needs; 0 when it is gone. */
        void (*on_remaining)(void *owner, uint32_t n);
};

/* Wait until no other relay starts, and look for a predecessor. on_taken or on_alone follows,
 * perhaps at once. The arguments outlive it. */
struct succession *succession_new(struct uv_loop_s *loop, const char *directory, int directory_fd,
                                  const struct succession_handlers *handlers, void *owner);
void succession_start(struct succession *succession);
/* This relay serves VMs and drivers: another one may start. */
void succession_confirm(struct succession *succession);
/* The predecessor, if it lives, accepts VMs again. NULL is fine. */
void succession_free(struct succession *succession);
