#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Pods with ResourceClaims, from the scheduler to the VM's container.

setup_file() {
        load cluster
        set_up_node
        eventually 20 offers 4 node1 '.attributes.attestation.bool == true'
}
teardown_file() { load cluster; qgs_stop; }
setup() { load cluster; }
teardown() { no_pods; }

@test "a pod whose claim comes from a template runs, and fetches a quote" {
        pod vm template=td
        running vm
        [[ $(quotes vm) == "a quote of "* ]]
        n_held 1
}

@test "the pod's mount is read-only, and only QGS's directory" {
        pod vm template=td
        running vm
        run k exec vm -- /pod write /var/run/tdx-qgs/mine
        [[ $output == *"Read-only file system"* ]]
}

@test "two pods share a claim, and one TD" {
        pod one claim=shared
        pod two claim=shared
        running one two
        quotes one
        quotes two
        n_held 1
}

@test "a pod that insists on attestation runs where QGS answers, and waits where it does not" {
        pod vm template=attested
        running vm
        gone vm
        qgs_stop
        eventually 15 offers 4 node1 '.attributes.attestation.bool == false'
        pod vm template=attested
        pending vm
        qgs_start
        running vm
        quotes vm
}

@test "of five pods on four TDs one waits, and runs when another leaves" {
        local i
        for i in 1 2 3 4; do pod vm$i template=td; done
        running vm1 vm2 vm3 vm4
        pod vm5 template=td
        pending vm5
        n_held 4
        gone vm2
        running vm5
        n_held 4
}

@test "a monitor with adminAccess sees all devices, and takes none" {
        local i
        for i in 1 2 3 4; do pod vm$i template=td; done
        running vm1 vm2 vm3 vm4
        pod monitor template=admin
        running monitor
        n_held 4
}

@test "a force-deleted pod's TD goes to the waiting pod" {
        local i
        for i in 1 2 3 4; do pod vm$i template=td; done
        running vm1 vm2 vm3 vm4
        pod vm5 template=td
        pending vm5
        k delete pod vm1 --grace-period=0 --force >/dev/null 2>&1
        running vm5
        eventually 30 n_held 4
}
