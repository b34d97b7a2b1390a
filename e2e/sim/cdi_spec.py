# SPDX-License-Identifier: Apache-2.0
"""CDI specs as the Go library reads them (tags.cncf.io/container-device-interface pkg/cdi), which
is stricter than the JSON schema: unknown fields, unknown versions and versions older than what the
fields need make it drop the whole file.
"""

import json
import os
import re

VERSIONS = ("0.1.0", "0.2.0", "0.3.0", "0.4.0", "0.5.0", "0.6.0", "0.7.0", "0.8.0", "1.0.0",
            "1.1.0")
VENDOR_OR_CLASS = re.compile(r"[A-Za-z]([A-Za-z0-9_.-]*[A-Za-z0-9])?")
DEVICE_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.:-]*[A-Za-z0-9])?")
HOOKS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")

# Fields and their types; a list of one dictionary is an array of such objects.
STRINGS = [str]
MOUNT = {"hostPath": str, "containerPath": str, "options": STRINGS, "type": str}
DEVICE_NODE = {"path": str, "hostPath": str, "type": str, "major": int, "minor": int,
               "fileMode": int, "permissions": str, "uid": int, "gid": int}
HOOK = {"hookName": str, "path": str, "args": STRINGS, "env": STRINGS, "timeout": int}
RDT = {"closID": str, "l3CacheSchema": str, "memBwSchema": str, "schemata": STRINGS,
       "enableMonitoring": bool}
EDITS = {"env": STRINGS, "deviceNodes": [DEVICE_NODE], "netDevices": [
    {"hostInterfaceName": str, "name": str}], "hooks": [HOOK], "mounts": [MOUNT],
         "intelRdt": RDT, "additionalGids": [int]}
DEVICE = {"name": str, "annotations": dict, "containerEdits": EDITS}
SPEC = {"cdiVersion": str, "kind": str, "annotations": dict, "devices": [DEVICE],
        "containerEdits": EDITS}


class CDIError(Exception):
    pass


def _check_shape(value, shape, where):
    if isinstance(shape, list):
        if not isinstance(value, list):
            raise CDIError(f"{where}: not an array")
        for index, item in enumerate(value):
            _check_shape(item, shape[0], f"{where}[{index}]")
    elif isinstance(shape, dict):
        if not isinstance(value, dict):
            raise CDIError(f"{where}: not an object")
        for key, item in value.items():
            if key not in shape:
                raise CDIError(f'{where}: unknown field "{key}"')
            _check_shape(item, shape[key], f"{where}.{key}")
    elif type(value) is not shape:
        raise CDIError(f"{where}: not of type {shape.__name__}")


def _needs(spec):
    """(version, reason) for everything that needs more than 0.3.0."""
    if spec.get("annotations"):
        yield "0.6.0", "annotations"
    if "." in spec["kind"].partition("/")[2]:
        yield "0.6.0", "a dot in the class"
    for device in spec["devices"]:
        if device["name"][:1].isdigit():
            yield "0.5.0", f"a device name that starts with a digit, {device['name']}"
        if device.get("annotations"):
            yield "0.6.0", "annotations of a device"
    for edits in all_edits(spec):
        if any(mount.get("type") for mount in edits.get("mounts", [])):
            yield "0.4.0", "the type of a mount"
        if any(node.get("hostPath") for node in edits.get("deviceNodes", [])):
            yield "0.5.0", "the hostPath of a device node"
        if "intelRdt" in edits or any(edits.get("additionalGids", [])):
            yield "0.7.0", "intelRdt or additionalGids"
        rdt = edits.get("intelRdt", {})
        if edits.get("netDevices") or "schemata" in rdt or "enableMonitoring" in rdt:
            yield "1.1.0", "netDevices, schemata or enableMonitoring"


def all_edits(spec):
    yield spec.get("containerEdits", {})
    for device in spec["devices"]:
        yield device["containerEdits"]


def _check_edits(edits, where):
    for variable in edits.get("env", []):
        if variable.find("=") <= 0:
            raise CDIError(f'{where}: invalid environment variable "{variable}"')
    for mount in edits.get("mounts", []):
        if not mount.get("hostPath") or not mount.get("containerPath"):
            raise CDIError(f"{where}: invalid mount, empty host or container path")
    for node in edits.get("deviceNodes", []):
        if not node.get("path"):
            raise CDIError(f"{where}: invalid (empty) device path")
        if node.get("type", "") not in ("", "b", "c", "u", "p"):
            raise CDIError(f"{where}: device {node['path']}: invalid type {node['type']}")
        permissions = node.get("permissions", "")
        if permissions != "none" and set(permissions) - set("rwm"):
            raise CDIError(f"{where}: device {node['path']}: invalid permissions {permissions}")
    for hook in edits.get("hooks", []):
        if hook.get("hookName") not in HOOKS or not hook.get("path"):
            raise CDIError(f"{where}: invalid hook {hook}")


def validate(spec):
    """CDIError tells what the library would not like."""
    _check_shape(spec, SPEC, "spec")
    version = spec.get("cdiVersion", "").removeprefix("v")
    if version not in VERSIONS:
        raise CDIError(f"invalid version {version!r}")
    vendor, slash, kind_class = spec.get("kind", "").partition("/")
    if not slash or not VENDOR_OR_CLASS.fullmatch(vendor) \
            or not VENDOR_OR_CLASS.fullmatch(kind_class):
        raise CDIError(f"invalid kind {spec.get('kind', '')!r}")
    if not spec.get("devices"):
        raise CDIError("invalid spec, no devices")

    names = set()
    for device in spec["devices"]:
        name = device.get("name", "")
        if not DEVICE_NAME.fullmatch(name):
            raise CDIError(f"invalid device name {name!r}")
        if name in names:
            raise CDIError(f"invalid spec, multiple device {name!r}")
        names.add(name)
        if not any(device.get("containerEdits", {}).values()):
            raise CDIError(f"invalid device {name!r}, empty device edits")
        _check_edits(device["containerEdits"], f"device {name}")
    _check_edits(spec.get("containerEdits", {}), "spec")

    for needed, reason in _needs(spec):
        if VERSIONS.index(version) < VERSIONS.index(needed):
            raise CDIError(f"version {version} is too old: {reason} needs {needed}")


def _without_duplicates(pairs):
    keys = [key for key, _ in pairs]
    if len(keys) != len(set(keys)):
        raise ValueError(f"duplicate keys in {keys}")
    return dict(pairs)


def load(path):
    try:
        with open(path, encoding="utf-8") as file:
            spec = json.load(file, object_pairs_hook=_without_duplicates)
        validate(spec)
    except (OSError, ValueError) as error:
        raise CDIError(str(error)) from error
    return spec


def find(directories, qualified_name, complain):
    """(spec, device) of vendor/class=name. complain(text) hears of files that are no good: they do
    not stand in the way of others. A later directory wins over an earlier one; within one, a device
    that two files define is no device at all."""
    kind, _, name = qualified_name.partition("=")
    found = None
    for directory in directories:
        here = []
        for file in sorted(os.listdir(directory)) if os.path.isdir(directory) else []:
            if not file.endswith(".json"):
                continue
            try:
                spec = load(os.path.join(directory, file))
            except CDIError as error:
                complain(f"{os.path.join(directory, file)}: {error}")
                continue
            if spec["kind"] == kind:
                here += [(spec, each) for each in spec["devices"] if each["name"] == name]
        if len(here) > 1:
            complain(f'conflicting device "{qualified_name}" in {directory}')
            found = None
        elif here:
            found = here[0]
    if found is None:
        raise CDIError(f"unresolvable CDI devices {qualified_name}")
    return found
