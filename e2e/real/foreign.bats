#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Another device plugin of the same resource name on the node, as KubeVirt >= 1.9 may run one: live, or parked (it
# lists its devices Unhealthy).

setup_file() {
        load cluster
        set_up_node
}
teardown_file() { load cluster; qgs_stop; }
setup() { load cluster; }
teardown() {
        [ -n "$BATS_TEST_COMPLETED" ] || driver_log | tail -n 12
        no_pods
        plugin_stop node1 foreign
        [ "$OVERLAY" = dra ] || { eventually 30 driver_metric 'tdx_registered{path="plugin"}' 1; eventually 30 allocatable 4; }
}

foreign_allocated() { [ "$(plugin node1 foreign allocated | wc -l)" -ge "$1" ]; } # N

@test "a live one: ours stands back and says so, claims count what it hands out, and when it goes ours takes over" {
        only both "there is no device plugin of ours"
        plugin_start node1 foreign --devices HHHH
        eventually 10 driver_metric tdx_foreign_plugin 1
        driver_log | grep -q "another device plugin serves devices.kubevirt.io/tdx"
        pod theirs tdx=1
        running theirs
        foreign_allocated 1
        eventually 20 offers 3
        pod claim template=td
        running claim
        n_held 2
        gone theirs
        plugin_stop node1 foreign
        eventually 30 driver_metric tdx_foreign_plugin 0
        eventually 30 allocatable 3
        pod ours tdx=1
        running ours
        [[ $(quotes ours) == "a quote of "* ]]
        plugin_start node1 foreign --devices HHHH
        eventually 10 driver_metric tdx_foreign_plugin 1
        n_held 2
}

@test "a parked one does not keep plain pods from DRA" {
        only dra "plain pods go to the device plugin"
        needs 1.36 "DRAExtendedResource is off"
        plugin_start node1 foreign --devices UUUU
        eventually 15 allocatable 0
        pod vm tdx=1
        running vm
        has_claim vm
        [[ $(quotes vm) == "a quote of "* ]]
        if foreign_allocated 1; then return 1; fi
        # Nor where it flickers.
        plugin node1 foreign set HHUU
        plugin node1 foreign set UUUU
        sleep 3
        is_running vm
}
