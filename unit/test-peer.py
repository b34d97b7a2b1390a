#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A client of its own against the driver's real binary ($DRIVER): everything kubelet may ask of it,
and what no kubelet should. TAP.

The client is Python's gRPC with the messages of e2e/sim/kubelet_api.py, and for what that cannot be
made to do, HTTP/2 frames by hand. e2e/sim/apiserver-sim holds the claims; of kubelet
there is only podresources.
"""

import concurrent.futures
import contextlib
import itertools
import json
import logging
import os
import pathlib
import random
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import time
import urllib.parse
import uuid

import grpc

sys.dont_write_bytecode = True
ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "e2e/sim"))

import kubelet_api as api  # noqa: E402, the path comes first
from device_plugin import service  # noqa: E402

DRIVER = os.environ.get("DRIVER", ROOT / "build/plain-gcc/dra-driver-tdx")
NODE = "node1"
CAPACITY = 40
ERROR_MAX = 400  # bytes of a claim's error: it goes into a pod's event
MESSAGE_MAX = 256 << 10
V1, V1BETA1 = VERSIONS = "v1.DRAPlugin", "v1beta1.DRAPlugin"
PREPARE, UNPREPARE = "NodePrepareResources", "NodeUnprepareResources"
METHODS = (api.GET_INFO, api.NOTIFY,
           *(api.dra_method(*pair) for pair in itertools.product(VERSIONS, (PREPARE, UNPREPARE))))
UTF8 = "ä日🧀"
CHECKS = []


def check(sentence):
    """A function of the node, whose success is the truth of the sentence."""
    def add(function):
        CHECKS.append((sentence, function))
        return function
    return add


def eventually(condition, seconds=5):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


@contextlib.contextmanager
def within(seconds):
    start = time.monotonic()
    yield
    taken = time.monotonic() - start
    assert taken < seconds, f"took {taken:.2f} s"


@contextlib.contextmanager
def fails(*codes):
    try:
        yield
    except grpc.RpcError as error:
        ERROR_TEXTS.append(error.details())
        assert error.code() in codes, f"{error.code()}: {error.details()}"
    else:
        raise AssertionError(f"succeeded, instead of {codes}")


ERROR_TEXTS = []
Code = grpc.StatusCode


class Claim:
    """As kubelet knows it."""

    def __init__(self, name, namespace="default", uid=None):
        self.namespace = namespace
        self.name = name
        self.uid = str(uuid.uuid4()) if uid is None else uid


class Node:
    """API server, driver and the two sockets, in a directory with a short name."""

    def __init__(self):
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="peer.", dir="/tmp"))
        self.kubelet = self.path / "k"
        self.state = self.kubelet / "plugins/tdx.kubevirt.io"
        self.service = self.state / "dra.sock"
        self.registration = self.kubelet / "plugins_registry/tdx.kubevirt.io-reg.sock"
        self.kubelet.mkdir()
        (self.path / "host").mkdir()
        self.processes = {}
        self.channels = {}
        self.names = itertools.count()

    # processes

    def start(self, name, *command):
        with open(self.path / f"{name}.log", "wb") as log:
            self.processes[name] = subprocess.Popen(
                list(map(str, command)), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=dict(os.environ, PYTHONDONTWRITEBYTECODE="1"))

    def start_all(self):
        self.start("api", ROOT / "e2e/sim/apiserver-sim", "--control", self.path / "api.ctl",
                   "--port-file", self.path / "port", "--node", NODE)
        eventually((self.path / "api.ctl").exists, 10)
        port = (self.path / "port").read_text().strip()
        self.start_podresources()
        self.start("driver", DRIVER, "run", "--node-name", NODE, "--kubelet-dir", self.kubelet,
                   "--cdi-dir", self.path / "cdi", "--qgs-socket", self.path / "host/qgs.socket", "--vm-qgs-socket",
                   self.path / "host/qgs.socket",
                   "--capacity", CAPACITY, "--api-server", f"http://127.0.0.1:{port}",
                   "--serve", "dra", "--log-level", "debug")
        eventually(self.registration.exists, 10)

    def start_podresources(self):
        """All of kubelet that there is: a list of one pod, which the driver waits for."""
        messages = api.podresources
        pods = [messages.PodResources(name="a-pod", namespace="default")]
        server = grpc.server(concurrent.futures.ThreadPoolExecutor(1))
        server.add_generic_rpc_handlers([service("v1.PodResourcesLister", {
            api.LIST_POD_RESOURCES: (
                lambda request, context: messages.ListPodResourcesResponse(pod_resources=pods),
                messages.ListPodResourcesRequest)})])
        (self.kubelet / "pod-resources").mkdir()
        server.add_insecure_port(f"unix:{self.kubelet}/pod-resources/kubelet.sock")
        server.start()
        self.podresources = server

    def stop_driver(self):
        driver = self.processes["driver"]
        driver.send_signal(signal.SIGTERM)
        return driver.wait(15)

    def clean_up(self):
        for channel in self.channels.values():
            channel.close()
        self.podresources.stop(None).wait()
        for process in self.processes.values():
            if process.poll() is None:
                process.kill()
                process.wait()
        shutil.rmtree(self.path)

    def log(self, name="driver"):
        return (self.path / f"{name}.log").read_text(errors="replace")

    @contextlib.contextmanager
    def says(self, text, name="driver"):
        """Until the log has the text once more."""
        before = self.log(name).count(text)
        yield
        eventually(lambda: self.log(name).count(text) > before)

    # the API server

    def tell_api(self, *words):
        """Its control protocol: see e2e/sim/control.py."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.path / "api.ctl"))
            connection.sendall(b"".join(str(word).encode() + b"\0"
                                        for word in (len(words), *words)))
            answer = b"".join(iter(lambda: connection.recv(1 << 16), b""))
        text, _, status = answer.decode().rpartition("\0")
        assert status == "0", f"{words}: {text}"

    def make_claim(self, devices="tdx0", *options, name="", namespace="default"):
        claim = Claim(name or f"claim-{next(self.names)}", namespace)
        self.tell_api("claim", f"{namespace}/{claim.name}", devices, "--uid", claim.uid, *options)
        return claim

    def make_claims(self, n):
        return [self.make_claim(f"tdx{i}") for i in range(n)]

    # calls

    def channel(self, path=None, key="", **options):
        """One connection for each key."""
        path = path or self.service
        if (path, key) not in self.channels:
            arguments = {"grpc.default_authority": "localhost", "grpc.use_local_subchannel_pool": 1,
                         "grpc.enable_retries": 0, **options}
            self.channels[path, key] = grpc.insecure_channel(f"unix:{path}",
                                                             list(arguments.items()))
        return self.channels[path, key]

    def send(self, method, content, timeout=10, channel=None, **options):
        """Bytes for bytes."""
        if not channel:
            channel = self.channel(self.registration if method in METHODS[:2] else self.service)
        return channel.unary_unary(method)(content, timeout=timeout, **options)

    def begin(self, name, claims, version=V1, timeout=10, channel=None):
        """A call that goes on."""
        content = request(name, claims, version).SerializeToString()
        return (channel or self.channel()).unary_unary(api.dra_method(version, name)).future(
            content, timeout=timeout)

    def ask(self, name, claims, version=V1, **options):
        """{UID: answer}, one for each claim and each fit to be read."""
        content = request(name, claims, version).SerializeToString()
        answers = read(name, self.send(api.dra_method(version, name), content, **options), version)
        assert set(answers) == {claim.uid for claim in claims}, sorted(answers)
        return answers

    def prepare(self, *claims, **options):
        """{UID: its CDI devices}, where all went well."""
        answers = self.ask(PREPARE, claims, **options)
        refusals = [answer.error for answer in answers.values() if answer.error]
        assert not refusals, refusals
        return {uid: [name for device in answer.devices for name in device.cdi_device_ids]
                for uid, answer in answers.items()}

    def unprepare(self, *claims, **options):
        answers = self.ask(UNPREPARE, claims, **options)
        assert not any(answer.error for answer in answers.values()), answers

    def is_well(self, channel=None):
        self.ask(PREPARE, [], channel=channel)

    # what is held

    def held(self):
        return {path.name for path in (self.state / "claims").iterdir()
                if not path.name.startswith(".") and path.suffix != ".tds"}

    def check_free(self, n):
        """That neither more nor less TDs are free."""
        probe = self.make_claim(",".join(f"tdx{i}" for i in range(min(n, 32))))
        rest = self.make_claim(",".join(f"tdx{i}" for i in range(n - min(n, 32))) or "tdx0",
                               *(["--admin"] if n <= 32 else []))
        self.prepare(probe, rest, timeout=1)
        assert "no TD is free" in self.refusal(self.make_claim(), timeout=1)
        self.unprepare(probe, rest)

    def refusal(self, claim, **options):
        answer = self.ask(PREPARE, [claim], **options)[claim.uid]
        assert answer.error and not answer.devices, answer
        return answer.error

    def fill(self):
        """Leaves no TD; the holders."""
        claims = [self.make_claim(",".join(f"tdx{j}" for j in range(10))) for i in range(4)]
        self.prepare(*claims)
        return claims

    def release_all(self):
        claims = [Claim("any", uid=uid) for uid in self.held()]
        if claims:
            self.unprepare(*claims)


def request(name, claims, version=V1):
    messages = api.DRA_SERVICES[version]
    return getattr(messages, f"{name}Request")(claims=[
        messages.Claim(namespace=claim.namespace, name=claim.name, uid=claim.uid)
        for claim in claims])


def read(name, content, version=V1):
    """Strict: what is no UTF-8 is no string."""
    answers = getattr(api.DRA_SERVICES[version], f"{name}Response").FromString(content).claims
    ERROR_TEXTS.extend(answer.error for answer in answers.values() if answer.error)
    return answers


def field(number, content):
    """A length-delimited protobuf field, of bytes that need not be UTF-8."""
    length, n = b"", len(content)
    while n > 127:
        length += bytes([n & 127 | 128])
        n >>= 7
    return bytes([number << 3 | 2]) + length + bytes([n]) + content


def raw_claim(namespace, uid, name):
    return field(1, field(1, namespace) + field(2, uid) + field(3, name))


# ---- registration ----

@check("GetInfo names driver and endpoint, and v1 before v1beta1")
def _(node):
    wanted = api.registration.PluginInfo(
        type="DRAPlugin", name="tdx.kubevirt.io", endpoint=str(node.service),
        supported_versions=["v1.DRAPlugin", "v1beta1.DRAPlugin", "v1.DRAResourceHealth",
                            "v1alpha1.DRAResourceHealth"])
    with within(1):  # kubelet's patience
        content = node.send(api.GET_INFO, b"")
    info = api.registration.PluginInfo.FromString(content)
    assert info == wanted, info
    assert content == wanted.SerializeToString(), "there is more in it"
    assert stat.S_ISSOCK(os.stat(info.endpoint).st_mode)


@check("a registration, a refusal and another registration are all answered with success")
def _(node):
    for is_registered, reason, log in ((True, "", "registered with kubelet"),
                                       (False, f"not welcome {UTF8}", f"not welcome {UTF8}"),
                                       (False, "x" * 100000, "xxxx"),
                                       (True, "", "registered with kubelet")):
        status = api.registration.RegistrationStatus(plugin_registered=is_registered, error=reason)
        with node.says(log):
            assert node.send(api.NOTIFY, status.SerializeToString()) == b""


@check("a refusal whose reason is no UTF-8 is survived")
def _(node):
    assert node.send(api.NOTIFY, field(2, b"\xff\xfe\x80" * 50)) == b""
    node.send(api.NOTIFY, b"\x08\x01")
    node.send(api.GET_INFO, b"")


# ---- claims ----

@check("v1 and v1beta1 prepare a claim with the same bytes, and unprepare what the other prepared")
def _(node):
    for first, second in (VERSIONS, VERSIONS[::-1]):
        claim = node.make_claim("tdx3", "--request", "main/fast")
        content = request(PREPARE, [claim]).SerializeToString()
        answers = [node.send(api.dra_method(version, PREPARE), content)
                   for version in (first, second, first)]
        assert answers.count(answers[0]) == 3, answers
        device, = read(PREPARE, answers[0])[claim.uid].devices
        assert list(device.request_names) == ["main"]
        assert (device.pool_name, device.device_name) == (NODE, "tdx3")
        assert list(device.cdi_device_ids) == ["kubevirt.io/tdx=dra-tdx3"]
        assert node.held() == {claim.uid}
        node.unprepare(claim, version=second)
        assert not node.held()
    node.check_free(CAPACITY)


@check("unprepare succeeds again and again, also for a claim that nobody ever saw")
def _(node):
    claim = node.make_claim()
    node.prepare(claim)
    for version in VERSIONS * 2:
        node.unprepare(claim, Claim("never-seen"), version=version)
    assert not node.held()


@check("in a batch of 50 each claim has its own answer, and 11 bad ones do not harm 39 good ones")
def _(node):
    good = node.make_claims(39)
    bad = {
        "not allocated": node.make_claim("tdx0", "--unallocated"),
        "this node's pool is": node.make_claim("tdx0", "--pool", "elsewhere"),
        "no device of driver": node.make_claim("tdx0", "--driver", "gpu.example.com"),
        "no device tdx4096": node.make_claim("tdx4096"),
        "created again": Claim(node.make_claim().name),
        "cannot read the claim": Claim("missing"),
        '"../../etc/passwd" is not a claim UID': Claim("a", uid="../../etc/passwd"),
        '"" is not a claim UID': Claim("a", uid=""),
        f'"{UTF8}" is not a claim UID': Claim("a", uid=UTF8),
        '"Default" is not a namespace name': Claim("a", "Default"),
        '"a/../b" is not a claim name': Claim("a/../b"),
    }
    batch = [*good, *bad.values()]
    random.Random(1).shuffle(batch)
    assert len(batch) == 50
    answers = node.ask(PREPARE, batch)
    for claim in good:
        assert len(answers[claim.uid].devices) == 1 and not answers[claim.uid].error
    for reason, claim in bad.items():
        assert reason in answers[claim.uid].error and not answers[claim.uid].devices, \
            f"{reason}: {answers[claim.uid]}"
    assert node.held() == {claim.uid for claim in good}
    assert len({device for claim in good for device in node.prepare(claim)[claim.uid]}) == 39

    answers = node.ask(UNPREPARE, batch)
    for claim in good:
        assert not answers[claim.uid].error
    assert not node.held()
    node.check_free(CAPACITY)


@check("a UID that stands in a batch three times is held once, and has one answer")
def _(node):
    claim, other = node.make_claims(2)
    assert len(node.prepare(claim, other, claim, claim)) == 2
    assert node.held() == {claim.uid, other.uid}
    node.unprepare(other)
    node.check_free(CAPACITY - 1)
    node.unprepare(claim, claim, claim)
    assert not node.held()
    node.check_free(CAPACITY)


@check("a UID that stands in a batch with two names is that claim's, and refused to the other name")
def _(node):
    claim = node.make_claim()
    other = Claim("other", uid=claim.uid)
    answers = read(PREPARE, node.begin(PREPARE, [claim, other]).result(10))
    assert f"the one of claim default/{claim.name}" in answers[claim.uid].error, answers
    assert node.held() == {claim.uid}
    assert "not of default/other" in node.refusal(other)
    node.prepare(claim)
    node.unprepare(claim)
    node.check_free(CAPACITY)


@check("a NUL in a string is refused with the whole request: the rest of a name is not its end")
def _(node):
    claim = node.make_claim()
    uid, name = claim.uid.encode(), claim.name.encode()
    for fields in ((b"default", uid + b"\0", name), (b"default", uid, name + b"\0x"),
                   (b"default\0", uid, name), (b"default", b"\0" + uid, name)):
        for method in METHODS[2:]:
            with fails(Code.INVALID_ARGUMENT):
                node.send(method, raw_claim(b"default", b"1-2", b"a") + raw_claim(*fields))
    assert not node.held()
    # In a field that is not known, any byte may stand.
    node.send(METHODS[2], field(1, field(1, b"default") + field(2, uid) + field(3, name) + field(9, b"\0")))
    assert node.held() == {claim.uid}


@check("a request without claims has an empty answer, in every method and version")
def _(node):
    for method in METHODS[2:]:
        assert node.send(method, b"") == b""


@check("fields that kubelet may send one day are passed over")
def _(node):
    claim = node.make_claim()
    future = bytes.fromhex("a00607 aa06036e6577 b50601000000 b9060100000000000000")
    message = api.dra_v1.Claim(namespace=claim.namespace, name=claim.name, uid=claim.uid)
    content = field(1, future + message.SerializeToString() + future) + future
    assert not read(PREPARE, node.send(METHODS[2], content))[claim.uid].error
    assert node.held() == {claim.uid}


# ---- gRPC ----

@check("any authority will do")
def _(node):
    escaped = urllib.parse.quote(str(node.service), safe="")  # as kubelet dials
    for authority in ("localhost", escaped, "tdx.kubevirt.io", "[::1]:80", "a" * 200):
        node.is_well(node.channel(key=authority, **{"grpc.default_authority": authority}))


@check("metadata of any kind and gzip change nothing")
def _(node):
    content = request(PREPARE, [Claim("missing")]).SerializeToString()
    for metadata in ([("x-a", "1")], [("x-bin", bytes(range(256)))], [("x-long", "y" * 4000)],
                     [(f"x-{i}", str(i)) for i in range(60)], [("user-agent", "kubelet")]):
        read(PREPARE, node.send(METHODS[2], content, metadata=metadata))
    read(PREPARE, node.send(METHODS[2], content, compression=grpc.Compression.Gzip))
    read(PREPARE, node.send(METHODS[2], content, compression=grpc.Compression.Deflate))


@check("metadata beyond measure is refused, and other connections do not notice")
def _(node):
    # gRPC sometimes loses its place in the compressed headers then, and closes the connection.
    with fails(Code.RESOURCE_EXHAUSTED, Code.UNAVAILABLE):
        node.send(METHODS[2], b"", metadata=[("x-long", "y" * 100000)],
                  channel=node.channel(key="long"))
    node.is_well()


@check("unknown services and methods are UNIMPLEMENTED within half a second")
def _(node):
    service = METHODS[2].rpartition("/")[0]
    for method in ("/v2.DRAResourceHealth/NodeWatchResources", f"{service}/", "/a/b", "//",
                   "/v1alpha1.DRAResourceHealth/WatchResources", f"{METHODS[2]}s",
                   METHODS[2].replace("v1", "v1alpha4"), METHODS[2].lower(), METHODS[2] + "/",
                   "/grpc.health.v1.Health/Check", f"/{'x' * 1000}/{'y' * 1000}",
                   "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"):
        with within(0.5), fails(Code.UNIMPLEMENTED):
            node.send(method, b"")
        with within(0.5), fails(Code.UNIMPLEMENTED):
            list(node.channel().unary_stream(method)(b"", timeout=5))
    node.is_well()


@check("a malformed message is INVALID_ARGUMENT in every method")
def _(node):
    for method in METHODS:
        for garbage in ("ffffffff", "0a7f", "0a", "80", "0affffffffffffffffff01", "ff" * 100):
            with fails(Code.INVALID_ARGUMENT):
                node.send(method, bytes.fromhex(garbage))
    for method in METHODS[2:]:
        for garbage in ("0801", "0a020a7f", "0a021001", "0d00000000", "0900000000"):
            with fails(Code.INVALID_ARGUMENT):
                node.send(method, bytes.fromhex(garbage))
    node.is_well()


@check("five hundred mutilated requests are each answered or refused, and none crashes the driver")
def _(node):
    chance = random.Random(20)
    whole = request(PREPARE, [Claim("a"), Claim("b" * 60), Claim("c")]).SerializeToString()
    for method in itertools.islice(itertools.cycle(METHODS), 500):
        content = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            place = chance.randrange(len(content))
            kind = chance.randrange(4)
            if kind == 0:
                content[place] = chance.randrange(256)
            elif kind == 1:
                del content[place:place + chance.randint(1, 20)]
            elif kind == 2:
                content[place:place] = chance.randbytes(chance.randint(1, 20))
            else:
                content[place] ^= 1 << chance.randrange(8)
            content = content or bytearray(b"\0")
        try:
            answer = node.send(method, bytes(content))
        except grpc.RpcError as error:
            assert error.code() is Code.INVALID_ARGUMENT, f"{error.code()} of {content.hex()}"
        else:
            if method in METHODS[2:]:
                read(method.rpartition("/")[2], answer)
    node.send(api.NOTIFY, b"\x08\x01")
    assert not node.held()
    node.check_free(CAPACITY)


@check("names that are no UTF-8 are refused in answers that are")
def _(node):
    for bad in (b"\xff\xfe", b"\xc3", b"\xed\xa0\x80", b"x" * 63 + "ä".encode(), b"\x80" * 999):
        content = (raw_claim(b"default", bad, b"a") + raw_claim(bad, b"1-2", b"a") +
                   raw_claim(b"default", b"3-4", bad))
        for method in METHODS[2:]:
            answers = read(method.rpartition("/")[2], node.send(method, content))
            assert len(answers) == 3 and all(each.error for each in answers.values()), answers
    assert not node.held()


@check("a message of 256 KiB is served, and one byte more is RESOURCE_EXHAUSTED")
def _(node):
    claim = Claim("x" * (MESSAGE_MAX - 100))
    claim.name += "x" * (MESSAGE_MAX - request(PREPARE, [claim]).ByteSize())
    assert request(PREPARE, [claim]).ByteSize() == MESSAGE_MAX
    assert "not a claim name" in node.refusal(claim)
    claim.name += "x"
    with fails(Code.RESOURCE_EXHAUSTED):
        node.refusal(claim)
    node.is_well()


@check("a message of 5 MB is RESOURCE_EXHAUSTED, also when zipped, and the next call works")
def _(node):
    content = request(PREPARE, [Claim("x" * 5000000)]).SerializeToString()
    for method in METHODS:
        with fails(Code.RESOURCE_EXHAUSTED):
            node.send(method, content)
        node.is_well()
    with fails(Code.RESOURCE_EXHAUSTED):
        node.send(METHODS[2], content, compression=grpc.Compression.Gzip)
    node.is_well()


@check("a stream instead of a message harms nobody")
def _(node):
    empty_stream = node.channel().stream_unary(METHODS[2])
    with fails(Code.INVALID_ARGUMENT, Code.INTERNAL):
        empty_stream(iter(()), timeout=5)
    claim = node.make_claim()
    content = request(PREPARE, [claim]).SerializeToString()
    with contextlib.suppress(grpc.RpcError), within(2):
        empty_stream(iter([content] * 3), timeout=5)
    node.is_well()


# ---- time, room and cancellation ----

@check("a claim without room whose caller has one second is refused in time, and nothing is held")
def _(node):
    holders = node.fill()
    late = node.make_claim()
    with within(1):
        error = node.refusal(late, timeout=1)
    assert f"no TD is free: {CAPACITY} of {CAPACITY} held. " in error, error
    assert "that hold them: default/claim-" in error, error
    assert node.held() == {claim.uid for claim in holders}
    node.unprepare(holders[0])
    node.check_free(10)


@check("of two that wait for one claim each has its own patience")
def _(node):
    holders = node.fill()
    late = node.make_claim()
    with node.says("claim waits for a TD"):
        patient = node.begin(PREPARE, [late], timeout=30)
    with within(1):
        error = node.refusal(late, timeout=1, version=V1BETA1)
    assert "no TD is free" in error, error
    assert not patient.done(), "the one who has time goes on waiting"
    patient.cancel()
    node.is_well()
    node.unprepare(holders[0])
    assert node.held() == {claim.uid for claim in holders[1:]}
    node.check_free(10)


@check("a deadline that passes while the API server thinks leaves nothing held")
def _(node):
    claim = node.make_claim()
    path = f"/apis/resource.k8s.io/v1/namespaces/default/resourceclaims/{claim.name}"
    node.tell_api("slow", 3000, "GET", path)
    with node.says(f"{path} -> 200", "api"), within(2.5), fails(Code.DEADLINE_EXCEEDED):
        node.ask(PREPARE, [claim], timeout=0.5)
    node.is_well()
    assert not node.held()
    node.check_free(CAPACITY)


@check("a client that cancels while its claim waits makes way for the next")
def _(node):
    holders = node.fill()
    first, second = node.make_claims(2)
    with node.says("claim waits for a TD"):
        cancelled = node.begin(PREPARE, [first], timeout=30)
    with node.says("claim waits for a TD"):
        served = node.begin(PREPARE, [second], timeout=30)
    cancelled.cancel()
    node.is_well()
    node.unprepare(holders[0])
    assert not read(PREPARE, served.result(5))[second.uid].error
    assert node.held() == {claim.uid for claim in (*holders[1:], second)}
    node.check_free(9)


@check("calls that are cancelled at any moment lose no TD")
def _(node):
    chance = random.Random(3)
    claims = node.make_claims(8)
    for _ in range(60):
        call = node.begin(PREPARE, chance.sample(claims, 4), chance.choice(VERSIONS),
                          channel=node.channel(key=chance.randrange(4)))
        time.sleep(chance.random() / 100)
        call.cancel()
    node.unprepare(*claims)
    assert not node.held()
    node.check_free(CAPACITY)


@check("a connection that is cut while its claim waits leaves nothing held")
def _(node):
    holders = node.fill()
    late = node.make_claim()
    with node.says("claim waits for a TD"):
        call = node.begin(PREPARE, [late], timeout=30, channel=node.channel(key="cut"))
    node.channels.pop((node.service, "cut")).close()
    with contextlib.suppress(grpc.RpcError, grpc.FutureCancelledError):
        call.result(5)
    node.is_well()
    node.unprepare(holders[0])
    node.check_free(10)


@check("64 calls at once over 8 connections for 16 claims agree, and hold 16 TDs")
def _(node):
    claims = node.make_claims(16)
    for name in (PREPARE, UNPREPARE):
        calls = [(claims[i % 16], version, node.begin(name, [claims[i % 16]], version,
                                                      channel=node.channel(key=i // 8)))
                 for i, version in zip(range(64), itertools.cycle(VERSIONS))]
        answers = {}
        for claim, version, call in calls:
            answer = read(name, call.result(10), version)
            assert set(answer) == {claim.uid} and not answer[claim.uid].error, answer
            answers.setdefault(claim.uid, set()).add(answer[claim.uid].SerializeToString())
        assert all(len(different) == 1 for different in answers.values()), answers
        assert node.held() == ({claim.uid for claim in claims} if name is PREPARE else set())
        if name is PREPARE:
            devices = [device for claim in claims for device in node.prepare(claim)[claim.uid]]
            assert len(set(devices)) == 16, devices
    node.check_free(CAPACITY)


# ---- HTTP/2 by hand ----

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY = 0, 1, 3, 4, 6, 7
END_STREAM, END_HEADERS, ACK = 1, 4, 1


class Raw:
    """One HTTP/2 connection. Header fields go out as plain literals (RFC 7541, 6.2.2)."""

    def __init__(self, node):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(5)
        self.socket.connect(str(node.service))
        self.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + self.frame(SETTINGS, 0, 0, b""))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, content):
        self.socket.sendall(content)

    @staticmethod
    def frame(kind, flags, stream, content):
        head = struct.pack(">I", len(content))[1:] + struct.pack(">BBI", kind, flags, stream)
        return head + content

    def headers(self, stream, flags=0, path=METHODS[2], **more):
        fields = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "localhost",
                  "te": "trailers", "content-type": "application/grpc",
                  **{name.replace("_", "-"): value for name, value in more.items()}}
        return self.frame(HEADERS, END_HEADERS | flags, stream, b"".join(
            b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
            for name, value in fields.items()))

    def message(self, stream, content, flags=0, n=None, is_zipped=0):
        """n: how long the message says it is."""
        prefix = struct.pack(">BI", is_zipped, len(content) if n is None else n)
        return self.frame(DATA, flags, stream, prefix + content)

    def receive(self, n):
        content = b""
        while len(content) < n:
            piece = self.socket.recv(n - len(content))
            if not piece:
                raise EOFError
            content += piece
        return content

    def status(self, stream):
        """How that stream ends: its grpc-status, or "reset"."""
        while True:
            head = self.receive(9)
            kind, flags, number = struct.unpack(">BBI", head[3:])
            content = self.receive(int.from_bytes(head[:3], "big"))
            if kind in (SETTINGS, PING) and not flags & ACK:
                self.send(self.frame(kind, ACK, 0, content if kind == PING else b""))
            assert kind != GOAWAY, f"GOAWAY {content!r}"
            if number == stream and kind == RST_STREAM:
                return "reset"
            if number == stream and kind == HEADERS and flags & END_STREAM:
                _, found, rest = content.partition(b"grpc-status")
                assert found, content
                return int(rest[1:1 + rest[0]])

    def check_well(self, stream):
        self.send(self.headers(stream) + self.message(stream, b"", END_STREAM))
        status = self.status(stream)
        assert status == 0, status


@check("half a message is an error of that call only")
def _(node):
    with within(2), Raw(node) as raw:
        raw.send(raw.headers(1) + raw.message(1, b"half", END_STREAM, n=100))
        assert raw.status(1) not in (0, "reset")
    with Raw(node) as raw:
        raw.check_well(1)


@check("half a length, no message at all and bad compression are errors of those calls only")
def _(node):
    for broken in (lambda raw: raw.headers(1) + raw.frame(DATA, END_STREAM, 1, b"\0\0"),
                   lambda raw: raw.headers(1, END_STREAM),
                   lambda raw: raw.headers(1) + raw.frame(DATA, END_STREAM, 1, b""),
                   lambda raw: raw.headers(1) + raw.message(1, b"x", END_STREAM, is_zipped=1),
                   lambda raw: raw.headers(1, grpc_encoding="gzip") +
                   raw.message(1, b"xyz", END_STREAM, is_zipped=1),
                   lambda raw: raw.headers(1, grpc_encoding="zip") +
                   raw.message(1, b"xyz", END_STREAM, is_zipped=1)):
        with within(2), Raw(node) as raw:
            raw.send(broken(raw))
            assert raw.status(1) != 0
        node.is_well()


@check("a message behind a flag of no meaning prepares nothing")
def _(node):
    # gRPC takes it for an empty one, and tells nobody.
    content = request(PREPARE, [node.make_claim()]).SerializeToString()
    for flag in (2, 9, 255):
        with within(2), Raw(node) as raw:
            raw.send(raw.headers(1) + raw.message(1, content, END_STREAM, is_zipped=flag))
            raw.status(1)
    assert not node.held()


@check("a message that says it is 4 GB long and never comes ends with its deadline")
def _(node):
    with within(2), Raw(node) as raw:
        raw.send(raw.headers(1, grpc_timeout="300m") + raw.message(1, b"x", n=0xffffffff))
        assert raw.status(1) in (Code.DEADLINE_EXCEEDED.value[0], "reset")
    node.is_well()


@check("half a message and then a cut connection, a hundred times, harms nobody")
def _(node):
    for i in range(100):
        with Raw(node) as raw:
            raw.send(raw.headers(1) + raw.message(1, b"half", n=100)[:i])
    node.is_well()


@check("a thousand calls that are taken back at once leave their connection well")
def _(node):
    cancel = struct.pack(">I", 8)
    with Raw(node) as raw:
        for first in range(1, 2001, 200):
            raw.send(b"".join(raw.headers(stream) + raw.message(stream, b"half", n=100) +
                              raw.frame(RST_STREAM, 0, stream, cancel)
                              for stream in range(first, first + 200, 2)))
        raw.check_well(2001)


# ---- the end ----

@check("every error text is UTF-8 of at most 400 bytes, however long the names in it")
def _(node):
    name, namespace = ".".join(["n" * 62] * 4), "s" * 63
    holders = [node.make_claim(",".join(f"tdx{j}" for j in range(8)), name=f"{i}{name}",
                               namespace=namespace) for i in range(5)]
    node.prepare(*holders)
    assert len(node.refusal(node.make_claim(), timeout=1).encode()) > ERROR_MAX - 10
    node.refusal(Claim(name, namespace))
    node.refusal(Claim(UTF8 * 99))
    result = {"driver": "tdx.kubevirt.io", "pool": UTF8 * 99, "device": UTF8 * 99, "request": "r"}
    (node.path / "claim.json").write_text(json.dumps({
        "apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaim",
        "metadata": {"name": "raw", "namespace": "default", "uid": "1"},
        "status": {"allocation": {"devices": {"results": [result]}}}}, ensure_ascii=False))
    node.tell_api("claim-json", "default/raw", node.path / "claim.json")
    assert "of pool" in node.refusal(Claim("raw", uid="1"))
    assert len(ERROR_TEXTS) > 100
    for text in ERROR_TEXTS:
        assert text and len(text.encode()) <= ERROR_MAX, text


@check("SIGTERM: whoever waits is answered, half a call does not hold it up, and the status is 0")
def _(node):
    node.fill()
    late = node.make_claim()
    idle = node.channel(key="idle")
    node.is_well(idle)
    with Raw(node) as raw:
        raw.send(raw.headers(1) + raw.message(1, b"half", n=100))
        with node.says("claim waits for a TD"):
            call = node.begin(PREPARE, [late], timeout=30)
        node.records = node.held()
        with within(10):
            status = node.stop_driver()
    assert status == 0, f"status {status}: {node.log()[-2000:]}"
    assert "stopping" in read(PREPARE, call.result(5))[late.uid].error


@check("no socket is left, and every claim's record is")
def _(node):
    left = [path for path in node.kubelet.rglob("*") if stat.S_ISSOCK(path.lstat().st_mode)
            and path.parent.name != "pod-resources"]
    assert not left, left
    assert len(node.held()) == 4 and node.held() == node.records


@check("no sanitizer had anything to say")
def _(node):
    for sign in ("Sanitizer", "runtime error:", "Assertion", "assertion"):
        assert sign not in node.log(), node.log()[node.log().index(sign) - 100:][:2000]


def run(node, function):
    """Why it failed, or ""."""
    try:
        function(node)
        driver = node.processes["driver"]
        if driver.poll() is None:
            node.tell_api("ok")
        assert driver.poll() in (None, 0), f"the driver ended: {node.log()[-2000:]}"
    except Exception as error:  # whatever it is, the other checks go on
        at = error.__traceback__
        while at.tb_next and at.tb_next.tb_frame.f_code.co_filename == __file__:
            at = at.tb_next
        return f"line {at.tb_lineno}: {type(error).__name__}: {error}"
    finally:
        if node.processes["driver"].poll() is None:
            with contextlib.suppress(grpc.RpcError, AssertionError):
                node.release_all()
    return ""


def main():
    logging.disable()  # gRPC's, of texts it could not decode
    n_failed = 0
    node = Node()
    try:
        node.start_all()
        for number, (sentence, function) in enumerate(CHECKS, 1):
            start = time.monotonic()
            reason = run(node, function)
            n_failed += bool(reason)
            print(f"{'not ok' if reason else 'ok'} {number} {sentence}", flush=True)
            for line in reason.splitlines():
                print(f"# {line}")
            if os.environ.get("V"):
                print(f"# {time.monotonic() - start:.2f} s")
        print(f"1..{len(CHECKS)}")
    finally:
        node.clean_up()
    return 1 if n_failed else 0


sys.exit(main())
