# SPDX-License-Identifier: Apache-2.0
"""What goes wrong between a client and its API server, on demand."""

import asyncio
import dataclasses
import math

from api_status import ApiError, REASONS
from control import Refused, command
from http_server import Hangup, Response
from api_store import encode

VERBS = ("GET", "PUT", "POST", "PATCH", "DELETE", "LIST", "WATCH", "DELETECOLLECTION")


def count(text):
    return math.inf if text == "always" else int(text)


@dataclasses.dataclass
class Fault:
    """One kind of trouble for the next `left` requests of that method below that path. METHOD is
    HTTP's (GET, also of lists and watches), or LIST, WATCH or DELETECOLLECTION."""

    name: str
    left: float
    method: str = ""
    prefix: str = "/"
    value: float = 0
    is_after_apply: bool = False

    def hits(self, request, verb):
        return (self.left > 0 and request.path.startswith(self.prefix)
                and self.method in ("", request.method, verb.upper()))


def _where(words):
    """[METHOD] [PATHPREFIX], in any order."""
    place = {}
    for word in words:
        if word.startswith("/"):
            place["prefix"] = word
        elif word.upper() in VERBS:
            place["method"] = word.upper()
        else:
            raise Refused(f"{word!r} is neither a method nor a path")
    return place


def _failure(code, method, retry_after):
    if code == 409 and method == "POST":
        error = ApiError(409, "the object already exists (injected)", "AlreadyExists")
    else:
        error = ApiError(code, f"{REASONS.get(code, 'trouble')} (injected)")
    headers = [("Retry-After", f"{retry_after:g}")] if retry_after else []
    return Response(code, encode(error.status), headers=headers)


class Faults:
    """Wraps a request handler. `slow` adds to others; of the others one hits a request."""

    def __init__(self):
        self._faults = []

    def _take(self, request, verb, is_slow):
        for fault in self._faults:
            if (fault.name == "slow") == is_slow and fault.hits(request, verb):
                fault.left -= 1
                return fault
        return None

    async def apply(self, request, verb, handle):
        if not self._faults:
            return await handle(request)
        if slow := self._take(request, verb, True):
            await asyncio.sleep(slow.value)
        fault = self._take(request, verb, False)
        if fault is None:
            return await handle(request)
        if fault.name == "fail":
            code, retry_after = fault.value
            return _failure(code, request.method, retry_after)
        if fault.name == "drop":
            if fault.is_after_apply:
                await handle(request)
            raise Hangup
        if fault.name == "wrong-kind":
            return Response(200, encode({"kind": "PodList", "apiVersion": "v1",
                                         "metadata": {"resourceVersion": "1"}, "items": []}))
        response = await handle(request)
        response.is_truncated = True
        return response

    @command
    async def fail(self, count: count, status: int, *where, retry_after: float = 0.0):
        """Answer the next COUNT requests ("always") with an error. WHERE: [METHOD] [PATHPREFIX]."""
        self._faults.append(Fault("fail", count, value=(status, retry_after), **_where(where)))

    @command
    async def drop(self, count: count, *where, after_apply: bool = False):
        """Close the connection instead of answering; --after-apply: having done what was asked."""
        self._faults.append(Fault("drop", count, is_after_apply=after_apply, **_where(where)))

    @command
    async def truncate(self, count: count, *where):
        """Send half an answer, then close the connection."""
        self._faults.append(Fault("truncate", count, **_where(where)))

    @command
    async def wrong_kind(self, count: count, *where):
        """Answer 200 with something that was not asked for."""
        self._faults.append(Fault("wrong-kind", count, **_where(where)))

    @command
    async def slow(self, milliseconds: float, *where):
        """Think for a while before answering, from now on."""
        self._faults.append(Fault("slow", math.inf, value=milliseconds / 1000, **_where(where)))

    def clear(self):
        self._faults.clear()
