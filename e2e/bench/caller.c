/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kubelet's calls, timed:        caller ENDPOINT
 *
 * For each line "FIRST N_PAIRS N_EMPTY" of its input it prepares and unprepares the claims from
 * FIRST on, one after the other, then makes calls of no claim; it prints each call's kind and
 * nanoseconds, then "done". The thread that calls is the one that waits for the answer: a client
 * that hands answers over, as the driver's own does, would be part of the figure.
 */
#include "base/memory.h"
#include "e2e/bench/request.h"
#include "rpc/wire.h"

#include <assert.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <inttypes.h>
#include <stdio.h>
#include <uv.h>

struct caller {
        grpc_channel *channel;
        grpc_completion_queue *queue;
};

static struct caller *caller_new(const char *path)
{
        grpc_arg authority = { .type = GRPC_ARG_STRING,
                               .key = (char *)GRPC_ARG_DEFAULT_AUTHORITY,
                               .value.string = (char *)"localhost" };
        const grpc_channel_args arguments = { .num_args = 1, .args = &authority };
        __attribute__((cleanup(cleanup_free))) char *target = xasprintf("unix:%s", path);
        grpc_channel_credentials *credentials = grpc_insecure_credentials_create();
        struct caller *caller = xcalloc(1, sizeof(*caller));

        caller->queue = grpc_completion_queue_create_for_next(NULL);
        caller->channel = grpc_channel_create(target, credentials, &arguments);
        grpc_channel_credentials_release(credentials);
        return caller;
}

/* One unary call. The reply is the caller's to free, NULL where there was none; ret_ns is from the
 * start of the call until its answer is here, unpacked. */
static ProtobufCMessage *caller_call(struct caller *caller, const char *method,
                                     const ProtobufCMessage *request,
                                     const ProtobufCMessageDescriptor *reply_kind, uint64_t *ret_ns)
{
        gpr_timespec never = gpr_inf_future(GPR_CLOCK_MONOTONIC);
        grpc_slice path = grpc_slice_from_static_string(method), text = grpc_empty_slice();
        grpc_status_code status = GRPC_STATUS_UNKNOWN;
        grpc_byte_buffer *sent, *received = NULL;
        grpc_metadata_array initial, trailing;
        uint64_t begin_ns = uv_hrtime();
        ProtobufCMessage *reply = NULL;
        grpc_op ops[6] = { 0 };
        grpc_call_error r;
        grpc_call *call;

        grpc_metadata_array_init(&initial);
        grpc_metadata_array_init(&trailing);
        sent = rpc_wire_pack(request);
        call = grpc_channel_create_call(caller->channel, NULL, GRPC_PROPAGATE_DEFAULTS,
                                        caller->queue, path, NULL, never, NULL);
        ops[0].op = GRPC_OP_SEND_INITIAL_METADATA;
        ops[1].op = GRPC_OP_SEND_MESSAGE;
        ops[1].data.send_message.send_message = sent;
        ops[2].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
        ops[3].op = GRPC_OP_RECV_INITIAL_METADATA;
        ops[3].data.recv_initial_metadata.recv_initial_metadata = &initial;
        ops[4].op = GRPC_OP_RECV_MESSAGE;
        ops[4].data.recv_message.recv_message = &received;
        ops[5].op = GRPC_OP_RECV_STATUS_ON_CLIENT;
        ops[5].data.recv_status_on_client.trailing_metadata = &trailing;
        ops[5].data.recv_status_on_client.status = &status;
        ops[5].data.recv_status_on_client.status_details = &text;
        r = grpc_call_start_batch(call, ops, array_size(ops), call, NULL);
        assert(r == GRPC_CALL_OK);
        (void)r;
        grpc_completion_queue_next(caller->queue, never, NULL);
        if (status == GRPC_STATUS_OK)
                reply = rpc_wire_unpack(reply_kind, received);
        *ret_ns = uv_hrtime() - begin_ns;
        if (received)
                grpc_byte_buffer_destroy(received);
        grpc_byte_buffer_destroy(sent);
        grpc_slice_unref(text);
        grpc_metadata_array_destroy(&initial);
        grpc_metadata_array_destroy(&trailing);
        grpc_call_unref(call);
        return reply;
}

static void time_call(struct caller *caller, enum request_kind kind, unsigned serial,
                      const char *name)
{
        struct request request;
        ProtobufCMessage *reply;
        const char *complaint;
        uint64_t ns;

        request_init(&request, kind, serial);
        reply = caller_call(caller, request.method, request.message, request.reply_kind, &ns);
        complaint = request_complaint(kind, reply);
        if (complaint) {
                fprintf(stderr, "caller: %s %u: %s\n", name, serial, complaint);
                exit(1);
        }
        protobuf_c_message_free_unpacked(reply, NULL);
        printf("%s %" PRIu64 "\n", name, ns);
}

int main(int argc, char **argv)
{
        unsigned first, n_pairs, n_empty;
        struct caller *caller;

        if (argc != 2) {
                fputs("Usage: caller ENDPOINT\n", stderr);
                return 2;
        }
        grpc_init();
        caller = caller_new(argv[1]);
        while (scanf("%u %u %u", &first, &n_pairs, &n_empty) == 3) {
                for (unsigned i = 0; i < n_pairs; ++i) {
                        time_call(caller, REQUEST_PREPARE, first + i, "prepare");
                        time_call(caller, REQUEST_UNPREPARE, first + i, "unprepare");
                }
                for (unsigned i = 0; i < n_empty; ++i)
                        time_call(caller, REQUEST_EMPTY, 0, "empty");
                puts("done");
                fflush(stdout);
        }
        return 0; /* past gRPC's orderly end, which nobody measures */
}
