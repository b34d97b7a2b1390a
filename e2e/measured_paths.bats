#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# TDs of others beside both paths, a reserve, --foreign=ignore and a restart of the driver.

setup() {
        load scenario
        load measured
        enter_measured_node 4
}
teardown() { leave_node; }

@test "after a restart the driver knows which pod each TD belongs to" {
        measuring
        prepared a tdx0
        misc start "$(enter_pod a)"
        start_foreign 1
        becomes foreign_tds 1
        kill_driver
        measuring
        api wait-devices 3 15s
        eventually 10 number running_tds 2
        number foreign_tds 1
}

@test "foreign TDs use the reserve first" {
        start_foreign 1
        measuring --reserve 2
        api wait-devices 2 15s
        number foreign_tds 1
        start_foreign 2
        api wait-devices 1 30s
}

@test "--foreign=ignore shows them and offers all" {
        start_foreign 1
        measuring --foreign=ignore
        api wait-devices 4 15s
        eventually 10 number foreign_tds 1
        number free_tds 4
        never has_posted TDXForeign
        run "$DRIVER" run --node-name n --foreign=perhaps
        [ "$status" -ne 0 ]
        [[ $output == *"count or ignore"* ]]
}

@test "a pod's TD counts as its own, and a foreign TD makes a free device Unhealthy" {
        leave_node
        KUBELET_DEVICES=yes enter_measured_node 3
        measuring
        kubelet wait-healthy 3 30s
        kubelet pod default/vm
        eventually 15 grep -q '"pod":' "$STATE/plugin-devices"
        local uid
        uid=$(jq -r '.Data.PodDeviceEntries[0].PodUID' "$K/device-plugins/kubelet_internal_checkpoint")
        misc mkdir "kubepods/pod$uid/container"
        misc start "kubepods/pod$uid/container"
        becomes running_tds 1
        misc mkdir kubepods/pod11111111-2222-4333-8444-555555555555/kata
        misc start kubepods/pod11111111-2222-4333-8444-555555555555/kata
        kubelet wait-healthy 2 30s
        number foreign_tds 1
        number free_tds 1
        start_foreign 1
        kubelet wait-healthy 1 30s # its own
        number free_tds 0
        misc stop kubepods/pod11111111-2222-4333-8444-555555555555/kata
        kubelet wait-healthy 2 30s
}
