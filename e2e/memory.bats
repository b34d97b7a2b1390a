#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Whatever the API server answers, the driver stays well below the memory limit of manifests/base (96 MiB).

setup() {
        load scenario
        enter_node 70
}
teardown() { leave_node; }

peak_is_below() { # MIB: the most that was ever resident, shared libraries included
        [[ $DRIVER == */plain-* ]] || return 0 # sanitizers need several times as much
        local kib
        kib=$(awk '/^VmHWM/ { print $2 }' "/proc/$(pid_of driver)/status")
        echo "peak $kib KiB"
        [ "$kib" -le $(($1 * 1024)) ]
}

# The largest claim that a user can make: 32 opaque configs of 10 KiB, which the scheduler copies into the
# allocation. Each is as dense as JSON gets.
fatten() { # CLAIM
        /usr/bin/python3 - "$API" "$1" >"$T/$1.json" <<'PY'
import json, sys, urllib.request
path = f"{sys.argv[1]}/apis/resource.k8s.io/v1/namespaces/default/resourceclaims/{sys.argv[2]}"
claim = json.load(urllib.request.urlopen(path))
config = [{"opaque": {"driver": "other.example.com", "parameters": {"a": [1] * 5100}}} for _ in range(32)]
claim["spec"]["devices"]["config"] = config
claim["status"]["allocation"]["devices"]["config"] = [{"source": "FromClaim", **entry} for entry in config]
json.dump(claim, sys.stdout, separators=(",", ":"))
PY
        api claim-json "default/$1" "$T/$1.json"
}

@test "64 of the largest claims in one call are prepared, and fit" {
        local i claims=()
        for i in {0..63}; do
                api claim "default/c$i" "tdx$i" >/dev/null
                fatten "c$i"
                claims+=("default/c$i")
        done
        [ "$(stat -c %s "$T/c0.json")" -gt 650000 ]
        driver
        kubelet prepare --deadline 60 "${claims[@]}" >/dev/null
        peak_is_below 72
        kubelet unprepare --deadline 60 "${claims[@]}" >/dev/null
}

hostile() { # KIND
        /usr/bin/python3 -c '
import sys
print({"dense": "[" + "1," * 900000 + "1]", "objects": "[" + "{}," * 600000 + "{}]", "huge": "[" + "1," * 4000000 + "1]",
       "deep": "[" * 1000000, "string": "{\"kind\": \"" + "x" * 1900000 + "\"}"}[sys.argv[1]])' "$1" >"$T/$1.json"
}

@test "hostile replies are refused in words and cost no memory" {
        local kind uid
        driver
        for kind in dense objects huge deep string; do
                uid=$(api claim "default/$kind" tdx1)
                hostile "$kind"
                api claim-json "default/$kind" "$T/$kind.json"
                run kubelet prepare --deadline 3 --uid "$uid" "default/$kind"
                [ "$status" -eq 1 ]
                echo "$output" | cut -c 1-300
        done
        peak_is_below 32
        api claim default/good tdx1 >/dev/null
        kubelet prepare default/good
        says driver "JSON with more than 500000 values"
        says driver "nested deeper than 64 levels"
        says driver "larger than 2097152 bytes"
}
