/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kubelet's calls, timed:        caller ENDPOINT [N_LISTS N_ALLOCATES]
 *
 * For each line "FIRST N_PAIRS N_EMPTY" of its input it prepares and unprepares the claims from
 * FIRST on, one after the other, then makes calls without claims; it prints each call's kind and
 * nanoseconds, then "done". The thread that calls is the one that waits for the answer: a client
 * that hands answers over, as the driver's own does, would be part of the figure.
 *
 * With two numbers it calls a device plugin instead: N_LISTS ListAndWatch streams up to their first
 * list, then, while a second thread reads another stream, N_ALLOCATES Allocates of one device each,
 * alternating with as many calls of GetDevicePluginOptions.
 */
#include "base/memory.h"
#include "deviceplugin.pb-c.h"
#include "e2e/bench/request.h"
#include "rpc/wire.h"

#include <assert.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>
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
        _cleanup_(free) char *target = xasprintf("unix:%s", path);
        grpc_channel_credentials *credentials = grpc_insecure_credentials_create();
        struct caller *caller = xcalloc(1, sizeof(*caller));

        caller->queue = grpc_completion_queue_create_for_next(NULL);
        caller->channel = grpc_channel_create(target, credentials, &arguments);
        grpc_channel_credentials_release(credentials);
        return caller;
}

/* One unary call. The caller frees the reply; NULL: there was none. ret_ns: from the start of the
 * call until its answer is unpacked. */
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
                reply = rpc_wire_unpack(reply_kind, received, false);
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

/* ---- the device plugin ---- */

static void fail(const char *what)
{
        fprintf(stderr, "caller: %s\n", what);
        exit(1);
}

static void await(struct caller *caller)
{
        (void)grpc_completion_queue_next(caller->queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
}

static grpc_byte_buffer *receive(struct caller *caller, grpc_call *call)
{
        grpc_byte_buffer *received = NULL;
        grpc_op op = { .op = GRPC_OP_RECV_MESSAGE };

        op.data.recv_message.recv_message = &received;
        if (grpc_call_start_batch(call, &op, 1, call, NULL) != GRPC_CALL_OK)
                fail("ListAndWatch cannot be read");
        await(caller);
        return received;
}

/* Opens a stream and waits for its first list, which the caller frees. */
static grpc_call *open_stream(struct caller *caller, grpc_metadata_array *initial,
                              grpc_byte_buffer **ret_list)
{
        grpc_slice path = grpc_slice_from_static_string("/v1beta1.DevicePlugin/ListAndWatch");
        Deviceplugin__Empty empty = DEVICEPLUGIN__EMPTY__INIT;
        grpc_byte_buffer *sent = rpc_wire_pack(&empty.base);
        grpc_op ops[4] = { 0 };
        grpc_call *call;

        call = grpc_channel_create_call(caller->channel, NULL, GRPC_PROPAGATE_DEFAULTS,
                                        caller->queue, path, NULL,
                                        gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
        grpc_metadata_array_init(initial);
        ops[0].op = GRPC_OP_SEND_INITIAL_METADATA;
        ops[1].op = GRPC_OP_SEND_MESSAGE;
        ops[1].data.send_message.send_message = sent;
        ops[2].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
        ops[3].op = GRPC_OP_RECV_INITIAL_METADATA;
        ops[3].data.recv_initial_metadata.recv_initial_metadata = initial;
        if (grpc_call_start_batch(call, ops, array_size(ops), call, NULL) != GRPC_CALL_OK)
                fail("ListAndWatch cannot be called");
        await(caller);
        grpc_byte_buffer_destroy(sent);
        *ret_list = receive(caller, call);
        return call;
}

static void time_list(struct caller *caller)
{
        uint64_t begin_ns = uv_hrtime();
        grpc_metadata_array initial;
        grpc_byte_buffer *list;
        grpc_call *call;
        ProtobufCMessage *reply;

        call = open_stream(caller, &initial, &list);
        reply = rpc_wire_unpack(&deviceplugin__list_and_watch_response__descriptor, list, false);
        if (!reply)
                fail("ListAndWatch brought no list");
        printf("list %" PRIu64 "\n", uv_hrtime() - begin_ns);
        protobuf_c_message_free_unpacked(reply, NULL);
        grpc_byte_buffer_destroy(list);
        grpc_metadata_array_destroy(&initial);
        grpc_call_cancel(call, NULL);
        grpc_call_unref(call);
}

static void *read_stream(void *argument)
{
        grpc_metadata_array initial;
        grpc_byte_buffer *list;
        grpc_call *call = open_stream(argument, &initial, &list);

        while (list) {
                grpc_byte_buffer_destroy(list);
                list = receive(argument, call);
        }
        return NULL;
}

static void time_plugin_call(struct caller *caller, const char *method,
                             const ProtobufCMessage *request,
                             const ProtobufCMessageDescriptor *reply_kind, const char *name)
{
        ProtobufCMessage *reply;
        uint64_t ns;

        reply = caller_call(caller, method, request, reply_kind, &ns);
        if (!reply)
                fail(method);
        protobuf_c_message_free_unpacked(reply, NULL);
        printf("%s %" PRIu64 "\n", name, ns);
}

static void time_allocate(struct caller *caller, unsigned index)
{
        Deviceplugin__ContainerAllocateRequest container =
                DEVICEPLUGIN__CONTAINER_ALLOCATE_REQUEST__INIT;
        Deviceplugin__ContainerAllocateRequest *containers[] = { &container };
        Deviceplugin__AllocateRequest request = DEVICEPLUGIN__ALLOCATE_REQUEST__INIT;
        char id[sizeof("tdx4294967295")], *ids[] = { id };

        snprintf(id, sizeof(id), "tdx%u", index);
        container.n_devices_ids = 1;
        container.devices_ids = ids;
        request.n_container_requests = 1;
        request.container_requests = containers;
        time_plugin_call(caller, "/v1beta1.DevicePlugin/Allocate", &request.base,
                         &deviceplugin__allocate_response__descriptor, "allocate");
}

/* The call that does nothing: it costs only gRPC, the socket and the wake-ups. */
static void time_options(struct caller *caller)
{
        Deviceplugin__Empty request = DEVICEPLUGIN__EMPTY__INIT;

        time_plugin_call(caller, "/v1beta1.DevicePlugin/GetDevicePluginOptions", &request.base,
                         &deviceplugin__device_plugin_options__descriptor, "options");
}

static void call_plugin(const char *endpoint, unsigned n_lists, unsigned n_allocates)
{
        struct caller *caller = caller_new(endpoint);
        pthread_t reader;

        for (unsigned i = 0; i < n_lists; ++i)
                time_list(caller);
        if (pthread_create(&reader, NULL, read_stream, caller_new(endpoint)))
                fail("no thread");
        for (unsigned i = 0; i < n_allocates; ++i) {
                time_allocate(caller, i);
                time_options(caller);
        }
}

int main(int argc, char **argv)
{
        unsigned first, n_pairs, n_empty;
        struct caller *caller;

        if (argc != 2 && argc != 4) {
                fputs("Usage: caller ENDPOINT [N_LISTS N_ALLOCATES]\n", stderr);
                return 2;
        }
        grpc_init();
        if (argc == 4) {
                call_plugin(argv[1], (unsigned)strtoul(argv[2], NULL, 10),
                            (unsigned)strtoul(argv[3], NULL, 10));
                fflush(stdout);
                _exit(0);
        }
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
        return 0; /* skip gRPC's orderly end, which is not measured */
}
