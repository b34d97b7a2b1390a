# SPDX-License-Identifier: Apache-2.0
"""kubelet's plugin manager (pkg/kubelet/pluginmanager): finds sockets in plugins_registry/, asks
what listens there for its name and hands it to the handler of its type.
"""

import asyncio
import os
import stat
import urllib.parse

import grpc

import kubelet_api as api
from control import Refused, command, say

POLL = 0.05
DIAL_TIMEOUT, INFO_TIMEOUT, NOTIFY_TIMEOUT = 10, 1, 5
FIRST_RETRY, LAST_RETRY = 0.5, 120


def describe(error):
    """A grpc.RpcError as grpc-go words it, and so as it ends up in a pod's events."""
    code = error.code().name.title().replace("_", "")
    return f"rpc error: code = {code} desc = {error.details()}"


def connect(path, authority):
    """Subchannels are not shared: a kubelet that restarts remembers no back-off."""
    return grpc.aio.insecure_channel(f"unix:{path}", options=[
        ("grpc.default_authority", authority),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.enable_retries", 0),
    ])


def dial_registration(path):
    """kubelet dials this socket by its path, which thus becomes the authority, escaped."""
    return connect(path, urllib.parse.quote(path, safe=""))


async def get_info(channel):
    call = channel.unary_unary(api.GET_INFO, api.registration.InfoRequest.SerializeToString,
                               api.registration.PluginInfo.FromString)
    return await call(api.registration.InfoRequest(), timeout=INFO_TIMEOUT)


async def tell_status(channel, is_registered, reason=""):
    call = channel.unary_unary(api.NOTIFY, api.registration.RegistrationStatus.SerializeToString,
                               api.registration.RegistrationStatusResponse.FromString)
    await call(api.registration.RegistrationStatus(plugin_registered=is_registered, error=reason),
               timeout=NOTIFY_TIMEOUT)


class Registry:
    """handlers: by plugin type, something with
        validate(info)            why this plugin is not acceptable, or ""
        register(path, info)      the same; path is that of the registration socket
        async deregister(path)    the socket is gone; unknown ones are fine

    registers_once: as up to 1.35, what failed once is not tried again.
    """

    def __init__(self, directory, handlers, registers_once=False):
        self.directory = directory
        self.registers_once = registers_once
        self.handlers = handlers
        self._seen = {}
        self._registrations = {}
        self._poll = None

    def start(self):
        os.makedirs(self.directory, mode=0o755, exist_ok=True)
        self._poll = asyncio.ensure_future(self._run())

    async def stop(self):
        if self._poll:
            self._poll.cancel()
            self._poll = None
        for path in list(self._seen):
            await self._forget(path)

    def _sockets(self):
        """Path to identity. Not the inode alone: a file system may give a new file the old one's
        number, and not ctime, which a chmod moves."""
        found = {}
        for directory, subdirectories, files in os.walk(self.directory):
            subdirectories[:] = [name for name in subdirectories if not name.startswith(".")]
            for name in files:
                path = os.path.join(directory, name)
                try:
                    status = os.lstat(path)
                except FileNotFoundError:
                    continue
                if stat.S_ISSOCK(status.st_mode) and not name.startswith("."):
                    found[path] = status.st_ino, status.st_mtime_ns
        return found

    async def _run(self):
        while True:
            found = self._sockets()
            for path, identity in list(self._seen.items()):
                if found.get(path) != identity:
                    say(f"registry: {path} is {'a new one' if path in found else 'gone'}")
                    await self._forget(path)
            for path, identity in found.items():
                if path not in self._seen:
                    self._seen[path] = identity
                    self._registrations[path] = asyncio.ensure_future(self._register(path))
            await asyncio.sleep(POLL)

    async def _forget(self, path):
        del self._seen[path]
        self._registrations.pop(path).cancel()
        for handler in self.handlers.values():
            await handler.deregister(path)

    async def _register(self, path):
        delay = FIRST_RETRY
        while True:
            try:
                if await self._try_to_register(path):
                    return
            except grpc.RpcError as error:
                say(f"registry: {path}: {describe(error)}")
            except TimeoutError:
                say(f"registry: {path}: nobody answers the dial")
            if self.registers_once:
                return
            await asyncio.sleep(delay)
            delay = min(2 * delay, LAST_RETRY)

    async def _try_to_register(self, path):
        async with dial_registration(path) as channel:
            await asyncio.wait_for(channel.channel_ready(), DIAL_TIMEOUT)
            info = await get_info(channel)
            handler = self.handlers.get(info.type)
            reason = handler.validate(info) if handler else f"no handler for type {info.type!r}"
            reason = reason and f"plugin validation failed with err: {reason}"
            if not reason and (reason := handler.register(path, info)):
                reason = f"plugin registration failed with err: {reason}"
            if reason:
                say(f"registry: {path}: {reason}")
                await tell_status(channel, False, f"RegisterPlugin error -- {reason}")
                return False
            try:
                await tell_status(channel, True)
            except grpc.RpcError:
                await handler.deregister(path)
                raise
            return True

    def _pick(self, socket):
        """The registration socket meant by a command: the one there is, or the one named."""
        paths = [path for path in self._seen if socket in ("", path, os.path.basename(path))]
        if len(paths) != 1:
            raise Refused(f"{len(paths)} registration sockets match, say --socket NAME")
        return paths[0]

    @command
    async def getinfo(self, *, socket=""):
        """Ask a registration socket what is behind it."""
        async with dial_registration(self._pick(socket)) as channel:
            try:
                info = await get_info(channel)
            except grpc.RpcError as error:
                raise Refused(describe(error)) from error
        return (f"type {info.type}\nname {info.name}\nendpoint {info.endpoint}\n"
                f"versions {' '.join(info.supported_versions)}")

    @command
    async def notify(self, status, reason="", *, socket=""):
        """Tell the plugin it is registered (true) or not (false, REASON)."""
        async with dial_registration(self._pick(socket)) as channel:
            try:
                await tell_status(channel, status == "true", reason)
            except grpc.RpcError as error:
                raise Refused(describe(error)) from error
