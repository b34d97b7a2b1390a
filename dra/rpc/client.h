/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unary gRPC calls to a unix socket. Everything here runs on the loop thread.
 *
 * A call fails at once if no process listens: to wait for a socket, watch its directory.
 */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stdint.h>

struct error;
struct rpc_client;
struct rpc_pump;

/* path is the socket's, absolute. The client connects with its first call. */
struct rpc_client *rpc_client_new(struct rpc_pump *pump, const char *path);
/* Cancels pending calls: their on_reply runs with an error, from the loop. NULL is fine. */
void rpc_client_free(struct rpc_client *client);

/* reply is NULL with the reason in error (text "<path>: <status text>"; code -EREMOTEIO: the peer
 * refused, -EIO: there was no answer, or an unreadable one); otherwise it is borrowed and
 * error->code is 0. */
typedef void rpc_on_reply(void *owner, const ProtobufCMessage *reply, const struct error *error);

/* Send request to method ("/package.Service/Method"); reply_kind describes the answer. on_reply
 * never runs before this function has returned. */
void rpc_client_call(struct rpc_client *client, const char *method, const ProtobufCMessage *request,
                     const ProtobufCMessageDescriptor *reply_kind, uint32_t timeout_ms,
                     rpc_on_reply *on_reply, void *owner);
