#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# VEP 107's two nodes, one with QGS and one without: where VMs are placed with attestation enforced and not, and who
# may attest.

export QGS_MODE=0666 # plain pods attest, too

setup_file() {
        load cluster
        "$NODE_TOOL" up node2 >/dev/null
        "$NODE_TOOL" import node2 "$ARCHIVE"
        kubevirt_crd created
        enforced false
        set_up_node
        eventually 40 offers 4 node2
}
teardown_file() {
        load cluster
        kubevirt_crd deleted
        qgs_stop
        "$NODE_TOOL" down node2
}
setup() { load cluster; }
teardown() {
        [ -n "$BATS_TEST_COMPLETED" ] || { driver_log | tail -n 6; driver_log node2 | tail -n 6; }
        no_pods
        enforced false
        eventually 15 placeable_on node2 4
}

placeable_on() { # NODE N: what the scheduler may use there, by either path
        placeable "$2" "$1" || return 1
        [ "$OVERLAY" = dra ] || allocatable "$2" "$1"
}
node_of() { k get pod "$1" -o jsonpath='{.spec.nodeName}'; }

@test "an attested VM goes to the node with QGS, and waits when that is full" {
        local i
        eventually 15 offers 0 node2 '.attributes.attestation.bool'
        for i in 1 2 3 4; do pod a$i template=attested; done
        running a1 a2 a3 a4
        for i in 1 2 3 4; do [ "$(node_of a$i)" = node1 ]; done
        quotes a4
        pod a5 template=attested
        pending a5
        # One that need not attest runs beside.
        pod b template=td
        running b
        [ "$(node_of b)" = node2 ]
}

@test "QGS comes up on the other node, and what waited runs there" {
        local i
        for i in 1 2 3 4 5; do pod a$i template=attested; done
        eventually 40 is_running a1 a2 a3 a4 || true
        qgs_start node2
        running a1 a2 a3 a4 a5
        local name
        for name in a1 a2 a3 a4 a5; do quotes $name; done
        gone a1 a2 a3 a4 a5
        qgs_stop node2
        eventually 20 offers 0 node2 '.attributes.attestation.bool'
}

@test "with attestation enforced VMs of either path go only to the node with QGS, and without it to both" {
        local i
        enforced true
        eventually 15 placeable_on node2 0
        pod claim1 template=td
        pod plain1 tdx=1
        running claim1 plain1
        # The scheduler knows the plugin's room from kubelet's last status.
        [ "$OVERLAY" = dra ] || eventually 15 allocatable 3
        pod claim2 template=td
        running claim2
        [ "$OVERLAY" = dra ] || eventually 15 allocatable 2
        pod plain2 tdx=1
        running plain2
        for i in claim1 claim2 plain1 plain2; do
                [ "$(node_of $i)" = node1 ]
                quotes $i
        done
        pod claim3 template=td
        pod plain3 tdx=1
        pending claim3
        pending plain3
        enforced false
        running claim3 plain3
        [ "$(node_of claim3) $(node_of plain3)" = "node2 node2" ]
}
