# SPDX-License-Identifier: Apache-2.0
"""What versions of Intel's QGS do with a connection. Measured on its own server code between
stand-ins for SGX (1.23, 1.25), and on 1.25 with the changes of 1.26 put in.

The difference that counts: up to 1.25 a connection whose client has closed it, or which has sent
something odd, is held until the 30 s timer, whose handler then uses it after it was freed.
"""

import asyncio
import dataclasses
import os
import resource
import signal

import qgs_wire as wire

SILENCE = object()


class ClosedEarly(Exception):
    """The client went before a whole request was read."""


class Incomplete(Exception):
    """The request did not come in one piece, and this version does not read on."""


async def silence():
    """Until the timer ends the connection."""
    await asyncio.Event().wait()


def crash():
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGSEGV, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGSEGV)


async def receive(connection, n):
    """n bytes. A reset is an end, too: unread bytes of ours make it one."""
    received = b""
    while len(received) < n:
        piece = await receive_some(connection, n - len(received))
        received += piece
    return received


async def receive_some(connection, n):
    try:
        piece = await asyncio.get_running_loop().sock_recv(connection, n)
    except ConnectionError:
        piece = b""
    if not piece:
        raise ClosedEarly
    return piece


async def read_old(connection):
    """The length, then what one more read gives: QGS does not understand a client that writes in pieces."""
    head = await receive(connection, wire.LENGTH.size)
    length, = wire.LENGTH.unpack(head)
    if length == 0:
        raise Incomplete
    rest = await receive_some(connection, wire.MAX_MESSAGE)
    if length <= wire.MAX_MESSAGE and len(rest) < length:
        raise Incomplete
    if length > wire.MAX_MESSAGE and len(head + rest) == wire.REPORT_SIZE:
        return Raw(head + rest)
    return Framed(rest, is_whole=len(rest) == length)


async def read_new(connection):
    """Exactly as many bytes as the length says, however they come."""
    length, = wire.LENGTH.unpack(await receive(connection, wire.LENGTH.size))
    if length > wire.MAX_MESSAGE:
        return None
    if length == 0:
        raise Incomplete
    message = await receive(connection, length)
    try:
        more = connection.recv(1)
    except (BlockingIOError, ConnectionError):
        more = b""
    return Framed(message, is_whole=not more)


class Raw(bytes):
    """A TDREPORT without a header, as the first versions took it."""


class Framed(bytes):
    """A message, and whether it was all that came."""

    def __new__(cls, content, is_whole):
        self = super().__new__(cls, content)
        self.is_whole = is_whole
        return self


@dataclasses.dataclass(frozen=True)
class Version:
    name: str
    is_old: bool
    socket_mode: int
    directory_mode: int          # where QGS makes it, which takes root
    removes_stale_socket: bool   # at its start; otherwise bind() fails, and so does QGS
    unlinks_at_end: bool

    @property
    def holds_early_closed(self):
        return self.is_old

    async def read(self, connection):
        """One request; None closes the connection."""
        return await (read_old if self.is_old else read_new)(connection)

    async def answer(self, message, qgs):
        """The reply's bytes, b"" for a close without one, or SILENCE. qgs has what fails now."""
        if isinstance(message, Raw):
            return self._quote(bytes(message), qgs, frame=lambda quote: quote)
        odd = SILENCE if self.is_old else b""
        if not message.is_whole:
            return wire.quote_response(b"", wire.UNEXPECTED)
        if len(message) < wire.HEADER.size:
            return SILENCE
        major, _, kind, size, error = wire.HEADER.unpack_from(message)
        if kind == wire.GET_QUOTE:
            if major != 1 or size != len(message):
                return odd
            return self._answer_quote(message, error, qgs)
        if major != 1 or size != len(message):
            return SILENCE
        if kind == wire.GET_PLATFORM_INFO:
            return self._answer_platform_info(error, qgs)
        if kind == wire.GET_COLLATERAL:
            return wire.collateral_response(wire.UNEXPECTED)
        if kind in (wire.QUOTE, wire.PLATFORM_INFO):
            return b""
        return SILENCE

    def _answer_quote(self, message, error, qgs):
        body = message[wire.HEADER.size:]
        report_size, id_size = (wire.SIZES.unpack_from(body) if len(body) >= wire.SIZES.size
                                else (0, 0))
        if error or report_size != wire.REPORT_SIZE or len(body) != wire.SIZES.size + report_size + id_size:
            return wire.quote_response(b"", wire.UNEXPECTED)
        return self._quote(body[wire.SIZES.size:][:report_size], qgs, frame=wire.quote_response)

    def _quote(self, report, qgs, frame):
        qgs.counters.quotes += 1
        for failure in (qgs.failure, qgs.quote_failure):
            if failure is not None:
                return failed(failure, lambda code: wire.quote_response(b"", code))
        return frame(b"FAKE QUOTE " + report)

    def _answer_platform_info(self, error, qgs):
        qgs.counters.platform_info += 1
        if qgs.failure is not None:
            return failed(qgs.failure, wire.platform_info_error)
        if error:
            return wire.platform_info_error(wire.UNEXPECTED)
        return wire.platform_info_response(bytes(range(16)), bytes(range(16, 32)))


def failed(failure, reply):
    if failure == "silent":
        return SILENCE
    return failure if failure == b"" else reply(failure)


VERSIONS = {version.name: version for version in (
    Version("1.23", True, 0o755, 0o755, removes_stale_socket=False, unlinks_at_end=False),
    Version("1.25", True, 0o755, 0o700, removes_stale_socket=False, unlinks_at_end=True),
    Version("1.26", False, 0o660, 0o755, removes_stale_socket=True, unlinks_at_end=True))}
