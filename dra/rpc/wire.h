/* SPDX-License-Identifier: Apache-2.0 */
/* Converts between protobuf-c's messages and gRPC core's byte buffers; for dra/rpc/ only. */
#pragma once

#include <grpc/byte_buffer.h>
#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>

/* The packed message; the caller's. */
grpc_byte_buffer *rpc_wire_pack(const ProtobufCMessage *message);

/* NULL: no buffer, or not a message of that kind. Free with protobuf_c_message_free_unpacked(). A
 * string ends at its first NUL; refuses_nul: such a message is not valid, so that what follows the
 * NUL cannot make a name pass for another. */
ProtobufCMessage *rpc_wire_unpack(const ProtobufCMessageDescriptor *kind, grpc_byte_buffer *buffer,
                                  bool refuses_nul);
