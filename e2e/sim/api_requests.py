# SPDX-License-Identifier: Apache-2.0
"""Requests of the Kubernetes API: from paths and queries to the store, and back to JSON."""

import contextlib
import json
import math
import random
import urllib.parse

import api_status
from api_status import ApiError
from api_store import CLAIMS, KINDS, Selector, encode
from http_server import Hangup, Response

BOOKMARK_INTERVAL = 60
DYNAMIC_GROUP = "resource.k8s.io"
VERSION = {"major": "1", "minor": "34", "gitVersion": "v1.34.0", "platform": "linux/amd64"}
VERBS = {"GET": "get", "PUT": "update", "DELETE": "delete"}
COLLECTION_VERBS = {"GET": "list", "POST": "create", "DELETE": "deletecollection"}
BY_PATH = {(kind.group, kind.version, kind.plural): kind for kind in KINDS}


class Route:
    """Which objects a request is about."""

    def __init__(self, request):
        parts = request.path.strip("/").split("/")
        if "%" in request.path:
            parts = [urllib.parse.unquote(part) for part in parts]
        self.kind, self.name, self.namespace = None, "", ""
        if parts[0] == "api" and len(parts) > 2:
            group, version, *rest = "", *parts[1:]
        elif parts[0] == "apis" and len(parts) > 3:
            group, version, *rest = parts[1:]
        else:
            return
        if rest[0] == "namespaces" and len(rest) > 2:
            self.namespace, rest = rest[1], rest[2:]
        if len(rest) <= 2:
            self.kind = BY_PATH.get((group, version, rest[0]))
            self.name = rest[1] if len(rest) == 2 else ""

    @property
    def key(self):
        return self.namespace, self.name

    def verb(self, request):
        """Kubernetes' word for it, or HTTP's where there is none."""
        if self.kind is None:
            return request.method
        if request.query.get("watch") in ("1", "true"):
            return "watch"
        verbs = VERBS if self.name else COLLECTION_VERBS
        return verbs.get(request.method, request.method)


def discovery(path, served_groups):
    """The documents that say what is served; None where there is none at this path."""
    kinds = [kind for kind in KINDS if kind.group in served_groups]
    groups = sorted({(kind.group, kind.version) for kind in kinds if kind.group})
    described = {}
    for group, version in groups:
        preferred = {"groupVersion": f"{group}/{version}", "version": version}
        described[group] = {"name": group, "versions": [preferred], "preferredVersion": preferred}
    documents = {
        "/version": VERSION,
        "/api": {"kind": "APIVersions", "versions": ["v1"]},
        "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": list(described.values())},
    }
    for group, document in described.items():
        documents[f"/apis/{group}"] = {"kind": "APIGroup", "apiVersion": "v1", **document}
    for group, version in [("", "v1"), *groups]:
        base = f"/apis/{group}/{version}" if group else f"/api/{version}"
        documents[base] = {
            "kind": "APIResourceList", "apiVersion": "v1",
            "groupVersion": f"{group}/{version}" if group else version,
            "resources": [
                {"name": kind.plural, "singularName": kind.name.lower(), "kind": kind.name,
                 "namespaced": kind.is_namespaced,
                 "verbs": ["create", "delete", "deletecollection", "get", "list", "update",
                           "watch"]}
                for kind in kinds if (kind.group, kind.version) == (group, version)]}
    return documents.get(path.rstrip("/"))


def to_revision(text):
    """None where any will do."""
    if text in ("", "0"):
        return None
    if not text.isdigit():
        raise ApiError(400, f'resourceVersion: Invalid value: "{text}"')
    return int(text)


def to_number(query, name, default):
    text = query.get(name) or str(default)
    if not text.isdigit():
        raise ApiError(400, f'{name}: Invalid value: "{text}"')
    return int(text)


class Requests:
    """From HTTP to the store."""

    def __init__(self, store):
        self.store = store
        self.raw_claims = {}
        self.served_groups = {"", DYNAMIC_GROUP}
        self.forbidden = set()  # kinds that no client has permission for
        self.token = ""
        self.wants_certificate = False
        self.on_written = lambda kind, entry: None

    def is_known(self, request):
        if request.has_certificate or not (self.token or self.wants_certificate):
            return True
        return bool(self.token) and request.headers.get("authorization") == f"Bearer {self.token}"

    async def handle(self, request, route):
        try:
            if not self.is_known(request):
                raise ApiError(401, "Unauthorized")
            verb = route.verb(request)
            # As on the real server, permission comes before the question whether it exists.
            if route.kind in self.forbidden:
                raise api_status.forbidden(route.kind, verb)
            if route.kind is None or route.kind.group not in self.served_groups:
                return self._other(request)
            perform = getattr(self, f"_{verb}", None)
            is_nowhere = verb == "create" and route.kind.is_namespaced != bool(route.namespace)
            if perform is None or is_nowhere:
                raise ApiError(405, "the server does not allow this method on the requested "
                                    "resource")
            return perform(request, route)
        except ApiError as error:
            return Response(error.code, encode(error.status))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            # What was sent has a field of the wrong type, or lacks one.
            message = f"the request cannot be handled: {type(error).__name__}: {error}"
            return Response(400, encode(ApiError(400, message).status))

    def _other(self, request):
        if request.path in ("/healthz", "/livez", "/readyz"):
            return Response(200, b"ok", "text/plain; charset=utf-8")
        document = discovery(request.path, self.served_groups)
        if document is None:
            # The real server's answer is no Status either.
            return Response(404, b"404 page not found\n", "text/plain; charset=utf-8")
        return Response(200, encode(document))

    def _get(self, request, route):
        if route.kind is CLAIMS and route.key in self.raw_claims:
            return Response(200, self.raw_claims[route.key])
        return Response(200, self.store.get(route.kind, route.key).whole)

    def _selector(self, request, route):
        if request.query.get("labelSelector"):
            raise ApiError(400, "labelSelector is not simulated")
        return Selector(route.kind, route.namespace, request.query.get("fieldSelector", ""))

    def _list(self, request, route):
        revision = to_revision(request.query.get("resourceVersion", ""))
        self.store.check_not_ahead(revision)
        entries, token, remaining = self.store.page(
            route.kind, self._selector(request, route), to_number(request.query, "limit", 0),
            request.query.get("continue", ""))
        return self._as_list(route.kind, entries, {
            "resourceVersion": str(self.store.revision),
            **({"continue": token, "remainingItemCount": remaining} if token else {})})

    @staticmethod
    def _as_list(kind, entries, metadata):
        head = encode({"kind": f"{kind.name}List", "apiVersion": kind.api_version,
                       "metadata": metadata})
        items = b",".join(entry.item for entry in entries)
        return Response(200, head[:-1] + b',"items":[' + items + b"]}")

    def _watch(self, request, route):
        selector = self._selector(request, route)
        timeout = to_number(request.query, "timeoutSeconds", random.randint(1800, 3600))
        wants_bookmarks = request.query.get("allowWatchBookmarks") in ("1", "true")
        revision = to_revision(request.query.get("resourceVersion", ""))
        return Response(200, stream=self._events(route.kind, selector, revision, timeout,
                                                 wants_bookmarks))

    async def _events(self, kind, selector, revision, timeout, wants_bookmarks):
        try:
            self.store.check_not_ahead(revision)
            self.store.check_not_expired(revision)
        except ApiError as error:
            # Too late for the status line, as on the real server.
            yield encode({"type": "ERROR", "object": error.status}) + b"\n"
            return
        interval = BOOKMARK_INTERVAL if wants_bookmarks else math.inf
        async with contextlib.aclosing(
                self.store.watch(kind, selector, revision, timeout, interval)) as events:
            async for event in events:
                if event is None:
                    raise Hangup
                change, whole = event
                if change != "BOOKMARK" or wants_bookmarks:
                    yield b'{"type":"%b","object":%b}\n' % (change.encode(), whole)

    @staticmethod
    def _body(request, route):
        """The object that was sent, stripped of its type as stored ones are."""
        kind_of_content = request.headers.get("content-type", "").partition(";")[0].strip()
        if kind_of_content != "application/json":
            raise ApiError(415, "the body of the request was in an unknown format - accepted media "
                                "types include: application/json")
        thing = json.loads(request.body)
        wanted = {"kind": route.kind.name, "apiVersion": route.kind.api_version}
        for field, value in wanted.items():
            if thing.pop(field, value) != value:
                raise ApiError(400, f"the {field} in the data does not match the expected {value}")
        metadata = thing["metadata"]
        if route.name and metadata.get("name") != route.name:
            raise ApiError(400, "the name of the object does not match the name on the URL")
        if metadata.get("namespace", route.namespace) != route.namespace:
            raise ApiError(400, "the namespace of the provided object does not match the namespace "
                                "sent on the request")
        return thing

    @staticmethod
    def _manager(request):
        return request.headers.get("user-agent", "unknown").partition("/")[0]

    def _create(self, request, route):
        thing = self._body(request, route)
        entry = self.store.create(route.kind, route.namespace, thing, self._manager(request))
        self.on_written(route.kind, entry)
        return Response(201, entry.whole)

    def _update(self, request, route):
        thing = self._body(request, route)
        entry = self.store.update(route.kind, route.key, thing, self._manager(request))
        self.on_written(route.kind, entry)
        return Response(200, entry.whole)

    def _delete(self, request, route):
        options = json.loads(request.body) if request.body else {}
        entry = self.store.delete(route.kind, route.key, options.get("preconditions"))
        return Response(200, entry.whole)

    def _deletecollection(self, request, route):
        entries = [self.store.delete(route.kind, entry.key)
                   for entry in self.store.select(route.kind, self._selector(request, route))]
        return self._as_list(route.kind, entries,
                             {"resourceVersion": str(self.store.revision)})
