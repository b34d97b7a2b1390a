#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Each version of QGS behind the relay, with all that a VM may send and that QGS may do. TAP: a line is
a cell of the table. Whatever a VM sends, QGS gets whole requests for quotes alone.
"""

import asyncio
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2e/sim"))

import quote_rig
import vms
import qgs_wire as wire

ROOT = pathlib.Path(__file__).resolve().parent.parent
RELAY = pathlib.Path(os.environ.get("BUILD", ROOT / "build/plain-gcc")) / "tdx-quote-relay"
VERSIONS = ("1.23", "1.25", "1.26")
PATIENCE = 60.0
REPORT = vms.marked_report(b"table")
REQUEST = wire.quote_request(REPORT)

n_tests = n_failed = 0


def told(name, ok, detail):
    global n_tests, n_failed
    n_tests += 1
    n_failed += not ok
    print(f"{'ok' if ok else 'not ok'} {n_tests} - {name}")
    if not ok:
        print(f"# {detail}")


def error(code):
    return wire.quote_response(b"", code)


def request(**header):
    return wire.quote_request(REPORT, **header)


def sized(size):
    """A whole request whose message claims another size than it has."""
    return REQUEST[:12] + size.to_bytes(4, "little") + REQUEST[16:]


QUOTE = wire.quote_response(vms.FAKE + REPORT)
MALFORMED, TYPE, VERSION, CODE = (error(code) for code in (wire.BAD_SIZE, 0x12005, 0x12004, wire.BAD_CODE))

# What a VM sends, in its writes, and all that it gets before the connection ends or is quiet.
SENT = (
    ("a quote", (REQUEST,), QUOTE),
    ("minor version 0", (request(minor=0),), QUOTE),
    ("minor version 2", (request(minor=2),), QUOTE),
    ("split after 4 bytes", (REQUEST[:4], REQUEST[4:]), QUOTE),
    ("split after 20 bytes", (REQUEST[:20], REQUEST[20:]), QUOTE),
    ("split after 600 bytes", (REQUEST[:600], REQUEST[600:]), QUOTE),
    ("two in one write", (REQUEST + REQUEST,), QUOTE + QUOTE),
    ("major version 0", (request(major=0),), VERSION),
    ("major version 2", (request(major=2),), VERSION),
    ("a wrong size in the header", (sized(1047),), MALFORMED),
    ("an error code in the request", (request(error=1),), CODE),
    ("no report", (wire.quote_request(b""),), MALFORMED),
    ("a report of 512 bytes", (wire.quote_request(bytes(512)),), MALFORMED),
    ("a report of 1000 bytes", (wire.quote_request(bytes(1000)),), MALFORMED),
    ("a list of IDs", (wire.frame(wire.GET_QUOTE, wire.SIZES.pack(1024, 16) + bytes(1040)),), MALFORMED),
    ("platform info", (wire.platform_info_request(),), TYPE),
    ("platform info with an error code", (wire.platform_info_request(error=1),), TYPE),
    ("collateral", (wire.frame(wire.GET_COLLATERAL, bytes(8)),), TYPE),
    ("type 1", (wire.frame(wire.QUOTE, bytes(8)),), TYPE),
    ("type 5", (wire.frame(wire.PLATFORM_INFO, bytes(8)),), TYPE),
    ("type 6", (wire.frame(6, bytes(8)),), TYPE),
    ("length 0", (bytes(4),), MALFORMED),
    ("a length of 4 GiB", (b"\xff" * 4,), MALFORMED),
    ("a raw TDREPORT", (b"\x81" + bytes(1023),), MALFORMED),
    ("nothing", (), b""),
    ("half a quote", (REQUEST[:500],), b""),
)

# What QGS does before the VM asks and, while it waits, after that; the VM gets its quote.
DONE = (
    ("QGS restarted", ("restart",), ()),
    ("QGS's directory recreated", ("recreate-dir",), ()),
    ("QGS dead, its socket left, then started", ("stale",), ("ok",)),
    ("QGS and its directory gone, then back", ("gone",), ("ok",)),
    ("QGS restarted with the request", ("slow 300ms",), ("restart",)),
    ("QGS closing without a reply, then well", ("eof",), ("ok",)),
)


async def send_all(path, writes, n_wanted):
    """All that comes until n_wanted bytes are there and, for the odd, until the end."""
    loop = asyncio.get_running_loop()
    with vms.connect(path) as connection:
        async with asyncio.timeout(PATIENCE):
            for piece in writes:
                await loop.sock_sendall(connection, piece)
                await asyncio.sleep(0.02)  # another segment, whatever the machine's load
            got = b""
            while len(got) < n_wanted:
                piece = await loop.sock_recv(connection, 1 << 16)
                if not piece:
                    break
                got += piece
            if got[-len(QUOTE):] != QUOTE and n_wanted:
                got += await loop.sock_recv(connection, 1 << 16)  # its end
    return got


async def check_sent(rig, version):
    for name, writes, expected in SENT:
        try:
            got = await send_all(rig.socket_of(0), writes, len(expected))
        except (OSError, TimeoutError) as failure:
            got = repr(failure).encode()
        told(f"{version}: {name}", got == expected, f"{len(got)} bytes: {got[:60]!r}")


async def check_done(rig, version):
    for name, before, after in DONE:
        for words in before:
            await rig.qgs(*words.split())
        asked = asyncio.create_task(vms.quote(rig.socket_of(0), REPORT))
        await asyncio.sleep(0.1)
        for words in after:
            await rig.qgs(*words.split())
        answer = await asked
        await rig.qgs("ok")
        await rig.qgs("slow", "0ms")
        told(f"{version}: {name}", answer.kind == "quote", answer)


async def check(version):
    async with quote_rig.Rig(RELAY, 1, qgs_version=version) as rig:
        await check_sent(rig, version)
        counts = await rig.counts()
        n_quotes = sum(expected.count(QUOTE) for _, _, expected in SENT)
        told(f"{version}: QGS got the quote requests and nothing else", counts["quotes"] == n_quotes
             and counts["connections"] == n_quotes + counts["platform-info"], counts)
        await check_done(rig, version)
        counts = await rig.counts()
        told(f"{version}: no connection to QGS was closed early", not (counts["closed-early"] or counts["abandoned"]), counts)
        found = quote_rig.findings(rig)
        told(f"{version}: the log has no finding", not found, found)


async def main():
    for version in VERSIONS:
        await check(version)
    print(f"1..{n_tests}")
    return 1 if n_failed else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
