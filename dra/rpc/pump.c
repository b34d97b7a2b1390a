/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/pump.h"

#include "base/brake.h"
#include "base/log.h"
#include "base/memory.h"

#include <assert.h>
#include <grpc/grpc.h>
#include <grpc/support/log.h>
#include <grpc/support/time.h>
#include <pthread.h>

struct completion {
        struct rpc_tag *tag;
        bool is_ok;
};

/* Completions waiting for the loop. The tags belong to the loop thread; the pump only passes their
 * addresses. */
struct mailbox {
        struct completion *items;
        size_t n;
        size_t n_allocated;
};

struct rpc_pump {
        grpc_completion_queue *queue;
        pthread_t thread;
        uv_async_t wake;
        struct mailbox read; /* the loop empties this one while the pump fills the other */
        void (*on_stopped)(void *owner);
        void *owner;

        pthread_mutex_t lock; /* guards the members below */
        struct mailbox filled;
        bool is_drained;
};

static void put(struct mailbox *mailbox, struct rpc_tag *tag, bool is_ok)
{
        if (mailbox->n == mailbox->n_allocated) {
                mailbox->n_allocated = mailbox->n ? mailbox->n * 2 : 64;
                mailbox->items = xreallocarray(mailbox->items, mailbox->n_allocated,
                                               sizeof(*mailbox->items));
        }
        mailbox->items[mailbox->n++] = (struct completion){ tag, is_ok };
}

static void *forward_completions(void *argument)
{
        struct rpc_pump *pump = argument;

        for (;;) {
                grpc_event event = grpc_completion_queue_next(
                        pump->queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
                bool is_drained = event.type == GRPC_QUEUE_SHUTDOWN;

                pthread_mutex_lock(&pump->lock);
                if (is_drained)
                        pump->is_drained = true;
                else
                        put(&pump->filled, event.tag, event.success);
                pthread_mutex_unlock(&pump->lock);
                uv_async_send(&pump->wake);
                if (is_drained)
                        return NULL;
        }
}

static void on_wake_closed(uv_handle_t *handle)
{
        struct rpc_pump *pump = handle->data;
        void (*on_stopped)(void *) = pump->on_stopped;
        void *owner = pump->owner;

        pthread_mutex_destroy(&pump->lock);
        free(pump->read.items);
        free(pump->filled.items);
        free(pump);
        if (on_stopped)
                on_stopped(owner);
}

static void finish(struct rpc_pump *pump)
{
        pthread_join(pump->thread, NULL);
        grpc_completion_queue_destroy(pump->queue);
        grpc_shutdown_blocking();
        uv_close((uv_handle_t *)&pump->wake, on_wake_closed);
}

static void on_wake(uv_async_t *wake)
{
        struct rpc_pump *pump = wake->data;
        struct mailbox emptied = pump->read;
        bool is_drained;

        emptied.n = 0;
        pthread_mutex_lock(&pump->lock);
        pump->read = pump->filled;
        pump->filled = emptied;
        is_drained = pump->is_drained;
        pthread_mutex_unlock(&pump->lock);

        for (size_t i = 0; i < pump->read.n; ++i) {
                struct rpc_tag *tag = pump->read.items[i].tag;

                assert(tag->magic == RPC_TAG_MAGIC);
                tag->on_done(tag, pump->read.items[i].is_ok);
        }
        if (is_drained)
                finish(pump);
}

/* Some of gRPC's messages contain peers' raw bytes; log_write() bounds and quotes them. */
static void log_for_grpc(gpr_log_func_args *args)
{
        if (args->severity == GPR_LOG_SEVERITY_ERROR)
                log_warn_braked("gRPC reported an error", log_str("message", args->message));
}

struct rpc_pump *rpc_pump_start(uv_loop_t *loop)
{
        struct rpc_pump *pump = xcalloc(1, sizeof(*pump));

        gpr_set_log_function(log_for_grpc);
        grpc_init();
        pump->queue = grpc_completion_queue_create_for_next(NULL);
        pthread_mutex_init(&pump->lock, NULL);
        pump->wake.data = pump;
        /* These fail only if descriptors or threads run out, and the driver cannot work without
         * them. */
        if (uv_async_init(loop, &pump->wake, on_wake) ||
            pthread_create(&pump->thread, NULL, forward_completions, pump))
                abort();
        return pump;
}

struct grpc_completion_queue *rpc_pump_queue(struct rpc_pump *pump)
{
        return pump->queue;
}

void rpc_pump_stop(struct rpc_pump *pump, void (*on_stopped)(void *owner), void *owner)
{
        pump->on_stopped = on_stopped;
        pump->owner = owner;
        grpc_completion_queue_shutdown(pump->queue);
}
