# SPDX-License-Identifier: Apache-2.0
"""kubelet's device manager (pkg/kubelet/cm/devicemanager): which devices there are, which container
has which, and what the node status says of them.
"""

import asyncio
import contextlib
import dataclasses
import json
import os
import random
import time

import kubelet_api as api
from control import Misused, command, say, seconds, wait_until
from device_plugin import DevicePlugin
from kubelet_plugins import CHECKPOINT, VERSION, Endpoint, PluginError, Plugins, is_extended_resource

messages = api.deviceplugin
RESOURCE = "devices.kubevirt.io/tdx"
FOREIGN_ENDPOINT = "kubevirt-tdx.sock"
HEALTHY = "Healthy"


@dataclasses.dataclass
class Timing:
    """In seconds; the defaults are as measured of kubelet 1.36.2."""

    sync: float = 10.0      # between two node statuses
    grace: float = 300.0    # a plugin's resource outlives its stream for so long
    visible: float = 0.012  # from Allocate's answer to podresources; 2 to 17 ms
    empty: float = 0.5      # podresources lists nothing after a start; 0.1 to 1.0 s
    readmit: float = 0.9    # from kubelet.sock to the admission of the pods there are
    linger: float = 2.0     # a force-deleted pod's container lives on
    stop: float = 1.05      # the orderly end of a container


@dataclasses.dataclass
class Allocation:
    """What the checkpoint has of a container."""

    resource: str
    ids: frozenset
    response: object
    visible_at: float
    is_of_init: bool = False  # an init container's: podresources does not list those


def by_number(name):
    return len(name), name


class DeviceManager:
    """active_uids() are of the pods that kubelet believes to live. Pods have one container, and
    perhaps an init container before it.

    Allocations outlive kubelet with its checkpoint, and so does, in the API server, the node
    status.
    """

    def __init__(self, directory, is_cutting_newest):
        self.timing = Timing()
        self.plugins = Plugins(directory, self, is_cutting_newest)
        self.active_uids = set
        self.allocations = {}  # by pod UID
        self.status = {}       # resource to (capacity, allocatable), as the API server has it
        self._devices = {}     # resource to {ID: device}
        self._healthy = {}     # resource to IDs
        self._endpoints = {}
        self._in_use = {}      # resource to IDs
        self._by_socket = {}   # plugins that came by plugins_registry/
        self._foreign = None
        self._sync_now = asyncio.Event()
        self._tasks = []

    # life

    async def start(self):
        """Nothing is known of plugins, and of their resources only that they were there. The API
        server has the last node status until the pods there are have been admitted by it."""
        if not os.path.exists(self._checkpoint_path()):
            self.allocations.clear()
        for resource in self._healthy:
            self._devices[resource], self._healthy[resource] = {}, set()
            if resource in self._endpoints:
                self._endpoints[resource] = Endpoint(resource, "")
                self._endpoints[resource].stopped_at = time.monotonic()
        self._in_use = self._allocated_by_resource()
        await self.plugins.start()
        self._tasks.append(asyncio.ensure_future(self._sync_always()))
        if self._foreign:
            await self._foreign.stop()
            await self._foreign.start()
            await self._foreign.register()

    async def stop(self):
        for task in self._tasks:
            task.cancel()
        self._tasks.clear()
        await self.plugins.stop()

    async def end(self):
        """The foreign plugin is not a part of kubelet."""
        if self._foreign:
            await self._foreign.stop()

    # what plugins tell

    def connected(self, endpoint):
        self._endpoints[endpoint.resource] = endpoint

    def listed(self, resource, devices):
        """Whoever it is from: the list sent last is the truth."""
        self._devices[resource] = {device.ID: device for device in devices}
        self._healthy[resource] = {device.ID for device in devices if device.health == HEALTHY}
        say(f"devices: {resource}: {len(devices)} devices, "
            f"healthy {' '.join(sorted(self._healthy[resource], key=by_number)) or 'none'}")

    def disconnected(self, resource):
        if endpoint := self._endpoints.get(resource):
            self._healthy[resource] = set()
            endpoint.stopped_at = time.monotonic()

    # plugin manager's handler

    def validate(self, info):
        if VERSION not in info.supported_versions:
            return (f"manager version, {VERSION}, is not among plugin supported versions "
                    f"{list(info.supported_versions)}")
        if not is_extended_resource(info.name):
            return ("invalid name of device plugin socket: "
                    f'the ResourceName "{info.name}" is invalid')
        return ""

    def register(self, path, info):
        self._by_socket[path] = info.name
        self._tasks.append(asyncio.ensure_future(
            self.plugins.connect(info.name, info.endpoint or path)))
        return ""

    async def deregister(self, path):
        resource = self._by_socket.pop(path, None)
        if resource and (endpoint := self.plugins.newest(resource)):
            await self.plugins.disconnect(endpoint)

    # who holds which device

    def _allocated_by_resource(self):
        found = {}
        for allocation in self.allocations.values():
            found.setdefault(allocation.resource, set()).update(allocation.ids)
        return found

    def update_allocated(self):
        """Forget the devices of pods that are no more: in each admission and each List."""
        gone = set(self.allocations) - self.active_uids()
        for uid in gone:
            del self.allocations[uid]
        if gone:
            self._in_use = self._allocated_by_resource()

    def is_plugin_resource(self, resource):
        return resource in self._healthy or resource in self._in_use

    def n_in_use(self, resource):
        return len(self._in_use.get(resource, ()))

    def visible_devices(self, uid):
        """(resource, ID, NUMA node or None), as podresources has a pod's."""
        allocation = self.allocations.get(uid)
        if allocation is None or allocation.is_of_init or \
                time.monotonic() < allocation.visible_at:
            return []
        return self._by_node(allocation.resource, allocation.ids)

    def allocatable_devices(self):
        return [each for resource, ids in self._healthy.items()
                for each in self._by_node(resource, ids)]

    def _by_node(self, resource, ids):
        """kubelet lists a device once for each of its NUMA nodes."""
        found = []
        for name in sorted(ids, key=by_number):
            device = self._devices.get(resource, {}).get(name)
            nodes = [node.ID for node in device.topology.nodes] if device else []
            found += [(resource, name, node) for node in nodes or [None]]
        return found

    # allocation; PluginError has kubelet's words

    async def allocate(self, uid, resource, count, init_gap=None):
        """A pod wants COUNT of a resource; what it has already is checked only. init_gap: it has an
        init container, too, which hands its devices on so much later."""
        self.update_allocated()
        try:
            if ids := await self._choose(uid, resource, count):
                if init_gap is not None:
                    await self._call_allocate(uid, resource, ids, is_of_init=True)
                    await asyncio.sleep(init_gap)
                await self._call_allocate(uid, resource, ids)
        finally:
            self._in_use = self._allocated_by_resource()

    def _checkpoint_path(self):
        return os.path.join(self.plugins.directory, CHECKPOINT)

    def _write_checkpoint(self):
        """At the end of each container's allocation and at no other time: what is forgotten stays
        there until then."""
        entries = [{"PodUID": uid, "ContainerName": "compute", "ResourceName": each.resource,
                    "DeviceIDs": {"-1": sorted(each.ids, key=by_number)}, "AllocResp": ""}
                   for uid, each in self.allocations.items()]
        with open(self._checkpoint_path() + ".new", "w", encoding="utf-8") as file:
            json.dump({"Data": {"PodDeviceEntries": entries, "RegisteredDevices": {}},
                       "Checksum": 0}, file)
        os.rename(file.name, self._checkpoint_path())

    async def _choose(self, uid, resource, count):
        """kubelet's devicesToAllocate: IDs, or none where the pod has all it needs."""
        held = self.allocations.get(uid)
        healthy = self._healthy.get(resource)
        if healthy is None:
            raise PluginError(f"cannot allocate unregistered device {resource}")
        if not healthy:
            raise PluginError("no healthy devices present; cannot allocate unhealthy devices "
                              f"{resource}")
        if held and not healthy >= held.ids:
            raise PluginError("previously allocated devices are no longer healthy; cannot "
                              f"allocate unhealthy devices {resource}")
        if held:
            return []
        available = healthy - self._in_use.setdefault(resource, set())
        if len(available) < count:
            raise PluginError(f"requested number of devices unavailable for {resource}. "
                              f"Requested: {count}, Available: {len(available)}")
        preferred = await self._ask_for_preference(resource, available, count)
        # Go's sets have no order.
        rest = sorted(available - set(preferred))
        return (preferred + random.sample(rest, len(rest)))[:count]

    async def _ask_for_preference(self, resource, available, count):
        endpoint = self._endpoints.get(resource)
        if not endpoint or not endpoint.options.get_preferred_allocation_available:
            return []
        request = messages.PreferredAllocationRequest(container_requests=[
            messages.ContainerPreferredAllocationRequest(
                available_deviceIDs=random.sample(sorted(available), len(available)),
                allocation_size=count)])
        try:
            response = await endpoint.call(api.GET_PREFERRED_ALLOCATION, request,
                                           messages.PreferredAllocationResponse)
        except PluginError as error:
            raise PluginError("device plugin GetPreferredAllocation rpc failed with err: "
                              f"{error}") from error
        return [name for container in response.container_responses[:1]
                for name in container.deviceIDs if name in available]

    async def _call_allocate(self, uid, resource, ids, is_of_init=False):
        endpoint = self._endpoints.get(resource)
        if not endpoint:
            raise PluginError(f"unknown Device Plugin {resource}")
        response = await endpoint.call(
            api.ALLOCATE, messages.AllocateRequest(container_requests=[
                messages.ContainerAllocateRequest(devices_ids=ids)]), messages.AllocateResponse)
        if not response.container_responses:
            raise PluginError("no containers return in allocation response")
        visible_at = time.monotonic() + self.timing.visible * random.uniform(0.4, 1.6)
        self.allocations[uid] = Allocation(resource, frozenset(ids),
                                           response.container_responses[0], visible_at,
                                           is_of_init)
        self._write_checkpoint()

    async def before_start(self, uid, resource):
        """Of any container whose pod asks for the resource, DRA's too."""
        if not self.is_plugin_resource(resource):
            return
        endpoint = self._endpoints.get(resource)
        if not endpoint:
            raise PluginError(f"endpoint not found in cache for a registered resource: {resource}")
        if not endpoint.options.pre_start_required:
            return
        if uid not in self.allocations:
            raise PluginError(f"no devices found allocated in local cache for pod {uid}, "
                              f"container compute, resource {resource}")
        await endpoint.call(api.PRE_START_CONTAINER, messages.PreStartContainerRequest(
            devices_ids=self.allocations[uid].ids), messages.PreStartContainerResponse)

    # node status

    def _sync(self):
        """kubelet's GetCapacity, which also drops what is long gone. Keys stay, with zeros."""
        now = time.monotonic()
        for resource in list(self._healthy):
            endpoint = self._endpoints.get(resource)
            stopped_at = endpoint.stopped_at if endpoint else 0
            if stopped_at is not None and now - stopped_at > self.timing.grace:
                self._endpoints.pop(resource, None)
                del self._healthy[resource], self._devices[resource]
                self.status[resource] = (0, 0)
            else:
                self.status[resource] = (len(self._devices[resource]),
                                         len(self._healthy[resource]))

    async def _sync_always(self):
        await asyncio.sleep(self.timing.readmit + 0.1)
        while True:
            self._sync()
            self._sync_now.clear()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._sync_now.wait(), self.timing.sync)

    # commands

    @command
    async def set(self, name, value: seconds):
        """Change one of kubelet's times: sync (of node status), grace (of a resource without a
        plugin), visible (in podresources after Allocate), empty (podresources after a start),
        readmit (of the pods there are, after a start), linger (of a force-deleted pod's
        container), stop (of any other)."""
        if not hasattr(self.timing, name):
            raise Misused(f"there is no {name!r}, but {' '.join(vars(self.timing))}")
        setattr(self.timing, name, value)
        self._sync_now.set()

    @command
    async def allocatable(self, *, now: bool = False):
        """The plugins' resources as the node status has them since its last sync; --now: sync."""
        if now:
            self._sync()
        return "\n".join(f"{resource} capacity {capacity} allocatable {healthy}"
                         for resource, (capacity, healthy) in sorted(self.status.items()))

    @command
    async def devices(self, *, resource=RESOURCE):
        """A line a device, as the plugin listed them last: ID, health, whether a pod has it."""
        in_use = self._in_use.get(resource, set())
        return "\n".join(f"{name} {device.health}{' in use' if name in in_use else ''}"
                         for name, device in self._devices.get(resource, {}).items())

    @command
    async def wait_healthy(self, number: int, timeout: seconds = 10.0, *, resource=RESOURCE):
        """Until the plugin's last list has so many healthy devices."""
        await wait_until(lambda: len(self._healthy.get(resource, ())) == number, timeout,
                         lambda: f"healthy: {sorted(self._healthy.get(resource, ()))}")

    @command
    async def watch_plugins(self, what):
        """off: register device plugins and never ask for their lists; on again."""
        self.plugins.is_watching = what == "on"

    @command
    async def device_plugins(self):
        """A line a registration since kubelet's start, the oldest first."""
        return str(self.plugins)

    @command
    async def wait_listed(self, timeout: seconds = 10.0, *, resource=RESOURCE):
        """Until the newest registrant of a resource has sent a list. Prints the first one."""
        def lists():
            newest = self.plugins.newest(resource)
            return newest.lists if newest else []
        await wait_until(lists, timeout, lambda: str(self.plugins) or "no plugin is registered")
        return "\n".join(f"{name} {health}" for name, health in lists()[0].items())

    @command
    async def foreign(self, what, *, count: int = 4):
        """start or stop another plugin of the same resource, as virt-handler has one."""
        if what not in ("start", "stop") or (what == "start") == bool(self._foreign):
            raise Misused(f"{what!r}: it {'runs' if self._foreign else 'does not run'}")
        if what == "start":
            self._foreign = DevicePlugin(self.plugins.directory, FOREIGN_ENDPOINT, RESOURCE,
                                         {f"tdx{i}": HEALTHY for i in range(count)})
            await self._foreign.start()
            await self._foreign.register()
            return
        plugin, self._foreign = self._foreign, None
        plugin.set({})  # as virt-handler does, for kubelet to drop the resource at once
        await asyncio.sleep(0)
        await plugin.stop()
