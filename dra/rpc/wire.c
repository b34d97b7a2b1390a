/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/wire.h"

#include <grpc/byte_buffer_reader.h>
#include <grpc/slice.h>

grpc_byte_buffer *rpc_wire_pack(const ProtobufCMessage *message)
{
        grpc_slice slice = grpc_slice_malloc(protobuf_c_message_get_packed_size(message));
        grpc_byte_buffer *buffer;

        protobuf_c_message_pack(message, GRPC_SLICE_START_PTR(slice));
        buffer = grpc_raw_byte_buffer_create(&slice, 1);
        grpc_slice_unref(slice);
        return buffer;
}

ProtobufCMessage *rpc_wire_unpack(const ProtobufCMessageDescriptor *kind, grpc_byte_buffer *buffer)
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
        grpc_slice_unref(slice);
        return message;
}
