#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Whatever the API server answers, the driver stays well below the memory limit of manifests/base (64 MiB).

setup() {
        load scenario
        enter_node 70
}
teardown() { leave_node; }

peak_is_below() { # MIB: the most that was ever resident, shared libraries included
        if [[ $DRIVER != */plain-* ]]; then
                echo "not measured: a sanitizer needs several times as much memory"
                return
        fi
        local kib
        kib=$(awk '/^VmHWM/ { print $2 }' "/proc/$(pid_of driver)/status")
        echo "peak $kib KiB"
        [ "$kib" -le $(($1 * 1024)) ]
}

# "user": the largest claims that a user can make, 32 opaque configs of 10 KiB, which the scheduler copies into the
# allocation; each is as dense as JSON gets. "server": 2 MB, with as many values as the driver accepts.
largest_claims() { # KIND NUMBER: in the API server
        local i
        /usr/bin/python3 - "$T" "$NODE" "$1" "$2" <<'PY'
import json, sys
directory, node, kind, number = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
parameters = [{"opaque": {"driver": "other.example.com", "parameters": {"a": [1] * 5100}}} for _ in range(32)]
config = parameters if kind == "user" else []
rest = {} if kind == "user" else {"x": [1] * 99900, "y": "y" * 1800000}
for i in range(number):
    claim = {
        "kind": "ResourceClaim", "apiVersion": "resource.k8s.io/v1", **rest,
        "metadata": {"name": f"c{i}", "namespace": "default", "uid": f"00000000-0000-4000-8000-{i:012}"},
        "spec": {"devices": {"config": config, "requests": [
            {"name": "tdx", "exactly": {"deviceClassName": "tdx.kubevirt.io", "allocationMode": "ExactCount", "count": 1}}]}},
        "status": {"reservedFor": [{"resource": "pods", "name": f"c{i}", "uid": f"00000000-0000-4000-9000-{i:012}"}],
                   "allocation": {"devices": {
                       "config": [{"source": "FromClaim", **entry} for entry in config],
                       "results": [{"request": "tdx", "driver": "tdx.kubevirt.io", "pool": node, "device": f"tdx{i}"}]}}}}
    with open(f"{directory}/c{i}.json", "w", encoding="ascii") as file:
        json.dump(claim, file, separators=(",", ":"))
PY
        claims=()
        for ((i = 0; i < $2; ++i)); do
                api claim-json "default/c$i" "$T/c$i.json"
                claims+=("default/c$i")
        done
        [ "$(stat -c %s "$T/c0.json")" -gt 650000 ]
}

@test "64 of the largest claims in one call are prepared, and fit" {
        largest_claims user 64
        driver
        kubelet prepare --deadline 300 "${claims[@]}" >/dev/null
        holds 64
        peak_is_below 40
}

@test "64 of the largest replies that are accepted fit, too" {
        largest_claims server 64
        driver
        kubelet prepare --deadline 300 "${claims[@]}" >/dev/null
        holds 64
        peak_is_below 56
}

hostile() { # KIND
        /usr/bin/python3 -c '
import sys
print({"dense": "[" + "1," * 900000 + "1]", "objects": "[" + "{}," * 600000 + "{}]", "huge": "[" + "1," * 4000000 + "1]",
       "deep": "[" * 1000000, "string": "{\"kind\": \"" + "x" * 1900000 + "\"}",
       "most": "{\"kind\": \"ResourceClaim\", \"x\": [" + "1," * 99990 + "1" + " " * 1800000 + "]}"}[sys.argv[1]])' \
                "$1" >"$T/$1.json"
}

@test "hostile replies are refused in words and cost no memory" {
        local kind uid
        driver
        for kind in dense objects huge deep string most; do
                uid=$(api claim "default/$kind" tdx1)
                hostile "$kind"
                api claim-json "default/$kind" "$T/$kind.json"
                run kubelet prepare --deadline 3 --uid "$uid" "default/$kind"
                [ "$status" -eq 1 ]
                echo "$output" | cut -c 1-300
        done
        peak_is_below 48
        api claim default/good tdx1 >/dev/null
        kubelet prepare default/good
        says driver "JSON with more than 100000 values"
        says driver "nested deeper than 64 levels"
        says driver "larger than 2097152 bytes"
        says driver "a claim without metadata"
}
