# SPDX-License-Identifier: Apache-2.0
"""What the self-test's files share: the simulators in a directory, a minimal DRA plugin, and the
list of tests.
"""

import asyncio
import json
import pathlib
import signal
import subprocess
import urllib.error
import urllib.request

import grpc

import kubelet_api as api

HERE = pathlib.Path(__file__).resolve().parent
DRIVER = "tdx.kubevirt.io"
RESOURCE = "devices.kubevirt.io/tdx"
TESTS = []


def test(function):
    TESTS.append(function)
    return function


class Plugin:
    """Prepares any claim with device tdx0, unless told otherwise."""

    def __init__(self, root, name="a"):
        self.registration = root / f"plugins_registry/{name}.sock"
        self.endpoint = root / f"plugins/{name}-dra.sock"
        self.versions = ["v1.DRAPlugin", "v1beta1.DRAPlugin"]
        self.statuses = []
        self.calls = []
        self.authorities = set()
        self.error = ""
        self.delay = 0
        self.servers = []

    async def start(self):
        for path, services in ((self.endpoint, self._dra()), (self.registration,
                                                              self._registration())):
            server = grpc.aio.server()
            server.add_generic_rpc_handlers(services)
            server.add_insecure_port(f"unix:{path}")
            await server.start()
            self.servers.append(server)
        return self

    async def stop(self):
        for server in reversed(self.servers):
            await server.stop(None)
        for path in (self.registration, self.endpoint):
            path.unlink(missing_ok=True)

    @staticmethod
    def _service(name, **methods):
        return grpc.method_handlers_generic_handler(name, {
            method: grpc.unary_unary_rpc_method_handler(
                function, request.FromString, lambda response: response.SerializeToString())
            for method, (function, request) in methods.items()})

    def _registration(self):
        async def get_info(request, context):
            return api.registration.PluginInfo(type="DRAPlugin", name=DRIVER,
                                               endpoint=str(self.endpoint),
                                               supported_versions=self.versions)

        async def notify(request, context):
            self.statuses.append((request.plugin_registered, request.error))
            return api.registration.RegistrationStatusResponse()

        return [self._service("pluginregistration.Registration",
                              GetInfo=(get_info, api.registration.InfoRequest),
                              NotifyRegistrationStatus=(notify,
                                                        api.registration.RegistrationStatus))]

    def _dra(self):
        services = []
        for version, messages in api.DRA_SERVICES.items():
            def answer(service, entry, response_type, devices):
                async def method(request, context):
                    self.calls.append((service, [claim.uid for claim in request.claims]))
                    await asyncio.sleep(self.delay)
                    response = response_type()
                    for claim in request.claims:
                        response.claims[claim.uid].CopyFrom(
                            entry(error=self.error) if self.error else entry(**devices))
                    return response
                return method

            device = messages.Device(request_names=["tdx"], pool_name="node1", device_name="tdx0",
                                     cdi_device_ids=["kubevirt.io/tdx=dra-tdx0"])
            prepare = answer(version, messages.NodePrepareResourceResponse,
                             messages.NodePrepareResourcesResponse, {"devices": [device]})
            unprepare = answer(version, messages.NodeUnprepareResourceResponse,
                               messages.NodeUnprepareResourcesResponse, {})
            services.append(self._service(
                api.dra_method(version, "x").split("/")[1],
                NodePrepareResources=(prepare, messages.NodePrepareResourcesRequest),
                NodeUnprepareResources=(unprepare, messages.NodeUnprepareResourcesRequest)))

        async def health(request, context):
            device = api.health_v1.DeviceHealth(health=1, message="fine")
            device.device.pool_name, device.device.device_name = "node1", "tdx0"
            yield api.health_v1.NodeWatchResourcesResponse(devices=[device])
            await asyncio.sleep(60)

        services.append(grpc.method_handlers_generic_handler("v1.DRAResourceHealth", {
            "NodeWatchResources": grpc.unary_stream_rpc_method_handler(
                health, api.health_v1.NodeWatchResourcesRequest.FromString,
                lambda response: response.SerializeToString())}))
        return services


class Rig:
    """A directory with the simulators in it."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.kubelet_root = self.directory / "kubelet"
        self.processes = {}
        self.plugins = []
        self.url = ""

    def spawn(self, program, *arguments, alias=None):
        """alias: what it is called here, where it is not the only one of its kind."""
        name = alias or program.removesuffix("-sim")
        log = open(self.directory / f"{name}.log", "w")
        self.processes[name] = subprocess.Popen(
            [HERE / program, "--control", self.control(name), *arguments], stdout=log, stderr=log)

    async def stop_one(self, name):
        process = self.processes.pop(name)
        process.terminate()
        equal(await asyncio.to_thread(process.wait, 5), 0)

    def control(self, name):
        return str(self.directory / f"{name}.ctl")

    async def run(self, *command):
        """(exit status, output) of a program."""
        process = await asyncio.create_subprocess_exec(
            *map(str, command), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
        output, _ = await process.communicate()
        return process.returncode, output.decode().strip()

    async def ctl(self, name, *words, expect=0):
        status, text = await self.run(HERE / "ctl", self.control(name), *words)
        assert status == expect, f"{name} {words}: exit status {status}: {text}"
        return text

    async def api(self, *words, expect=0):
        return await self.ctl("apiserver", *words, expect=expect)

    async def kubelet(self, *words, expect=0):
        return await self.ctl("kubelet", *words, expect=expect)

    async def http(self, method, path, body=None):
        """(status, object)."""
        def perform():
            request = urllib.request.Request(
                self.url + path, method=method, headers={"Content-Type": "application/json"},
                data=json.dumps(body).encode() if body is not None else None)
            try:
                with urllib.request.urlopen(request, timeout=5) as response:
                    return response.status, json.load(response)
            except urllib.error.HTTPError as error:
                return error.code, json.load(error)
        return await asyncio.to_thread(perform)

    def watch(self, path, revision, selector=""):
        """What a watch of one second tells."""
        target = (f"{self.url}{path}?watch=1&resourceVersion={revision}&timeoutSeconds=1"
                  f"&allowWatchBookmarks=true&fieldSelector={selector}")
        with urllib.request.urlopen(target, timeout=5) as stream:
            return [json.loads(line) for line in stream]

    async def start(self):
        port = self.directory / "port"
        self.spawn("apiserver-sim", "--port-file", port, "--node", "node1:node-uid")
        await self.api("ok")
        self.url = f"http://127.0.0.1:{port.read_text().strip()}"
        self.spawn("kubelet-sim", "--dir", self.kubelet_root, "--api", self.url,
                   "--node", "node1", "--wipe-delay", "300ms")
        self.spawn("qgs-sim", "--socket", self.directory / "qgs/qgs.socket")
        await self.kubelet("set", "linger", "500ms")
        await self.ctl("qgs", "ok")

    async def clear(self):
        """No plugin and no pod of the last test is left."""
        while self.plugins:
            await self.plugins.pop().stop()
        for line in (await self.kubelet("pods")).splitlines():
            await self.run(HERE / "ctl", self.control("kubelet"), "delete",
                           line.partition(": ")[0], "--takes", "0s")

    def stop(self):
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        return {name: process.wait(5) for name, process in self.processes.items()}


def equal(found, wanted):
    assert found == wanted, f"\n  found  {found!r}\n  wanted {wanted!r}"


def contains(text, part):
    assert part in text, f"\n  found  {text!r}\n  wanted {part!r} in it"


async def call_podresources(rig, method, name, timeout=5):
    async with grpc.aio.insecure_channel(
            f"unix:{rig.kubelet_root}/pod-resources/kubelet.sock",
            options=[("grpc.max_receive_message_length", 16 << 20)]) as channel:
        return await channel.unary_unary(
            method, getattr(api.podresources, f"{name}Request").SerializeToString,
            getattr(api.podresources, f"{name}Response").FromString)(
                getattr(api.podresources, f"{name}Request")(), timeout=timeout)
