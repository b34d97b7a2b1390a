#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# VEP 107 on a real node: what is enforced in the KubeVirt CR, and QGS as it comes and goes.

setup_file() {
        load cluster
        install
        claim_templates
        no_pods
        eventually 20 offers 4
}
teardown_file() {
        load cluster
        qgs_stop
        kubevirt_crd deleted
}
setup() {
        load cluster
        [ "$BATS_TEST_NUMBER" = 1 ] || enforced false
}
teardown() {
        [ -n "$BATS_TEST_COMPLETED" ] || driver_log | tail -n 12
        no_pods
        qgs_stop
}

@test "KubeVirt is installed after the driver: what it enforces is in force within half a minute" {
        placeable 4
        kubevirt_crd created
        enforced true
        eventually 40 placeable 0
}

@test "the developer: without QGS and not enforced, VMs start; one that was started before QGS attests once it comes" {
        pod vm template=td
        running vm
        run quotes vm
        [ "$status" -ne 0 ]
        QGS_MODE=0666 qgs_start
        eventually 10 quotes vm
}

@test "a VM that was started before QGS lacks its group: if the socket is for the group alone, the VM attests once it is started again" {
        pod vm template=td
        running vm
        qgs_start
        eventually 20 offers 4 node1 '.attributes.attestation.bool == true'
        run quotes vm
        [[ $status -ne 0 && $output == *"ermission denied"* ]]
        gone vm
        pod vm template=td
        running vm
        quotes vm
}

@test "the admin: enforced, a node without QGS takes no VM, says so, and does when QGS comes" {
        enforced true
        eventually 10 placeable 0
        # The plugin's health comes with kubelet's status, up to 10 s later.
        [ "$OVERLAY" = dra ] || eventually 15 allocatable 0
        pod vm template=td
        pod plain tdx=1
        pending vm
        pending plain
        eventually 10 bash -c "$NODE_TOOL kubectl describe node node1 | grep TDXNotSchedulable"
        QGS_MODE=0666 qgs_start
        running vm plain
        quotes vm
        quotes plain
}

@test "a change of the KubeVirt CR is in force within seconds, and disturbs no VM that runs" {
        pod vm template=td
        running vm
        enforced true
        # Where free devices are withdrawn, the VM's own stays.
        if at_least 1.36; then eventually 5 placeable 0; else eventually 5 offers 1; fi
        enforced false
        eventually 5 placeable 4
        [ "$(k get pod vm -o jsonpath='{.status.containerStatuses[0].restartCount}')" = 0 ]
        [ "$(phase vm)" = Running ]
}

@test "QGS's directory is removed and created again: the next VM attests, a running one has the dead directory until it restarts" {
        qgs_start
        eventually 15 offers 4 node1 '.attributes.attestation.bool == true'
        pod old template=attested
        running old
        quotes old
        qgs_stop
        eventually 15 offers 4 node1 '.attributes.attestation.bool == false'
        qgs_start
        eventually 15 offers 4 node1 '.attributes.attestation.bool == true'
        pod vm template=attested
        running vm
        quotes vm
        run quotes old
        [ "$status" -ne 0 ]
        gone old
        pod old template=attested
        running old
        quotes old
}

health_says() { k get pod vm -o json | jq -e --arg text "$1" '.status.containerStatuses[0].allocatedResourcesStatus[0].resources[0] | .health + ": " + (.message // "") | contains($text)'; }

@test "the pod's status says why its device is unhealthy, in words" {
        needs 1.36 "ResourceHealthStatus is off"
        qgs_start
        enforced true
        eventually 40 placeable 4 # after many recoveries QGS must answer for a while
        pod vm template=td
        running vm
        eventually 30 health_says "Healthy"
        qgs_stop
        eventually 60 health_says "Unhealthy: QGS is absent"
}
