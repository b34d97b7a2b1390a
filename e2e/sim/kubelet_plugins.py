# SPDX-License-Identifier: Apache-2.0
"""The part of kubelet's device manager that faces plugins (cm/devicemanager/plugin/v1beta1):
Registration on device-plugins/kubelet.sock, and a client with a ListAndWatch for each that came.
"""

import asyncio
import contextlib
import os
import re
import time

import grpc

import kubelet_api as api
from control import say
from device_plugin import service
from kubelet_registry import DIAL_TIMEOUT, connect, describe

messages = api.deviceplugin
VERSION = "v1beta1"
CHECKPOINT = "kubelet_internal_checkpoint"
LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
PREFIX = re.compile(rf"(?=.{{1,253}}$){LABEL}(\.{LABEL})*")
NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")


def is_extended_resource(name):
    """As k8s.io/component-helpers has it: qualified, and not one of Kubernetes' own."""
    prefix, slash, rest = name.partition("/")
    return bool(slash and not name.startswith("requests.") and "kubernetes.io/" not in name
                and PREFIX.fullmatch(f"requests.{prefix}") and NAME.fullmatch(rest))


class PluginError(Exception):
    """What went wrong with a plugin, as kubelet words it."""


class Endpoint:
    """One registration: a connection to the plugin, and the stream that it sends its devices by."""

    def __init__(self, resource, path):
        self.resource = resource
        self.path = path
        self.options = messages.DevicePluginOptions()
        self.registered_at = time.monotonic()
        self.stopped_at = None  # a stopped endpoint answers no call
        self.lists = []  # ID to health, as they came
        self.running = None
        self._channel = None

    async def connect(self):
        self._channel = connect(self.path, "localhost")
        try:
            await asyncio.wait_for(self._channel.channel_ready(), DIAL_TIMEOUT)
        except TimeoutError:
            raise PluginError("failed to dial device plugin: context deadline exceeded") from None
        try:
            self.options = await self.call(api.GET_DEVICE_PLUGIN_OPTIONS, messages.Empty(),
                                           messages.DevicePluginOptions)
        except PluginError as error:
            raise PluginError(f"failed to get device plugin options: {error}") from error

    async def call(self, method, request, response_type):
        """No deadline: kubelet sets none, so a plugin that hangs stops all admission."""
        if self.stopped_at is not None:
            raise PluginError(f"endpoint {self} has been stopped")
        try:
            return await self._channel.unary_unary(method, type(request).SerializeToString,
                                                   response_type.FromString)(request)
        except grpc.RpcError as error:
            raise PluginError(describe(error)) from error
        except asyncio.CancelledError:
            if self._channel:
                raise
            raise PluginError("rpc error: code = Canceled desc = grpc: the client connection is "
                              "closing") from None

    async def watch(self, on_list):
        stream = self._channel.unary_stream(
            api.LIST_AND_WATCH, messages.Empty.SerializeToString,
            messages.ListAndWatchResponse.FromString)(messages.Empty())
        try:
            async for response in stream:
                self.lists.append({device.ID: device.health for device in response.devices})
                on_list(self.resource, response.devices)
        except grpc.RpcError as error:
            say(f"devices: ListAndWatch of {self} ended: {describe(error)}")

    async def close(self):
        if self.running and self.running is not asyncio.current_task():
            self.running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self.running
        if self._channel:
            channel, self._channel = self._channel, None
            await channel.close()

    def __str__(self):
        return f"{self.resource} at {os.path.basename(self.path)}"


class Plugins:
    """Tells its manager: connected(endpoint), listed(resource, devices), disconnected(resource).

    is_cutting_newest: up to 1.36, the end of any registrant's stream disconnects the newest one of
    its name.
    """

    def __init__(self, directory, manager, is_cutting_newest):
        self.directory = directory
        self.manager = manager
        self.is_cutting_newest = is_cutting_newest
        self.started_at = 0.0
        self.is_watching = True  # False: registers plugins, and never asks for their lists
        self._clients = {}  # the newest of a name; all of them:
        self._endpoints = []
        self._server = None

    async def start(self):
        os.makedirs(self.directory, mode=0o750, exist_ok=True)
        self._wipe()
        self._server = grpc.aio.server()
        self._server.add_generic_rpc_handlers([service("v1beta1.Registration", {
            api.REGISTER: (self._register, messages.RegisterRequest)})])
        self._server.add_insecure_port(f"unix:{os.path.join(self.directory, 'kubelet.sock')}")
        self.started_at = time.monotonic()
        await self._server.start()

    async def stop(self):
        if not self._server:
            return
        await self._server.stop(None)
        self._server = None
        self._clients.clear()
        for endpoint in self._endpoints:
            await endpoint.close()
        self._endpoints.clear()

    def _wipe(self):
        """All but its own checkpoint and directories, as kubelet's CleanupPluginDirectory."""
        for entry in os.scandir(self.directory):
            if entry.name != CHECKPOINT and not entry.is_dir(follow_symlinks=False):
                os.unlink(entry.path)

    async def _register(self, request, context):
        reason = ""
        if request.version != VERSION:
            reason = (f'requested API version "{request.version}" is not supported by kubelet. '
                      f'Supported version is ["{VERSION}"]')
        elif not is_extended_resource(request.resource_name):
            reason = f'the ResourceName "{request.resource_name}" is invalid'
        else:
            reason = await self.connect(request.resource_name,
                                        os.path.join(self.directory, request.endpoint))
        if reason:
            say(f"devices: refused {request.resource_name!r}: {reason}")
            await context.abort(grpc.StatusCode.UNKNOWN, reason)
        return messages.Empty()

    async def connect(self, resource, path):
        """Why not, or ""."""
        endpoint = Endpoint(resource, path)
        self._clients[resource] = endpoint
        self._endpoints.append(endpoint)
        try:
            await endpoint.connect()
        except PluginError as error:
            self._clients.pop(resource, None)
            return str(error)
        say(f"devices: registered {endpoint}")
        self.manager.connected(endpoint)
        endpoint.running = asyncio.ensure_future(self._run(endpoint))
        return ""

    async def _run(self, endpoint):
        if not self.is_watching:
            return
        await endpoint.watch(self.manager.listed)
        newest = self._clients.get(endpoint.resource)
        if newest is endpoint or (newest and self.is_cutting_newest):
            await self.disconnect(newest)

    async def disconnect(self, endpoint):
        del self._clients[endpoint.resource]
        await endpoint.close()
        say(f"devices: disconnected {endpoint}")
        self.manager.disconnected(endpoint.resource)

    def newest(self, resource):
        return self._clients.get(resource)

    def __str__(self):
        return "\n".join(
            f"{each} {int(1000 * (each.registered_at - self.started_at))} ms after kubelet.sock, "
            f"{len(each.lists)} lists{'' if each is self.newest(each.resource) else ', replaced'}"
            for each in self._endpoints)
