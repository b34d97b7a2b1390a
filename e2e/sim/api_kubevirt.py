# SPDX-License-Identifier: Apache-2.0
"""KubeVirt as far as its API shows: a CRD that may be missing, and the CRs, which a node driver may
be forbidden to read. Their schema is not held, so that a client can be shown what it should survive.
"""

import datetime
import json

import api_store
from api_status import ApiError
from api_store import KUBEVIRTS
from control import Refused, command, split_name

DEFAULTS = {"enforced": False, "qgsSocketPath": "/var/run/tdx-qgs/qgs.socket"}
FIELDS = {"enforced": "enforced", "qgs": "qgsSocketPath"}
PATH = ("spec", "configuration", "confidentialCompute", "tdx")


def is_on(text):
    if text not in ("on", "off"):
        raise ValueError(f"{text!r} is neither on nor off")
    return text == "on"


def json_object(text):
    thing = json.loads(text)
    if not isinstance(thing, dict):
        raise ValueError(f"{text!r} is no JSON object")
    return thing


def within(path, value):
    for name in reversed(path):
        value = {name: value}
    return value


def with_defaults(thing):
    """The CRD's: in an attestation object that is there, fields that are not."""
    place = thing
    for name in (*PATH, "attestation"):
        place = place.get(name) if isinstance(place, dict) else None
    if not isinstance(place, dict) or DEFAULTS.keys() <= place.keys():
        return thing
    return api_store.merge_patch(thing, within(PATH, {"attestation": {**DEFAULTS, **place}}))


class KubeVirts:
    def __init__(self, store, requests):
        self.store = store
        self.requests = requests

    def _write(self, name, change):
        """Store what change makes of the CR, {} where there is none."""
        old = self.store.entries[KUBEVIRTS].get(name)
        if KUBEVIRTS.group not in self.requests.served_groups:
            raise Refused("there is no CRD; kubevirt on")
        try:
            if old:
                entry = self.store.update(KUBEVIRTS, name, change(old.object))
            else:
                thing = change({"metadata": {"name": name[1]}})
                entry = self.store.create(KUBEVIRTS, name[0], thing)
        except ApiError as error:
            raise Refused(str(error)) from error
        return entry.metadata["resourceVersion"]

    @command
    async def kubevirt(self, state: is_on):
        """on: there is KubeVirt's CRD. off: there is none, the CRs and watches of them end."""
        if state:
            self.requests.served_groups.add(KUBEVIRTS.group)
            return
        for key in list(self.store.entries[KUBEVIRTS]):
            self.store.delete(KUBEVIRTS, key)
        self.requests.served_groups.discard(KUBEVIRTS.group)
        self.store.kill_watches(KUBEVIRTS)

    @command
    async def kubevirt_set(self, name: split_name, *fields):
        """Create a KubeVirt CR, or change it: enforced=true, qgs=/path. Without a value (qgs=) a
        field is removed; the CRD's default then takes its place."""
        values = {}
        for field in fields:
            key, separator, value = field.partition("=")
            if not separator or key not in FIELDS:
                raise Refused(f"{field!r} is neither enforced=true|false nor qgs=PATH")
            if key == "enforced" and value not in ("true", "false", ""):
                raise Refused(f"{field!r}: for what is no boolean use kubevirt-json")
            values[FIELDS[key]] = {"true": True, "false": False, "": None}.get(value, value)
        patch = within(PATH, {"attestation": values}) if values else {"spec": {}}
        return self._write(name, lambda old: with_defaults(api_store.merge_patch(old, patch)))

    @command
    async def kubevirt_json(self, name: split_name, spec: json_object, *, deleted: bool = False):
        """Create a KubeVirt CR, or replace its spec by SPEC, whatever it is. --deleted: it is on
        its way out, but has a finalizer."""
        def change(old):
            metadata = dict(old["metadata"])
            if deleted:
                now = datetime.datetime.utcnow().strftime("%Y-%m-%dT%H:%M:%SZ")
                metadata |= {"deletionTimestamp": now, "finalizers": ["foregroundDeleteKubeVirt"]}
            return {**old, "metadata": metadata, "spec": spec}
        return self._write(name, change)

    @command
    async def kubevirt_delete(self, name: split_name):
        try:
            self.store.delete(KUBEVIRTS, name)
        except ApiError as error:
            raise Refused(str(error)) from error

    @command
    async def kubevirt_forbid(self, state: is_on):
        """on: no client may read the CRs, and watches of them are cut (the real server lets those
        go on until they end)."""
        if state:
            self.requests.forbidden.add(KUBEVIRTS)
            self.store.kill_watches(KUBEVIRTS)
        else:
            self.requests.forbidden.discard(KUBEVIRTS)
