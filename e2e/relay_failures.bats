#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What fails at the quote relay or beside it: QGS for good, the worker, the holder, the disk.

setup() {
        load scenario
        load qgs
        load relay
        enter_host
}
teardown() { leave_host; }

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
