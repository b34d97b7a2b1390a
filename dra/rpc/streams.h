/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls that stay open and are told the same thing whenever it changes: ListAndWatch,
 * NodeWatchResources. One message is on its way to each at a time; what changes meanwhile goes with
 * the next, so that a peer that does not read costs nothing.
 */
#pragma once

#include "base/list.h"

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>

struct rpc_call;

struct rpc_streams {
        /* What to say, as things stand; borrowed until the next call of any function. */
        const ProtobufCMessage *(*message)(void *owner);
        /* A peer has gone; mark is what rpc_streams_open() was given. NULL: nobody wants to know.
         */
        void (*on_gone)(void *owner, unsigned mark);
        void *owner;
        struct list streams; /* the newest last */
};

void rpc_streams_init(struct rpc_streams *streams);

/* The call is a stream from now on, and told at once. */
void rpc_streams_open(struct rpc_streams *streams, struct rpc_call *call, unsigned mark);
/* What there is to say has changed. */
void rpc_streams_push(struct rpc_streams *streams);

bool rpc_streams_is_empty(const struct rpc_streams *streams);
/* The newest stream's mark; 0 where there is none. */
unsigned rpc_streams_newest_mark(const struct rpc_streams *streams);

/* End them all. */
void rpc_streams_close(struct rpc_streams *streams, const char *reason);
