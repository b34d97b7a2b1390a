# SPDX-License-Identifier: Apache-2.0
"""kubelet's DRA manager (pkg/kubelet/cm/dra): keeps connections to registered drivers, has them
prepare and unprepare claims, and wipes the ResourceSlices of those that are gone.
"""

import asyncio
import dataclasses

import grpc

import kubelet_api as api
from control import Misused, Refused, command, say, seconds, split_name, wait_until
from kube_client import KubeError
from kubelet_registry import connect, describe, dial_registration

CALL_TIMEOUT = 45.0
RETRY_INTERVAL = 6.0
WIPE_RETRY = 1
READY = grpc.ChannelConnectivity.READY


class Instance:
    """One registered process of a driver; during a rolling update there are two."""

    def __init__(self, path, info, service, on_connection):
        self.path = path
        self.driver = info.name
        self.endpoint = info.endpoint or path
        self.versions = list(info.supported_versions)
        self.service = service
        self.channel = connect(self.endpoint, "localhost")
        self.is_connected = False
        self.is_closed = False
        self._on_connection = on_connection
        self._following = asyncio.ensure_future(self._follow())

    async def _follow(self):
        """kubelet connects at once, and again whenever the connection ends."""
        while True:
            state = self.channel.get_state(try_to_connect=True)
            if self.is_connected != (state is READY):
                self.is_connected = state is READY
                self._on_connection(self)
            await self.channel.wait_for_state_change(state)

    async def close(self):
        self.is_closed = True
        self.is_connected = False
        self._following.cancel()
        await self.channel.close()

    async def call(self, method, request, response_type, deadline):
        """Not waiting for a connection: while there is none, the call fails at once."""
        call = self.channel.unary_unary(method, type(request).SerializeToString,
                                        response_type.FromString)
        try:
            return await call(request, timeout=deadline)
        except grpc.RpcError as error:
            raise Refused(f"{method.rpartition('/')[2]}: {describe(error)}") from error
        except asyncio.CancelledError:
            if self.is_closed:
                raise Refused(f"{method.rpartition('/')[2]}: rpc error: code = Canceled desc = "
                              "grpc: the client connection is closing") from None
            raise

    def __str__(self):
        return (f"{self.driver} {self.endpoint} {','.join(self.versions)} {self.service} "
                f"{'connected' if self.is_connected else 'disconnected'}")


@dataclasses.dataclass
class Claim:
    """What kubelet's checkpoint has of a claim; devices is None until it was prepared."""

    namespace: str
    name: str
    uid: str
    driver: str = ""
    devices: list | None = None

    def __str__(self):
        return f"{self.namespace}/{self.name}"


def uid_list(text):
    return text.split(",")


def dra_service(version):
    service = f"{version}.DRAPlugin"
    if version and service not in api.DRA_SERVICES:
        raise ValueError(f"{version!r} is neither v1 nor v1beta1")
    return service if version else ""


class DRAManager:
    """kube and node are None where no API server was given."""

    def __init__(self, kube, node, wipe_delay):
        self.kube = kube
        self.node = node
        self.wipe_delay = wipe_delay
        self.instances = []
        self.claims = {}
        self._wipes = {}

    # plugin manager's handler

    def validate(self, info):
        if not info.name:
            return "no name"
        if not any(version in api.DRA_SERVICES for version in info.supported_versions):
            return (f"none of the DRA gRPC services ({', '.join(api.DRA_SERVICES)}) is supported: "
                    f"{list(info.supported_versions)}")
        return ""

    def register(self, path, info):
        endpoint = info.endpoint or path
        if any(instance.endpoint == endpoint for instance in self.instances):
            return f"endpoint {endpoint} already registered"
        service = next(version for version in info.supported_versions
                       if version in api.DRA_SERVICES)
        instance = Instance(path, info, service, self._on_connection)
        self.instances.append(instance)
        say(f"dra: registered {instance.driver} at {instance.endpoint}, to be called by {service}")
        return ""

    async def deregister(self, path):
        for instance in [each for each in self.instances if each.path == path]:
            self.instances.remove(instance)
            await instance.close()
            say(f"dra: unregistered {instance.driver} at {instance.endpoint}")
            self._consider_wiping(instance.driver)

    # slices

    def _on_connection(self, instance):
        say(f"dra: {'connected to' if instance.is_connected else 'disconnected from'} "
            f"{instance.endpoint}")
        self._consider_wiping(instance.driver)

    def _consider_wiping(self, driver):
        """A driver that is connected by none of its instances loses its slices after a while."""
        if any(each.is_connected for each in self.instances if each.driver == driver):
            if wipe := self._wipes.pop(driver, None):
                wipe.cancel()
        elif driver not in self._wipes and self.kube:
            self._wipes[driver] = asyncio.ensure_future(self._wipe_later(driver))

    async def _wipe_later(self, driver):
        await asyncio.sleep(self.wipe_delay)
        await self._wipe(driver)
        del self._wipes[driver]

    async def _wipe(self, driver=None):
        while True:
            try:
                await self.kube.wipe_slices(self.node, driver)
            except KubeError as error:
                say(f"dra: cannot wipe the slices of {driver or 'all drivers'}: {error}")
                await asyncio.sleep(WIPE_RETRY)
            else:
                say(f"dra: wiped the slices of {driver or 'all drivers'}")
                return

    def start(self):
        """A kubelet that starts knows no driver, so no slice on its node can be right."""
        if self.kube:
            self._wipes[None] = asyncio.ensure_future(self._wipe())

    async def stop(self):
        for wipe in self._wipes.values():
            wipe.cancel()
        self._wipes.clear()

    # calls

    def _pick(self, driver=""):
        """The instance kubelet would call: the newest connected one, else the newest."""
        found = [each for each in self.instances if driver in ("", each.driver)]
        if len({each.driver for each in found}) > 1:
            raise Misused("several drivers are registered, say --driver NAME")
        if not found:
            raise Refused(f"DRA driver {driver or 'of any name'} is not registered")
        return next((each for each in reversed(found) if each.is_connected), found[-1])

    async def _look_up(self, names, uids):
        """The claims as kubelet knows them before it calls a driver."""
        if not uids:
            if not self.kube:
                raise Misused("without --api there is nobody to ask for UIDs: give --uid")
            try:
                uids = [await self.kube.claim_uid(*name) for name in names]
            except KubeError as error:
                raise Refused(str(error)) from error
        claims = []
        for name, uid in zip(names, uids):
            claim = self.claims.get(name)
            if claim is None or claim.uid != uid:
                # Remembered before the call, as in kubelet: Unprepare comes even if it fails.
                claim = self.claims[name] = Claim(*name, uid)
            claims.append(claim)
        return claims

    async def _prepare_once(self, claims, instance, version, deadline):
        """(whether all is well, what to print)."""
        service = version or instance.service
        messages = api.DRA_SERVICES[service]
        for claim in claims:
            claim.driver = instance.driver
        request = messages.NodePrepareResourcesRequest(claims=[
            messages.Claim(namespace=claim.namespace, name=claim.name, uid=claim.uid)
            for claim in claims])
        response = await instance.call(api.dra_method(service, "NodePrepareResources"), request,
                                       messages.NodePrepareResourcesResponse, deadline)
        asked = {claim.uid for claim in claims}
        lines = [f"unknown claim {uid}" for uid in response.claims if uid not in asked]
        is_well = not lines
        for claim in claims:
            result = response.claims.get(claim.uid)
            if complaint := complain(result):
                is_well = False
                lines.append(f"{claim}: {complaint}")
            else:
                claim.devices = list(result.devices)
                lines += [f"{claim}: {describe_device(device)}" for device in claim.devices] \
                    or [f"{claim}: no devices"]
        return is_well, "\n".join(lines)

    @command
    async def prepare(self, *names: split_name, uid: uid_list = (), version: dra_service = "",
                      driver="", deadline: seconds = CALL_TIMEOUT, retry: seconds = 0.0,
                      interval: seconds = RETRY_INTERVAL):
        """Prepare claims, all in one call, as for one pod. Their UIDs come from the API server or
        from --uid A,B. --retry: repeat for so long until all is well, every --interval."""
        check_names(names, uid)
        end = asyncio.get_running_loop().time() + retry
        while True:
            try:
                claims = await self._look_up(names, uid)
                is_well, text = await self._prepare_once(claims, self._pick(driver), version,
                                                         deadline)
            except Refused as error:
                is_well, text = False, f"error: {error}"
            for line in text.splitlines():
                say(f"prepare {line}")
            if is_well:
                return text
            if asyncio.get_running_loop().time() + interval > end:
                raise Refused(text)
            await asyncio.sleep(interval)

    @command
    async def unprepare(self, *names: split_name, uid: uid_list = (), version: dra_service = "",
                        driver="", deadline: seconds = CALL_TIMEOUT):
        """Unprepare claims, all in one call, with the UIDs they were prepared with (or --uid A,B);
        the API server is not asked."""
        check_names(names, uid)
        forgotten = [name for name in names if name not in self.claims]
        if forgotten and not uid:
            raise Misused(f"never prepared, so say --uid: {' '.join(map('/'.join, forgotten))}")
        uid = uid or [self.claims[name].uid for name in names]
        instance = self._pick(driver)
        service = version or instance.service
        messages = api.DRA_SERVICES[service]
        request = messages.NodeUnprepareResourcesRequest(claims=[
            messages.Claim(namespace=name[0], name=name[1], uid=each)
            for name, each in zip(names, uid)])
        response = await instance.call(api.dra_method(service, "NodeUnprepareResources"), request,
                                       messages.NodeUnprepareResourcesResponse, deadline)
        lines = []
        is_well = True
        for name, each in zip(names, uid):
            complaint = complain(response.claims.get(each))
            if complaint:
                is_well = False
            elif name in self.claims and self.claims[name].uid == each:
                del self.claims[name]
            lines.append(f"{'/'.join(name)}: {complaint or 'unprepared'}")
            say(f"unprepare {lines[-1]}")
        if not is_well:
            raise Refused("\n".join(lines))
        return "\n".join(lines)

    @command
    async def in_claims(self):
        """The number of devices that prepared claims hold."""
        return str(sum(len(claim.devices or []) for claim in self.claims.values()))

    @command
    async def prepare_empty(self, *, version: dra_service = "", driver=""):
        """The call that liveness probes make: no claims."""
        is_well, text = await self._prepare_once([], self._pick(driver), version, CALL_TIMEOUT)
        if not is_well:
            raise Refused(text)

    @command
    async def call(self, method, hexbytes: bytes.fromhex = b"", *, driver="",
                   registration: bool = False, deadline: seconds = CALL_TIMEOUT):
        """Call any METHOD (/package.Service/Name) with any bytes; prints the status, or the
        answer's bytes. --registration: on the registration socket."""
        instance = self._pick(driver)
        channel = dial_registration(instance.path) if registration else instance.channel
        try:
            answer = await channel.unary_unary(method)(hexbytes, timeout=deadline)
        except grpc.RpcError as error:
            raise Refused(f"{error.code().name}: {error.details()}") from error
        finally:
            if registration:
                await channel.close()
        return f"OK {answer.hex()}"

    @command
    async def health_watch(self, duration: seconds, *, version="v1", driver=""):
        """Open the health stream for so long, then print what came, a line a device."""
        service = f"{version}.DRAResourceHealth"
        if service not in api.HEALTH_SERVICES:
            raise Misused(f"{version!r} is neither v1 nor v1alpha1")
        messages = api.HEALTH_SERVICES[service]
        stream = self._pick(driver).channel.unary_stream(
            api.health_method(service), messages.NodeWatchResourcesRequest.SerializeToString,
            messages.NodeWatchResourcesResponse.FromString)(messages.NodeWatchResourcesRequest())
        lines = []

        async def collect():
            async for response in stream:
                for device in response.devices:
                    lines.append(describe_health(device))
                    say(f"health {lines[-1]}")
                lines.append("--")

        try:
            await asyncio.wait_for(collect(), duration)
        except TimeoutError:
            return "\n".join(lines)
        except grpc.RpcError as error:
            raise Refused("\n".join([*lines, describe(error)])) from error
        finally:
            stream.cancel()
        raise Refused("\n".join([*lines, "the stream ended"]))

    # registration, as seen from a script

    def _connected(self, driver):
        return [each for each in self.instances if each.driver == driver and each.is_connected]

    @command
    async def plugins(self):
        """The registered instances: driver, endpoint, versions, the one chosen, connection."""
        return "\n".join(map(str, self.instances))

    @command
    async def wait_registered(self, driver, timeout: seconds = 10.0, *, count: int = 1):
        """Until that many instances are registered and connected."""
        await wait_until(lambda: len(self._connected(driver)) == count, timeout,
                         lambda: "; ".join(map(str, self.instances)) or "no plugin is registered")

    @command
    async def wait_unregistered(self, driver, timeout: seconds = 10.0):
        await wait_until(lambda: all(each.driver != driver for each in self.instances), timeout,
                         lambda: "; ".join(map(str, self.instances)))


def check_names(names, uid):
    if not names:
        raise Misused("which claims?")
    if uid and len(uid) != len(names):
        raise Misused("as many UIDs as claims, please: --uid A,B")


def complain(result):
    """What is wrong with a plugin's answer about one claim, or ""."""
    if result is None:
        return "skipped"
    return f"error: {result.error}" if result.error else ""


def describe_device(device):
    """tdx0 pool=node1 cdi=kubevirt.io/tdx=dra-tdx0 requests=tdx"""
    return (f"{device.device_name} pool={device.pool_name} cdi={','.join(device.cdi_device_ids)} "
            f"requests={','.join(device.request_names)}")


def describe_health(health):
    """tdx0 pool=node1 Healthy timeout=30 some message"""
    state = api.HEALTH[health.health] if health.health < len(api.HEALTH) else health.health
    return (f"{health.device.device_name} pool={health.device.pool_name} {state} "
            f"timeout={health.health_check_timeout_seconds} {health.message}").rstrip()
