# SPDX-License-Identifier: Apache-2.0
"""The messages and methods of kubelet's gRPC APIs (k8s.io/kubelet/pkg/apis), built at import time.

This is a transcription of its own, deliberately not generated from the project's .proto files: it
is what those are held against.

A message is a string of fields, "name=number" or "name=number:type", the type being string unless
told. The name says more: "x[]" is repeated, "x{}" a map from string, "x?" optional with presence.
Enums stand as int32, which is the same on the wire.
"""

import re
import types

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

Field = descriptor_pb2.FieldDescriptorProto
FIELD = re.compile(r"(\w+)(\[\]|\{\}|\?|)=(\d+)(?::(\w+))?")
SCALARS = {name: getattr(Field, f"TYPE_{name.upper()}")
           for name in ("string", "bytes", "bool", "int32", "int64", "uint64")}

_pool = descriptor_pool.DescriptorPool()
_factory = message_factory.MessageFactory(_pool)


def _set_type(field, package, type_name):
    if type_name in SCALARS:
        field.type = SCALARS[type_name]
    else:
        field.type = Field.TYPE_MESSAGE
        field.type_name = f".{package}.{type_name}"


def _add_map_entry(message, package, name, type_name):
    """A map is, on the wire and to the descriptors, repeated pairs."""
    entry = message.nested_type.add(name=f"{name.title().replace('_', '')}Entry")
    entry.options.map_entry = True
    for number, (part, of_type) in enumerate((("key", "string"), ("value", type_name)), 1):
        field = entry.field.add(name=part, number=number, label=Field.LABEL_OPTIONAL)
        _set_type(field, package, of_type)
    return f"{message.name}.{entry.name}"


def _add_field(message, package, text):
    name, mark, number, type_name = FIELD.fullmatch(text).groups("string")
    field = message.field.add(name=name, number=int(number), label=Field.LABEL_OPTIONAL)
    if mark in ("[]", "{}"):
        field.label = Field.LABEL_REPEATED
    if mark == "{}":
        type_name = _add_map_entry(message, package, name, type_name)
    if mark == "?":
        # What protoc makes of proto3's "optional".
        field.proto3_optional = True
        field.oneof_index = len(message.oneof_decl)
        message.oneof_decl.add(name=f"_{name}")
    _set_type(field, package, type_name)


def _messages(package, table, file_name=None):
    """A namespace of message classes."""
    file = descriptor_pb2.FileDescriptorProto(
        name=file_name or f"{package}.proto", package=package, syntax="proto3")
    for name, fields in table.items():
        message = file.message_type.add(name=name)
        for text in fields.split():
            _add_field(message, package, text)
    _pool.Add(file)
    return types.SimpleNamespace(**{
        name: _factory.GetPrototype(_pool.FindMessageTypeByName(f"{package}.{name}"))
        for name in table})


registration = _messages("pluginregistration", {
    "InfoRequest": "",
    "PluginInfo": "type=1 name=2 endpoint=3 supported_versions[]=4",
    "RegistrationStatus": "plugin_registered=1:bool error=2",
    "RegistrationStatusResponse": "",
})
GET_INFO = "/pluginregistration.Registration/GetInfo"
NOTIFY = "/pluginregistration.Registration/NotifyRegistrationStatus"

_DRA = {
    "Claim": "namespace=1 uid=2 name=3",
    "Device": "request_names[]=1 pool_name=2 device_name=3 cdi_device_ids[]=4",
    "NodePrepareResourcesRequest": "claims[]=1:Claim",
    "NodePrepareResourceResponse": "devices[]=1:Device error=2",
    "NodePrepareResourcesResponse": "claims{}=1:NodePrepareResourceResponse",
    "NodeUnprepareResourcesRequest": "claims[]=1:Claim",
    "NodeUnprepareResourceResponse": "error=1",
    "NodeUnprepareResourcesResponse": "claims{}=1:NodeUnprepareResourceResponse",
}
_DRA_PACKAGE = "k8s.io.kubelet.pkg.apis.dra"
dra_v1beta1 = _messages(f"{_DRA_PACKAGE}.v1beta1", _DRA)
dra_v1 = _messages(f"{_DRA_PACKAGE}.v1", {**_DRA, "Device": f"{_DRA['Device']} share_id?=5"})
# By what a plugin calls them in its supported_versions.
DRA_SERVICES = {"v1.DRAPlugin": dra_v1, "v1beta1.DRAPlugin": dra_v1beta1}


def dra_method(service, name):
    """service: a key of DRA_SERVICES; name: NodePrepareResources or NodeUnprepareResources."""
    return f"/{_DRA_PACKAGE}.{service}/{name}"


_HEALTH = {
    "NodeWatchResourcesRequest": "",
    "DeviceIdentifier": "pool_name=1 device_name=2",
    "DeviceHealth": "device=1:DeviceIdentifier health=2:int32 last_updated_time=3:int64 "
                    "health_check_timeout_seconds=4:int64 message=5",
    "NodeWatchResourcesResponse": "devices[]=1:DeviceHealth",
}
health_v1alpha1 = _messages("v1alpha1", _HEALTH, "health/v1alpha1.proto")
health_v1 = _messages("v1", _HEALTH, "health/v1.proto")
HEALTH_SERVICES = {"v1.DRAResourceHealth": health_v1, "v1alpha1.DRAResourceHealth": health_v1alpha1}
HEALTH = ("Unknown", "Healthy", "Unhealthy")


def health_method(service):
    return f"/{service}/NodeWatchResources"


deviceplugin = _messages("v1beta1", {
    "Empty": "",
    "DevicePluginOptions": "pre_start_required=1:bool get_preferred_allocation_available=2:bool",
    "RegisterRequest": "version=1 endpoint=2 resource_name=3 options=4:DevicePluginOptions",
    "NUMANode": "ID=1:int64",
    "TopologyInfo": "nodes[]=1:NUMANode",
    "Device": "ID=1 health=2 topology=3:TopologyInfo",
    "ListAndWatchResponse": "devices[]=1:Device",
    "ContainerPreferredAllocationRequest":
        "available_deviceIDs[]=1 must_include_deviceIDs[]=2 allocation_size=3:int32",
    "PreferredAllocationRequest": "container_requests[]=1:ContainerPreferredAllocationRequest",
    "ContainerPreferredAllocationResponse": "deviceIDs[]=1",
    "PreferredAllocationResponse": "container_responses[]=1:ContainerPreferredAllocationResponse",
    "ContainerAllocateRequest": "devices_ids[]=1",
    "AllocateRequest": "container_requests[]=1:ContainerAllocateRequest",
    "Mount": "container_path=1 host_path=2 read_only=3:bool",
    "DeviceSpec": "container_path=1 host_path=2 permissions=3",
    "CDIDevice": "name=1",
    "ContainerAllocateResponse":
        "envs{}=1 mounts[]=2:Mount devices[]=3:DeviceSpec annotations{}=4 "
        "cdi_devices[]=5:CDIDevice",
    "AllocateResponse": "container_responses[]=1:ContainerAllocateResponse",
    "PreStartContainerRequest": "devices_ids[]=1",
    "PreStartContainerResponse": "",
}, "deviceplugin/v1beta1.proto")
REGISTER = "/v1beta1.Registration/Register"
GET_DEVICE_PLUGIN_OPTIONS = "/v1beta1.DevicePlugin/GetDevicePluginOptions"
LIST_AND_WATCH = "/v1beta1.DevicePlugin/ListAndWatch"
GET_PREFERRED_ALLOCATION = "/v1beta1.DevicePlugin/GetPreferredAllocation"
ALLOCATE = "/v1beta1.DevicePlugin/Allocate"
PRE_START_CONTAINER = "/v1beta1.DevicePlugin/PreStartContainer"

podresources = _messages("v1", {
    "NUMANode": "ID=1:int64",
    "TopologyInfo": "nodes[]=1:NUMANode",
    "ContainerDevices": "resource_name=1 device_ids[]=2 topology=3:TopologyInfo",
    "ContainerMemory": "memory_type=1 size=2:uint64 topology=3:TopologyInfo",
    "CDIDevice": "name=1",
    "ClaimResource":
        "cdi_devices[]=1:CDIDevice driver_name=2 pool_name=3 device_name=4 share_id?=5",
    "DynamicResource": "claim_name=2 claim_namespace=3 claim_resources[]=4:ClaimResource",
    "ContainerResources": "name=1 devices[]=2:ContainerDevices cpu_ids[]=3:int64 "
                          "memory[]=4:ContainerMemory dynamic_resources[]=5:DynamicResource",
    "PodResources": "name=1 namespace=2 containers[]=3:ContainerResources",
    "ListPodResourcesRequest": "",
    "ListPodResourcesResponse": "pod_resources[]=1:PodResources",
    "AllocatableResourcesRequest": "",
    "AllocatableResourcesResponse": "devices[]=1:ContainerDevices cpu_ids[]=2:int64 "
                                    "memory[]=3:ContainerMemory",
    "GetPodResourcesRequest": "pod_name=1 pod_namespace=2",
    "GetPodResourcesResponse": "pod_resources=1:PodResources",
}, "podresources/v1.proto")
LIST_POD_RESOURCES = "/v1.PodResourcesLister/List"
GET_ALLOCATABLE_RESOURCES = "/v1.PodResourcesLister/GetAllocatableResources"
GET_POD_RESOURCES = "/v1.PodResourcesLister/Get"
