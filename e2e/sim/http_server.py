# SPDX-License-Identifier: Apache-2.0
"""As much of an HTTP/1.1 server as a client of the Kubernetes API meets: keep-alive, bodies with a
Content-Length, chunked streams. And what a client should survive: a connection that ends instead
of an answer, or in the middle of one.
"""

import asyncio
import contextlib
import http
import socket
import urllib.parse

MAX_HEAD = 1 << 16
MAX_BODY = 3 << 20
REASONS = {status.value: status.phrase for status in http.HTTPStatus}


class Hangup(Exception):
    """Close the connection without a (further) answer."""


class Request:
    def __init__(self, method, target, headers, has_certificate):
        self.method = method
        self.path, _, query = target.partition("?")
        self.query = dict(urllib.parse.parse_qsl(query, keep_blank_values=True)) if query else {}
        self.headers = headers
        self.has_certificate = has_certificate
        self.body = b""


class Response:
    """A body, or a stream: an async iterator of bytes."""

    def __init__(self, status, body=b"", content_type="application/json", headers=(), stream=None):
        self.status = status
        self.body = body
        self.content_type = content_type
        self.headers = headers
        self.stream = stream
        self.is_truncated = False

    def head(self):
        length = ("Transfer-Encoding: chunked" if self.stream
                  else f"Content-Length: {len(self.body)}")
        extra = "".join(f"{name}: {value}\r\n" for name, value in self.headers)
        return (f"HTTP/1.1 {self.status} {REASONS.get(self.status, '')}\r\n"
                f"Content-Type: {self.content_type}\r\n{extra}{length}\r\n\r\n").encode()


class HTTPServer:
    """handle(request) is a coroutine function that returns a Response or raises Hangup."""

    def __init__(self, handle, port=0, ssl=None):
        self.handle = handle
        self.port = port
        self.ssl = ssl
        self.connections = set()
        self._server = None

    async def listen(self):
        self._server = await asyncio.start_server(
            self._on_connection, "127.0.0.1", self.port, ssl=self.ssl, limit=MAX_HEAD, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]

    @property
    def is_listening(self):
        return self._server is not None

    def refuse(self):
        """Be gone: connections end and new ones are refused."""
        if self._server:
            self._server.close()
            self._server = None
        for writer in self.connections:
            writer.transport.abort()

    async def _on_connection(self, reader, writer):
        self.connections.add(writer)
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            while request := await self._read(reader, writer):
                await self._answer(request, reader, writer)
        except (Hangup, ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        except ValueError as error:
            refusal = Response(400, str(error).encode(), "text/plain")
            writer.write(refusal.head() + refusal.body)
        finally:
            self.connections.discard(writer)
            writer.close()

    async def _read(self, reader, writer):
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return None
        first, *lines = head[:-4].decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()

        request = Request(method, target, headers, bool(writer.get_extra_info("peercert")))
        length = int(headers.get("content-length", 0))
        if "transfer-encoding" in headers or length > MAX_BODY:
            status = 413 if length > MAX_BODY else 411
            writer.write(Response(status, headers=[("Connection", "close")]).head())
            raise Hangup
        if headers.get("expect") == "100-continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if length:
            request.body = await reader.readexactly(length)
        return request

    async def _answer(self, request, reader, writer):
        response = await self.handle(request)
        if response.is_truncated:
            writer.write(response.head() + response.body[:len(response.body) // 2])
            await writer.drain()
            raise Hangup
        writer.write(response.head() + response.body)
        if response.stream:
            await self._stream(response.stream, reader, writer)
        await writer.drain()
        if request.headers.get("connection", "").lower() == "close":
            raise Hangup

    async def _stream(self, stream, reader, writer):
        """Send chunks until the stream ends or the client does: it has nothing more to say, so
        whatever arrives from it is its end."""
        async def send():
            async with contextlib.aclosing(stream):
                async for piece in stream:
                    writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                    await writer.drain()
            writer.write(b"0\r\n\r\n")

        sending = asyncio.ensure_future(send())
        ended = asyncio.ensure_future(reader.read(1))
        await asyncio.wait({sending, ended}, return_when=asyncio.FIRST_COMPLETED)
        for task in (sending, ended):
            task.cancel()
        outcome, _ = await asyncio.gather(sending, ended, return_exceptions=True)
        if isinstance(outcome, asyncio.CancelledError):
            raise Hangup
        if outcome:
            raise outcome
