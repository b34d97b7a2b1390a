/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A gRPC server for unary and server-streaming methods. The caller accepts the connections and
 * hands them over.
 *
 * Everything here runs on the loop thread. Each call is answered exactly once, by rpc_call_reply()
 * or rpc_call_fail(), even if the peer has gone (the answer is then dropped). Calls to unknown
 * methods are answered UNIMPLEMENTED at once, because gRPC core would leave them hanging, and
 * kubelet probes for optional services.
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
        /* request is borrowed until on_call returns; the callee must answer call, now or later. */
        void (*on_call)(void *owner, struct rpc_call *call, const ProtobufCMessage *request);
};

struct rpc_server *rpc_server_new(uv_loop_t *loop, struct rpc_pump *pump);

/* Add these methods, before rpc_server_start(). methods is borrowed for the server's life; owner is
 * passed to their on_call. */
void rpc_server_add_service(struct rpc_server *server, const struct rpc_method *methods,
                            size_t n_methods, void *owner);
/* Call it once, after adding every service and before the first connection. */
void rpc_server_start(struct rpc_server *server);

/* Serve one connected stream socket; the server takes fd over. */
void rpc_server_adopt(struct rpc_server *server, int fd);

/* Accept no new calls. Once the pending ones are answered, or after grace_ms, cut the connections,
 * free the server and call on_stopped. */
void rpc_server_stop(struct rpc_server *server, uint32_t grace_ms, void (*on_stopped)(void *owner),
                     void *owner);

/* How long the peer will wait for the answer, from now; UINT64_MAX: for ever. */
uint64_t rpc_call_remaining_ms(const struct rpc_call *call);

/* on_gone is called at most once, before the answer, if the peer gives up: deadline, cancellation,
 * lost connection. */
void rpc_call_on_gone(struct rpc_call *call, void (*on_gone)(void *owner), void *owner);

/* Send one message of a stream; the call stays open, and on_sent says when the next may be sent. Do
 * not use it after on_gone. */
void rpc_call_send(struct rpc_call *call, const ProtobufCMessage *message,
                   void (*on_sent)(void *owner), void *owner);

/* These end the call: do not use it afterwards. A stream ends with rpc_call_fail(). */
void rpc_call_reply(struct rpc_call *call, const ProtobufCMessage *reply);
void rpc_call_fail(struct rpc_call *call, enum rpc_status status, const char *text);
