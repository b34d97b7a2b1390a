# SPDX-License-Identifier: Apache-2.0
"""The driver's container as manifests/ has it, and no other place says so: user, groups,
capabilities, mounts, read-only root. What these manifests do not use is an error.

Not taken over: seccomp, limits, SELinux, and the network, which is that of the caller.
"""

import ctypes
import os
import pathlib
import sys

import mounts

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "unit"))

import kustomize  # noqa: E402  the path comes first

# In the kernel's order (linux/capability.h).
CAPABILITIES = """chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap
    linux_immutable net_bind_service net_broadcast net_admin net_raw ipc_lock ipc_owner sys_module
    sys_rawio sys_chroot sys_ptrace sys_pacct sys_admin sys_boot sys_nice sys_resource sys_time
    sys_tty_config mknod lease audit_write audit_control setfcap mac_override mac_admin syslog
    wake_alarm block_suspend audit_read perfmon bpf checkpoint_restore""".upper().split()
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 24, 38, 47, 4
LINUX_CAPABILITY_VERSION_3 = 0x20080522


class Unknown(Exception):
    """The manifest asks for something that is not taken over here."""


class CapabilityHeader(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class CapabilitySets(ctypes.Structure):
    _fields_ = [(f"{name}{word}", ctypes.c_uint32) for word in (0, 1)
                for name in ("effective", "permitted", "inheritable")]


def only(mapping, *known):
    unknown = set(mapping) - set(known)
    if unknown:
        raise Unknown(f"not simulated: {', '.join(sorted(unknown))}")
    return mapping


class Mount:
    """One of the container's: where from, where to, and whether it is read-only."""

    def __init__(self, entry, volume):
        only(entry, "name", "mountPath", "readOnly", "mountPropagation")
        only(volume, "name", "hostPath")
        only(volume["hostPath"], "path", "type")
        self.name = entry["name"]
        self.host_path = volume["hostPath"]["path"]
        self.path = entry["mountPath"]
        self.type = volume["hostPath"].get("type", "")
        self.is_read_only = entry.get("readOnly", False)
        self.follows_host = entry.get("mountPropagation", "None") != "None"

    def move(self, renamed, replaced):
        """On a host whose directories are elsewhere. Renamed: where the manifest mounts a path as
        itself, or below another root, so it is here. Replaced: the container sees the manifest's path."""
        moved = max((old for old in renamed | replaced if (self.host_path + "/").startswith(old + "/")),
                    key=len, default=None)
        if moved is None:
            raise Unknown(f"no --host or --behind for {self.host_path}")
        host_path = (renamed | replaced)[moved] + self.host_path[len(moved):]
        if moved in renamed and self.path.endswith(self.host_path):
            self.path = self.path[:-len(self.host_path)] + host_path
        self.host_path = host_path

    def prepare(self):
        """As kubelet does by the volume's type."""
        if self.type in ("DirectoryOrCreate", ""):
            os.makedirs(self.host_path, exist_ok=True)
        elif self.type != "Directory":
            raise Unknown(f"hostPath type {self.type}")
        elif not os.path.isdir(self.host_path):
            raise OSError(f"hostPath type check failed: {self.host_path} is not a directory")


class Pod:
    """A container of the DaemonSet's pod of one overlay."""

    def __init__(self, overlay, name="driver"):
        objects = kustomize.render(ROOT / "manifests/overlays" / overlay)
        self.spec = kustomize.pod_spec(kustomize.one(objects, "DaemonSet"))
        self.container, = (each for each in self.spec["containers"] if each["name"] == name)
        volumes = {volume["name"]: volume for volume in self.spec["volumes"]}
        self.mounts = [Mount(entry, volumes[entry["name"]]) for entry in self.container["volumeMounts"]]
        self.mounts.sort(key=lambda mount: mount.path.count("/"))
        of_pod = only(self.spec.get("securityContext", {}), "seccompProfile", "supplementalGroups", "fsGroup")
        security = only(self.container["securityContext"], "privileged", "allowPrivilegeEscalation",
                        "readOnlyRootFilesystem", "runAsUser", "runAsGroup", "runAsNonRoot", "capabilities",
                        "seccompProfile")
        if security.get("privileged") or security["capabilities"].get("drop") != ["ALL"]:
            raise Unknown("a container that does not drop all capabilities")
        self.uid, self.gid = security["runAsUser"], security["runAsGroup"]
        self.groups = of_pod.get("supplementalGroups", []) + [
            of_pod[name] for name in ("fsGroup",) if name in of_pod]
        self.is_read_only = security["readOnlyRootFilesystem"]
        self.no_new_privileges = not security["allowPrivilegeEscalation"]
        self.capabilities = only(security["capabilities"], "drop", "add").get("add", [])

    @property
    def capability_mask(self):
        return sum(1 << CAPABILITIES.index(name) for name in self.capabilities)

    def take_privileges(self):
        """This process comes to have those of the container. A runtime sets the same sets, and
        leaves them over the exec to those who are root."""
        mask = self.capability_mask
        for number in range(64):
            if not mask >> number & 1:
                mounts.libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0)
        mounts.libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
        if os.geteuid() == 0 and may_set_groups():
            os.setgroups(self.groups)
        os.setresgid(self.gid, self.gid, self.gid)
        os.setresuid(self.uid, self.uid, self.uid)
        if self.no_new_privileges:
            mounts.check(mounts.libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
        if self.uid == 0:
            low, high = mask & 0xffffffff, mask >> 32
            header = CapabilityHeader(LINUX_CAPABILITY_VERSION_3, 0)
            mounts.check(mounts.libc.capset(ctypes.byref(header), ctypes.byref(
                CapabilitySets(low, low, 0, high, high, 0))), "capset")


def may_set_groups():
    """Not in a user namespace that someone other than root has made."""
    with open("/proc/self/setgroups") as file:
        return file.read().strip() == "allow"
