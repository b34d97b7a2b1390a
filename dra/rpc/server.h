/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A gRPC server of unary and server-streaming methods over connections that are handed to it.
 *
 * Everything here runs on the loop thread. Each call is answered exactly once, by rpc_call_reply()
 * or rpc_call_fail(), also when the peer has gone meanwhile (the answer is dropped then). Calls of
 * methods that are not in the table are answered UNIMPLEMENTED at once: gRPC core would leave them
 * hanging, and kubelet probes for optional services.
 */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct error;
struct rpc_call;
struct rpc_pump;
struct rpc_server;

/* gRPC's status codes that we send (grpc/status.h). */
enum rpc_status {
        RPC_INVALID_ARGUMENT = 3,
        RPC_FAILED_PRECONDITION = 9,
        RPC_UNIMPLEMENTED = 12,
        RPC_UNAVAILABLE = 14,
};

struct rpc_method {
        const char *path; /* "/pluginregistration.Registration/GetInfo" */
        const ProtobufCMessageDescriptor *request;
        /* request is borrowed for the duration of the call back; call is owed an answer, now or
         * later. */
        void (*on_call)(void *owner, struct rpc_call *call, const ProtobufCMessage *request);
};

struct rpc_server *rpc_server_new(uv_loop_t *loop, struct rpc_pump *pump);

/* Serve these methods, too; methods is borrowed for the server's life, owner is what their on_call
 * gets. Before rpc_server_start(). */
void rpc_server_add_service(struct rpc_server *server, const struct rpc_method *methods,
                            size_t n_methods, void *owner);
/* Once, when every service was added and before the first connection. */
void rpc_server_start(struct rpc_server *server);

/* Serve one connected stream socket; fd is the server's from here. */
void rpc_server_adopt(struct rpc_server *server, int fd);

/* Take no new calls; when the ones there are were answered, or grace_ms later at the latest, cut
 * the connections, free the server and call on_stopped. */
void rpc_server_stop(struct rpc_server *server, uint32_t grace_ms, void (*on_stopped)(void *owner),
                     void *owner);

/* How long the peer will wait for the answer, from now; UINT64_MAX: for ever. */
uint64_t rpc_call_remaining_ms(const struct rpc_call *call);

/* Be told (at most once, before the answer) that the peer gave up: deadline, cancellation, lost
 * connection. */
void rpc_call_on_gone(struct rpc_call *call, void (*on_gone)(void *owner), void *owner);

/* One message of a stream; the call goes on, and on_sent tells when the next may be sent. Not for a
 * call that is gone. */
void rpc_call_send(struct rpc_call *call, const ProtobufCMessage *message,
                   void (*on_sent)(void *owner), void *owner);

/* The call must not be used afterwards. A stream is ended by rpc_call_fail(). */
void rpc_call_reply(struct rpc_call *call, const ProtobufCMessage *reply);
void rpc_call_fail(struct rpc_call *call, enum rpc_status status, const char *text);
