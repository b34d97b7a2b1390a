#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# TDs that others run on the host: libvirt, Kata, or a pod that runs more than it holds.

setup() {
        load scenario
        load measured
        enter_measured_node 4
}
teardown() { leave_node; }

@test "libvirt's TDs are not offered, and are again when they end" {
        start_foreign 1
        measuring
        api wait-devices 3 15s # the first reading counts at once
        number foreign_tds 1
        number running_tds 1
        number free_tds 3
        start_foreign 1
        api wait-devices 2 30s
        said driver "TDs that no claim or plugin device holds tds=2 .*where=.*/machine.slice/qemu-1.scope"
        posted 'Warning TDXForeign.*/machine.slice/qemu-1.scope'
        misc stop machine.slice/qemu-1.scope
        misc stop machine.slice/qemu-1.scope
        api wait-devices 4 15s
        posted 'Normal TDXForeign'
}

@test "a claim's own VM is not counted a second time, from its start to its end" {
        measuring
        api wait-devices 4 15s
        prepared a tdx0
        local path
        path=$(enter_pod a)
        misc start "$path"
        becomes running_tds 1
        # Longer than a rise takes to count.
        local end=$((SECONDS + 8))
        while [ $SECONDS -lt $end ]; do
                number foreign_tds 0
                is_offered 4
        done
        misc stop "$path"
        kubelet unprepare default/a
        becomes running_tds 0
        never says driver "no claim or plugin device holds tds=[1-9]"
        is_offered 4
}

@test "Kata's TD beside a claim whose VM has not started is foreign" {
        measuring
        api wait-devices 4 15s
        prepared a tdx0
        local kata=kubepods/pod11111111-2222-4333-8444-555555555555/sandbox
        misc mkdir "$kata"
        misc start "$kata"
        api wait-devices 3 30s
        number foreign_tds 1
        number free_tds 2
        holds 1
}

@test "held devices stay offered under their names, however many foreign TDs run" {
        measuring
        api wait-devices 4 15s
        prepared a tdx3
        start_foreign 4
        api wait-devices 1 30s
        [ "$(api devices | grep -o 'tdx[0-9]*')" = tdx3 ]
        holds 1
        # One that the scheduler had placed before it heard of it: Kubernetes' holders are below the capacity.
        prepared b tdx1
        holds 2
}
