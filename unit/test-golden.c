/* SPDX-License-Identifier: Apache-2.0 */
/* The generated code against bytes that another encoder made from other tables (unit/golden/make):
 * what holds our trimmed .proto files to the wire. */
#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "deviceplugin.pb-c.h"
#include "dra.pb-c.h"
#include "drahealth.pb-c.h"
#include "pluginregistration.pb-c.h"
#include "podresources.pb-c.h"
#include "unit/suite.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

enum encoding {
        SAME_BYTES,
        SAME_MEANING /* there are several encodings, and ours is another one */
};

/* meaning: every field that is set, as describe() tells them. <3 text> stands for three times the
 * text, in which # is 0, 1 and 2. */
struct golden {
        const char *name; /* of the file, without .bin */
        const char *meaning;
        enum encoding encoding;
};

/* ---- what a message says ---- */

static void describe(const ProtobufCMessage *message, struct text *text);

static void describe_value(const ProtobufCFieldDescriptor *field, const void *value,
                           struct text *text)
{
        const ProtobufCMessage *message;
        const char *string;

        text_addf(text, "%s=", field->name);
        if (field->type == PROTOBUF_C_TYPE_BOOL) {
                text_add(text, *(const protobuf_c_boolean *)value ? "true " : "false ");
        } else if (field->type == PROTOBUF_C_TYPE_INT32) {
                text_addf(text, "%d ", *(const int32_t *)value);
        } else if (field->type == PROTOBUF_C_TYPE_ENUM) {
                text_addf(text, "%d ", *(const int *)value);
        } else if (field->type == PROTOBUF_C_TYPE_INT64) {
                text_addf(text, "%" PRId64 " ", *(const int64_t *)value);
        } else if (field->type == PROTOBUF_C_TYPE_STRING) {
                string = *(const char *const *)value;
                text_addf(text, "'%s' ", string ? string : "NULL");
        } else {
                ck_assert_int_eq(field->type, PROTOBUF_C_TYPE_MESSAGE);
                message = *(const ProtobufCMessage *const *)value;
                ck_assert_ptr_nonnull(message);
                text_add(text, "{ ");
                describe(message, text);
                text_add(text, "} ");
        }
}

/* "", 0 and false are what proto3 takes for unset. */
static bool is_set(const ProtobufCFieldDescriptor *field, const void *value)
{
        if (field->type == PROTOBUF_C_TYPE_BOOL)
                return *(const protobuf_c_boolean *)value;
        if (field->type == PROTOBUF_C_TYPE_INT32)
                return *(const int32_t *)value != 0;
        if (field->type == PROTOBUF_C_TYPE_ENUM)
                return *(const int *)value != 0;
        if (field->type == PROTOBUF_C_TYPE_INT64)
                return *(const int64_t *)value != 0;
        if (field->type == PROTOBUF_C_TYPE_STRING)
                return !*(const char *const *)value || **(const char *const *)value;
        return *(const void *const *)value != NULL;
}

static void describe_field(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field,
                           struct text *text)
{
        const char *value = (const char *)message + field->offset;
        const char *count = (const char *)message + field->quantifier_offset;
        const void *const *items;

        if (field->label != PROTOBUF_C_LABEL_REPEATED) {
                if (is_set(field, value))
                        describe_value(field, value, text);
                return;
        }
        items = *(const void *const *const *)(const void *)value;
        for (size_t i = 0; i < *(const size_t *)(const void *)count; ++i)
                describe_value(field, &items[i], text);
}

static void describe(const ProtobufCMessage *message, struct text *text)
{
        for (unsigned i = 0; i < message->descriptor->n_fields; ++i)
                describe_field(message, &message->descriptor->fields[i], text);
        for (unsigned i = 0; i < message->n_unknown_fields; ++i) {
                const ProtobufCMessageUnknownField *field = &message->unknown_fields[i];

                text_addf(text, "%u:%u:", field->tag, (unsigned)field->wire_type);
                for (size_t j = 0; j < field->len; ++j)
                        text_addf(text, "%02x", field->data[j]);
                text_add(text, " ");
        }
}

static void add_numbered(struct text *text, const char *from, const char *to, unsigned number)
{
        for (; from < to; ++from)
                if (*from == '#')
                        text_addf(text, "%u", number);
                else
                        text_add_bytes(text, from, 1);
}

static void expand(const char *meaning, struct text *text)
{
        const char *open, *close;
        char *from;

        for (; (open = strchr(meaning, '<')); meaning = close + 1) {
                unsigned long n = strtoul(open + 1, &from, 10);

                close = strchr(open, '>');
                text_add_bytes(text, meaning, (size_t)(open - meaning));
                for (unsigned i = 0; i < n; ++i)
                        add_numbered(text, from + 1, close, i);
        }
        text_add(text, meaning);
}

/* ---- decode, check, encode, compare ---- */

static ProtobufCMessage *unpack_as(const ProtobufCMessageDescriptor *kind,
                                   const struct golden *golden, const void *bytes, size_t n)
{
        _cleanup_(text) struct text said = TEXT_NULL, meant = TEXT_NULL;
        ProtobufCMessage *message = protobuf_c_message_unpack(kind, NULL, n, bytes);

        ck_assert_msg(message != NULL, "%s is no %s", golden->name, kind->name);
        text_add(&said, "");
        describe(message, &said);
        expand(golden->meaning, &meant);
        ck_assert_msg(strcmp(said.bytes, meant.bytes) == 0, "%s says\n    %s\nand not\n    %s",
                      golden->name, said.bytes, meant.bytes);
        return message;
}

static void check_one(const ProtobufCMessageDescriptor *kind, const struct golden *golden)
{
        _cleanup_(free) char *path = xasprintf("unit/golden/%s.bin", golden->name);
        _cleanup_(free) char *bytes = NULL;
        _cleanup_(free) uint8_t *packed = NULL;
        struct error error = ERROR_NULL;
        ProtobufCMessage *message, *again;
        size_t n, n_packed;

        ck_assert_msg(file_read(AT_FDCWD, path, 1 << 20, &bytes, &n, &error) == 0, "%s",
                      error.text);
        message = unpack_as(kind, golden, bytes, n);
        n_packed = protobuf_c_message_get_packed_size(message);
        packed = xmalloc(n_packed + 1);
        ck_assert_uint_eq(protobuf_c_message_pack(message, packed), n_packed);
        if (golden->encoding == SAME_BYTES)
                ck_assert_msg(n == n_packed && memcmp(bytes, packed, n) == 0,
                              "%s is encoded otherwise, in %zu bytes instead of %zu", golden->name,
                              n_packed, n);
        again = unpack_as(kind, golden, packed, n_packed);
        protobuf_c_message_free_unpacked(again, NULL);
        protobuf_c_message_free_unpacked(message, NULL);
}

static void check_all(const ProtobufCMessageDescriptor *kind, const struct golden *goldens,
                      size_t n_goldens)
{
        for (size_t i = 0; i < n_goldens; ++i)
                check_one(kind, &goldens[i]);
}

/* ---- the meanings; test-golden.py sees to it that no file is left out ---- */

#define UTF8  "Käse 日本 🧀"
#define UID_1 "11111111-2222-3333-4444-000000000001"
#define UID_2 "11111111-2222-3333-4444-000000000002"

/* Fields that no version has yet, one of each wire type, are kept as they are. */
#define FUTURE "100:0:07 101:2:036e6577 102:5:01000000 103:1:0100000000000000 "

#define INFO                                                            \
        "type='DRAPlugin' name='tdx.kubevirt.io' "                      \
        "endpoint='/var/lib/kubelet/plugins/tdx.kubevirt.io/dra.sock' " \
        "supported_versions='v1.DRAPlugin' supported_versions='v1beta1.DRAPlugin' "
#define REFUSED_STATUS "error='the plugin is not welcome' "

#define CLAIM       "namespace='default' uid='" UID_1 "' name='vm-tdx' "
#define CLAIM_UTF8  "namespace='" UTF8 "' uid='" UTF8 "' name='" UTF8 "' "
#define MANY_CLAIMS "<50 claims={ namespace='ns#' uid='uid-#' name='claim-#' } >"

#define DEVICE                                                      \
        "request_names='tdx' pool_name='node1' device_name='tdx7' " \
        "cdi_device_ids='kubevirt.io/tdx=dra-tdx7' "
#define DEVICE_UTF8                                                          \
        "request_names='" UTF8 "' request_names='" UTF8 "' pool_name='" UTF8 \
        "' device_name='" UTF8 "' cdi_device_ids='" UTF8 "' "
#define MANY_DEVICES                                                             \
        "<32 devices={ request_names='r#' pool_name='node1' device_name='tdx#' " \
        "cdi_device_ids='kubevirt.io/tdx=dra-tdx#' } >"
/* v1's share_id, which our .proto leaves out: field 5, a string of 36 bytes. */
#define SHARE_ID "5:2:2461616161616161612d626262622d636363632d646464642d656565656565656565656565 "

#define PREPARED "devices={ " DEVICE "} "
#define REFUSED  "error='no TD is free' "
#define STUCK    "error='the disk is full' "

START_TEST(info_requests_are_those_of_kubelet)
{
        static const struct golden goldens[] = {
                { "InfoRequest.empty", "" },
                { "InfoRequest.future", FUTURE },
        };

        check_all(&registration__info_request__descriptor, goldens, array_size(goldens));
}
END_TEST

START_TEST(plugin_infos_are_those_of_kubelet)
{
        static const struct golden goldens[] = {
                { "PluginInfo.empty", "" },
                { "PluginInfo.full", INFO },
                { "PluginInfo.many", "<100 supported_versions='v#' >" },
                { "PluginInfo.utf8", "type='" UTF8 "' name='" UTF8 "' endpoint='" UTF8
                                     "' <2 supported_versions='" UTF8 "' >" },
                { "PluginInfo.future", INFO FUTURE },
        };

        check_all(&registration__plugin_info__descriptor, goldens, array_size(goldens));
}
END_TEST

START_TEST(registration_statuses_are_those_of_kubelet)
{
        static const struct golden goldens[] = {
                { "RegistrationStatus.empty", "" },
                { "RegistrationStatus.registered", "plugin_registered=true " },
                { "RegistrationStatus.refused", REFUSED_STATUS },
                { "RegistrationStatus.full", "plugin_registered=true error='so' " },
                { "RegistrationStatus.utf8", "error='" UTF8 "' " },
                { "RegistrationStatus.future", REFUSED_STATUS FUTURE },
        };

        check_all(&registration__registration_status__descriptor, goldens, array_size(goldens));
}
END_TEST

START_TEST(registration_status_responses_are_those_of_kubelet)
{
        static const struct golden goldens[] = {
                { "RegistrationStatusResponse.empty", "" },
                { "RegistrationStatusResponse.future", FUTURE },
        };

        check_all(&registration__registration_status_response__descriptor, goldens,
                  array_size(goldens));
}
END_TEST

START_TEST(claims_are_those_of_kubelet)
{
        static const struct golden goldens[] = {
                { "Claim.empty", "" },
                { "Claim.full", CLAIM },
                /* Lengths that need one, two and three bytes. */
                { "Claim.long", "namespace='<127 n>' uid='<128 u>' name='<16384 x>' " },
                { "Claim.utf8", CLAIM_UTF8 },
                { "Claim.future", CLAIM FUTURE },
                { "Claim.future-first", CLAIM FUTURE, SAME_MEANING },
                { "Claim.reordered", CLAIM, SAME_MEANING },
                { "Claim.twice", CLAIM, SAME_MEANING },
        };

        check_all(&dra__claim__descriptor, goldens, array_size(goldens));
}
END_TEST

START_TEST(devices_are_those_of_kubelet)
{
        static const struct golden goldens[] = {
                { "Device.empty", "" },
                { "Device.full", DEVICE },
                { "Device.many", "<40 request_names='r#' >pool_name='node1' device_name='tdx4095' "
                                 "<40 cdi_device_ids='kubevirt.io/tdx=dra-tdx#' >" },
                { "Device.empty-strings", "request_names='' request_names='a' request_names='' "
                                          "cdi_device_ids='' cdi_device_ids='' " },
                { "Device.utf8", DEVICE_UTF8 },
                { "Device.future", DEVICE FUTURE },
                { "Device.share-id", DEVICE SHARE_ID },
        };

        check_all(&dra__device__descriptor, goldens, array_size(goldens));
}
END_TEST

START_TEST(prepare_requests_are_those_of_kubelet)
{
        static const struct golden goldens[] = {
                { "NodePrepareResourcesRequest.empty", "" },
                { "NodePrepareResourcesRequest.full", "claims={ " CLAIM "} " },
                { "NodePrepareResourcesRequest.many", MANY_CLAIMS },
                { "NodePrepareResourcesRequest.empty-claims",
                  "claims={ } claims={ " CLAIM "} claims={ } " },
                { "NodePrepareResourcesRequest.utf8", "claims={ " CLAIM_UTF8 "} " },
                { "NodePrepareResourcesRequest.future", "claims={ " CLAIM "} " FUTURE },
        };

        check_all(&dra__node_prepare_resources_request__descriptor, goldens, array_size(goldens));
}
END_TEST

START_TEST(unprepare_requests_are_those_of_kubelet)
{
        static const struct golden goldens[] = {
                { "NodeUnprepareResourcesRequest.empty", "" },
                { "NodeUnprepareResourcesRequest.full", "claims={ " CLAIM "} " },
                { "NodeUnprepareResourcesRequest.many", MANY_CLAIMS },
                { "NodeUnprepareResourcesRequest.empty-claims",
                  "claims={ } claims={ " CLAIM "} claims={ } " },
                { "NodeUnprepareResourcesRequest.utf8", "claims={ " CLAIM_UTF8 "} " },
                { "NodeUnprepareResourcesRequest.future", "claims={ " CLAIM "} " FUTURE },
        };

        check_all(&dra__node_unprepare_resources_request__descriptor, goldens, array_size(goldens));
}
END_TEST

START_TEST(answers_for_one_prepared_claim_are_those_of_kubelet)
{
        static const struct golden goldens[] = {
                { "NodePrepareResourceResponse.empty", "" },
                { "NodePrepareResourceResponse.full", PREPARED REFUSED },
                { "NodePrepareResourceResponse.many", MANY_DEVICES },
                { "NodePrepareResourceResponse.utf8",
                  "devices={ " DEVICE_UTF8 "} error='" UTF8 "' " },
                { "NodePrepareResourceResponse.future", PREPARED FUTURE },
                { "NodePrepareResourceResponse.share-id", "devices={ " DEVICE SHARE_ID "} " },
        };

        check_all(&dra__node_prepare_resource_response__descriptor, goldens, array_size(goldens));
}
END_TEST

START_TEST(answers_for_one_unprepared_claim_are_those_of_kubelet)
{
        static const struct golden goldens[] = {
                { "NodeUnprepareResourceResponse.empty", "" },
                { "NodeUnprepareResourceResponse.full", STUCK },
                { "NodeUnprepareResourceResponse.utf8", "error='" UTF8 "' " },
                { "NodeUnprepareResourceResponse.future", STUCK FUTURE },
        };

        check_all(&dra__node_unprepare_resource_response__descriptor, goldens, array_size(goldens));
}
END_TEST

/* The maps. protobuf-c leaves an empty key out where others write it. */
START_TEST(prepare_responses_are_those_of_kubelet)
{
        static const struct golden goldens[] = {
                { "NodePrepareResourcesResponse.empty", "" },
                { "NodePrepareResourcesResponse.full",
                  "claims={ key='" UID_1 "' value={ " PREPARED "} } " },
                { "NodePrepareResourcesResponse.many",
                  "claims={ key='" UID_1 "' value={ " PREPARED "} } "
                  "claims={ key='" UID_2 "' value={ " REFUSED "} } "
                  "claims={ key='a' value={ " REFUSED "} } "
                  "claims={ key='b' value={ " PREPARED "} } " },
                { "NodePrepareResourcesResponse.empty-value",
                  "claims={ key='" UID_1 "' value={ } } " },
                { "NodePrepareResourcesResponse.empty-key", "claims={ value={ " REFUSED "} } ",
                  SAME_MEANING },
                { "NodePrepareResourcesResponse.utf8",
                  "claims={ key='" UTF8 "' value={ " REFUSED "} } " },
                { "NodePrepareResourcesResponse.future",
                  "claims={ key='" UID_1 "' value={ " PREPARED "} } " FUTURE },
                { "NodePrepareResourcesResponse.share-id",
                  "claims={ key='" UID_1 "' value={ devices={ " DEVICE SHARE_ID "} } } " },
        };

        check_all(&dra__node_prepare_resources_response__descriptor, goldens, array_size(goldens));
}
END_TEST

START_TEST(unprepare_responses_are_those_of_kubelet)
{
        static const struct golden goldens[] = {
                { "NodeUnprepareResourcesResponse.empty", "" },
                { "NodeUnprepareResourcesResponse.full", "claims={ key='" UID_1 "' value={ } } " },
                { "NodeUnprepareResourcesResponse.many",
                  "claims={ key='" UID_1 "' value={ } } "
                  "claims={ key='" UID_2 "' value={ " STUCK "} } "
                  "claims={ key='a' value={ " STUCK "} } "
                  "claims={ key='b' value={ } } " },
                { "NodeUnprepareResourcesResponse.empty-key", "claims={ value={ " STUCK "} } ",
                  SAME_MEANING },
                { "NodeUnprepareResourcesResponse.utf8",
                  "claims={ key='" UTF8 "' value={ " STUCK "} } " },
                { "NodeUnprepareResourcesResponse.future",
                  "claims={ key='" UID_2 "' value={ " STUCK "} } " FUTURE },
        };

        check_all(&dra__node_unprepare_resources_response__descriptor, goldens,
                  array_size(goldens));
}
END_TEST

/* ---- the classic device plugin ---- */

#define OPTIONS "get_preferred_allocation_available=true "
#define REGISTER                                            \
        "version='v1beta1' endpoint='dra-driver-tdx.sock' " \
        "resource_name='devices.kubevirt.io/tdx' options={ " OPTIONS "} "
#define PLUGIN_DEVICE "ID='tdx7' health='Healthy' "
/* Upstream's field 3, which our .proto leaves out: NUMA node 1. */
#define TOPOLOGY "3:2:040a020801 "
#define PREFERENCE                                                                          \
        "available_deviceIDs='tdx0' available_deviceIDs='tdx1' available_deviceIDs='tdx2' " \
        "must_include_deviceIDs='tdx1' allocation_size=2 "
#define PREFERRED "deviceIDs='tdx1' deviceIDs='tdx2' "
#define WANTED    "devices_ids='tdx1' devices_ids='tdx2' "
#define CDI       "name='kubevirt.io/tdx=plugin-tdx7' "
#define MOUNT     "container_path='/run/qgs' host_path='/var/run/tdx-qgs' read_only=true "
#define GIVEN     "mounts={ " MOUNT "} cdi_devices={ " CDI "} "
/* envs, devices and annotations. */
#define OTHERS \
        "1:2:060a0141120162 3:2:140a062f6465762f7812062f6465762f791a027277 4:2:060a0141120162 "

START_TEST(registrations_of_the_device_plugin_are_those_of_kubelet)
{
        static const struct golden device_plugin_optionss[] = {
                { "deviceplugin.DevicePluginOptions.empty", "" },
                { "deviceplugin.DevicePluginOptions.preferred", OPTIONS },
                { "deviceplugin.DevicePluginOptions.full", "pre_start_required=true " OPTIONS },
                { "deviceplugin.DevicePluginOptions.future", OPTIONS FUTURE },
        };
        static const struct golden register_requests[] = {
                { "deviceplugin.RegisterRequest.empty", "" },
                { "deviceplugin.RegisterRequest.full", REGISTER },
                { "deviceplugin.RegisterRequest.empty-options", "options={ } " },
                { "deviceplugin.RegisterRequest.utf8",
                  "version='" UTF8 "' endpoint='" UTF8 "' resource_name='" UTF8 "' " },
                { "deviceplugin.RegisterRequest.future", REGISTER FUTURE },
        };
        static const struct golden emptys[] = {
                { "deviceplugin.Empty.empty", "" },
                { "deviceplugin.Empty.future", FUTURE },
        };

        check_all(&deviceplugin__device_plugin_options__descriptor, device_plugin_optionss,
                  array_size(device_plugin_optionss));
        check_all(&deviceplugin__register_request__descriptor, register_requests,
                  array_size(register_requests));
        check_all(&deviceplugin__empty__descriptor, emptys, array_size(emptys));
}
END_TEST

START_TEST(lists_of_the_device_plugin_are_those_of_kubelet)
{
        static const struct golden devices[] = {
                { "deviceplugin.Device.empty", "" },
                { "deviceplugin.Device.full", PLUGIN_DEVICE },
                { "deviceplugin.Device.topology", PLUGIN_DEVICE TOPOLOGY },
                { "deviceplugin.Device.utf8", "ID='" UTF8 "' health='" UTF8 "' " },
                { "deviceplugin.Device.future", PLUGIN_DEVICE FUTURE },
        };
        static const struct golden list_and_watch_responses[] = {
                { "deviceplugin.ListAndWatchResponse.empty", "" },
                { "deviceplugin.ListAndWatchResponse.full", "devices={ " PLUGIN_DEVICE "} " },
                { "deviceplugin.ListAndWatchResponse.many",
                  "<200 devices={ ID='tdx#' health='Unhealthy' } >" },
                { "deviceplugin.ListAndWatchResponse.topology",
                  "devices={ " PLUGIN_DEVICE TOPOLOGY "} devices={ " PLUGIN_DEVICE "} " },
                { "deviceplugin.ListAndWatchResponse.future",
                  "devices={ " PLUGIN_DEVICE "} " FUTURE },
        };

        check_all(&deviceplugin__device__descriptor, devices, array_size(devices));
        check_all(&deviceplugin__list_and_watch_response__descriptor, list_and_watch_responses,
                  array_size(list_and_watch_responses));
}
END_TEST

START_TEST(preferences_are_asked_for_as_kubelet_does)
{
        static const struct golden container_preferred_allocation_requests[] = {
                { "deviceplugin.ContainerPreferredAllocationRequest.empty", "" },
                { "deviceplugin.ContainerPreferredAllocationRequest.full", PREFERENCE },
                { "deviceplugin.ContainerPreferredAllocationRequest.many",
                  "<200 available_deviceIDs='tdx#' ><200 must_include_deviceIDs='tdx#' "
                  ">allocation_size=4096 " },
                { "deviceplugin.ContainerPreferredAllocationRequest.negative",
                  "allocation_size=-1 " },
                { "deviceplugin.ContainerPreferredAllocationRequest.utf8",
                  "available_deviceIDs='" UTF8 "' available_deviceIDs='' " },
                { "deviceplugin.ContainerPreferredAllocationRequest.future", PREFERENCE FUTURE },
        };
        static const struct golden preferred_allocation_requests[] = {
                { "deviceplugin.PreferredAllocationRequest.empty", "" },
                { "deviceplugin.PreferredAllocationRequest.full",
                  "container_requests={ " PREFERENCE "} " },
                { "deviceplugin.PreferredAllocationRequest.empty-containers",
                  "container_requests={ } container_requests={ " PREFERENCE "} " },
                { "deviceplugin.PreferredAllocationRequest.future",
                  "container_requests={ " PREFERENCE "} " FUTURE },
        };

        check_all(&deviceplugin__container_preferred_allocation_request__descriptor,
                  container_preferred_allocation_requests,
                  array_size(container_preferred_allocation_requests));
        check_all(&deviceplugin__preferred_allocation_request__descriptor,
                  preferred_allocation_requests, array_size(preferred_allocation_requests));
}
END_TEST

START_TEST(preferences_are_told_as_to_kubelet)
{
        static const struct golden container_preferred_allocation_responses[] = {
                { "deviceplugin.ContainerPreferredAllocationResponse.empty", "" },
                { "deviceplugin.ContainerPreferredAllocationResponse.full", PREFERRED },
                { "deviceplugin.ContainerPreferredAllocationResponse.many",
                  "<200 deviceIDs='tdx#' >" },
                { "deviceplugin.ContainerPreferredAllocationResponse.future", PREFERRED FUTURE },
        };
        static const struct golden preferred_allocation_responses[] = {
                { "deviceplugin.PreferredAllocationResponse.empty", "" },
                { "deviceplugin.PreferredAllocationResponse.full",
                  "container_responses={ " PREFERRED "} " },
                { "deviceplugin.PreferredAllocationResponse.empty-containers",
                  "container_responses={ } container_responses={ " PREFERRED "} " },
                { "deviceplugin.PreferredAllocationResponse.future",
                  "container_responses={ " PREFERRED "} " FUTURE },
        };

        check_all(&deviceplugin__container_preferred_allocation_response__descriptor,
                  container_preferred_allocation_responses,
                  array_size(container_preferred_allocation_responses));
        check_all(&deviceplugin__preferred_allocation_response__descriptor,
                  preferred_allocation_responses, array_size(preferred_allocation_responses));
}
END_TEST

START_TEST(allocations_are_asked_for_as_kubelet_does)
{
        static const struct golden container_allocate_requests[] = {
                { "deviceplugin.ContainerAllocateRequest.empty", "" },
                { "deviceplugin.ContainerAllocateRequest.full", WANTED },
                { "deviceplugin.ContainerAllocateRequest.many", "<200 devices_ids='tdx#' >" },
                { "deviceplugin.ContainerAllocateRequest.utf8",
                  "devices_ids='' devices_ids='" UTF8 "' " },
                { "deviceplugin.ContainerAllocateRequest.future", WANTED FUTURE },
        };
        static const struct golden allocate_requests[] = {
                { "deviceplugin.AllocateRequest.empty", "" },
                { "deviceplugin.AllocateRequest.full", "container_requests={ " WANTED "} " },
                { "deviceplugin.AllocateRequest.empty-containers",
                  "container_requests={ } container_requests={ " WANTED "} " },
                { "deviceplugin.AllocateRequest.future",
                  "container_requests={ " WANTED "} " FUTURE },
        };
        static const struct golden pre_start_container_requests[] = {
                { "deviceplugin.PreStartContainerRequest.empty", "" },
                { "deviceplugin.PreStartContainerRequest.full", WANTED },
                { "deviceplugin.PreStartContainerRequest.many", "<200 devices_ids='tdx#' >" },
                { "deviceplugin.PreStartContainerRequest.future", "devices_ids='tdx1' " FUTURE },
        };

        check_all(&deviceplugin__container_allocate_request__descriptor,
                  container_allocate_requests, array_size(container_allocate_requests));
        check_all(&deviceplugin__allocate_request__descriptor, allocate_requests,
                  array_size(allocate_requests));
        check_all(&deviceplugin__pre_start_container_request__descriptor,
                  pre_start_container_requests, array_size(pre_start_container_requests));
}
END_TEST

START_TEST(allocations_are_answered_as_to_kubelet)
{
        static const struct golden cdidevices[] = {
                { "deviceplugin.CDIDevice.empty", "" },
                { "deviceplugin.CDIDevice.full", CDI },
                { "deviceplugin.CDIDevice.utf8", "name='" UTF8 "' " },
                { "deviceplugin.CDIDevice.future", CDI FUTURE },
        };
        static const struct golden mounts[] = {
                { "deviceplugin.Mount.empty", "" },
                { "deviceplugin.Mount.full", MOUNT },
                { "deviceplugin.Mount.writable", "container_path='/a' host_path='/b' " },
                { "deviceplugin.Mount.utf8", "container_path='" UTF8 "' host_path='" UTF8 "' " },
                { "deviceplugin.Mount.future", MOUNT FUTURE },
        };
        static const struct golden container_allocate_responses[] = {
                { "deviceplugin.ContainerAllocateResponse.empty", "" },
                { "deviceplugin.ContainerAllocateResponse.full", GIVEN },
                { "deviceplugin.ContainerAllocateResponse.cdi",
                  "cdi_devices={ " CDI "} cdi_devices={ " CDI "} " },
                { "deviceplugin.ContainerAllocateResponse.others", "mounts={ " MOUNT "} " OTHERS,
                  SAME_MEANING },
                { "deviceplugin.ContainerAllocateResponse.future", GIVEN FUTURE },
        };
        static const struct golden allocate_responses[] = {
                { "deviceplugin.AllocateResponse.empty", "" },
                { "deviceplugin.AllocateResponse.full", "container_responses={ " GIVEN "} " },
                { "deviceplugin.AllocateResponse.empty-containers",
                  "container_responses={ } container_responses={ " GIVEN "} " },
                { "deviceplugin.AllocateResponse.future",
                  "container_responses={ " GIVEN "} " FUTURE },
        };
        static const struct golden pre_start_container_responses[] = {
                { "deviceplugin.PreStartContainerResponse.empty", "" },
                { "deviceplugin.PreStartContainerResponse.future", FUTURE },
        };

        check_all(&deviceplugin__cdidevice__descriptor, cdidevices, array_size(cdidevices));
        check_all(&deviceplugin__mount__descriptor, mounts, array_size(mounts));
        check_all(&deviceplugin__container_allocate_response__descriptor,
                  container_allocate_responses, array_size(container_allocate_responses));
        check_all(&deviceplugin__allocate_response__descriptor, allocate_responses,
                  array_size(allocate_responses));
        check_all(&deviceplugin__pre_start_container_response__descriptor,
                  pre_start_container_responses, array_size(pre_start_container_responses));
}
END_TEST

/* ---- podresources ---- */

#define HELD      "resource_name='devices.kubevirt.io/tdx' device_ids='tdx1' device_ids='tdx2' "
#define CONTAINER "name='compute' devices={ " HELD "} "
#define POD       "name='vm' namespace='default' containers={ " CONTAINER "} "
/* With cpu_ids and memory. */
#define BUSY_CONTAINER                                                     \
        "name='compute' devices={ " HELD TOPOLOGY "} devices={ " HELD "} " \
        "3:2:040001ac02 4:2:0e0a066d656d6f7279108080808010 "
#define CDI_DEVICE "name='kubevirt.io/tdx=dra-tdx7' "
#define CLAIMED                                                                          \
        "cdi_devices={ " CDI_DEVICE "} driver_name='tdx.kubevirt.io' pool_name='node1' " \
        "device_name='tdx7' "
#define CLAIM_YET    "claim_name='vm-td' claim_namespace='default' "
#define CLAIM_LISTED CLAIM_YET "claim_resources={ " CLAIMED "} "

START_TEST(containers_of_podresources_are_those_of_kubelet)
{
        static const struct golden container_devicess[] = {
                { "podresources.ContainerDevices.empty", "" },
                { "podresources.ContainerDevices.full", HELD },
                { "podresources.ContainerDevices.many",
                  "resource_name='devices.kubevirt.io/tdx' <200 device_ids='tdx#' >" },
                { "podresources.ContainerDevices.topology", HELD TOPOLOGY },
                { "podresources.ContainerDevices.utf8",
                  "resource_name='" UTF8 "' device_ids='" UTF8 "' device_ids='' " },
                { "podresources.ContainerDevices.future", HELD FUTURE },
        };
        static const struct golden container_resourcess[] = {
                { "podresources.ContainerResources.empty", "" },
                { "podresources.ContainerResources.full", CONTAINER },
                { "podresources.ContainerResources.claims", CONTAINER
                  "dynamic_resources={ " CLAIM_LISTED "} dynamic_resources={ " CLAIM_YET "} " },
                { "podresources.ContainerResources.others", BUSY_CONTAINER },
                { "podresources.ContainerResources.future", CONTAINER FUTURE },
        };

        check_all(&podresources__container_devices__descriptor, container_devicess,
                  array_size(container_devicess));
        check_all(&podresources__container_resources__descriptor, container_resourcess,
                  array_size(container_resourcess));
}
END_TEST

START_TEST(claims_of_podresources_are_those_of_kubelet)
{
        static const struct golden cdi_devices[] = {
                { "podresources.CDIDevice.full", CDI_DEVICE },
                { "podresources.CDIDevice.future", CDI_DEVICE FUTURE },
        };
        static const struct golden claim_resources[] = {
                { "podresources.ClaimResource.full", CLAIMED },
                { "podresources.ClaimResource.future", CLAIMED FUTURE },
        };
        static const struct golden dynamic_resources[] = {
                { "podresources.DynamicResource.full", CLAIM_LISTED },
                { "podresources.DynamicResource.preparing", CLAIM_YET },
                { "podresources.DynamicResource.future", CLAIM_LISTED FUTURE },
        };

        check_all(&podresources__cdidevice__descriptor, cdi_devices, array_size(cdi_devices));
        check_all(&podresources__claim_resource__descriptor, claim_resources,
                  array_size(claim_resources));
        check_all(&podresources__dynamic_resource__descriptor, dynamic_resources,
                  array_size(dynamic_resources));
}
END_TEST

START_TEST(lists_of_podresources_are_those_of_kubelet)
{
        static const struct golden pod_resourcess[] = {
                { "podresources.PodResources.empty", "" },
                { "podresources.PodResources.full", POD },
                { "podresources.PodResources.utf8", "name='" UTF8 "' namespace='" UTF8 "' " },
                { "podresources.PodResources.future", POD FUTURE },
        };
        static const struct golden list_pod_resources_requests[] = {
                { "podresources.ListPodResourcesRequest.empty", "" },
                { "podresources.ListPodResourcesRequest.future", FUTURE },
        };
        static const struct golden list_pod_resources_responses[] = {
                { "podresources.ListPodResourcesResponse.empty", "" },
                { "podresources.ListPodResourcesResponse.full", "pod_resources={ " POD "} " },
                { "podresources.ListPodResourcesResponse.many",
                  "<50 pod_resources={ name='vm-#' namespace='default' containers={ " CONTAINER
                  "} } >" },
                { "podresources.ListPodResourcesResponse.empty-pods",
                  "pod_resources={ } pod_resources={ " POD "} pod_resources={ containers={ } } " },
                { "podresources.ListPodResourcesResponse.others",
                  "pod_resources={ name='vm' namespace='default' containers={ " BUSY_CONTAINER
                  "} } " },
                { "podresources.ListPodResourcesResponse.future",
                  "pod_resources={ " POD "} " FUTURE },
        };

        check_all(&podresources__pod_resources__descriptor, pod_resourcess,
                  array_size(pod_resourcess));
        check_all(&podresources__list_pod_resources_request__descriptor,
                  list_pod_resources_requests, array_size(list_pod_resources_requests));
        check_all(&podresources__list_pod_resources_response__descriptor,
                  list_pod_resources_responses, array_size(list_pod_resources_responses));
}
END_TEST

#define SICK_DEVICE "pool_name='node1' device_name='tdx7' "
#define HEALTHY                                                            \
        "device={ " SICK_DEVICE "} health=1 last_updated_time=1795504833 " \
        "health_check_timeout_seconds=20 message='QGS answers' "

START_TEST(health_of_devices_is_told_as_to_kubelet)
{
        static const struct golden requests[] = {
                { "drahealth.NodeWatchResourcesRequest.empty", "" },
                { "drahealth.NodeWatchResourcesRequest.future", FUTURE },
        };
        static const struct golden responses[] = {
                { "drahealth.NodeWatchResourcesResponse.empty", "" },
                { "drahealth.NodeWatchResourcesResponse.full", "devices={ " HEALTHY "} " },
                { "drahealth.NodeWatchResourcesResponse.many",
                  "<50 devices={ device={ pool_name='node1' device_name='tdx#' } health=2 "
                  "message='QGS is absent' } >" },
                { "drahealth.NodeWatchResourcesResponse.future", "devices={ " HEALTHY "} " FUTURE },
        };
        static const struct golden healths[] = {
                { "drahealth.DeviceHealth.empty", "" },
                { "drahealth.DeviceHealth.full", HEALTHY },
                { "drahealth.DeviceHealth.unhealthy",
                  "device={ pool_name='node1' device_name='tdx0' } health=2 "
                  "message='QGS is absent' " },
                { "drahealth.DeviceHealth.before-1970", "last_updated_time=-1 " },
                { "drahealth.DeviceHealth.utf8", "message='" UTF8 "' " },
                { "drahealth.DeviceHealth.future", HEALTHY FUTURE },
        };
        static const struct golden identifiers[] = {
                { "drahealth.DeviceIdentifier.empty", "" },
                { "drahealth.DeviceIdentifier.full", SICK_DEVICE },
                { "drahealth.DeviceIdentifier.utf8",
                  "pool_name='" UTF8 "' device_name='" UTF8 "' " },
                { "drahealth.DeviceIdentifier.future", SICK_DEVICE FUTURE },
        };

        check_all(&drahealth__node_watch_resources_request__descriptor, requests,
                  array_size(requests));
        check_all(&drahealth__node_watch_resources_response__descriptor, responses,
                  array_size(responses));
        check_all(&drahealth__device_health__descriptor, healths, array_size(healths));
        check_all(&drahealth__device_identifier__descriptor, identifiers, array_size(identifiers));
}
END_TEST

SUITE("golden", info_requests_are_those_of_kubelet, plugin_infos_are_those_of_kubelet,
      registration_statuses_are_those_of_kubelet,
      registration_status_responses_are_those_of_kubelet, claims_are_those_of_kubelet,
      devices_are_those_of_kubelet, prepare_requests_are_those_of_kubelet,
      unprepare_requests_are_those_of_kubelet, answers_for_one_prepared_claim_are_those_of_kubelet,
      answers_for_one_unprepared_claim_are_those_of_kubelet, prepare_responses_are_those_of_kubelet,
      unprepare_responses_are_those_of_kubelet,
      registrations_of_the_device_plugin_are_those_of_kubelet,
      lists_of_the_device_plugin_are_those_of_kubelet, preferences_are_asked_for_as_kubelet_does,
      preferences_are_told_as_to_kubelet, allocations_are_asked_for_as_kubelet_does,
      allocations_are_answered_as_to_kubelet, containers_of_podresources_are_those_of_kubelet,
      claims_of_podresources_are_those_of_kubelet, lists_of_podresources_are_those_of_kubelet,
      health_of_devices_is_told_as_to_kubelet);
