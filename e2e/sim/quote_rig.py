# SPDX-License-Identifier: Apache-2.0
"""A QGS and the quote relay before it, in a directory of their own, for the programs that put load
on them (e2e/soak, e2e/hostile). Asynchronous, as the VMs are.
"""

import asyncio
import contextlib
import json
import os
import pathlib
import shutil
import signal
import tempfile
import time

SIM = pathlib.Path(__file__).resolve().parent
START_UP = 60.0  # a loaded machine's
SOCKET = "/run/tdx-qgs/qgs.socket"


class Failed(Exception):
    """Something that should work did not."""


async def ctl(path, *words):
    """A command to a simulator (control.py): its answer."""
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b"".join(word.encode() + b"\0" for word in (str(len(words)), *words)))
    answer = await reader.read()
    writer.close()
    text, _, status = answer.decode().rpartition("\0")
    if status != "0":
        raise Failed(f"{words}: {text or 'the simulator went away'}")
    return text.strip()


async def until(condition, what, patience=START_UP):
    """condition is a plain function, or a coroutine function."""
    deadline = time.monotonic() + patience
    while True:
        with contextlib.suppress(OSError, Failed):
            answer = condition()
            if asyncio.iscoroutine(answer):
                answer = await answer
            if answer:
                return answer
        if time.monotonic() > deadline:
            raise Failed(f"{what}: not within {patience:.0f} s")
        await asyncio.sleep(0.02)


class Process:
    def __init__(self, rig, name, *command):
        self.name = name
        self.log = rig.path / f"{name}.log"
        self._command = command

    async def start(self):
        with open(self.log, "wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *map(str, self._command), stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log)
        return self

    @property
    def pid(self):
        return self._process.pid

    @property
    def is_alive(self):
        return self._process.returncode is None

    def signal(self, number):
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def wait(self, patience=START_UP):
        """Its exit status, negative for a signal."""
        try:
            return await asyncio.wait_for(self._process.wait(), patience)
        except TimeoutError:
            raise Failed(f"{self.name} did not end within {patience:.0f} s") from None

    def children(self):
        listed = pathlib.Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return [int(pid) for pid in listed.split()]


def private_kib(pid):
    """Memory that is this process's alone."""
    lines = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))


class Rig:
    """Use it with `async with`. Everything ends with it."""

    def __init__(self, relay, n_tds, threads=4, qgs_version="1.26", qgs_flags=()):
        self._binary = relay
        self._n_tds = n_tds
        self._threads = threads
        self._qgs = ("--version", qgs_version, "--threads", threads, *qgs_flags)
        self._processes = []
        self._n_relays = 0
        self.relay = None

    async def __aenter__(self):
        # Short, because unix socket paths are.
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="relay.", dir="/tmp"))
        self.path.chmod(0o711)
        (self.path / "host/run/tdx-qgs").mkdir(parents=True)
        self.directory = self.path / "d"
        try:
            qgs = Process(self, "qgs", SIM / "qgs-sim", "--socket", f"{self.path}/host{SOCKET}", "--control",
                          self.path / "qgs.ctl", *self._qgs)
            self._processes.append(await qgs.start())
            await until(lambda: self.qgs("requests"), "QGS's stand-in")
            await self.start_relay()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_):
        for process in self._processes:
            if process.is_alive:
                process.signal(signal.SIGKILL)
                await process.wait()
        shutil.rmtree(self.path, ignore_errors=True)

    async def qgs(self, *words):
        return await ctl(self.path / "qgs.ctl", *words)

    async def counts(self):
        """What QGS saw: {"closed-early": 0, ...}"""
        return {key: int(value) for key, value in (word.split("=") for word in (await self.qgs("counts")).split())}

    async def start_relay(self):
        """The first one, or a successor. The predecessor is the caller's to end."""
        self._n_relays += 1
        relay = Process(self, f"relay{self._n_relays}", self._binary, "run", "--relay-dir", self.directory,
                        "--host-root", self.path / "host", "--qgs-threads", self._threads)
        self._processes.append(await relay.start())
        await until(lambda: self._serves(relay), f"a relay that serves (see its log): {relay.name}")
        self.relay = relay
        return relay

    async def _serves(self, relay):
        if not relay.is_alive:
            raise Failed(f"{relay.name} ended: {relay.log.read_text()[-2000:]}")
        return "serving VMs" in relay.log.read_text() and await self.configure()

    async def configure(self):
        """As the driver does."""
        wanted = {"devices": self._n_tds, "qgsSocket": SOCKET, "vmName": "qgs.socket"}
        answer = await self.control({"configure": wanted}, ("configured", "refused"))
        if "refused" in answer:
            raise Failed(f"the relay refuses: {answer}")
        return True

    async def control(self, request, keys):
        """Say something to the relay; the first line that has one of the keys."""
        reader, writer = await asyncio.open_unix_connection(self.directory / "relay.sock", limit=1 << 20)
        try:
            if request:
                writer.write(json.dumps(request).encode() + b"\n")
            async with asyncio.timeout(START_UP):
                while line := await reader.readline():
                    answer = json.loads(line)
                    if set(keys) & set(answer):
                        return answer
            raise Failed("the relay closed its control connection")
        except TimeoutError:
            raise Failed(f"the relay says nothing of {keys}") from None
        finally:
            writer.close()

    def socket_of(self, td, path="claim"):
        return str(self.directory / "qgs" / f"{path}-tdx{td}" / "qgs.socket")

    def worker(self):
        """Its pid; None: it is just being replaced."""
        children = self.relay.children()
        return children[0] if children else None

    def logs(self):
        for process in self._processes:
            yield process.name, process.log.read_text(errors="replace")

    async def ends(self, process):
        """An orderly stop; sanitizers report at exit."""
        process.signal(signal.SIGTERM)
        status = await process.wait()
        if status:
            raise Failed(f"{process.name} ended with status {status}: {process.log.read_text()[-2000:]}")


def findings(rig):
    """What sanitizers and assertions left in the logs."""
    words = ("Sanitizer", "runtime error:", "ssertion", "bad system call")
    return [f"{name}: {line}" for name, log in rig.logs() for line in log.splitlines() if any(word in line for word in words)]


def run(main):
    """main() returns what went wrong, a line each."""
    os.umask(0o022)
    try:
        wrong = asyncio.run(main())
    except Failed as failure:
        wrong = [str(failure)]
    for line in wrong:
        print(f"wrong: {line}")
    return 1 if wrong else 0
