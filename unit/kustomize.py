# SPDX-License-Identifier: Apache-2.0
"""As much of kustomize as manifests/ uses, for tests that have none. What it does not know is an
error, so that a test never passes for having overlooked something. unit/test-manifests.py holds it
to the real one where there is a kubectl."""

import copy
import pathlib

import yaml

KNOWN = {"apiVersion", "kind", "resources", "components", "patches", "labels", "images"}
# Lists that are merged by a key; every other list is replaced (k8s.io/api, patchMergeKey).
MERGE_KEYS = {"containers": "name", "volumes": "name", "volumeMounts": "mountPath", "env": "name",
              "ports": "containerPort"}


def identity(thing):
    return thing["apiVersion"], thing["kind"], thing["metadata"].get("namespace"), thing["metadata"]["name"]


def load(path):
    return [thing for thing in yaml.safe_load_all(path.read_text()) if thing]


def merge(old, new, key=None):
    if isinstance(old, dict) and isinstance(new, dict):
        result = dict(old)
        for name, value in new.items():
            if value is None:
                result.pop(name, None)
            else:
                result[name] = merge(old.get(name), value, name)
        return result
    if isinstance(new, list) and key in MERGE_KEYS:
        by = MERGE_KEYS[key]
        result = list(old or [])
        for item in new:
            at = next((i for i, was in enumerate(result) if was[by] == item[by]), None)
            if item.get("$patch") == "delete":
                if at is None:
                    raise ValueError(f"{key}: no {item[by]} to delete")
                del result[at]
            elif at is None:
                result.append(item)
            else:
                result[at] = merge(result[at], item)
        return result
    return copy.deepcopy(new)


def patch(things, entry):
    if set(entry) != {"patch"}:
        raise ValueError(f"a patch with {sorted(entry)}")
    for change in yaml.safe_load_all(entry["patch"]):
        wanted = identity(change)
        at = next((i for i, thing in enumerate(things) if identity(thing) == wanted), None)
        if at is None:
            raise ValueError(f"a patch for {wanted}, which is not there")
        if change.get("$patch") == "delete":
            del things[at]
        else:
            things[at] = merge(things[at], change)


def name_images(things, images):
    for thing in things:
        for container in pod_spec(thing).get("containers", []):
            for image in images:
                if container["image"] == image["name"]:
                    container["image"] = f"{image.get('newName', image['name'])}:{image['newTag']}"


def pod_spec(thing):
    return thing.get("spec", {}).get("template", {}).get("spec", {}) if thing["kind"] == "DaemonSet" else {}


def render(directory, things=None):
    """The objects that `kubectl apply -k directory` applies."""
    directory = pathlib.Path(directory)
    kustomization, = load(directory / "kustomization.yaml")
    unknown = kustomization.keys() - KNOWN
    if unknown:
        raise ValueError(f"{directory}: {sorted(unknown)} is more than this knows")
    things = [] if things is None else things
    for name in kustomization.get("resources", []):
        path = directory / name
        things += render(path) if path.is_dir() else load(path)
    for name in kustomization.get("components", []):
        render(directory / name, things)
    for entry in kustomization.get("patches", []):
        patch(things, entry)
    for entry in kustomization.get("labels", []):
        if set(entry) != {"pairs"}:
            raise ValueError(f"labels with {sorted(entry)}")
        for thing in things:
            thing["metadata"]["labels"] = thing["metadata"].get("labels", {}) | entry["pairs"]
    name_images(things, kustomization.get("images", []))
    return things


def one(things, kind, name=None):
    found, = [t for t in things if t["kind"] == kind and name in (None, t["metadata"]["name"])]
    return found
