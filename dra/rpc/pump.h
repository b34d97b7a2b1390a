/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Carries gRPC's completions to the loop thread.
 *
 * A completion queue of gRPC core has no descriptor to poll, so one thread blocks in
 * grpc_completion_queue_next() and passes each completion to the loop thread through a mailbox (a
 * list under a mutex, and uv_async_send()). The thread has no state and touches none: every
 * rpc_tag's on_done runs on the loop thread.
 */
#pragma once

#include <stdbool.h>
#include <uv.h>

struct grpc_completion_queue;
struct rpc_pump;

/* The tag that a batch carries through gRPC and back; embedded in the object that started the
 * batch. */
struct rpc_tag {
        unsigned magic; /* RPC_TAG_MAGIC: if gRPC returns a stale or foreign pointer, that is our
                           bug, and we abort */
        void (*on_done)(struct rpc_tag *tag, bool is_ok);
};

#define RPC_TAG_MAGIC 0x7da7a6U
#define RPC_TAG(callback)                                     \
        {                                                     \
                .magic = RPC_TAG_MAGIC, .on_done = (callback) \
        }

/* Initialises gRPC and starts the thread. Signals must be blocked before: gRPC's threads inherit
 * the mask. */
struct rpc_pump *rpc_pump_start(uv_loop_t *loop);

struct grpc_completion_queue *rpc_pump_queue(struct rpc_pump *pump); /* for dra/rpc/ only */

/* Shut the queue down. Once its last completion is delivered: join the thread, shut gRPC down, free
 * the pump and call on_stopped. Stop the pump's servers and clients first: they must not start
 * another batch. */
void rpc_pump_stop(struct rpc_pump *pump, void (*on_stopped)(void *owner), void *owner);
