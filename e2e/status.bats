#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What an admin's tools read over HTTP: metrics, and the answers to kubelet's probes.

setup() {
        load scenario
        enter_node 4
}
teardown() { leave_node; }

listening() { launch_driver driver --listen 127.0.0.1:0 "$@"; said driver "health are served"; }

@test "the metrics show what the node holds, refuses and publishes" {
        driver --listen 127.0.0.1:0 --prepare-wait 8s # the first claim waits until kubelet is old enough to be believed
        api wait-devices 4
        metric tdx_capacity_tds 4
        metric tdx_free_tds 4
        metric 'tdx_registered{path="dra"}' 1
        metric tdx_foreign_plugin 0
        metric tdx_published 1
        metric tdx_published_slices 1
        metric tdx_active 1
        api claim default/a tdx0,tdx1,tdx2,tdx3
        api claim default/b tdx0
        kubelet prepare default/a
        if kubelet prepare default/b; then return 1; fi
        metric 'tdx_held_tds{path="dra"}' 4
        metric tdx_free_tds 0
        metric tdx_claims 1
        metric 'tdx_prepare_claims_total{result="success"}' 1
        metric 'tdx_prepare_claims_total{result="error"}' 1
        metric 'tdx_refusals_total{path="dra"}' 1
        metric tdx_prepare_duration_seconds_count 2
        kubelet unprepare default/a
        metric 'tdx_unprepare_claims_total{result="success"}' 1
        metric tdx_free_tds 4
}

@test "Prometheus's own check accepts the page" {
        command -v promtool >/dev/null || skip "no promtool (Debian's package prometheus)"
        driver --listen 127.0.0.1:0
        page /metrics | promtool check metrics
}

@test "a claim that waits for a TD is counted" {
        driver --listen 127.0.0.1:0
        api claim default/a tdx0,tdx1,tdx2,tdx3
        api claim default/b tdx0
        kubelet prepare default/a
        kubelet prepare default/b >"$T/b" &
        local waiting=$!
        eventually 5 metric tdx_waiting_claims 1
        kubelet unprepare default/a
        wait $waiting
        metric tdx_waiting_claims 0
}

@test "the metrics show whether QGS answers, and whether VMs are placed" {
        driver --listen 127.0.0.1:0 --attestation enforced
        metric tdx_attesting 0
        metric tdx_schedulable 0
        metric 'tdx_qgs_state{state="absent"}' 1
        start qgs "$SIM/qgs-sim" --socket "$QGS" --control "$T/qgs.ctl"
        eventually 5 metric tdx_attesting 1
        metric tdx_schedulable 1
        metric 'tdx_qgs_state{state="answering"}' 1
}

has_unanswered() { page /metrics | grep -q 'unanswered"} [1-9]'; }
@test "an API server that does not answer is counted" {
        driver --listen 127.0.0.1:0
        api wait-devices 4
        end api
        eventually 10 has_unanswered
}

@test "an instance is alive at once, ready when kubelet has registered it, and the next one when it stands by" {
        end kubelet
        listening --serve dra --pod-uid 11111111-aaaa
        page /healthz
        run page /readyz
        [ "$status" -ne 0 ]
        [[ $output == "not ready: kubelet has not registered"* ]]
        start_kubelet
        kubelet wait-registered tdx.kubevirt.io 15s
        eventually 15 page /readyz
        launch_driver next --serve dra --pod-uid 22222222-bbbb --listen 127.0.0.1:0
        said next "standing by"
        eventually 5 page /readyz next
        [ "$(page /readyz next)" = "ok, standing by" ]
        metric tdx_active 0 next
        stop_driver
        said next "active"
        eventually 5 metric tdx_active 1 next
        stop_driver next
}

@test "an address that is in use, or invalid, is reported at the start" {
        driver --listen 127.0.0.1:0
        local address
        address=$(sed -n 's/.*health are served.* address=\([^ ]*\).*/\1/p' "$T/driver.log")
        driver_flags
        run "$DRIVER" run "${FLAGS[@]}" --listen "$address" --kubelet-dir "$T/other"
        [ "$status" -ne 0 ]
        [[ $output == *"$address"*"ddress already in use"* ]]
        run "$DRIVER" run "${FLAGS[@]}" --listen localhost:http
        [ "$status" -ne 0 ]
        [[ $output == *"--listen"* ]]
}
