/* SPDX-License-Identifier: Apache-2.0 */
/* Converts between protobuf-c's messages and gRPC core's byte buffers; for dra/rpc/ only. */
#pragma once

#include <grpc/byte_buffer.h>
#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The packed message; the caller's. */
grpc_byte_buffer *rpc_wire_pack(const ProtobufCMessage *message);

/* NULL: no buffer, or not a message of that kind. Free with protobuf_c_message_free_unpacked(). A
 * string ends at its first NUL; refuses_nul: such a message is not valid, so that what follows the
 * NUL cannot make a name pass for another. */
ProtobufCMessage *rpc_wire_unpack(const ProtobufCMessageDescriptor *kind, grpc_byte_buffer *buffer,
                                  bool refuses_nul);

/* Whether a string of the message, or of one within it, has a NUL. The bytes have been unpacked as
 * a message of that kind; of others it says either. */
bool rpc_wire_has_nul(const ProtobufCMessageDescriptor *kind, const uint8_t *bytes, size_t n);
