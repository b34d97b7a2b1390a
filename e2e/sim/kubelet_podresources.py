# SPDX-License-Identifier: Apache-2.0
"""kubelet's podresources API: who holds what. Each claim belongs to one pod of its name.

It misbehaves on demand.
"""

import asyncio
import os
import time

import grpc

import kubelet_api as api
from control import Misused, command
from device_plugin import service

messages = api.podresources
RATE, BURST = 100, 10  # of calls; kubelet's own
FAULTS = ("ok", "refuse", "hang", "garbage", "large", "limit")
LARGE = 5 << 20


class Bucket:
    """Of tokens, as kubelet's rate limiter."""

    def __init__(self):
        self._tokens = float(BURST)
        self._filled_at = time.monotonic()

    def take(self):
        now = time.monotonic()
        self._tokens = min(BURST, self._tokens + (now - self._filled_at) * RATE)
        self._filled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class PodResources:
    def __init__(self, path, dra, pods):
        self.path = path
        self.dra = dra
        self.pods = pods
        self.fault = "ok"
        self._bucket = Bucket()
        self._server = None
        self._is_on = True
        self._n_lists = 0
        self._unhang = asyncio.Event()

    async def start(self):
        self._n_lists = 0
        if not self._is_on:
            return
        os.makedirs(os.path.dirname(self.path), mode=0o755, exist_ok=True)
        self._server = grpc.aio.server()
        self._server.add_generic_rpc_handlers([service("v1.PodResourcesLister", {
            api.LIST_POD_RESOURCES: (self._list, messages.ListPodResourcesRequest),
            api.GET_POD_RESOURCES: (self._get, messages.GetPodResourcesRequest),
            api.GET_ALLOCATABLE_RESOURCES: (self._get_allocatable,
                                            messages.AllocatableResourcesRequest),
        })])
        self._server.add_insecure_port(f"unix:{self.path}")
        await self._server.start()

    async def stop(self):
        """Also removes the socket."""
        self._unhang.set()
        if self._server:
            await self._server.stop(None)
            self._server = None

    async def _misbehave(self, context):
        if self.fault == "limit" or not self._bucket.take():
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "rejected by rate limit")
        if self.fault == "refuse":
            await context.abort(grpc.StatusCode.UNAVAILABLE, "not today")
        if self.fault == "hang":
            self._unhang.clear()
            await self._unhang.wait()

    @staticmethod
    def _devices(devices):
        found = []
        for resource, name, node in devices:
            topology = None if node is None else messages.TopologyInfo(
                nodes=[messages.NUMANode(ID=node)])
            found.append(messages.ContainerDevices(resource_name=resource, device_ids=[name],
                                                   topology=topology))
        return found

    @staticmethod
    def _dynamic_resources(claim):
        # While Prepare runs, the claim is listed without its resources.
        resources = [
            messages.ClaimResource(
                driver_name=claim.driver, pool_name=device.pool_name,
                device_name=device.device_name,
                cdi_devices=[messages.CDIDevice(name=name) for name in device.cdi_device_ids])
            for device in claim.devices or []]
        return [messages.DynamicResource(claim_name=claim.name, claim_namespace=claim.namespace,
                                         claim_resources=resources)]

    def _listed(self):
        """By namespace and name; a pod may have devices and a claim."""
        containers = {}
        for pod in self.pods.listed() or []:
            containers[pod.namespace, pod.name] = messages.ContainerResources(
                name="compute", devices=self._devices(self.pods.devices.visible_devices(pod.uid)))
        for claim in self.dra.claims.values() if self.pods.listed() is not None else []:
            container = containers.setdefault((claim.namespace, claim.name),
                                              messages.ContainerResources(name="compute"))
            container.dynamic_resources.extend(self._dynamic_resources(claim))
        return {key: messages.PodResources(namespace=key[0], name=key[1], containers=[container])
                for key, container in containers.items()}

    async def _list(self, request, context):
        self._n_lists += 1
        await self._misbehave(context)
        if self.fault == "garbage":
            return Bytes(b"\x0a\xff\xff\xff\xff\xff\xff\xff")
        pods = list(self._listed().values())
        if self.fault == "large":
            pods += [messages.PodResources(name="x" * 1024)] * (LARGE // 1024)
        return messages.ListPodResourcesResponse(pod_resources=pods)

    async def _get(self, request, context):
        await self._misbehave(context)
        pod = self._listed().get((request.pod_namespace, request.pod_name))
        if pod is None:
            await context.abort(grpc.StatusCode.NOT_FOUND,
                                f"pod {request.pod_name} in namespace {request.pod_namespace} "
                                "not found")
        return messages.GetPodResourcesResponse(pod_resources=pod)

    async def _get_allocatable(self, request, context):
        await self._misbehave(context)
        return messages.AllocatableResourcesResponse(
            devices=self._devices(self.pods.devices.allocatable_devices()))

    @command
    async def podresources(self, what):
        """ok; or refuse, hang, answer garbage, a large list (5 MB), only that the rate limit is
        reached (limit); or be off, and on again."""
        if what in ("on", "off"):
            self._is_on = what == "on"
            await self.stop()
            await self.start()
        elif what in FAULTS:
            self.fault = what
            self._unhang.set()
        else:
            raise Misused(f"{what!r} is none of {' '.join(FAULTS)} on off")

    @command
    async def lists(self):
        """How often podresources was asked to List since its start."""
        return str(self._n_lists)


class Bytes(bytes):
    """Instead of a message."""

    def SerializeToString(self):
        return bytes(self)
