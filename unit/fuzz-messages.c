/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as any message between kubelet and the driver; the first byte chooses which, by its
 * place in proto/ in pluginregistration, dra, deviceplugin, podresources and drahealth.proto. What
 * is accepted can be written, and what was written is read as the same; a NUL that is found is
 * there. The corpus: see unit/golden/make. */
#include "base/memory.h"
#include "deviceplugin.pb-c.h"
#include "dra.pb-c.h"
#include "drahealth.pb-c.h"
#include "pluginregistration.pb-c.h"
#include "podresources.pb-c.h"
#include "rpc/wire.h"

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static const ProtobufCMessageDescriptor *const kinds[] = {
        &registration__info_request__descriptor,
        &registration__plugin_info__descriptor,
        &registration__registration_status__descriptor,
        &registration__registration_status_response__descriptor,
        &dra__claim__descriptor,
        &dra__device__descriptor,
        &dra__node_prepare_resources_request__descriptor,
        &dra__node_prepare_resource_response__descriptor,
        &dra__node_prepare_resources_response__descriptor,
        &dra__node_unprepare_resources_request__descriptor,
        &dra__node_unprepare_resource_response__descriptor,
        &dra__node_unprepare_resources_response__descriptor,
        &deviceplugin__device_plugin_options__descriptor,
        &deviceplugin__register_request__descriptor,
        &deviceplugin__empty__descriptor,
        &deviceplugin__device__descriptor,
        &deviceplugin__list_and_watch_response__descriptor,
        &deviceplugin__container_preferred_allocation_request__descriptor,
        &deviceplugin__preferred_allocation_request__descriptor,
        &deviceplugin__container_preferred_allocation_response__descriptor,
        &deviceplugin__preferred_allocation_response__descriptor,
        &deviceplugin__container_allocate_request__descriptor,
        &deviceplugin__allocate_request__descriptor,
        &deviceplugin__cdidevice__descriptor,
        &deviceplugin__mount__descriptor,
        &deviceplugin__container_allocate_response__descriptor,
        &deviceplugin__allocate_response__descriptor,
        &deviceplugin__pre_start_container_request__descriptor,
        &deviceplugin__pre_start_container_response__descriptor,
        &podresources__list_pod_resources_request__descriptor,
        &podresources__list_pod_resources_response__descriptor,
        &podresources__pod_resources__descriptor,
        &podresources__container_resources__descriptor,
        &podresources__container_devices__descriptor,
        &podresources__dynamic_resource__descriptor,
        &podresources__claim_resource__descriptor,
        &podresources__cdidevice__descriptor,
        &drahealth__node_watch_resources_request__descriptor,
        &drahealth__node_watch_resources_response__descriptor,
        &drahealth__device_health__descriptor,
        &drahealth__device_identifier__descriptor,
};

/* protobuf-c takes a field number of 0 when it is written in more bytes than it needs, and writes
 * it in one, which it does not take. */
static bool has_field_0(const ProtobufCMessage *message)
{
        for (unsigned i = 0; i < message->n_unknown_fields; ++i)
                if (!message->unknown_fields[i].tag)
                        return true;
        for (unsigned i = 0; i < message->descriptor->n_fields; ++i) {
                const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];
                const char *value = (const char *)message + field->offset;
                const char *count = (const char *)message + field->quantifier_offset;
                bool is_repeated = field->label == PROTOBUF_C_LABEL_REPEATED;
                size_t n = is_repeated ? *(const size_t *)(const void *)count : 1;
                ProtobufCMessage *const *parts = (const void *)value;

                if (field->type != PROTOBUF_C_TYPE_MESSAGE)
                        continue;
                if (is_repeated)
                        parts = *(ProtobufCMessage *const *const *)(const void *)value;
                for (size_t j = 0; j < n; ++j)
                        if (parts[j] && has_field_0(parts[j]))
                                return true;
        }
        return false;
}

static uint8_t *pack(const ProtobufCMessage *message, size_t *ret_n)
{
        uint8_t *bytes;
        size_t n;

        n = protobuf_c_message_get_packed_size(message);
        bytes = xmalloc(n + 1);
        *ret_n = protobuf_c_message_pack(message, bytes);
        assert(*ret_n == n);
        return bytes;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
        _cleanup_(free) uint8_t *first = NULL, *second = NULL;
        const ProtobufCMessageDescriptor *kind;
        ProtobufCMessage *message, *again;
        size_t n_first, n_second;

        if (!n)
                return 0;
        kind = kinds[bytes[0] % array_size(kinds)];
        message = protobuf_c_message_unpack(kind, NULL, n - 1, bytes + 1);
        if (!message)
                return 0;
        assert(protobuf_c_message_check(message));
        assert(!rpc_wire_has_nul(kind, bytes + 1, n - 1) || memchr(bytes + 1, 0, n - 1));
        first = pack(message, &n_first);
        again = protobuf_c_message_unpack(kind, NULL, n_first, first);
        assert(again || has_field_0(message));
        if (!again) {
                protobuf_c_message_free_unpacked(message, NULL);
                return 0;
        }
        second = pack(again, &n_second);
        assert(n_first == n_second && memcmp(first, second, n_first) == 0);
        protobuf_c_message_free_unpacked(again, NULL);
        protobuf_c_message_free_unpacked(message, NULL);
        return 0;
}
