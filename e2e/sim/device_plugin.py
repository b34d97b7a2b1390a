# SPDX-License-Identifier: Apache-2.0
"""A device plugin of the smallest kind, as virt-handler runs one: what kubelet's device manager is
tested against, and the foreign registrant of a scenario.
"""

import asyncio
import os

import grpc

import kubelet_api as api
from kubelet_registry import connect

messages = api.deviceplugin
REGISTER_TIMEOUT = 15


def service(name, methods):
    """methods: by path, (behaviour, request type); a behaviour that is a generator is a stream."""
    return grpc.method_handlers_generic_handler(name, {
        path.rpartition("/")[2]: (
            grpc.unary_stream_rpc_method_handler if hasattr(behaviour, "is_stream")
            else grpc.unary_unary_rpc_method_handler)(
                behaviour, request.FromString, lambda response: response.SerializeToString())
        for path, (behaviour, request) in methods.items()})


def streams(behaviour):
    behaviour.is_stream = True
    return behaviour


class DevicePlugin:
    """devices: ID to health, what ListAndWatch says; set() changes it. The rest is for tests."""

    def __init__(self, directory, endpoint, resource, devices):
        self.directory = directory
        self.endpoint = endpoint
        self.resource = resource
        self.devices = dict(devices)
        self.version = "v1beta1"
        self.options = messages.DevicePluginOptions()
        self.response = messages.ContainerAllocateResponse()
        self.error = ""        # Allocate's answer, unless empty
        self.delay = 0         # before it answers
        self.preferred = None  # IDs that GetPreferredAllocation names
        self.allocated = []    # the IDs of each Allocate
        self.authorities = set()
        self.n_streams = 0
        self._changed = asyncio.Event()
        self._server = None

    async def start(self):
        self._server = grpc.aio.server()
        self._server.add_generic_rpc_handlers([service("v1beta1.DevicePlugin", {
            api.GET_DEVICE_PLUGIN_OPTIONS: (self._get_options, messages.Empty),
            api.LIST_AND_WATCH: (self._list_and_watch, messages.Empty),
            api.GET_PREFERRED_ALLOCATION: (self._prefer, messages.PreferredAllocationRequest),
            api.ALLOCATE: (self._allocate, messages.AllocateRequest),
            api.PRE_START_CONTAINER: (self._pre_start, messages.PreStartContainerRequest),
        })])
        self._server.add_insecure_port(f"unix:{os.path.join(self.directory, self.endpoint)}")
        await self._server.start()
        return self

    async def register(self):
        """May raise grpc.RpcError, with kubelet's reason."""
        async with connect(os.path.join(self.directory, "kubelet.sock"), "localhost") as channel:
            await channel.unary_unary(
                api.REGISTER, messages.RegisterRequest.SerializeToString,
                messages.Empty.FromString)(messages.RegisterRequest(
                    version=self.version, endpoint=self.endpoint, resource_name=self.resource,
                    options=self.options), timeout=REGISTER_TIMEOUT)
        return self

    def set(self, devices):
        self.devices = dict(devices)
        self._changed.set()
        self._changed = asyncio.Event()

    async def stop(self):
        if self._server:
            await self._server.stop(None)
            self._server = None

    async def _get_options(self, request, context):
        return self.options

    @streams
    async def _list_and_watch(self, request, context):
        self.n_streams += 1
        try:
            while True:
                changed = self._changed
                yield messages.ListAndWatchResponse(devices=[
                    messages.Device(ID=name, health=health)
                    for name, health in self.devices.items()])
                await changed.wait()
        finally:
            self.n_streams -= 1

    async def _prefer(self, request, context):
        return messages.PreferredAllocationResponse(container_responses=[
            messages.ContainerPreferredAllocationResponse(deviceIDs=self.preferred or [])
            for _ in request.container_requests])

    async def _allocate(self, request, context):
        ids = [name for each in request.container_requests for name in each.devices_ids]
        self.allocated.append(ids)
        await asyncio.sleep(self.delay)
        if self.error:
            await context.abort(grpc.StatusCode.UNKNOWN, self.error)
        return messages.AllocateResponse(
            container_responses=[self.response for _ in request.container_requests])

    async def _pre_start(self, request, context):
        return messages.PreStartContainerResponse()
