#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What manifests/ promises: that it can be applied, that the driver gets what it asks for and no
more, and that names agree with the code, the image and the README. TAP. No cluster, no network."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import yaml

sys.dont_write_bytecode = True
ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "unit"))

import kustomize  # noqa: E402, the path comes first

DRIVER = pathlib.Path(os.environ.get("DRIVER", ROOT / "build/plain-gcc/dra-driver-tdx"))
MANIFESTS = ROOT / "manifests"
OVERLAYS = ("dra", "both", "plugin-only", "openshift")
NAME = "dra-driver-tdx"
DOMAIN = "tdx.kubevirt.io"
RESOURCE = "devices.kubevirt.io/tdx"
ACCOUNT = {"kind": "ServiceAccount", "name": NAME, "namespace": NAME}
KUBELET = "/var/lib/kubelet"

# Every place in the code that asks the API server for something, and what RBAC has to say to it:
# (file, function): {(API group, resource, verb, namespace or None for any)}
CLAIM = ("resource.k8s.io", "resourceclaims", "get", None)
SLICES = "resource.k8s.io", "resourceslices"
KUBEVIRTS = "kubevirt.io", "kubevirts"
CALLS = {
    ("dra/claims/job.c", "kube_get"): {CLAIM},
    ("dra/claims/reconcile.c", "kube_get"): {CLAIM, ("", "nodes", "get", None)},
    ("dra/claims/rebuild.c", "kube_get"): {CLAIM},
    ("dra/offer/publisher.c", "kube_get"): {("", "nodes", "get", None)},
    ("dra/admin/survey.c", "kube_get"): {("", "nodes", "get", None)},
    ("dra/offer/publisher.c", "kube_create"): {(*SLICES, "create", None)},
    ("dra/offer/publisher.c", "kube_replace"): {(*SLICES, "update", None)},
    ("dra/offer/publisher.c", "kube_delete"): {(*SLICES, "delete", None)},
    ("dra/offer/publisher.c", "kube_watch_new"): {(*SLICES, "list", None), (*SLICES, "watch", None)},
    ("dra/kube/settings.c", "kube_watch_new"): {(*KUBEVIRTS, "list", None), (*KUBEVIRTS, "watch", None)},
    ("dra/kube/event.c", "kube_create"): {("", "events", "create", "default")},
    ("dra/kube/watch.c", "kube_get"): set(),  # whoever calls kube_watch_new() says of what
    ("dra/kube/watch.c", "kube_stream"): set(),
}
PATHS = {  # by file: which objects, so that a call for another kind does not go unnoticed
    "dra/claims/job.c": {"kube_path_claim"}, "dra/claims/reconcile.c": {"kube_path_claim", "kube_path_node"},
    "dra/claims/rebuild.c": {"kube_path_claim"},
    "dra/offer/publisher.c": {"kube_path_node", "kube_path_slice", "KUBE_PATH_SLICES"},
    "dra/admin/survey.c": {"kube_path_node"}, "dra/kube/event.c": {"kube_path_events"},
    "dra/kube/settings.c": {"KUBE_PATH_KUBEVIRTS"},
}
n_checks = n_failed = 0


def check(is_well, sentence, *details):
    global n_checks, n_failed
    n_checks += 1
    n_failed += not is_well
    print(f"{'ok' if is_well else 'not ok'} {n_checks} {sentence}")
    for detail in () if is_well else details:
        print(f"# {detail}")


def skip(sentence, reason):
    global n_checks
    n_checks += 1
    print(f"ok {n_checks} {sentence} # skip {reason}")


def of_kind(things, kind):
    return [thing for thing in things if thing["kind"] == kind]


def container_of(things, name="driver"):
    container, = (each for each in kustomize.pod_spec(kustomize.one(things, "DaemonSet"))["containers"] if each["name"] == name)
    return container


# ---- what kustomize makes ----

def check_directories():
    for path in sorted(MANIFESTS.glob("**/kustomization.yaml")):
        kustomization, = kustomize.load(path)
        listed = {*kustomization.get("resources", []), *kustomization.get("components", [])}
        check(all((path.parent / name).exists() for name in listed), f"{path.relative_to(ROOT)}: what it lists is there")
        beside = {p.name for p in path.parent.glob("*.yaml")} - {"kustomization.yaml"}
        check(beside <= listed, f"{path.relative_to(ROOT)}: it lists what is there", beside - listed)
    for path in sorted(MANIFESTS.glob("**/*.yaml")):
        if not path.read_text().startswith("# SPDX-License-Identifier: Apache-2.0\n"):
            check(False, f"{path.relative_to(ROOT)} says its licence")


def real_kustomize(path):
    """None where there is none."""
    if not shutil.which("kubectl"):
        return None
    done = subprocess.run(["kubectl", "kustomize", str(path)], capture_output=True, text=True)
    return list(yaml.safe_load_all(done.stdout)) if done.returncode == 0 else done.stderr


def in_order(value, key=None):
    """Where order says nothing: of objects, and of lists that are merged by a key."""
    if isinstance(value, dict):
        return {name: in_order(item, name) for name, item in value.items()}
    if isinstance(value, list):
        items = [in_order(item) for item in value]
        return sorted(items, key=lambda item: json.dumps(item, sort_keys=True)) if key in kustomize.MERGE_KEYS or key is None else items
    return value


def check_against_kustomize(name, things):
    made = real_kustomize(MANIFESTS / "overlays" / name)
    if made is None:
        skip(f"{name}: kustomize makes the same of it", "no kubectl")
        return
    check(in_order(things) == in_order(made), f"{name}: kustomize makes the same of it", made if isinstance(made, str) else "")


# ---- names ----

def check_names(name, things):
    identities = [kustomize.identity(thing) for thing in things]
    check(len(set(identities)) == len(identities), f"{name}: no object is there twice")
    account = kustomize.one(things, "ServiceAccount")
    check(account["metadata"]["namespace"] == kustomize.one(things, "Namespace")["metadata"]["name"] == NAME,
          f"{name}: the ServiceAccount is in the namespace")
    for kind in ("ClusterRoleBinding", "RoleBinding"):
        for binding in of_kind(things, kind):
            roles = [r for r in of_kind(things, binding["roleRef"]["kind"])
                     if r["metadata"]["name"] == binding["roleRef"]["name"] and
                     r["metadata"].get("namespace") == binding["metadata"].get("namespace")]
            check(len(roles) == 1 and binding["subjects"] == [ACCOUNT],
                  f"{name}: {kind} {binding['metadata']['name']} binds the ServiceAccount to a role that is there")
    daemon_set = kustomize.one(things, "DaemonSet")
    template = daemon_set["spec"]["template"]
    check(daemon_set["metadata"]["namespace"] == NAME and template["spec"]["serviceAccountName"] == NAME,
          f"{name}: the DaemonSet runs as the ServiceAccount")
    check(daemon_set["spec"]["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items(),
          f"{name}: it selects its own pods")
    version = re.search(r"^VERSION \?= (\S+)$", (ROOT / "GNUmakefile").read_text(), re.M).group(1)
    image = re.search(r'^NAME = "(\S+)"', (MANIFESTS / "image/build").read_text(), re.M).group(1)
    check(container_of(things)["image"] == f"{image}:{version}", f"{name}: its image is called as `make image` calls it",
          container_of(things)["image"], f"{image}:{version}")


# ---- what it may ask of the API server ----

def calls_in_code():
    found, paths = set(), {}
    for path in sorted((ROOT / "dra").glob("**/*.c")):
        name = str(path.relative_to(ROOT))
        if name == "dra/kube/api.c":  # defines them
            continue
        text = path.read_text()
        verbs = re.findall(r"\b(kube_(?:get|create|replace|delete|stream|patch|watch_new))\(", text)
        if name == "dra/kube/watch.c":
            verbs = [verb for verb in verbs if verb != "kube_watch_new"]  # its definition
        found |= {(name, verb) for verb in verbs}
        named = set(re.findall(r"\b(kube_path_[a-z]+|KUBE_PATH_[A-Z]+)\b", text))
        if named:
            paths[name] = named
    return found, paths


def granted(things):
    """{(group, resource, verb, namespace)} of the ServiceAccount."""
    result = set()
    for role in of_kind(things, "ClusterRole") + of_kind(things, "Role"):
        if role["metadata"]["name"].endswith("-scc"):
            continue
        for rule in role["rules"]:
            if rule.keys() != {"apiGroups", "resources", "verbs"}:
                raise ValueError(f"a rule with {sorted(rule)}")
            result |= {(group, resource, verb, role["metadata"].get("namespace")) for group in rule["apiGroups"]
                       for resource in rule["resources"] for verb in rule["verbs"]}
    return result


def check_rbac(name, things):
    wanted = set().union(*CALLS.values())
    if name == "plugin-only":
        wanted = {call for call in wanted if call[1] in ("events", "kubevirts")}
    check(granted(things) == wanted, f"{name}: RBAC grants the calls that the driver makes, and no others",
          granted(things) ^ wanted)


def check_policy(name, things):
    policy, binding = kustomize.one(things, "ValidatingAdmissionPolicy"), kustomize.one(things, "ValidatingAdmissionPolicyBinding")
    spec = policy["spec"]
    check(binding["spec"] == {"policyName": policy["metadata"]["name"], "validationActions": ["Deny"]} and
          spec["failurePolicy"] == "Fail", f"{name}: the admission policy is bound, and denies")
    rule, = spec["matchConstraints"]["resourceRules"]
    written = {verb for group, resource, verb, _ in granted(things) if resource == "resourceslices"} - {"get", "list", "watch"}
    check(rule["resources"] == ["resourceslices"] and written <= {verb.lower() for verb in rule["operations"]},
          f"{name}: it covers every write to slices that RBAC grants")
    condition, = spec["matchConditions"]
    check(f'"system:serviceaccount:{NAME}:{NAME}"' in condition["expression"], f"{name}: it is about this ServiceAccount")
    text = " ".join(v["expression"] for v in spec["validations"])
    check(f'driver == "{DOMAIN}"' in text and "nodeName" in text and "tokenNode" in text,
          f"{name}: it holds the driver to its own node and name")


def check_classes(name, things):
    classes = {c["metadata"]["name"]: c["spec"] for c in of_kind(things, "DeviceClass")}
    check(classes.keys() == {DOMAIN, f"attested.{DOMAIN}"}, f"{name}: the two DeviceClasses are there", classes.keys())
    check(all(f'device.driver == "{DOMAIN}"' in s["selectors"][0]["cel"]["expression"] for s in classes.values()),
          f"{name}: they select this driver's devices")
    check("?attestation.orValue(false)" in classes[f"attested.{DOMAIN}"]["selectors"][0]["cel"]["expression"],
          f"{name}: an absent attribute is no error, which would keep pods pending")
    mapped = {n: s["extendedResourceName"] for n, s in classes.items() if "extendedResourceName" in s}
    check(mapped == ({DOMAIN: RESOURCE} if name == "dra" else {}),
          f"{name}: a class maps {RESOURCE} where the device plugin does not serve it, and only there", mapped)


# ---- what it may do on the node ----

def check_security(name, things):
    spec, container = kustomize.pod_spec(kustomize.one(things, "DaemonSet")), container_of(things)
    security = container["securityContext"]
    check(security["capabilities"] == {"drop": ["ALL"], "add": ["SETGID"]},
          f"{name}: it has no capability but the one to take a VM's groups")
    check(security["privileged"] is False and security["allowPrivilegeEscalation"] is False and
          security["readOnlyRootFilesystem"] is True, f"{name}: it is not privileged, and its root is read-only")
    check(spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, f"{name}: seccomp filters its calls")
    check(not any(spec.get(key) for key in ("hostNetwork", "hostPID", "hostIPC", "initContainers", "shareProcessNamespace")),
          f"{name}: it shares none of the host's namespaces")
    check(spec["priorityClassName"] == "system-node-critical", f"{name}: pods of less weight make room for it")
    for what in ("requests", "limits"):
        check(container["resources"][what].keys() == {"cpu", "memory"}, f"{name}: it has {what}")
    volumes = {v["name"]: v["hostPath"] for v in spec["volumes"]}
    mounts = {m["name"]: m for m in container["volumeMounts"]}
    check(volumes.keys() == mounts.keys(), f"{name}: each volume is mounted")
    check(all(m["mountPath"] in (volumes[n]["path"], "/host" + volumes[n]["path"]) and "mountPropagation" not in m
              for n, m in mounts.items()), f"{name}: paths are the same inside and outside")
    writable = {volumes[n]["path"] for n, m in mounts.items() if not m.get("readOnly")}
    expected = {f"{KUBELET}/plugins/{DOMAIN}", f"{KUBELET}/plugins_registry", f"{KUBELET}/device-plugins",
                "/var/run/cdi", "/var/run"}
    check(writable == expected, f"{name}: it writes where it must, and nowhere else", writable ^ expected)
    check(f"{KUBELET}/pod-resources" in {volumes[n]["path"] for n in mounts}, f"{name}: it is told who holds what")
    check(all(v["type"] in ("Directory", "DirectoryOrCreate") for v in volumes.values()) and
          not {"/", "/run", "/var/lib", KUBELET, f"{KUBELET}/plugins", "/sys"} & {v["path"] for v in volumes.values()},
          f"{name}: it has directories of its own purpose, and /var/run, where QGS's comes and goes")


def check_settings(name, things, shown):
    container = container_of(things)
    flags = {arg.split("=")[0] for arg in container["args"] if arg.startswith("--")}
    check(container["args"][0] == "run" and len(flags) == len(container["args"]) - 1, f"{name}: it is run")
    for flag in sorted(flags):
        check(re.search(rf"^  {flag} ", shown, re.M), f"{name}: the driver has the flag {flag}")
    variables = {v["name"]: v.get("value") or v["valueFrom"]["fieldRef"]["fieldPath"] for v in container["env"]}
    check(variables["NODE_NAME"] == "spec.nodeName" and variables["POD_UID"] == "metadata.uid",
          f"{name}: it is told its node and its pod")
    check(all(n in ("NODE_NAME", "POD_UID") or f"[{n}]" in shown for n in variables),
          f"{name}: the driver reads its variables", variables)
    check(variables["DRA_SERVE"] == {"dra": "dra", "plugin-only": "plugin"}.get(name, "both"),
          f"{name}: it serves the paths that it is named for")
    ports = {p["name"]: p["containerPort"] for p in container["ports"]}
    check(f"--listen=:{ports['http']}" in container["args"] and "hostPort" not in str(container["ports"]),
          f"{name}: it listens where it is asked")
    for probe, path in (("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
        check(container[probe]["httpGet"] == {"path": path, "port": "http"}, f"{name}: the {probe} asks {path}")
    update = kustomize.one(things, "DaemonSet")["spec"]["updateStrategy"]
    check(update == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
          f"{name}: an update starts the new one before it stops the old one")


def check_openshift(things):
    constraints = kustomize.one(things, "SecurityContextConstraints")
    check(not any(constraints[key] for key in constraints if key.startswith("allow") and
                  key not in ("allowHostDirVolumePlugin", "allowedCapabilities")) and
          constraints["allowedCapabilities"] == ["SETGID"] and constraints["requiredDropCapabilities"] == ["ALL"],
          "openshift: its SCC allows hostPath, SETGID and nothing else")
    annotations = kustomize.one(things, "DaemonSet")["spec"]["template"]["metadata"]["annotations"]
    role = kustomize.one(things, "Role", f"{NAME}-scc")
    check(annotations["openshift.io/required-scc"] == constraints["metadata"]["name"] and
          role["rules"][0]["resourceNames"] == [constraints["metadata"]["name"]] and role["rules"][0]["verbs"] == ["use"],
          "openshift: the pod asks for it by name, and may")


# Where each distribution's documents have kubelet's directories and CDI's; each component says the same by variables
# and mounts.
DISTRIBUTIONS = {
    "k0s": ("/var/lib/k0s/kubelet", f"{KUBELET}/device-plugins", "/var/run/cdi"),
    "k3s": (KUBELET, f"{KUBELET}/device-plugins", "/var/run/cdi"),
    "rke2": (KUBELET, f"{KUBELET}/device-plugins", "/var/run/cdi"),
    "microk8s": (f"/var/snap/microk8s/common{KUBELET}", f"{KUBELET}/device-plugins",
                 "/var/run/cdi"),
    "talos": (KUBELET, f"{KUBELET}/device-plugins", "/var/cdi/dynamic"),
}


def check_distribution(overlay, name, kubelet, device_plugins, cdi):
    things = kustomize.render(MANIFESTS / "components" / name, kustomize.render(MANIFESTS / "overlays" / overlay))
    container = container_of(things)
    volumes = {v["name"]: v["hostPath"]["path"] for v in kustomize.pod_spec(kustomize.one(things, "DaemonSet"))["volumes"]}
    mounts = {m["mountPath"]: (volumes[m["name"]], m.get("readOnly", False)) for m in container["volumeMounts"]}
    variables = {v["name"]: v.get("value") for v in container["env"]}
    wanted = {f"{kubelet}/plugins/{DOMAIN}": False, f"{kubelet}/plugins_registry": False,
              f"{kubelet}/pod-resources": True, device_plugins: False, cdi: False, "/host/var/run": False,
              "/host/sys/fs/cgroup": True}
    check({path: read_only for path, (_, read_only) in mounts.items()} == wanted,
          f"{name} on {overlay}: it sees the directories of {name}, and no other", mounts)
    check(all(path in (host, "/host" + host) for path, (host, _) in mounts.items()) and len(volumes) == len(mounts),
          f"{name} on {overlay}: paths are the same inside and outside")
    check((variables.get("DRA_KUBELET_DIR", KUBELET), variables.get("DRA_DEVICE_PLUGIN_DIR", f"{KUBELET}/device-plugins"),
           variables.get("DRA_CDI_DIR", "/var/run/cdi")) == (kubelet, device_plugins, cdi),
          f"{name} on {overlay}: the driver is told of them", variables)
    uid = "0c1ef3a4-6d1c-4d0e-9a40-2f6e2a3b4c5d"
    environment = {n: v for n, v in variables.items() if v} | {"NODE_NAME": "n", "POD_UID": uid}
    said = subprocess.run([DRIVER, "check", "--capacity", "1"], env=environment, capture_output=True, text=True).stdout
    check("node name, socket paths" in said and "FAIL  flags" not in said,
          f"{name} on {overlay}: the sockets of a pod fit", said)


def check_components():
    for name, paths in DISTRIBUTIONS.items():
        for overlay in ("both", "dra"):
            check_distribution(overlay, name, *paths)
    for path in sorted((MANIFESTS / "components").glob("nodes-*")):
        things = kustomize.render(path, kustomize.render(MANIFESTS / "overlays/dra"))
        selector = kustomize.pod_spec(kustomize.one(things, "DaemonSet"))["nodeSelector"]
        check(len(selector) == 3 and selector["kubernetes.io/arch"] == "amd64",
              f"{path.name} adds a label to those that nodes must have", selector)
    things = kustomize.render(MANIFESTS / "components/quote-relay", kustomize.render(MANIFESTS / "overlays/both"))
    driver, relay = kustomize.pod_spec(kustomize.one(things, "DaemonSet"))["containers"]
    check(relay["image"] == driver["image"], "quote-relay: the relay is of the driver's image", relay["image"])
    check({"name": "DRA_QGS", "value": "relay"} in driver["env"], "quote-relay: the driver is told of it")
    shared = {"name": "relay", "mountPath": "/run/dra-driver-tdx"}
    check(shared in driver["volumeMounts"] and shared in relay["volumeMounts"], "quote-relay: they share its directory")
    security = relay["securityContext"]
    check(security["capabilities"] == {"drop": ["ALL"], "add": ["SETGID", "SETUID"]} and security["readOnlyRootFilesystem"]
          and not security["allowPrivilegeEscalation"], "quote-relay: the relay has two capabilities and no more", security)



# ---- what people read ----

def check_examples():
    classes = {DOMAIN, f"attested.{DOMAIN}"}
    things = [t for p in sorted((MANIFESTS / "examples").glob("*.yaml")) for t in kustomize.load(p)]
    used = set(re.findall(r"deviceClassName'?: '?([a-z.]+)", str(things)))
    check(used == classes, "examples claim by both DeviceClasses", used)
    templates = {t["metadata"]["name"] for t in things if t.get("kind") == "ResourceClaimTemplate"}
    wanted = set(re.findall(r"'resourceClaimTemplateName': '([a-z-]+)'", str(things)))
    check(wanted == templates, "examples name templates that are there", wanted ^ templates)
    quota = next(t for t in things if t.get("kind") == "ResourceQuota")
    check(quota["spec"]["hard"].keys() == {f"requests.{RESOURCE}"} | {f"{c}.deviceclass.resource.k8s.io/devices" for c in classes},
          "the quota counts the resource and both classes")
    stories = re.findall(r"^- As an? (.+?),", (ROOT / "manifests/examples/README.md").read_text(), re.M)
    check(len(stories) == 3, "each user story of VEP 107 has its example", stories)


def check_readers():
    for page in (ROOT / "README.md", MANIFESTS / "examples/README.md"):
        named = set(re.findall(r"\bmanifests/[A-Za-z0-9_./-]*[A-Za-z0-9]", page.read_text()))
        check(all((ROOT / name).exists() for name in named), f"{page.relative_to(ROOT)}: the manifests it names are there",
              [name for name in named if not (ROOT / name).exists()])
    readme = (ROOT / "README.md").read_text()
    applied = set(re.findall(r"kubectl \S+ -k manifests/overlays/(\S+)", readme))
    check(applied and applied <= set(OVERLAYS), "README: kubectl is given overlays that are there", applied)
    check(all(f"`{name}`" in readme for name in OVERLAYS), "README: each overlay is in its table")


def main():
    check({p.name for p in (MANIFESTS / "overlays").iterdir()} == set(OVERLAYS), "the overlays are those that are tested")
    check_directories()
    found, paths = calls_in_code()
    check(found == CALLS.keys(), "every call to the API server is in this test's table: give it, and manifests/base/rbac.yaml, the new one",
          found ^ CALLS.keys())
    check(paths == PATHS, "and so is what it is about", paths)
    shown = subprocess.run([DRIVER, "--help"], capture_output=True, text=True).stdout
    for name in OVERLAYS:
        things = kustomize.render(MANIFESTS / "overlays" / name)
        check_against_kustomize(name, things)
        check_names(name, things)
        check_rbac(name, things)
        check_security(name, things)
        check_settings(name, things, shown)
        if name == "plugin-only":
            check(not [t for t in things if "resource.k8s.io" in str(t)], f"{name}: it asks nothing of resource.k8s.io")
        else:
            check_policy(name, things)
            check_classes(name, things)
        if name == "openshift":
            check_openshift(things)
    check_components()
    check_examples()
    check_readers()
    print(f"1..{n_checks}")
    return 1 if n_failed else 0


sys.exit(main())
