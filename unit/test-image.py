#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The container image: the same bytes twice, nothing in it but what is wanted, and the driver runs in
it as the DaemonSet has it run: these mounts, this user, CAP_SETGID alone, a read-only root. TAP.

The second half runs in mount namespaces of its own, over a host of empty directories, between the
stand-ins for kubelet and the API server. It needs root, or user namespaces.
"""

import concurrent.futures
import gzip
import hashlib
import io
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import time

sys.dont_write_bytecode = True
ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "e2e/sim"))

import pod as manifest  # noqa: E402, the path comes first

DRIVER = pathlib.Path(os.environ.get("DRIVER", ROOT / "build/plain-gcc/dra-driver-tdx"))
RELAY = DRIVER.with_name("tdx-quote-relay")
SIM = ROOT / "e2e/sim"
VERSION = "1.2.3"
EPOCH = 1700000000
MIB = 2**20
SIZE_MAX = 12 * MIB
PROGRAMS = ("usr/bin/dra-driver-tdx", "usr/bin/tdx-quote-relay")
SBOM = "usr/share/doc/dra-driver-tdx/sbom.spdx.json"
POD_UID = "7b0a1e4c-2f7e-4a53-9d53-0d6a8f0a5a11"
NODE = "node1"
API_NAME = "kubernetes.default.svc.test"

n_checks = n_failed = 0


def check(is_well, sentence, *details):
    global n_checks, n_failed
    n_checks += 1
    n_failed += not is_well
    print(f"{'ok' if is_well else 'not ok'} {n_checks} {sentence}", flush=True)
    for detail in () if is_well else details:
        print("# " + str(detail).replace("\n", "\n# "))


def sha256(content):
    return "sha256:" + hashlib.sha256(content).hexdigest()


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


# ---- the archive ----

def build(directory, zone, umask):
    directory.mkdir()
    archive = directory / "dra-driver-tdx.oci.tar"
    done = subprocess.run([ROOT / "manifests/image/build", DRIVER, RELAY, VERSION, archive], cwd=directory,
                          capture_output=True, text=True, umask=umask,
                          env={"PATH": os.environ["PATH"], "TZ": zone, "SOURCE_DATE_EPOCH": str(EPOCH)})
    if done.returncode:
        raise SystemExit(f"manifests/image/build failed: {done.stderr}")
    return archive, directory / "dra-driver-tdx.spdx.json", done.stdout


def check_archive(archive):
    """Returns the layer, unpacked from its gzip."""
    with tarfile.open(archive) as tar:
        files = {entry.name: tar.extractfile(entry).read() for entry in tar if entry.isfile()}
    blobs = {name.removeprefix("blobs/sha256/"): content for name, content in files.items() if "blobs/" in name}
    check(all(sha256(content) == f"sha256:{name}" for name, content in blobs.items()),
          "every blob is what its name says")
    used = set()

    def follow(descriptor):
        name = descriptor["digest"].removeprefix("sha256:")
        used.add(name)
        check(len(blobs.get(name, b"")) == descriptor["size"], f"{descriptor['mediaType']} has its size")
        return blobs[name]

    index = json.loads(files["index.json"])
    described, = index["manifests"]
    manifest = json.loads(follow(described))
    config = json.loads(follow(manifest["config"]))
    packed, = (follow(layer) for layer in manifest["layers"])
    layer = gzip.decompress(packed)
    check(used == blobs.keys(), "no blob is left over")
    check(json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}, "it is an OCI layout")
    check(config["rootfs"]["diff_ids"] == [sha256(layer)], "the layer's diff_id is the unpacked layer's")
    check((config["architecture"], config["os"]) == ("amd64", "linux"), "it is for linux/amd64")
    check(config["config"]["Entrypoint"] == ["/usr/bin/dra-driver-tdx"], "it runs the driver")
    check(described["annotations"]["io.containerd.image.name"] == f"localhost/dra-driver-tdx:{VERSION}",
          "it has a name that containerd takes")
    labels = config["config"]["Labels"]
    check(labels["org.opencontainers.image.version"] == VERSION and
          labels["org.opencontainers.image.licenses"] == "Apache-2.0" and
          re.fullmatch(r"[0-9a-f]{40}(-dirty)?|unknown", labels["org.opencontainers.image.revision"]) is not None,
          "its labels tell version, licence and revision", labels)
    check(packed[4:8] == bytes(4) and not packed[3], "the gzip has neither time nor name")
    return layer


def check_layer(layer, root):
    with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
        entries = tar.getmembers()
        tar.extractall(root)
    files = {entry.name: entry for entry in entries if entry.isfile()}
    check([e.name for e in entries] == sorted(e.name for e in entries), "entries are sorted")
    check(all((e.uid, e.gid, e.uname, e.gname, e.mtime) == (0, 0, "", "", EPOCH) for e in entries),
          "everything is root's, of one time")
    check(all(e.isfile() or e.isdir() for e in entries), "there are files and directories only, no links")
    loader = "lib64/ld-linux-x86-64.so.2"
    check({n for n, e in files.items() if e.mode != 0o644} == {*PROGRAMS, loader} and
          all(e.mode == 0o755 for n, e in files.items() if e.mode != 0o644),
          "the driver, the relay and the loader are executable, and nothing is set-id")
    # ldd asks the loader; the image's builder read the ELF headers.
    wanted = {"usr/lib/x86_64-linux-gnu/" + name for binary in (DRIVER, RELAY)
              for name in re.findall(r"^\s*(\S+) => /", output("ldd", binary), re.M)}
    there = {name for name in files if ".so" in name} - {loader}
    check(there == wanted, "the libraries are those that the two need", sorted(there ^ wanted))
    others = {name for name in files.keys() - there
              if not re.fullmatch(r"usr/share/(doc/[a-z0-9.+-]+/copyright|common-licenses/[A-Za-z0-9.-]+)", name)}
    check(others == {*PROGRAMS, loader, "etc/ssl/certs/ca-certificates.crt", SBOM},
          "nothing else is there but certificates, licences and the bill of materials", sorted(others))
    certificates = (root / "etc/ssl/certs/ca-certificates.crt").read_text()
    check(certificates.count("BEGIN CERTIFICATE") > 100, "there are CA certificates")
    sections = "".join(output("readelf", "--wide", "--sections", str(root / program)) for program in PROGRAMS)
    check(".symtab" not in sections and ".debug_info" not in sections, "both programs are stripped")
    needed = output("readelf", "--dynamic", str(root / PROGRAMS[1]))
    check("libseccomp" in needed and not re.search("curl|grpc|ssl", needed), "the relay needs no HTTP library", needed)
    return files


def check_sbom(sbom, files, root):
    document = json.loads(sbom.read_bytes())
    check(sbom.read_bytes() == (root / SBOM).read_bytes(), "the bill of materials beside is the one inside")
    check((document["spdxVersion"], document["dataLicense"], document["SPDXID"]) ==
          ("SPDX-2.3", "CC0-1.0", "SPDXRef-DOCUMENT") and document["documentNamespace"].startswith("https://") and
          document["creationInfo"]["created"] == "2023-11-14T22:13:20Z" and document["creationInfo"]["creators"],
          "it is an SPDX 2.3 document of the source's date")
    listed = {f["fileName"].removeprefix("./"): {c["algorithm"]: c["checksumValue"] for c in f["checksums"]}
              for f in document["files"]}
    check(listed.keys() == files.keys() - {SBOM}, "it lists every file but itself", listed.keys() ^ files.keys())
    check(all(sums["SHA256"] == sha256((root / name).read_bytes())[7:] and len(sums["SHA1"]) == 40
              for name, sums in listed.items()), "with the checksums that they have")
    packages = {p["SPDXID"]: p for p in document["packages"]}
    ids = packages.keys() | {f["SPDXID"] for f in document["files"]} | {"SPDXRef-DOCUMENT"}
    check(len(ids) == len(packages) + len(listed) + 1 and
          all(re.fullmatch(r"SPDXRef-[A-Za-z0-9.-]+", name) for name in ids), "identifiers are well formed and unique")
    links = [(r["spdxElementId"], r["relationshipType"], r["relatedSpdxElement"]) for r in document["relationships"]]
    check(all(a in ids and b in ids for a, _, b in links), "relationships are between what is there")
    check(all(p["downloadLocation"] and p["versionInfo"] and p["licenseDeclared"] and p["name"] and
              "filesAnalyzed" in p for p in packages.values()), "packages have what SPDX demands")
    debian = {p["name"]: p["versionInfo"] for p in packages.values() if p["supplier"] == "Organization: Debian"}
    installed = dict(line.split() for line in output(
        "dpkg-query", "--show", "--showformat", "${Package} ${Version}\n", *debian).splitlines())
    check(debian == installed, "packages have their installed versions", debian, installed)
    by_name = {p["name"]: p for p in packages.values()}
    check(by_name["libcurl4"]["licenseDeclared"] == "curl" and by_name["libc6"]["licenseDeclared"] == "NOASSERTION",
          "licences are those of machine-readable copyright files, or not asserted")
    linked = {kind: {packages[b]["name"] for _, k, b in links if k == kind} for kind in ("STATIC_LINK", "DYNAMIC_LINK")}
    of_relay = {packages[b]["name"] for a, k, b in links if k in linked and packages[a]["name"] == "tdx-quote-relay"}
    check("libseccomp2" in of_relay and not {"libgrpc-dev", "libcurl4"} & of_relay,
          "it tells the relay's libraries from the driver's", of_relay)
    check("libgrpc-dev" in linked["STATIC_LINK"] and {"libcurl4", "libc6"} <= linked["DYNAMIC_LINK"],
          "what was linked in is told from what is loaded", linked)
    check(all((root / "usr/share/doc" / name / "copyright").is_file() for name in debian),
          "each package's licence goes with it")


# ---- the driver in it ----

CAP_SETGID = 6


def enter(root, privileges):
    """privileges: as e2e/sim/pod.py reads them from the manifests."""
    os.chroot(root)
    os.chdir("/")
    privileges.take_privileges()


def mount(*arguments):
    subprocess.run(["mount", *map(str, arguments)], check=True)


def eventually(seconds, condition):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def make_certificate(directory):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-days", "2", "-subj", "/CN=test", "-addext", f"subjectAltName=DNS:{API_NAME},IP:127.0.0.1",
                    "-keyout", directory / "tls.key", "-out", directory / "tls.crt"], check=True, capture_output=True)


class Pod:
    """The DaemonSet's container of one overlay, on a host whose directories are this namespace's."""

    def __init__(self, overlay, image, directory, api_port):
        self.privileges = manifest.Pod(overlay)
        self.container = self.privileges.container
        self.root = directory / "root"
        self.log = directory / "log"
        shutil.copytree(image, self.root)
        self.service_account = self.root / "var/run/secrets/kubernetes.io/serviceaccount"
        self.service_account.mkdir(parents=True)
        (self.service_account / "token").write_text("a-token")
        shutil.copy(directory.parent / "tls.crt", self.service_account / "ca.crt")
        (self.root / "etc/hosts").write_text(f"127.0.0.1 {API_NAME}\n")
        self.mount_volumes()
        self.env = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(api_port)}
        for variable in self.container["env"]:
            field = variable.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath")
            self.env[variable["name"]] = variable.get("value") or {"spec.nodeName": NODE, "metadata.uid": POD_UID}[field]

    def mount_volumes(self):
        points = [self.root / each.path.lstrip("/") for each in self.privileges.mounts]
        for point in points:
            point.mkdir(parents=True, exist_ok=True)
        os.mkdir(self.root / "proc")
        mount("--bind", self.root, self.root)
        if self.privileges.is_read_only:
            mount("-o", "remount,bind,ro", self.root)
        mount("--rbind", "/proc", self.root / "proc")
        for each, point in zip(self.privileges.mounts, points):
            each.prepare()
            mount("--bind", each.host_path, point)
            if each.is_read_only:
                mount("-o", "remount,bind,ro", point)

    def command(self, *arguments):
        return ["/usr/bin/dra-driver-tdx", *arguments]

    def once(self, *arguments):
        done = subprocess.run(self.command(*arguments), preexec_fn=lambda: enter(self.root, self.privileges), env=self.env,
                              capture_output=True, text=True)
        return done.stdout + done.stderr

    def start(self):
        flags = [flag for flag in self.container["args"] if is_known(flag)]
        self.process = subprocess.Popen(self.command(*flags), env=self.env,
                                        preexec_fn=lambda: enter(self.root, self.privileges),  # noqa: PLW1509, one thread
                                        stdout=self.log.open("w"), stderr=subprocess.STDOUT)

    def stop(self):
        self.process.terminate()
        return self.process.wait(20)


def is_known(flag):
    """A flag that this build does not have yet is unit/test-manifests.py's business."""
    return not flag.startswith("--") or flag.split("=")[0] + " " in output(DRIVER, "--help")


class Host:
    """Empty directories where a node has its own, a kubelet and an API server."""

    def __init__(self, directory):
        self.directory = directory
        self.processes = []
        mount("--make-rprivate", "/")
        for path in ("/var/lib", "/run", "/sys/fs/cgroup"):
            mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", path)
        pathlib.Path("/sys/fs/cgroup/misc.capacity").write_text("tdx 4\n")
        # What kubelet makes itself, whether or not the stand-in needs it.
        for path in ("", "device-plugins", "pod-resources", "plugins_registry"):
            os.makedirs(os.path.join("/var/lib/kubelet", path), 0o750, exist_ok=True)
        make_certificate(directory)
        self.start("apiserver-sim", "--control", directory / "api.ctl", "--port-file", directory / "api.port",
                   "--node", f"{NODE}:11111111-2222-3333-4444-555555555555", "--token", "a-token",
                   "--tls-cert", directory / "tls.crt", "--tls-key", directory / "tls.key")
        assert eventually(10, lambda: self.ask("api", "ok")), (directory / "apiserver-sim.log").read_text()
        self.port = int((directory / "api.port").read_text())
        self.start("kubelet-sim", "--dir", "/var/lib/kubelet", "--control", directory / "kubelet.ctl", "--node", NODE,
                   "--api", f"https://127.0.0.1:{self.port}", "--token", "a-token", "--no-devices")
        assert eventually(10, lambda: self.ask("kubelet", "plugins")), (directory / "kubelet-sim.log").read_text()
        self.registrar = socket.socket(socket.AF_UNIX)  # one that never answers: the plugin listens before it asks
        self.registrar.bind("/var/lib/kubelet/device-plugins/kubelet.sock")
        self.registrar.listen()

    def start(self, name, *arguments):
        log = (self.directory / f"{name}.log").open("w")
        self.processes.append(subprocess.Popen([SIM / name, *arguments], stdout=log, stderr=log))

    def ask(self, whom, *words):
        return subprocess.run([SIM / "ctl", self.directory / f"{whom}.ctl", *words], capture_output=True).returncode == 0

    def leave(self):
        for process in self.processes:
            process.terminate()
            process.wait()


def check_runs(image, directory):
    host = Host(directory)
    for overlay in ("dra", "plugin-only", "both"):
        work = directory / overlay
        work.mkdir()
        pod = Pod(overlay, image, work, host.port)
        if overlay == "dra":
            check(pod.once("version").startswith("dra-driver-tdx "), "the driver tells its version in the image")
            shown = pod.once("inspect")
            check("node       node1" in shown and "capacity   " in shown, "and inspects its node", shown)
            shown = pod.once("check", "--api-server", f"https://{API_NAME}:{host.port}",
                             "--ca-file", "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt",
                             "--token-file", "/var/run/secrets/kubernetes.io/serviceaccount/token")
            check(re.search(rf"^ok +API server +https://{API_NAME}", shown, re.M) is not None,
                  "and reaches an HTTPS server by name, /etc/hosts being all that it has", shown)
        pod.start()
        if overlay != "plugin-only":
            is_registered = host.ask("kubelet", "wait-registered", "tdx.kubevirt.io", "10s")
            check(is_registered, f"{overlay}: kubelet registers the driver, run as the DaemonSet has it", pod.log.read_text())
            check(host.ask("api", "wait-devices", "4", "10s"), f"{overlay}: its slices are published", pod.log.read_text())
            claim = f"default/{overlay}"
            host.ask("api", "claim", claim, "tdx1")
            check(host.ask("kubelet", "prepare", claim) and host.ask("kubelet", "unprepare", claim),
                  f"{overlay}: a claim is prepared and unprepared", pod.log.read_text())
            check(os.path.exists("/run/cdi/kubevirt.io-tdx.json"), f"{overlay}: the CDI spec is on the host")
        if overlay != "dra":
            check(eventually(10, lambda: os.path.exists("/var/lib/kubelet/device-plugins/dra-driver-tdx.sock")),
                  f"{overlay}: the device plugin listens", pod.log.read_text())
        text = pathlib.Path(f"/proc/{pod.process.pid}/status").read_text()
        check(all(re.search(rf"^{of}:\s0*{1 << CAP_SETGID:x}$", text, re.M) for of in ("CapEff", "CapBnd")),
              f"{overlay}: it has SETGID and no other capability")
        status = pod.stop()
        log = pod.log.read_text()
        check(status == 0, f"{overlay}: it stops in an orderly way", log)
        check(not re.search(r"Permission denied|Read-only|not permitted", log), f"{overlay}: nothing was denied to it", log)
    host.leave()


def main():
    if "san-" in DRIVER.parent.name or "asan" in DRIVER.parent.name or "tsan" in DRIVER.parent.name:
        print("ok 1 the image # skip a sanitizer's build is for no image\n1..1")
        return 0
    with tempfile.TemporaryDirectory(prefix="dra-image.") as name:
        directory = pathlib.Path(name)
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            (archive, sbom, said), (other, *_) = pool.map(
                build, (directory / "a", directory / "somewhere-else"), ("UTC", "Asia/Tokyo"), (0o022, 0o077))
        check(archive.read_bytes() == other.read_bytes(), "built twice, it has the same bytes")
        check(said.splitlines()[-1] == str(archive), "its path is the last line printed", said)
        check(archive.stat().st_size < SIZE_MAX, f"it is {archive.stat().st_size / MIB:.1f} MiB, less than 12")
        image = directory / "image"
        image.mkdir()
        files = check_layer(check_archive(archive), image)
        check_sbom(sbom, files, image)
        print(f"# {n_checks} so far", flush=True)
        # The namespace ends with the child, and the mounts with it.
        child = subprocess.run([*unshare(), sys.executable, __file__, "--inside", image, directory, str(n_checks)])
        child_checks = (directory / "checks").read_text() if (directory / "checks").exists() else ""
        if child.returncode not in (0, 1) or not child_checks:
            check(False, "the driver was run in the image", f"status {child.returncode}")
        print(f"1..{child_checks or n_checks}")
        return 1 if n_failed or child.returncode else 0


def unshare():
    return ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]


def inside(image, directory, n_before):
    global n_checks
    n_checks = n_before
    os.mkdir(directory / "host")
    check_runs(image, directory / "host")
    (directory / "checks").write_text(str(n_checks))
    return 1 if n_failed else 0


if sys.argv[1:2] == ["--inside"]:
    sys.exit(inside(pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3]), int(sys.argv[4])))
sys.exit(main())
