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

@test "without QGS at all a VM gets QGS's error reply before QEMU gives up" {
        local begin
        relay
        configure 1
        begin=$(now_ms)
        run vm claim-tdx0
        [ "$status" -ne 0 ]
        [[ $output == *"the service replied error 0x"* ]]
        [ $(($(now_ms) - begin)) -ge 24000 ]
        has_counted gave-up 1
}

@test "the worker is killed: another one takes its place, and QGS sees no connection closed early" {
        local worker
        start_qgs --version 1.25
        relay
        configure 1
        eventually 20 qgs_is answered
        qgs slow 2s
        keep_vm claim-tdx0
        echo >&9
        eventually 20 counts open 1
        worker=$(worker_pid)
        kill -KILL "$worker"
        eventually 20 n_answers 1 # the end of the connection
        qgs slow 0s
        kept_vm_attests
        [ "$(worker_pid)" != "$worker" ]
        eventually 20 counts open 0 # the orphan has had its reply
        [ "$(count closed-early)" = 0 ]
        [ "$(count abandoned)" = 0 ]
}

@test "a worker that hangs is killed, and VMs that connect meanwhile wait for the next one" {
        local worker
        start_qgs
        relay
        configure 1
        vm claim-tdx0
        worker=$(worker_pid)
        kill -STOP "$worker"
        vm claim-tdx0
        [ "$(worker_pid)" != "$worker" ]
        says relay "killing the worker.*it does not answer"
}

@test "the holder is killed: the same sockets are bound again at once, and the running VM attests" {
        local before
        start_qgs
        relay
        configure 128
        keep_vm claim-tdx127
        kept_vm_attests
        before=$(stat -c %i "$DIR/qgs/claim-tdx127")
        end relay KILL || true
        relay
        [ "$(stat -c %i "$DIR/qgs/claim-tdx127")" = "$before" ]
        kept_vm_attests
        grep 'serving VMs.*sockets=bound n=256' "$T/relay.log"
        # 200 ms, and what a busy machine adds.
        [ "$(sed -n 's/.*serving VMs.* ms=\([0-9]*\).*/\1/p' "$T/relay.log")" -le 3000 ]
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

@test "a stale relay.sock and a damaged relay.json do not keep the relay from its work" {
        start_qgs
        relay
        configure 1
        end relay KILL || true
        [ -S "$DIR/relay.sock" ]
        echo '{"configure":{' >"$DIR/relay.json"
        relay
        says relay "cannot read the last configuration"
        [ "$(stat -c %a "$DIR/relay.sock")" = 600 ]
        configure 1
        vm claim-tdx0
}

@test "with a full disk the configuration is in force, and the log says that it is not saved" {
        mkdir "$DIR"
        start full unshare --mount --propagation slave sh -c "
                mount -t tmpfs -o size=64k,mode=700 tmpfs '$DIR' && cd '$DIR' &&
                { dd if=/dev/zero of=fill bs=4k count=99 || true; } 2>/dev/null &&
                echo full && exec sleep 600"
        said full full 20
        start_qgs
        start relay nsenter --mount --target "$(pid_of full)" "$RELAY" run --relay-dir "$DIR" --host-root "$T/host"
        eventually 10 says relay "serving VMs"
        nsenter --mount --target "$(pid_of full)" "$SIM/relay-driver" "$DIR" configure 1 "$NAMED" qgs.socket
        said relay "cannot save the configuration.*No space left"
        nsenter --mount --target "$(pid_of full)" "$SIM/vm-sim" --uid 0 --gid 0 \
                --socket "$DIR/qgs/claim-tdx0/qgs.socket"
}
