/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/wire.h"

#include <grpc/byte_buffer_reader.h>
#include <grpc/slice.h>
#include <string.h>

grpc_byte_buffer *rpc_wire_pack(const ProtobufCMessage *message)
{
        grpc_slice slice = grpc_slice_malloc(protobuf_c_message_get_packed_size(message));
        grpc_byte_buffer *buffer;

        protobuf_c_message_pack(message, GRPC_SLICE_START_PTR(slice));
        buffer = grpc_raw_byte_buffer_create(&slice, 1);
        grpc_slice_unref(slice);
        return buffer;
}

/* The varint at *at, which moves behind it. The message has been unpacked, so it is well-formed as
 * far as its known fields go; anything else ends the search. */
static uint64_t read_varint(const uint8_t **at, const uint8_t *end)
{
        uint64_t value = 0;

        for (unsigned shift = 0; *at < end && shift < 64; shift += 7) {
                uint8_t byte = *(*at)++;

                value |= (uint64_t)(byte & 0x7f) << shift;
                if (byte < 0x80)
                        break;
        }
        return value;
}

/* Our kinds of messages nest a few levels deep and do not contain themselves. */
bool rpc_wire_has_nul(const ProtobufCMessageDescriptor *kind, const uint8_t *bytes, size_t n_bytes)
{
        const uint8_t *at = bytes, *end = bytes + n_bytes;

        while (at < end) {
                uint64_t tag = read_varint(&at, end), n = 0;
                const ProtobufCFieldDescriptor *field =
                        protobuf_c_message_descriptor_get_field(kind, (unsigned)(tag >> 3));

                switch (tag & 7) {
                case PROTOBUF_C_WIRE_TYPE_VARINT:
                        (void)read_varint(&at, end);
                        break;
                case PROTOBUF_C_WIRE_TYPE_64BIT:
                        n = 8;
                        break;
                case PROTOBUF_C_WIRE_TYPE_32BIT:
                        n = 4;
                        break;
                case PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED:
                        n = read_varint(&at, end);
                        break;
                default:
                        return false;
                }
                if (n > (uint64_t)(end - at))
                        return false;
                if (field && (tag & 7) == PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED &&
                    ((field->type == PROTOBUF_C_TYPE_STRING && memchr(at, 0, n)) ||
                     (field->type == PROTOBUF_C_TYPE_MESSAGE &&
                      rpc_wire_has_nul(field->descriptor, at, n))))
                        return true;
                at += n;
        }
        return false;
}

ProtobufCMessage *rpc_wire_unpack(const ProtobufCMessageDescriptor *kind, grpc_byte_buffer *buffer,
                                  bool refuses_nul)
{
        grpc_byte_buffer_reader reader;
        ProtobufCMessage *message;
        grpc_slice slice;

        if (!buffer || !grpc_byte_buffer_reader_init(&reader, buffer))
                return NULL;
        slice = grpc_byte_buffer_reader_readall(&reader);
        grpc_byte_buffer_reader_destroy(&reader);
        message = protobuf_c_message_unpack(kind, NULL, GRPC_SLICE_LENGTH(slice),
                                            GRPC_SLICE_START_PTR(slice));
        if (message && refuses_nul &&
            rpc_wire_has_nul(kind, GRPC_SLICE_START_PTR(slice), GRPC_SLICE_LENGTH(slice))) {
                protobuf_c_message_free_unpacked(message, NULL);
                message = NULL;
        }
        grpc_slice_unref(slice);
        return message;
}
