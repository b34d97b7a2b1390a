# SPDX-License-Identifier: Apache-2.0
"""Pods on the node, as far as they matter to plugins: kubelet's admission of them, and the runtime
with their containers. Both the pods (in the API server) and the containers outlive kubelet.
"""

import asyncio
import contextlib
import dataclasses
import os
import time
import uuid

from control import Misused, Refused, command, say, seconds, split_name
from kubelet_devices import RESOURCE, by_number
from kubelet_plugins import PluginError


@dataclasses.dataclass
class Pod:
    namespace: str
    name: str
    resource: str
    count: int
    is_dra: bool  # its extended resource is backed by a claim
    init_gap: float = None  # from its init container's Allocate to the other one's; None: no such
    uid: str = dataclasses.field(default_factory=lambda: str(uuid.uuid4()))

    def __str__(self):
        return f"{self.namespace}/{self.name}"


class Rejected(Exception):
    """Of a pod, for good; the text is its status' reason and message."""

    def __init__(self, reason, message):
        super().__init__(f"{reason}: Pod was rejected: {message}")


def describe_response(response):
    """mounts=/host:/container:ro cdi=kubevirt.io/tdx=plugin-tdx0 env=A=b"""
    mounts = [f"{each.host_path}:{each.container_path}:{'ro' if each.read_only else 'rw'}"
              for each in response.mounts]
    words = {"mounts": mounts, "cdi": [each.name for each in response.cdi_devices],
             "devices": [each.host_path for each in response.devices],
             "env": [f"{name}={value}" for name, value in sorted(response.envs.items())]}
    return " ".join(f"{name}={','.join(each)}" for name, each in words.items() if each)


class Pods:
    """cgroup_root: each pod with a container that runs has a cgroup below it; None: none has."""

    def __init__(self, devices, cgroup_root=None):
        self.devices = devices
        self.cgroup_root = cgroup_root
        self.devices.active_uids = lambda: {pod.uid for pod in self._active.values()}
        self._active = {}      # by (namespace, name), the oldest first
        self._failed = {}      # (namespace, name) to why
        self._containers = {}  # by pod UID, those that run: the number of devices it has
        self._up_since = None
        self._admission = asyncio.Lock()  # kubelet admits one pod at a time
        self._readmission = None

    async def start(self):
        self._admission = asyncio.Lock()
        await self._admission.acquire()  # until those there are have been admitted again
        self._up_since = time.monotonic()
        self._readmission = asyncio.ensure_future(self._readmit())

    async def stop(self):
        self._up_since = None
        if self._readmission:
            self._readmission.cancel()

    def listed(self):
        """For podresources; no pods while kubelet has just started and has not heard of them."""
        if self._up_since is None or \
                time.monotonic() - self._up_since < self.devices.timing.empty:
            return None
        self.devices.update_allocated()
        return list(self._active.values())

    # admission

    async def _allocate(self, pod):
        if pod.is_dra or not self.devices.is_plugin_resource(pod.resource):
            return
        try:
            await self.devices.allocate(pod.uid, pod.resource, pod.count, pod.init_gap)
        except PluginError as error:
            raise Rejected("UnexpectedAdmissionError", f"Allocate failed due to {error}, which is "
                                                       "unexpected") from error

    def _check_room(self, pod, others):
        """kubelet's predicate. A pod served by DRA is not checked, but counts for others."""
        if pod.is_dra:
            return
        _, capacity = self.devices.status.get(pod.resource, (0, None))
        if pod.uid in self.devices.allocations:
            # sanitizeNodeAllocatable: at least what has been allocated.
            capacity = max(capacity or 0, self.devices.n_in_use(pod.resource))
        used = sum(other.count for other in others if other.resource == pod.resource)
        if capacity is not None and pod.count + used > capacity:
            raise Rejected(f"OutOf{pod.resource}",
                           f"Node didn't have enough resource: {pod.resource}, requested: "
                           f"{pod.count}, used: {used}, capacity: {capacity}")

    async def _start_container(self, pod):
        try:
            await self.devices.before_start(pod.uid, pod.resource)
        except PluginError as error:
            say(f"pod {pod}: {error}")
            raise Refused(f"{pod}: CreateContainerConfigError: {error}") from error
        allocation = self.devices.allocations.get(pod.uid)
        self._containers[pod.uid] = len(allocation.ids) if allocation else 0
        if self.cgroup_root:
            os.makedirs(self._cgroup(pod.uid, "container"), exist_ok=True)

    def _cgroup(self, uid, *below):
        return os.path.join(self.cgroup_root, "kubepods", f"pod{uid}", *below)

    def _end_container(self, uid):
        self._containers.pop(uid, None)
        if self.cgroup_root:
            with contextlib.suppress(FileNotFoundError):
                os.rmdir(self._cgroup(uid, "container"))
                os.rmdir(self._cgroup(uid))

    def _reject(self, key, rejection):
        pod = self._active.pop(key)
        self._failed[key] = str(rejection)
        say(f"pod {pod}: {rejection}")
        self._end_container_later(pod.uid)

    def _end_container_later(self, uid):
        async def end():
            await asyncio.sleep(self.devices.timing.linger)
            self._end_container(uid)
        asyncio.ensure_future(end())

    async def _readmit(self):
        """The pods there are, the oldest first, as by a kubelet that knows none of them."""
        await asyncio.sleep(self.devices.timing.readmit)
        earlier = []
        for key, pod in list(self._active.items()):
            try:
                if pod.uid not in self._containers:  # one that runs has its devices
                    await self._allocate(pod)
                self._check_room(pod, earlier)
                earlier.append(pod)
                if pod.uid not in self._containers:
                    await self._start_container(pod)
            except Rejected as rejection:
                self._reject(key, rejection)
            except Refused:
                pass
        self._admission.release()

    # commands

    def _check_up(self):
        if self._up_since is None:
            raise Refused("kubelet is down")

    def _find(self, key):
        if key not in self._active:
            raise Refused(f"{'/'.join(key)}: {self._failed.get(key, 'no such pod')}")
        return self._active[key]

    def _describe(self, pod):
        allocation = self.devices.allocations.get(pod.uid)
        if not allocation:
            return f"{pod}: no devices"
        return (f"{pod}: {' '.join(sorted(allocation.ids, key=by_number))} "
                f"{describe_response(allocation.response)}").rstrip()

    @command
    async def pod(self, name: split_name, count: int = 1, *, resource=RESOURCE, dra: bool = False,
                  init: seconds = None):
        """A pod that wants COUNT of a resource has been bound to this node: admit it and start its
        container. Prints its devices and what the container gets, or kubelet's refusal. --dra: it
        has the resource by a claim, of which this command knows nothing. --init: its init container
        asks for the resource, too, so long before."""
        self._check_up()
        if name in self._active:
            raise Misused("there is such a pod")
        self._failed.pop(name, None)
        async with self._admission:
            self._check_up()
            pod = self._active[name] = Pod(*name, resource, count, dra, init)
            try:
                await self._allocate(pod)
                self._check_room(pod, [each for each in self._active.values() if each is not pod])
            except Rejected as rejection:
                self._reject(name, rejection)
                raise Refused(f"{pod}: {rejection}") from rejection
            except asyncio.CancelledError:
                del self._active[name]
                raise
        await self._start_container(pod)
        text = self._describe(pod)
        say(f"pod {text}")
        return text

    @command
    async def delete(self, name: split_name, *, force: bool = False, takes: seconds = None):
        """Delete a pod, and wait for the end of its container or of the time that it --takes.
        --force: kubelet forgets it at once, while its container lives on."""
        self._check_up()
        if self._failed.pop(name, None):
            return
        pod = self._find(name)
        if force:
            self._end_container_later(pod.uid)
        else:
            await asyncio.sleep(self.devices.timing.stop if takes is None else takes)
            self._end_container(pod.uid)
        self._active.pop(name, None)
        say(f"pod {pod}: deleted{' by force' if force else ''}")

    @command
    async def crash(self, name: split_name):
        """End a pod's container. kubelet, when it is up, starts it again."""
        pod = self._find(name)
        self._end_container(pod.uid)
        if self._up_since is not None:
            await self._start_container(pod)

    @command
    async def resync(self, name: split_name):
        """Try again to start a container that does not run, as on any change of its pod."""
        pod = self._find(name)
        if pod.uid not in self._containers:
            await self._start_container(pod)

    @command
    async def pods(self):
        """A line a pod: its devices, whether its container runs, or why it failed."""
        lines = [f"{self._describe(pod)} {'running' if pod.uid in self._containers else 'waiting'}"
                 for pod in self._active.values()]
        return "\n".join(lines + [f"{'/'.join(key)}: failed: {why}"
                                  for key, why in self._failed.items()])

    @command
    async def in_containers(self):
        """The number of devices in containers that run, those of forgotten pods too."""
        return str(sum(self._containers.values()))
