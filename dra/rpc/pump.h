/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where gRPC's world ends and the loop's begins.
 *
 * A completion queue of gRPC core offers nothing to poll, so one thread blocks in
 * grpc_completion_queue_next() and passes each completion to the loop thread through a mailbox (a
 * list under a mutex, and uv_async_send()). The thread keeps no state and touches none: every
 * rpc_tag's on_done runs on the loop thread.
 */
#pragma once

#include <stdbool.h>
#include <uv.h>

struct grpc_completion_queue;
struct rpc_pump;

/* What a batch carries through gRPC and back; embedded in the object that started the batch. */
struct rpc_tag {
        unsigned magic; /* RPC_TAG_MAGIC: a stale or foreign pointer that comes back is our bug, and
                           stops us */
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

/* Shut the queue down and, when its last completion was delivered, join the thread, shut gRPC down,
 * free the pump and call on_stopped. Servers and clients on the pump must be stopped before: they
 * may start no batch any more. */
void rpc_pump_stop(struct rpc_pump *pump, void (*on_stopped)(void *owner), void *owner);
