/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Open calls that all get the same message whenever it changes: ListAndWatch, NodeWatchResources.
 * Each has at most one message in flight; later changes go into the next message, so that a peer
 * that does not read costs nothing.
 */
#pragma once

#include "base/list.h"

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>

struct rpc_call;

struct rpc_streams {
        /* The current message; borrowed until the next call of any function. */
        const ProtobufCMessage *(*message)(void *owner);
        /* A peer has gone; mark is the argument of rpc_streams_open(). NULL is fine. */
        void (*on_gone)(void *owner, unsigned mark);
        void *owner;
        struct list streams; /* the newest last */
};

void rpc_streams_init(struct rpc_streams *streams);

/* Make the call a stream and send it the current message. */
void rpc_streams_open(struct rpc_streams *streams, struct rpc_call *call, unsigned mark);
/* The message has changed: send it to every stream. */
void rpc_streams_push(struct rpc_streams *streams);

bool rpc_streams_is_empty(const struct rpc_streams *streams);
/* The newest stream's mark; 0 if there is none. */
unsigned rpc_streams_newest_mark(const struct rpc_streams *streams);

/* End all streams. */
void rpc_streams_close(struct rpc_streams *streams, const char *reason);
