/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/client.h"

#include "base/error.h"
#include "base/list.h"
#include "base/memory.h"
#include "rpc/pump.h"
#include "rpc/wire.h"

#include <assert.h>
#include <errno.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/support/alloc.h>
#include <grpc/support/time.h>

#define REPLY_MAX \
        (64 << 20) /* bytes; podresources answers of dense nodes exceed gRPC's default of 4 MiB */

struct rpc_client {
        grpc_channel *channel;
        grpc_completion_queue *queue;
        char *path;
        struct list calls;
};

struct unary_call {
        struct list link; /* in the client's list, while the client exists */
        struct rpc_tag done;
        grpc_call *call;
        grpc_byte_buffer *request;
        grpc_byte_buffer *reply;
        grpc_metadata_array initial_metadata;
        grpc_metadata_array trailing_metadata;
        grpc_status_code status;
        grpc_slice status_text;
        const ProtobufCMessageDescriptor *reply_kind;
        char *path;
        rpc_on_reply *on_reply;
        void *owner;
};

struct rpc_client *rpc_client_new(struct rpc_pump *pump, const char *path)
{
        /* gRPC would send the percent-encoded path as :authority, which strict HTTP/2 servers
         * refuse. */
        grpc_arg arguments[] = {
                { .type = GRPC_ARG_STRING,
                  .key = (char *)GRPC_ARG_DEFAULT_AUTHORITY,
                  .value.string = (char *)"localhost" },
                { .type = GRPC_ARG_INTEGER,
                  .key = (char *)GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH,
                  .value.integer = REPLY_MAX },
                /* A new client must not inherit its predecessor's reconnect backoff. */
                { .type = GRPC_ARG_INTEGER,
                  .key = (char *)GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL,
                  .value.integer = 1 },
        };
        const grpc_channel_args all = { .num_args = array_size(arguments), .args = arguments };
        _cleanup_(free) char *target = xasprintf("unix:%s", path);
        grpc_channel_credentials *credentials = grpc_insecure_credentials_create();
        struct rpc_client *client = xcalloc(1, sizeof(*client));

        client->queue = rpc_pump_queue(pump);
        client->path = xstrdup(path);
        list_init(&client->calls);
        client->channel = grpc_channel_create(target, credentials, &all);
        grpc_channel_credentials_release(credentials);
        return client;
}

void rpc_client_free(struct rpc_client *client)
{
        if (!client)
                return;
        while (!list_is_empty(&client->calls)) {
                struct unary_call *unary =
                        container_of(client->calls.next, struct unary_call, link);

                list_unlink(&unary->link);
                grpc_call_cancel(unary->call, NULL);
        }
        grpc_channel_destroy(client->channel);
        free(client->path);
        free(client);
}

static void unary_call_free(struct unary_call *unary)
{
        grpc_metadata_array_destroy(&unary->initial_metadata);
        grpc_metadata_array_destroy(&unary->trailing_metadata);
        grpc_slice_unref(unary->status_text);
        grpc_byte_buffer_destroy(unary->request);
        if (unary->reply)
                grpc_byte_buffer_destroy(unary->reply);
        grpc_call_unref(unary->call);
        free(unary->path);
        free(unary);
}

static bool is_refusal(grpc_status_code status)
{
        return status != GRPC_STATUS_UNAVAILABLE && status != GRPC_STATUS_DEADLINE_EXCEEDED &&
               status != GRPC_STATUS_CANCELLED;
}

static void on_done(struct rpc_tag *tag, bool is_ok)
{
        struct unary_call *unary = container_of(tag, struct unary_call, done);
        struct error error = ERROR_NULL;
        ProtobufCMessage *reply = NULL;

        list_unlink(&unary->link);
        if (unary->status == GRPC_STATUS_OK) {
                reply = rpc_wire_unpack(unary->reply_kind, unary->reply, false);
                if (!reply)
                        error_set(&error, -EIO, "%s: the answer is not a valid protobuf message",
                                  unary->path);
        } else {
                error_set(&error, is_refusal(unary->status) ? -EREMOTEIO : -EIO,
                          "%s: %.*s (gRPC status %d)", unary->path,
                          (int)GRPC_SLICE_LENGTH(unary->status_text),
                          (const char *)GRPC_SLICE_START_PTR(unary->status_text),
                          (int)unary->status);
        }
        unary->on_reply(unary->owner, reply, &error);
        if (reply)
                protobuf_c_message_free_unpacked(reply, NULL);
        unary_call_free(unary);
}

void rpc_client_call(struct rpc_client *client, const char *method, const ProtobufCMessage *request,
                     const ProtobufCMessageDescriptor *reply_kind, uint32_t timeout_ms,
                     rpc_on_reply *on_reply, void *owner)
{
        struct unary_call *unary = xcalloc(1, sizeof(*unary));
        grpc_slice path = grpc_slice_from_copied_string(method);
        grpc_op ops[6] = { 0 };
        grpc_call_error r;

        list_add_tail(&client->calls, &unary->link);
        unary->done = (struct rpc_tag)RPC_TAG(on_done);
        unary->request = rpc_wire_pack(request);
        unary->reply_kind = reply_kind;
        unary->path = xstrdup(client->path);
        unary->on_reply = on_reply;
        unary->owner = owner;
        unary->status_text = grpc_empty_slice();
        grpc_metadata_array_init(&unary->initial_metadata);
        grpc_metadata_array_init(&unary->trailing_metadata);
        unary->call = grpc_channel_create_call(
                client->channel, NULL, GRPC_PROPAGATE_DEFAULTS, client->queue, path, NULL,
                gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                             gpr_time_from_millis(timeout_ms, GPR_TIMESPAN)),
                NULL);
        grpc_slice_unref(path); /* the call has its own reference */

        ops[0].op = GRPC_OP_SEND_INITIAL_METADATA;
        ops[1].op = GRPC_OP_SEND_MESSAGE;
        ops[1].data.send_message.send_message = unary->request;
        ops[2].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
        ops[3].op = GRPC_OP_RECV_INITIAL_METADATA;
        ops[3].data.recv_initial_metadata.recv_initial_metadata = &unary->initial_metadata;
        ops[4].op = GRPC_OP_RECV_MESSAGE;
        ops[4].data.recv_message.recv_message = &unary->reply;
        ops[5].op = GRPC_OP_RECV_STATUS_ON_CLIENT;
        ops[5].data.recv_status_on_client.trailing_metadata = &unary->trailing_metadata;
        ops[5].data.recv_status_on_client.status = &unary->status;
        ops[5].data.recv_status_on_client.status_details = &unary->status_text;
        r = grpc_call_start_batch(unary->call, ops, array_size(ops), &unary->done, NULL);
        assert(r == GRPC_CALL_OK);
        (void)r;
}
