#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# A hostile peer on the driver's socket (e2e/sim/flood): memory stays below the manifest's limit, and kubelet is served.

setup() { load scenario; enter_node 4; driver; }
teardown() { leave_node; }

flood() { timeout 90 "$SIM/flood" "$STATE/dra.sock" "$@"; } # SECONDS KIND [N]

# 64Mi in manifests/base/daemonset.yaml.
stays_small() {
        [[ $DRIVER == */plain-* ]] || return 0 # sanitizers have memory of their own
        local peak
        peak=$(sed -n 's/^VmHWM:[[:space:]]*\([0-9]*\) kB/\1/p' "/proc/$(pid_of driver)/status")
        echo "peak: $peak KiB"
        [ "$peak" -lt 65536 ]
}
serves() {
        eventually 20 kubelet prepare-empty
        api claim default/a tdx0
        kubelet prepare default/a
}

@test "requests full of empty claims, as large as they may be, cost bounded memory" {
        local n
        for n in 262000 3900000; do
                run flood 2 empty "$n"
                echo "$output"
                [[ $output == *"'INVALID_ARGUMENT'"* || $output == *"'RESOURCE_EXHAUSTED'"* ]]
                [[ $output != *OK* ]]
        done
        serves
        stays_small
}

@test "requests of 512 claims are answered, larger ones refused, in bounded memory" {
        run flood 2 batch 512
        echo "$output"
        [[ $output == "{'OK': "*"}" ]]
        run flood 2 batch 513
        echo "$output"
        [[ $output == "{'INVALID_ARGUMENT': "*"}" ]]
        run flood 2 batch 4096
        [[ $output == "{'INVALID_ARGUMENT': "*"}" ]]
        serves
        stays_small
}

@test "a connection with too many streams is closed, and its memory is bounded" {
        run flood 5 streams
        echo "$output"
        [[ $output == *"closed by the server"* ]]
        serves
        stays_small
}

@test "calls that are reset at once, and a header without end, leave kubelet served" {
        flood 60 resets 10000
        serves
        kubelet unprepare default/a
        flood 60 continuation 100
        eventually 20 kubelet prepare default/a
}
