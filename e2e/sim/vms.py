# SPDX-License-Identifier: Apache-2.0
"""Many TDX VMs at once, as an asyncio program has them. Each asks for a quote as QEMU does: it
connects, sends its request in one write, and reads one reply. `vm-sim` is a single one.
"""

import asyncio
import dataclasses
import os
import socket
import time

import qgs_wire as wire

PATIENCE = 30.0  # QEMU's, for the whole of it
FAKE = b"FAKE QUOTE "  # qgs-sim's, before the report


@dataclasses.dataclass
class Answer:
    """What a VM got. kind: "quote", "error" (code), "ended" (the connection, without a reply),
    "late" (nothing in time), or what must never be: "refused" (the connect), "crossed" (another's
    quote), "odd" (no reply of QGS, or more than one)."""

    kind: str
    started: float
    ended: float
    code: int = 0
    detail: str = ""

    @property
    def seconds(self):
        return self.ended - self.started


def marked_report(marker):
    """A TDREPORT whose report data begins with the marker; the rest is random."""
    report = bytearray(os.urandom(wire.REPORT_SIZE))
    report[128:128 + len(marker)] = marker
    return bytes(report)


def connect(path):
    """Non-blocking, like all that a VM does here: a full backlog would be an error."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        connection.connect(path)
    except OSError:
        connection.close()
        raise
    return connection


async def receive(connection, n):
    loop = asyncio.get_running_loop()
    received = b""
    while len(received) < n:
        piece = await loop.sock_recv(connection, 1 << 16)
        if not piece:
            break
        received += piece
    return received


def judge(message, report):
    """(kind, code, detail) of a whole reply."""
    length, = wire.LENGTH.unpack_from(message)
    major, minor, kind, size, error = wire.HEADER.unpack_from(message, wire.LENGTH.size)
    if (major, minor, kind, size) != (1, 1, wire.QUOTE, length) or len(message) != wire.LENGTH.size + length:
        return "odd", 0, f"version {major}.{minor}, type {kind}, size {size}, {len(message)} bytes"
    if error:
        return "error", error, ""
    quote = message[wire.LENGTH.size + wire.HEADER.size + wire.SIZES.size:]
    if quote != FAKE + report:
        return "crossed", 0, f"{len(quote)} bytes"
    return "quote", 0, ""


async def exchange(connection, report):
    """One request on a connection that is open: (kind, code, detail)."""
    loop = asyncio.get_running_loop()
    try:
        await loop.sock_sendall(connection, wire.quote_request(report))
        message = await receive(connection, wire.LENGTH.size)
        if len(message) >= wire.LENGTH.size:
            length, = wire.LENGTH.unpack_from(message)
            if not wire.HEADER.size + wire.SIZES.size <= length <= wire.MAX_MESSAGE:
                return "odd", 0, f"a length of {length}"
            missing = wire.LENGTH.size + length - len(message)
            if missing > 0:
                message += await receive(connection, missing)
            if len(message) >= wire.LENGTH.size + length:
                return judge(message, report)
        return "ended", 0, f"after {len(message)} bytes"
    except ConnectionError as error:
        return "ended", 0, error.strerror


async def quote(path, report, patience=PATIENCE):
    """Connect, ask, hang up: an Answer."""
    started = time.monotonic()
    try:
        connection = connect(path)
    except OSError as error:
        return Answer("refused", started, time.monotonic(), detail=error.strerror)
    with connection:
        try:
            async with asyncio.timeout(patience):
                kind, code, detail = await exchange(connection, report)
        except TimeoutError:
            kind, code, detail = "late", 0, ""
    return Answer(kind, started, time.monotonic(), code, detail)


def percentile(values, percent):
    """Of a list that is not empty."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]
