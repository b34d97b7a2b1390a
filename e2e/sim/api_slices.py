# SPDX-License-Identifier: Apache-2.0
"""What the API server does to a ResourceSlice before it stores it (k8s.io/kubernetes
pkg/apis/resource/validation and pkg/registry/resource/resourceslice), as far as a node driver can
run into it.
"""

import datetime
import re

LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
C_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,31}")
TAINT_KEY = re.compile(r"([a-z0-9.-]{1,253}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
SEMVER = re.compile(r"\d+\.\d+\.\d+([-+][0-9A-Za-z.+-]+)?")

MAX_DEVICES = 128
MAX_DEVICES_WITH_TAINTS = 64
MAX_ATTRIBUTES = 32
MAX_TAINTS = 16
SELECTORS = ("nodeName", "nodeSelector", "allNodes", "perDeviceNodeSelection")
EFFECTS = ("None", "NoSchedule", "NoExecute")


def _invalid(value, text):
    shown = f'"{value}"' if isinstance(value, str) else value
    return "FieldValueInvalid", f"Invalid value: {shown}: {text}"


def _too_many(count, limit):
    return "FieldValueTooMany", f"Too many: {count}: must have at most {limit} items"


def _attribute_problem(value):
    if len(value) != 1:
        return _invalid(str(value), "exactly one value must be specified")
    (kind, content), = value.items()
    expected = {"int": int, "bool": bool, "string": str, "version": str}.get(kind)
    # bool is an int to Python and is not to the API.
    if expected is None or type(content) is not expected:
        return _invalid(str(value), f"{kind} is not of that type")
    if expected is str and len(content) > 64:
        return "FieldValueTooLong", "Too long: may not be more than 64 bytes"
    if kind == "version" and not SEMVER.fullmatch(content):
        return _invalid(content, "must be a string compatible with semver.org spec 2.0.0")
    return None


def _device_problems(device, path):
    if not LABEL.fullmatch(device["name"]):
        yield f"{path}.name", *_invalid(device["name"], "a lowercase RFC 1123 label must consist "
                                        "of lower case alphanumeric characters or '-'")
    attributes = device.get("attributes", {})
    if len(attributes) + len(device.get("capacity", {})) > MAX_ATTRIBUTES:
        yield path, *_too_many(len(attributes), MAX_ATTRIBUTES)
    for key, value in attributes.items():
        where = f"{path}.attributes[{key}]"
        domain, slash, identifier = key.rpartition("/")
        if slash and not SUBDOMAIN.fullmatch(domain) or not C_IDENTIFIER.fullmatch(identifier):
            yield where, *_invalid(key, "must be a C identifier, with an optional domain")
        if problem := _attribute_problem(value):
            yield where, *problem
    taints = device.get("taints", [])
    if len(taints) > MAX_TAINTS:
        yield f"{path}.taints", *_too_many(len(taints), MAX_TAINTS)
    for index, taint in enumerate(taints):
        where = f"{path}.taints[{index}]"
        if not TAINT_KEY.fullmatch(taint.get("key", "")):
            yield f"{where}.key", *_invalid(taint.get("key", ""), "name part must be valid")
        if taint.get("effect") not in EFFECTS:
            yield f"{where}.effect", "FieldValueNotSupported", (
                f'Unsupported value: "{taint.get("effect")}": supported values: '
                + ", ".join(f'"{effect}"' for effect in EFFECTS))


def problems(new, old=None):
    """(field, reason, text) for everything that is wrong with the slice, or with the change."""
    spec = new["spec"]
    pool = spec["pool"]
    if not SUBDOMAIN.fullmatch(spec.get("driver", "")) or len(spec["driver"]) > 63:
        yield "spec.driver", *_invalid(spec.get("driver", ""), "must be a DNS subdomain")
    if not all(SUBDOMAIN.fullmatch(part) for part in pool.get("name", "").split("/")):
        yield "spec.pool.name", *_invalid(pool.get("name", ""), "must be a DNS subdomain")
    if pool.get("generation", 0) < 0:
        yield "spec.pool.generation", *_invalid(pool["generation"],
                                                "must be greater than or equal to zero")
    if pool.get("resourceSliceCount", 0) < 1:
        yield "spec.pool.resourceSliceCount", *_invalid(pool.get("resourceSliceCount", 0),
                                                        "must be greater than zero")
    if sum(bool(spec.get(selector)) for selector in SELECTORS) != 1:
        yield "spec", *_invalid("{...}", f"exactly one of {', '.join(SELECTORS)} is required")

    devices = spec.get("devices") or []
    limited = any(device.get("taints") or device.get("consumesCounters") for device in devices)
    limit = MAX_DEVICES_WITH_TAINTS if limited else MAX_DEVICES
    if len(devices) > limit:
        yield "spec.devices", *_too_many(len(devices), limit)
    seen = set()
    for index, device in enumerate(devices):
        yield from _device_problems(device, f"spec.devices[{index}]")
        if device["name"] in seen:
            yield (f"spec.devices[{index}].name", "FieldValueDuplicate",
                   f'Duplicate value: "{device["name"]}"')
        seen.add(device["name"])

    if old:
        before = old["spec"]
        for field, is_changed in (
                ("spec.driver", spec["driver"] != before["driver"]),
                ("spec.nodeName", spec.get("nodeName") != before.get("nodeName")),
                ("spec.pool.name", pool["name"] != before["pool"]["name"])):
            if is_changed:
                yield field, *_invalid(spec["driver"], "field is immutable")


def prepare(spec, dropped_fields):
    """The spec as it is stored: without the fields of features that are off, and with the time
    since when each taint is there."""
    now = datetime.datetime.utcnow().strftime("%Y-%m-%dT%H:%M:%SZ")
    devices = []
    for device in spec.get("devices") or []:
        device = {key: value for key, value in device.items() if key not in dropped_fields}
        if "taints" in device:
            device["taints"] = [{"timeAdded": now, **taint} for taint in device["taints"]]
        devices.append(device)
    return {**spec, **({"devices": devices} if devices else {})}
