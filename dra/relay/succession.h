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

struct succession_handlers {
        /* fd is the callee's. */
        void (*on_listener)(void *owner, const struct relay_listener *listener, int fd);
        /* All listeners have come. NULL: the predecessor had none. */
        void (*on_taken)(void *owner, const struct relay_configuration *configuration);
        /* Instead of on_taken: it is gone or hung. */
        void (*on_failed)(void *owner, const char *reason);
        /* Later. */
        void (*on_quote)(void *owner, const struct relay_quote *quote);
        void (*on_snapshot)(void *owner, const struct relay_snapshot *snapshot);
        /* So many of QGS's threads the predecessor needs; 0 when it is gone. */
        void (*on_remaining)(void *owner, uint32_t n);
};

/* 0: a predecessor is asked, and on_taken or on_failed follows; -ENOENT or -ECONNREFUSED: there is
 * none; another -errno: so is it, but something is odd. */
int succession_start(struct uv_loop_s *loop, const char *directory,
                     const struct succession_handlers *handlers, void *owner,
                     struct succession **ret);
/* This relay serves VMs and drivers. */
void succession_confirm(struct succession *succession);
/* Before on_taken or on_failed: neither is called. The predecessor, if it lives, accepts VMs again.
 * NULL is fine. */
void succession_free(struct succession *succession);
