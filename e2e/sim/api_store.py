# SPDX-License-Identifier: Apache-2.0
"""The objects of an API server: versioned, selectable, watchable. Knows nothing of HTTP.

Objects are never changed in place: a write replaces an Entry, so that those in the event log stay
what they were.
"""

import asyncio
import base64
import collections
import copy
import datetime
import json
import random
import re
import time
import typing
import uuid

import api_slices
import api_status
from api_status import ApiError

LOG_LENGTH = 2000
NAME_CHARACTERS = "bcdfghjklmnpqrstvwxz2456789"
GENERATED_BASE = 58


class Kind(typing.NamedTuple):
    group: str
    version: str
    plural: str
    name: str
    is_namespaced: bool
    selectable: tuple = ()

    @property
    def api_version(self):
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self):
        return f"{self.plural}.{self.group}" if self.group else self.plural


NODES = Kind("", "v1", "nodes", "Node", False)
EVENTS = Kind("", "v1", "events", "Event", True, ("reason", "type", "involvedObject.name"))
CLAIMS = Kind("resource.k8s.io", "v1", "resourceclaims", "ResourceClaim", True)
SLICES = Kind("resource.k8s.io", "v1", "resourceslices", "ResourceSlice", False,
              ("spec.driver", "spec.nodeName"))
CLASSES = Kind("resource.k8s.io", "v1", "deviceclasses", "DeviceClass", False)
KUBEVIRTS = Kind("kubevirt.io", "v1", "kubevirts", "KubeVirt", True)
KINDS = (NODES, EVENTS, CLAIMS, SLICES, CLASSES, KUBEVIRTS)
WITH_GENERATION = (SLICES, KUBEVIRTS)


def encode(thing):
    return json.dumps(thing, separators=(",", ":")).encode()


class Entry:
    """A stored object and its bytes: as an item of a list, and alone, with its type."""

    def __init__(self, kind, thing):
        self.object = thing
        self.item = encode(thing)
        self.whole = encode({"kind": kind.name, "apiVersion": kind.api_version})[:-1] + b"," \
            + self.item[1:]

    @property
    def metadata(self):
        return self.object["metadata"]

    @property
    def key(self):
        return self.metadata.get("namespace", ""), self.metadata["name"]


class Change(typing.NamedTuple):
    revision: int
    kind: Kind
    old: Entry | None
    new: Entry | None


class Selector:
    """A namespace ("" for all) and a fieldSelector: "a.b=c,d!=e"."""

    def __init__(self, kind, namespace, text=""):
        self.namespace = namespace
        self.terms = []
        for term in filter(None, text.split(",")):
            match = re.fullmatch(r"([\w.]+)(==|=|!=)(.*)", term)
            if not match:
                raise ApiError(400, f"invalid selector: '{term}'; can't understand '{term}'")
            field, operator, value = match.groups()
            if field not in ("metadata.name", "metadata.namespace", *kind.selectable):
                raise ApiError(400, f"field label not supported: {field}")
            self.terms.append((field.split("."), value, operator != "!="))

    def matches(self, entry):
        if entry is None or self.namespace not in ("", entry.key[0]):
            return False
        for path, wanted, is_equal in self.terms:
            value = entry.object
            for part in path:
                value = value.get(part, "")
            if (value == wanted) != is_equal:
                return False
        return True


def _now():
    return datetime.datetime.utcnow().strftime("%Y-%m-%dT%H:%M:%SZ")


def _managed_by(kind, manager):
    return [{"manager": manager, "operation": "Update", "apiVersion": kind.api_version,
             "time": _now(), "fieldsType": "FieldsV1", "fieldsV1": {}}]


class Store:
    def __init__(self):
        self.revision = 1000
        self.compacted = self.revision
        self.dropped_fields = set()
        self.entries = {kind: {} for kind in KINDS}
        self._log = collections.deque()
        self._watches = {}  # each queue, and the kind it is about

    # reading

    def get(self, kind, key):
        entry = self.entries[kind].get(key)
        if entry is None:
            raise api_status.not_found(kind, key[1])
        return entry

    def select(self, kind, selector):
        """In the order of a server: by namespace and name."""
        entries = self.entries[kind]
        return [entries[key] for key in sorted(entries) if selector.matches(entries[key])]

    def check_not_expired(self, revision):
        if revision is not None and revision < self.compacted:
            raise api_status.expired(revision, self.compacted)

    def check_not_ahead(self, revision):
        if revision is not None and revision > self.revision:
            raise api_status.not_yet(revision, self.revision)

    def page(self, kind, selector, limit, token):
        """(entries, token of the next page or "", how many remain)."""
        entries = self.select(kind, selector)
        if token:
            revision, *last = json.loads(base64.urlsafe_b64decode(token))
            if revision < self.compacted:
                raise ApiError(410, "The provided continue parameter is too old to display a "
                                    "consistent list result.")
            entries = [entry for entry in entries if entry.key > tuple(last)]
        if not limit or len(entries) <= limit:
            return entries, "", 0
        last = entries[limit - 1].key
        token = base64.urlsafe_b64encode(encode([self.revision, *last])).decode()
        return entries[:limit], token, len(entries) - limit

    # writing

    def _commit(self, kind, key, thing):
        """Store the object, or with None remove it; the entry that tells of it."""
        old = self.entries[kind].get(key)
        self.revision += 1
        body = thing or old.object
        metadata = {**body["metadata"], "resourceVersion": str(self.revision)}
        entry = Entry(kind, {**body, "metadata": metadata})
        if thing:
            self.entries[kind][key] = entry
            change = Change(self.revision, kind, old, entry)
        else:
            del self.entries[kind][key]
            # What a watch tells of a deletion is the last state, at the revision of its end.
            change = Change(self.revision, kind, entry, None)
        self._log.append(change)
        if len(self._log) > LOG_LENGTH:
            self.compacted = self._log.popleft().revision
        for queue in self._watches:
            queue.put_nowait(change)
        return entry

    def _admit(self, kind, thing, old=None):
        """The object as it may be stored, or ApiError."""
        name = thing["metadata"]["name"]
        if not api_slices.SUBDOMAIN.fullmatch(name) or len(name) > 253:
            raise api_status.invalid(kind, name, [
                ("metadata.name", "FieldValueInvalid", f'Invalid value: "{name}": a lowercase RFC '
                 "1123 subdomain must consist of lower case alphanumeric characters, '-' or '.'")])
        if kind is SLICES:
            thing = {**thing, "spec": api_slices.prepare(thing["spec"], self.dropped_fields)}
            problems = list(api_slices.problems(thing, old))
            if problems:
                raise api_status.invalid(kind, name, problems)
        if kind is EVENTS:
            subject = thing["involvedObject"].get("namespace", "") or "default"
            if subject != thing["metadata"]["namespace"]:
                raise api_status.invalid(kind, name, [
                    ("involvedObject.namespace", "FieldValueInvalid",
                     f'Invalid value: "{subject}": does not match event.namespace')])
        return thing

    def create(self, kind, namespace, thing, manager="sim"):
        metadata = dict(thing.get("metadata", {}))
        if not metadata.get("name"):
            base = metadata.get("generateName")
            if not base:
                raise api_status.invalid(kind, "", [("metadata.name", "FieldValueRequired",
                                                     "Required value: name or generateName is "
                                                     "required")])
            metadata["name"] = base[:GENERATED_BASE] + "".join(
                random.choices(NAME_CHARACTERS, k=5))
        if metadata.get("resourceVersion"):
            raise ApiError(400, "resourceVersion should not be set on objects to be created")
        if kind.is_namespaced:
            metadata["namespace"] = namespace
        key = namespace if kind.is_namespaced else "", metadata["name"]
        if key in self.entries[kind]:
            raise api_status.already_exists(kind, key[1])

        now = _now()
        metadata.setdefault("uid", str(uuid.uuid4()))
        metadata |= {"creationTimestamp": now, "managedFields": _managed_by(kind, manager)}
        if kind in WITH_GENERATION:
            metadata["generation"] = 1
        return self._commit(kind, key, self._admit(kind, {**thing, "metadata": metadata}))

    def update(self, kind, key, thing, manager="sim"):
        old = self.get(kind, key)
        sent = thing.get("metadata", {})
        if sent.get("uid", old.metadata["uid"]) != old.metadata["uid"]:
            raise api_status.conflict(kind, key[1], f"Precondition failed: UID in precondition: "
                                      f"{sent['uid']}, UID in object meta: {old.metadata['uid']}")
        if sent.get("resourceVersion") not in (None, "", old.metadata["resourceVersion"]):
            raise api_status.modified(kind, key[1])

        kept = ("uid", "creationTimestamp", "generation", "managedFields", "resourceVersion")
        metadata = {**sent, "name": key[1],
                    **{name: old.metadata[name] for name in kept if name in old.metadata}}
        if kind.is_namespaced:
            metadata["namespace"] = key[0]
        thing = self._admit(kind, {**thing, "metadata": metadata}, old.object)
        if thing != old.object:
            metadata["managedFields"] = [entry for entry in metadata.get("managedFields", [])
                                         if entry["manager"] != manager] + _managed_by(kind, manager)
        if kind in WITH_GENERATION and thing["spec"] != old.object["spec"]:
            metadata["generation"] += 1
        # As on a real server, a write that changes nothing makes no event.
        return old if thing == old.object else self._commit(kind, key, thing)

    def delete(self, kind, key, preconditions=None):
        old = self.get(kind, key)
        for field, text in (("uid", "UID"), ("resourceVersion", "ResourceVersion")):
            wanted = (preconditions or {}).get(field)
            if wanted and wanted != old.metadata[field]:
                raise api_status.conflict(kind, key[1], f"Precondition failed: {text} in "
                                          f"precondition: {wanted}, {text} in object meta: "
                                          f"{old.metadata[field]}")
        return self._commit(kind, key, None)

    def expire(self):
        """Compact: every resourceVersion handed out so far is too old to watch or page from."""
        self.revision += 1
        self.compacted = self.revision
        self._log.clear()

    # watching

    @property
    def n_watches(self):
        return len(self._watches)

    def kill_watches(self, kind=None):
        """Of one kind, or all."""
        for queue, watched in self._watches.items():
            if kind in (None, watched):
                queue.put_nowait(None)

    async def watch(self, kind, selector, revision, timeout, bookmark_interval):
        """Yield (type, bytes of the object) until timeout; None where the watch was killed.
        revision None begins with what there is."""
        queue = asyncio.Queue()
        if revision is None:
            first = [("ADDED", entry.whole) for entry in self.select(kind, selector)]
        else:
            for change in self._log:
                if change.revision > revision:
                    queue.put_nowait(change)
            first = []
        self._watches[queue] = kind
        try:
            for event in first:
                yield event
            end = time.monotonic() + timeout
            while (left := end - time.monotonic()) > 0:
                try:
                    change = await asyncio.wait_for(queue.get(), min(left, bookmark_interval))
                except TimeoutError:
                    yield "BOOKMARK", self._bookmark(kind)
                    continue
                if change is None:
                    yield None
                elif change.kind is kind and (event := _seen(change, selector)):
                    yield event
        finally:
            del self._watches[queue]

    def _bookmark(self, kind):
        return encode({"kind": kind.name, "apiVersion": kind.api_version, "metadata": {
            "resourceVersion": str(self.revision), "creationTimestamp": None}})


def _seen(change, selector):
    """What a watch with this selector is told of the change: an object may enter its view, or
    leave it."""
    was, is_now = selector.matches(change.old), selector.matches(change.new)
    if is_now:
        return "MODIFIED" if was else "ADDED", change.new.whole
    return ("DELETED", (change.new or change.old).whole) if was else None


def merge_patch(target, patch):
    """RFC 7386, on copies."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged
