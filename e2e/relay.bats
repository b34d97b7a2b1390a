#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# VMs attest through the quote relay, whatever happens to QGS, to the relay's processes and to its directory.

setup() {
        load scenario
        load qgs
        load relay
        enter_host
}
teardown() { leave_host; }

@test "a VM gets its quote through the relay, on both paths, beside QGS 1.25 and 1.26" {
        local version
        relay
        configure 2
        for version in 1.25 1.26; do
                start_qgs --version $version
                vm claim-tdx0
                vm plugin-tdx1
                end qgs
        done
        has_counted delivered 4
        "$SIM/relay-driver" "$DIR" snapshot | jq -c . >"$T/counts"
        grep -q '"device":"tdx0","path":"claim".*"delivered":2' "$T/counts"
        grep -q '"device":"tdx1","path":"plugin".*"delivered":2' "$T/counts"
}

@test "with two capabilities the relay reaches QGS as each package leaves it, in QGS's own group" {
        start_packaged_qgs 1.26
        relay
        configure 1
        vm claim-tdx0
        chmod 0750 "$(dirname "$QGS")"
        vm claim-tdx0
        grep -E '^Cap(Prm|Eff|Bnd):' "/proc/$(pid_of relay)/status"
        [ "$(grep -Ec '^Cap(Prm|Eff|Bnd):\s+00000000000000c0$' "/proc/$(pid_of relay)/status")" = 3 ]
        [ "$(grep -Ec '^Cap(Prm|Eff|Amb):\s+0000000000000000$' "/proc/$(worker_pid)/status")" = 3 ]
        grep -E '^Uid:\s65532\s65532\s65532\s65532$' "/proc/$(worker_pid)/status"
}

@test "QGS that keeps root out is told as such, and a VM gets QGS's error reply once the time is over" {
        start_packaged_qgs 1.25
        relay --retry 2s
        configure 1
        eventually 10 qgs_is not-allowed
        run vm claim-tdx0
        [ "$status" -ne 0 ]
        [[ $output == *"the service replied error 0x"* ]]
        chmod 0666 "$QGS"
        vm claim-tdx0
}

@test "a running VM attests after QGS's restart, its directory recreated, and an update of the packages" {
        start_qgs
        relay
        configure 1
        keep_vm claim-tdx0
        kept_vm_attests
        qgs restart
        kept_vm_attests
        qgs recreate-dir
        kept_vm_attests
        end qgs KILL || true
        rm -f "$QGS" # 1.25 does not start over a dead one
        start_qgs --version 1.25
        kept_vm_attests
}

@test "a quote asked for while QGS is away comes when QGS is back" {
        start_qgs
        relay
        configure 1
        keep_vm claim-tdx0
        qgs gone
        echo >&9
        said relay "No such file or directory" 30
        qgs ok
        eventually 30 n_answers 1
        grep '^quote of' "$T/vm.log"
        has_counted delivered 1
        [ "$(count closed-early)" = 0 ]
}

@test "another configuration adds a name and takes none away" {
        start_qgs
        relay
        configure 2
        keep_vm claim-tdx1
        configure 1 other.socket
        kept_vm_attests
        in_vm claim-tdx0 "$SIM/vm-sim" --socket "$T/vm/qgs/other.socket"
        in_vm claim-tdx0 "$SIM/vm-sim" --socket "$T/vm/qgs/qgs.socket"
        end relay KILL || true
        relay
        kept_vm_attests
        in_vm plugin-tdx0 "$SIM/vm-sim" --socket "$T/vm/qgs/other.socket"
}

@test "only root controls the relay, and what is no message ends the connection" {
        relay
        configure 1
        chmod 711 "$DIR"
        chmod 666 "$DIR/relay.sock"
        run setpriv --reuid 107 --regid 107 --clear-groups "$SIM/relay-driver" "$DIR" configure 9 "$NAMED" evil
        [ "$status" -ne 0 ]
        said relay "only root may control the relay.*uid=107"
        [ ! -e "$DIR/qgs/claim-tdx8" ]
        run "$SIM/relay-driver" "$DIR" configure 1 "$NAMED" ../evil
        [ "$status" -ne 0 ]
        [ ! -e "$DIR/qgs/evil" ]
        configure 1
}
