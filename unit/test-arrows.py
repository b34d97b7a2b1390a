#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""unit/arrows finds each kind of wrong include, and nothing in the tree as it is. TAP."""

import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent

# (what it is, file, the line to plant, what the finding has to say)
PLANTED = [
    ("base looks up to kube", "dra/base/file.c", '#include "kube/api.h"', "base may not include kube/api.h"),
    ("base knows devices", "dra/base/parse.c", '#include "device.h"', "base may not include device.h"),
    ("cdi knows the host", "cdi/store.c", '#include "host/boot.h"', "cdi may not include host/boot.h"),
    ("cdi knows the configuration", "cdi/spec.c", '#include "config.h"', "cdi may not include config.h"),
    ("rpc knows kube", "dra/rpc/client.c", '#include "kube/api.h"', "rpc may not include kube/api.h"),
    ("rpc knows the ledger", "dra/rpc/server.h", '#include "ledger.h"', "rpc may not include ledger.h"),
    ("kube knows rpc", "dra/kube/http.c", '#include "rpc/pump.h"', "kube may not include rpc/pump.h"),
    ("kube knows the host", "dra/kube/kubevirt.c", '#include "host/qgs_path.h"', "kube may not include host/qgs_path.h"),
    ("host knows attestation", "dra/host/module.c", '#include "attestation.h"', "host may not include attestation.h"),
    ("host knows kube", "dra/host/dirwatch.c", '#include "kube/watch.h"', "host may not include kube/watch.h"),
    ("claims knows plugin", "dra/claims/prepare.c", '#include "plugin/plugin.h"', "claims may not include plugin/plugin.h"),
    ("claims knows offer", "dra/claims/service.c", '#include "offer/inventory.h"', "claims may not include offer/inventory.h"),
    ("plugin knows claims", "dra/plugin/plugin.c", '#include "claims/prepare.h"', "plugin may not include claims/prepare.h"),
    ("plugin knows offer", "dra/plugin/service.c", '#include "offer/publisher.h"', "plugin may not include offer/publisher.h"),
    ("offer knows claims", "dra/offer/publisher.c", '#include "claims/records.h"', "offer may not include claims/records.h"),
    ("offer knows plugin", "dra/offer/inventory.c", '#include "plugin/holdings.h"', "offer may not include plugin/holdings.h"),
    ("offer knows admin", "dra/offer/device_health.c", '#include "admin/status.h"', "offer may not include admin/status.h"),
    ("the ledger knows its holders", "dra/ledger.c", '#include "claims/records.h"', "ledger may not include claims/records.h"),
    ("config knows the daemon", "dra/config.c", '#include "daemon.h"', "config may not include daemon.h"),
    ("attestation knows the offers", "dra/attestation.c", '#include "offer/inventory.h"', "attestation may not include offer/inventory.h"),
    ("admin knows the daemon", "dra/admin/status.c", '#include "daemon.h"', "admin may not include daemon.h"),
    ("main goes past the daemon", "dra/main.c", '#include "ledger.h"', "main may not include ledger.h"),
    ("gRPC outside rpc", "dra/claims/service.c", "#include <grpc/grpc.h>", "grpc/grpc.h belongs in rpc"),
    ("protobuf-c outside rpc", "dra/plugin/service.c", "#include <protobuf-c/protobuf-c.h>",
     "protobuf-c/protobuf-c.h belongs in rpc"),
    ("curl outside http", "dra/kube/api.c", "#include <curl/curl.h>", "curl/curl.h belongs in kube/http.c"),
    ("cJSON outside json", "cdi/spec.c", "#include <cjson/cJSON.h>", "cjson/cJSON.h belongs in base/json.c"),
    ("libmicrohttpd outside pages", "dra/admin/status.c", "#include <microhttpd.h>", "microhttpd.h belongs in admin/pages.c"),
    ("libuv in cdi", "cdi/store.c", "#include <uv.h>", "uv.h belongs in"),
    ("a kubelet message of the other path", "dra/claims/service.c", '#include "deviceplugin.pb-c.h"',
     "deviceplugin.pb-c.h belongs in plugin"),
    ("a pure file gets a loop", "dra/offer/sliceplan.c", "#include <uv.h>", "is pure, and includes uv.h"),
    ("a pure file speaks gRPC", "dra/plugin/sharing.h", '#include "rpc/server.h"', "is pure, and includes rpc/server.h"),
    ("a pure file looks at the host", "dra/claims/record.c", '#include "host/boot.h"', "is pure, and includes host/boot.h"),
    ("a pure file speaks HTTP", "dra/kube/slice.c", '#include "kube/api.h"', "is pure, and includes kube/api.h"),
    ("two headers include each other", "dra/base/text.h", '#include "base/json.h"', "a circle of"),
    ("two files include each other", "dra/base/error.c", '#include "base/json.h"', "a circle of"),
    ("a file that is not there", "dra/ledger.c", '#include "claims/nothing.h"', "there is no claims/nothing.h"),
]


def run(tree):
    done = subprocess.run([sys.executable, ROOT / "unit/arrows", tree], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


def planted(name, line):
    """The findings for a copy of the tree with one line more."""
    with tempfile.TemporaryDirectory() as copy:
        tree = pathlib.Path(copy)
        for part in ("dra", "cdi"):
            shutil.copytree(ROOT / part, tree / part)
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        old = path.read_text() if path.exists() else "\n"
        path.write_text(line + "\n" + old)
        return run(tree)


def main():
    results = []
    status, output = run(ROOT)
    results.append(("the tree as it is has no finding", status == 0 and not output, output))
    status, output = planted("dra/attic/x.c", '#include "base/text.h"')
    results.append(("a room that is not listed", status == 1 and "not in the list" in output, output))
    for what, name, line, said in PLANTED:
        status, output = planted(name, line)
        results.append((what, status == 1 and said in output, output))
    print(f"1..{len(results)}")
    for number, (what, is_well, output) in enumerate(results, 1):
        print("ok" if is_well else "not ok", number, what)
        if not is_well:
            print("".join(f"# {line}\n" for line in output.splitlines() or ["found nothing"]), end="")
    return 0 if all(is_well for _, is_well, _ in results) else 1


if __name__ == "__main__":
    sys.exit(main())
