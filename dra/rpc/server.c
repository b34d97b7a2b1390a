/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/server.h"

#include "base/list.h"
#include "base/memory.h"
#include "base/timer.h"
#include "rpc/pump.h"
#include "rpc/wire.h"

#include <assert.h>
#include <grpc/grpc.h>
#include <grpc/grpc_posix.h>
#include <grpc/grpc_security.h>
#include <grpc/support/time.h>
#include <string.h>

_Static_assert((int)RPC_INVALID_ARGUMENT == (int)GRPC_STATUS_INVALID_ARGUMENT, "gRPC's own number");
_Static_assert((int)RPC_FAILED_PRECONDITION == (int)GRPC_STATUS_FAILED_PRECONDITION,
               "gRPC's own number");
_Static_assert((int)RPC_UNIMPLEMENTED == (int)GRPC_STATUS_UNIMPLEMENTED, "gRPC's own number");
_Static_assert((int)RPC_UNAVAILABLE == (int)GRPC_STATUS_UNAVAILABLE, "gRPC's own number");

/* A method, registered with gRPC so that a call and its message arrive as one event, because each
 * event costs two thread switches. */
struct slot {
        const struct rpc_method *method;
        void *owner;
        void *handle; /* gRPC's */
};

struct rpc_server {
        grpc_server *server;
        grpc_completion_queue *queue;
        grpc_server_credentials *credentials;
        struct slot *slots;
        size_t n_slots;
        struct list calls; /* every call that gRPC may still report events for */

        bool is_stopping;
        bool is_shut_down; /* gRPC has reported the end of every call */
        bool is_finished;  /* the next turn of the loop frees the server */
        struct rpc_tag on_shutdown;
        struct timer *grace; /* the grace period; at the end, the turn of the loop that frees the
                                server */
        void (*on_stopped)(void *owner);
        void *stop_owner;
};

/* One call, from the request for a call to gRPC until the last of its batches has come back. */
struct rpc_call {
        struct rpc_server *server;
        const struct slot *slot; /* NULL: a method that this server does not have */
        struct list link;
        grpc_call *call;
        grpc_call_details details; /* of a call without a slot */
        gpr_timespec deadline;
        grpc_metadata_array metadata;
        grpc_byte_buffer *request;
        grpc_byte_buffer *reply;
        grpc_byte_buffer *message; /* of a stream, being sent */
        grpc_slice status_text;
        int is_cancelled; /* set by gRPC; valid once the closed tag has come */

        unsigned n_batches; /* started and not yet completed by gRPC */
        bool is_answered;
        bool is_gone;
        void (*on_gone)(void *owner);
        void *gone_owner;

        struct rpc_tag accepted; /* a peer has called */
        struct rpc_tag closed;   /* the call has ended, for any reason */
        struct rpc_tag sent;     /* our answer */
        struct rpc_tag streamed; /* one message of a stream */
        bool has_initial_metadata_sent;
        void (*on_sent)(void *owner);
        void *sent_owner;
};

static void accept_next(struct rpc_server *server, const struct slot *slot);

static void maybe_finish_server(struct rpc_server *server);

static void call_free(struct rpc_call *call)
{
        struct rpc_server *server = call->server;

        list_unlink(&call->link);
        grpc_call_details_destroy(&call->details);
        grpc_metadata_array_destroy(&call->metadata);
        if (call->request)
                grpc_byte_buffer_destroy(call->request);
        if (call->reply)
                grpc_byte_buffer_destroy(call->reply);
        grpc_slice_unref(call->status_text);
        if (call->call)
                grpc_call_unref(call->call);
        free(call);
        maybe_finish_server(server);
}

static void call_end_batch(struct rpc_call *call)
{
        if (--call->n_batches == 0 && call->is_answered)
                call_free(call);
}

static void call_start_batch(struct rpc_call *call, const grpc_op *ops, size_t n_ops,
                             struct rpc_tag *tag)
{
        grpc_call_error r = grpc_call_start_batch(call->call, ops, n_ops, tag, NULL);

        /* Anything but OK means that we misused the API: a peer cannot cause it. */
        assert(r == GRPC_CALL_OK);
        (void)r;
        ++call->n_batches;
}

static void on_sent(struct rpc_tag *tag, bool is_ok)
{
        call_end_batch(container_of(tag, struct rpc_call, sent));
}

static void call_answer(struct rpc_call *call, grpc_status_code status, const char *text)
{
        grpc_op ops[3] = { 0 };
        size_t n = 0;

        assert(!call->is_answered);
        call->is_answered = true;
        call->on_gone = NULL;
        call->status_text = grpc_slice_from_copied_string(text);
        if (!call->has_initial_metadata_sent)
                ops[n++].op = GRPC_OP_SEND_INITIAL_METADATA;
        if (call->reply) {
                ops[n].op = GRPC_OP_SEND_MESSAGE;
                ops[n++].data.send_message.send_message = call->reply;
        }
        ops[n].op = GRPC_OP_SEND_STATUS_FROM_SERVER;
        ops[n].data.send_status_from_server.status = status;
        ops[n++].data.send_status_from_server.status_details = &call->status_text;
        call_start_batch(call, ops, n, &call->sent);
}

static void on_streamed(struct rpc_tag *tag, bool is_ok)
{
        struct rpc_call *call = container_of(tag, struct rpc_call, streamed);

        grpc_byte_buffer_destroy(take_ptr(call->message));
        if (!call->is_answered && !call->is_gone)
                call->on_sent(call->sent_owner);
        call_end_batch(call);
}

void rpc_call_send(struct rpc_call *call, const ProtobufCMessage *message,
                   void (*on_message_sent)(void *owner), void *owner)
{
        grpc_op ops[2] = { 0 };
        size_t n = 0;

        assert(!call->message && !call->is_answered);
        call->message = rpc_wire_pack(message);
        call->on_sent = on_message_sent;
        call->sent_owner = owner;
        if (!call->has_initial_metadata_sent)
                ops[n++].op = GRPC_OP_SEND_INITIAL_METADATA;
        call->has_initial_metadata_sent = true;
        ops[n].op = GRPC_OP_SEND_MESSAGE;
        ops[n++].data.send_message.send_message = call->message;
        call_start_batch(call, ops, n, &call->streamed);
}

void rpc_call_reply(struct rpc_call *call, const ProtobufCMessage *reply)
{
        call->reply = rpc_wire_pack(reply);
        call_answer(call, GRPC_STATUS_OK, "");
}

void rpc_call_fail(struct rpc_call *call, enum rpc_status status, const char *text)
{
        call_answer(call, (grpc_status_code)status, text);
}

void rpc_call_on_gone(struct rpc_call *call, void (*on_gone)(void *owner), void *owner)
{
        call->on_gone = on_gone;
        call->gone_owner = owner;
        if (call->is_gone && on_gone) {
                call->on_gone = NULL;
                on_gone(owner);
        }
}

uint64_t rpc_call_remaining_ms(const struct rpc_call *call)
{
        gpr_timespec now = gpr_now(call->deadline.clock_type);

        if (gpr_time_cmp(call->deadline, gpr_inf_future(call->deadline.clock_type)) >= 0)
                return UINT64_MAX;
        if (gpr_time_cmp(call->deadline, now) <= 0)
                return 0;
        return (uint64_t)gpr_time_to_millis(gpr_time_sub(call->deadline, now));
}

static void on_closed(struct rpc_tag *tag, bool is_ok)
{
        struct rpc_call *call = container_of(tag, struct rpc_call, closed);

        call->is_gone = true;
        if (call->on_gone) {
                void (*on_gone)(void *) = call->on_gone;

                call->on_gone = NULL;
                on_gone(call->gone_owner);
        }
        call_end_batch(call);
}

static void call_serve(struct rpc_call *call)
{
        const struct slot *slot = call->slot;
        ProtobufCMessage *request;

        if (!slot) {
                rpc_call_fail(call, RPC_UNIMPLEMENTED, "this driver does not serve that method");
                return;
        }
        request = rpc_wire_unpack(slot->method->request, call->request, true);
        if (!request) {
                /* The message is garbage, or the peer reset the stream before sending it. */
                rpc_call_fail(call, RPC_INVALID_ARGUMENT,
                              "the request is not a valid protobuf message of this method");
                return;
        }
        slot->method->on_call(slot->owner, call, request);
        protobuf_c_message_free_unpacked(request, NULL);
}

static void on_accepted(struct rpc_tag *tag, bool is_ok)
{
        struct rpc_call *call = container_of(tag, struct rpc_call, accepted);
        grpc_op close_op = { .op = GRPC_OP_RECV_CLOSE_ON_SERVER };

        if (!is_ok) { /* no peer called: the server is shutting down */
                call_free(call);
                return;
        }
        if (!call->slot)
                call->deadline = call->details.deadline;
        close_op.data.recv_close_on_server.cancelled = &call->is_cancelled;
        call_start_batch(call, &close_op, 1, &call->closed);
        /* The call stays until its batches have come back through the mailbox. */
        call_serve(call);
        accept_next(call->server, call->slot);
}

/* Exactly one request for a call is outstanding for each method, and one for all unknown methods;
 * faster calls queue inside gRPC. */
static void accept_next(struct rpc_server *server, const struct slot *slot)
{
        struct rpc_call *call;

        if (server->is_stopping)
                return;
        call = xcalloc(1, sizeof(*call));
        call->server = server;
        call->slot = slot;
        call->accepted = (struct rpc_tag)RPC_TAG(on_accepted);
        call->closed = (struct rpc_tag)RPC_TAG(on_closed);
        call->sent = (struct rpc_tag)RPC_TAG(on_sent);
        call->streamed = (struct rpc_tag)RPC_TAG(on_streamed);
        call->status_text = grpc_empty_slice();
        grpc_call_details_init(&call->details);
        grpc_metadata_array_init(&call->metadata);
        list_add_tail(&server->calls, &call->link);
        if (slot)
                grpc_server_request_registered_call(
                        server->server, slot->handle, &call->call, &call->deadline, &call->metadata,
                        &call->request, server->queue, server->queue, &call->accepted);
        else
                grpc_server_request_call(server->server, &call->call, &call->details,
                                         &call->metadata, server->queue, server->queue,
                                         &call->accepted);
}

/* Bounds for a peer that misbehaves, so that the process stays below the manifest's memory limit.
 *
 * gRPC 1.51 cannot bound calls that are reset at once (it queues what we have not accepted yet,
 * some 13 KB each), a header field without end, and a peer that never acknowledges our settings.
 * Only processes with root's uid connect (SO_PEERCRED), which could kill us as well. */

/* Streams of a connection, up to 15 KB each. Each pod that waits for a TD has one: there must be
 * more than a node has pods, or kubelet would queue the Unprepare that frees a TD behind them. */
#define STREAMS_MAX 512
/* kubelet's largest message names each of 4096 devices twice, in about 100 KB. An empty submessage
 * of two bytes takes a hundred in memory. */
#define MESSAGE_MAX_BYTES (256 * 1024)
/* gRPC's default, which it does not promise. kubelet sends a few hundred bytes. */
#define METADATA_MAX_BYTES 8192

static const grpc_arg channel_arguments[] = {
        /* kubelet keeps one idle connection for days and pings at its own pace. Never answer that
         * with GOAWAY, because after half a minute without a connection kubelet deletes our
         * ResourceSlices. */
        { .type = GRPC_ARG_INTEGER,
          .key = (char *)GRPC_ARG_HTTP2_MAX_PING_STRIKES,
          .value.integer = 0 },
        { .type = GRPC_ARG_INTEGER,
          .key = (char *)GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
          .value.integer = 0 },
        { .type = GRPC_ARG_INTEGER,
          .key = (char *)GRPC_ARG_MAX_CONCURRENT_STREAMS,
          .value.integer = STREAMS_MAX },
        { .type = GRPC_ARG_INTEGER,
          .key = (char *)GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH,
          .value.integer = MESSAGE_MAX_BYTES },
        { .type = GRPC_ARG_INTEGER,
          .key = (char *)GRPC_ARG_MAX_METADATA_SIZE,
          .value.integer = METADATA_MAX_BYTES },
        { .type = GRPC_ARG_INTEGER, .key = (char *)GRPC_ARG_ENABLE_CHANNELZ, .value.integer = 0 },
};

static void destroy(struct rpc_server *server)
{
        void (*on_stopped)(void *) = server->on_stopped;
        void *owner = server->stop_owner;

        timer_free(server->grace);
        grpc_server_credentials_release(server->credentials);
        grpc_server_destroy(server->server);
        free(server->slots);
        free(server);
        on_stopped(owner);
}

/* Peers that ignore GOAWAY, and unanswered calls, would delay the shutdown for ever. */
static void on_grace_over(void *owner)
{
        struct rpc_server *server = owner;

        if (server->is_finished)
                destroy(server);
        else
                grpc_server_cancel_all_calls(server->server);
}

struct rpc_server *rpc_server_new(uv_loop_t *loop, struct rpc_pump *pump)
{
        const grpc_channel_args arguments = { .num_args = array_size(channel_arguments),
                                              .args = (grpc_arg *)channel_arguments };
        struct rpc_server *server = xcalloc(1, sizeof(*server));

        server->queue = rpc_pump_queue(pump);
        list_init(&server->calls);
        server->grace = timer_new(loop, on_grace_over, server);
        server->credentials = grpc_insecure_server_credentials_create();
        server->server = grpc_server_create(&arguments, NULL);
        grpc_server_register_completion_queue(server->server, server->queue, NULL);
        return server;
}

void rpc_server_add_service(struct rpc_server *server, const struct rpc_method *methods,
                            size_t n_methods, void *owner)
{
        server->slots =
                xreallocarray(server->slots, server->n_slots + n_methods, sizeof(*server->slots));
        for (size_t i = 0; i < n_methods; ++i)
                server->slots[server->n_slots++] = (struct slot){
                        .method = &methods[i],
                        .owner = owner,
                        .handle = grpc_server_register_method(
                                server->server, methods[i].path, NULL,
                                GRPC_SRM_PAYLOAD_READ_INITIAL_BYTE_BUFFER, 0),
                };
}

void rpc_server_start(struct rpc_server *server)
{
        grpc_server_start(server->server);
        for (size_t i = 0; i < server->n_slots; ++i)
                accept_next(server, &server->slots[i]);
        accept_next(server, NULL);
}

void rpc_server_adopt(struct rpc_server *server, int fd)
{
        if (server->is_stopping)
                close(fd);
        else
                grpc_server_add_channel_from_fd(server->server, fd, server->credentials);
}

/* gRPC reports the shutdown before the calls' last tags have come through the mailbox. */
static void maybe_finish_server(struct rpc_server *server)
{
        if (server->is_shut_down && list_is_empty(&server->calls) && !server->is_finished) {
                server->is_finished = true;
                timer_start(server->grace, 0);
        }
}

static void on_shut_down(struct rpc_tag *tag, bool is_ok)
{
        struct rpc_server *server = container_of(tag, struct rpc_server, on_shutdown);

        server->is_shut_down = true;
        timer_stop(server->grace);
        maybe_finish_server(server);
}

void rpc_server_stop(struct rpc_server *server, uint32_t grace_ms, void (*on_stopped)(void *owner),
                     void *owner)
{
        server->is_stopping = true;
        server->on_stopped = on_stopped;
        server->stop_owner = owner;
        server->on_shutdown = (struct rpc_tag)RPC_TAG(on_shut_down);
        grpc_server_shutdown_and_notify(server->server, server->queue, &server->on_shutdown);
        timer_start(server->grace, grace_ms);
}
