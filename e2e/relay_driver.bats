#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The driver with --qgs=relay: what VMs are given, what it says of QGS, and what it does where no relay runs.

setup() {
        load scenario
        load qgs
        load kubevirt
        load relay
        KUBELET_DEVICES=yes enter_node 4
        DIR=$T/relay NAMED=/run/tdx-qgs/qgs.socket # as the host names it
}
teardown() { leave_node; }

relay_driver() { # [FLAG...]
        driver --qgs relay --relay-dir "$DIR" --host-root "$T/host" --qgs-socket "$NAMED" --listen 127.0.0.1:0 "$@"
}

@test "a claim's VM attests through its own directory, which is another's than a plain pod's" {
        start_packaged_qgs 1.26
        relay
        relay_driver --serve both
        eventually 20 slice_is "open, attesting"
        prepare one tdx1
        attest tdx1
        jq -e --arg d "$DIR/qgs" '[.devices[].containerEdits.mounts[0].hostPath] == [range(4) | "\($d)/claim-tdx\(.)"]' \
                "$CDI/kubevirt.io-tdx.json"
        jq -e 'all(.devices[]; .containerEdits | has("additionalGids") | not)' "$CDI/kubevirt.io-tdx.json"
        # The driver itself has not opened QGS.
        [ "$(count closed-early)" = 0 ]
}

@test "a running VM attests again after QGS's directory was recreated" {
        start_qgs
        relay
        relay_driver --serve dra
        eventually 20 slice_is "open, attesting"
        prepare one tdx0
        mkfifo "$T/go"
        in_container tdx0 sh -c "read -r _ && '$SIM/vm-sim' --socket '$QGS'" <"$T/go" >"$T/vm.log" 2>&1 3>&- 4>&- &
        local vm=$!
        end qgs
        rm -rf "$(dirname "$QGS")"
        start_qgs
        echo >"$T/go"
        wait $vm || { cat "$T/vm.log"; return 1; }
        grep '^quote of' "$T/vm.log"
}

@test "the VEP's second example, a socket in a directory that the VM shares with others, works" {
        QGS=$T/host/run/qgs.socket
        start_qgs
        relay
        cr '{"enforced":true,"qgsSocketPath":"/var/run/qgs.socket"}'
        driver_flags from-cluster
        start driver "$DRIVER" run "${FLAGS[@]}" --qgs relay --relay-dir "$DIR" --host-root "$T/host" --serve dra
        registered
        becomes "open, attesting"
        prepare one tdx2
        jq -e --arg f "$DIR/qgs/claim-tdx2/qgs.socket" '.devices[2].containerEdits.mounts[0] |
                .hostPath == $f and .containerPath == "/var/run/qgs.socket"' "$CDI/kubevirt.io-tdx.json"
        in_container tdx2 "$SIM/vm-sim" --socket /var/run/qgs.socket
}

@test "where no relay runs VMs are given QGS's own directory, and an Event says so; a relay that comes later is used" {
        start_qgs
        # The place has one name for all three: the directory itself is mounted.
        driver --qgs relay --relay-dir "$DIR" --serve dra --attestation enforced
        eventually 20 slice_is "open, attesting"
        eventually 10 has_event "TDXNoQuoteRelay.*QGS's own socket"
        prepare one tdx0
        attest tdx0
        jq -e --arg d "$(dirname "$QGS")" '.devices[0].containerEdits.mounts[0].hostPath == $d' "$CDI/kubevirt.io-tdx.json"
        relay --host-root /
        eventually 20 has_event "TDXQuoteRelay"
        eventually 10 jq -e --arg d "$DIR/qgs/claim-tdx0" '.devices[0].containerEdits.mounts[0].hostPath == $d' "$CDI/kubevirt.io-tdx.json"
        eventually 20 slice_is "open, attesting"
        attest tdx0
}

@test "enforced: QGS that is away or hung, and a relay that is away, taint the devices, with the reason" {
        start_qgs
        relay
        relay_driver --serve dra --attestation enforced
        eventually 20 is_answering
        qgs gone
        eventually 30 is_in_state absent
        qgs ok
        eventually 60 is_answering
        kill -STOP "$(pid_of qgs)"
        eventually 60 is_in_state hung
        kill -CONT "$(pid_of qgs)"
        eventually 60 is_answering
        end relay
        eventually 30 is_in_state no-relay
        eventually 10 has_event "TDXNotSchedulable.*the quote relay does not answer"
        relay
        eventually 60 is_answering
}

@test "driver and relay are updated together: VMs attest all the while" {
        start_qgs
        relay
        relay_driver --serve dra
        eventually 20 slice_is "open, attesting"
        prepare one tdx0
        (until [ -e "$T/enough" ]; do attest tdx0 || exit 1; done) >"$T/vm.log" 2>&1 3>&- 4>&- &
        local vm=$!
        launch_relay next
        launch_driver next_driver --qgs relay --relay-dir "$DIR" --host-root "$T/host" --qgs-socket "$NAMED" --serve dra --pod-uid 0c1ef3a4-6d1c-4d0e-9a40-2f6e2a3b4c5e
        eventually 20 says next "serving VMs"
        end relay
        stop_driver
        eventually 20 says next_driver "active: this instance now serves the node"
        eventually 20 slice_is "open, attesting"
        touch "$T/enough"
        wait $vm || { cat "$T/vm.log"; return 1; }
        grep -c '^quote of' "$T/vm.log"
}

@test "who attested when: a line of the quote log names the claim and the pod, and the metrics count" {
        local td
        start_qgs
        relay
        relay_driver --serve both --attestation enforced --quote-log "$T/quotes"
        eventually 20 is_answering
        run says driver "VMs attest"
        [ "$status" -ne 0 ]
        prepare one tdx1
        attest tdx1
        eventually 10 says driver "VMs attest: a quote was delivered"
        eventually 10 grep -q '"claim":"one"' "$T/quotes"
        jq -e '.node == "node1" and .device == "tdx1" and .path == "claim" and .namespace == "default" and .claim == "one" and
                .outcome == "delivered" and (.ms | type) == "number" and (.reportDataSha256 | test("^[0-9a-f]{64}$"))' "$T/quotes"
        eventually 10 metric 'tdx_quotes_total{outcome="delivered"}' 1
        metric tdx_relay_connected 1
        page /metrics | grep -E '^tdx_quote_last_delivered_timestamp_seconds [0-9]{10}$'

        kubelet pod default/vm
        td=$(kubelet pods | sed -n 's/^default.vm: \(tdx[0-9]\).*/\1/p')
        eventually 15 grep -q '"pod":' "$STATE/plugin-devices"
        mkdir "$T/vm"
        "$SIM/cdi-run" --mount "$DIR/qgs/plugin-$td:$T/vm:ro" -- "$SIM/vm-sim" --socket "$T/vm/qgs.socket"
        eventually 10 metric 'tdx_quotes_total{outcome="delivered"}' 2
        jq -se --arg td "$td" '.[1] | .path == "plugin" and .device == $td and .podUid != null' "$T/quotes"
}
