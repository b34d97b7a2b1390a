#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# KubeVirt's own device plugin of the same resource name on the node (KubeVirt 1.9, feature gate WorkloadEncryptionTDX):
# live, or parked. Parked is how an admin leaves plain pods to DRA: attestation enforced, and a qgsSocketPath whose
# directory is there and never holds a socket, so that all its devices are Unhealthy. README has the table.

PARKED=/run/dra-driver-tdx/qgs.socket

export QGS_MODE=0666 # plain pods attest, too

setup_file() {
        load cluster
        kubevirt_crd created
        enforced false
        set_up_node
}
teardown_file() {
        load cluster
        kubevirt_crd deleted
        qgs_stop
}
setup() { load cluster; }
teardown() {
        [ -z "${BATS_TEST_SKIPPED:-}" ] || return 0
        [ -n "$BATS_TEST_COMPLETED" ] || { driver_log | tail -n 12; cat "$E2E_DIR/node1/log/in-tree-plugin.log" || true; }
        no_pods
        in_tree_stop node1
        enforced false
        install
        [ "$OVERLAY" = dra ] || { eventually 30 driver_metric 'tdx_registered{path="plugin"}' 1; eventually 30 allocatable 4; }
}

# As README has it: what virt-handler then does, and the driver's side of it.
park() {
        on node1 mkdir -p "$(dirname $PARKED)"
        install DRA_QGS_SOCKET=$QUOTE
        enforced true $PARKED
        in_tree_start node1 4 $PARKED enforced
        eventually 15 allocatable 0
        eventually 20 placeable 4
}

@test "both, a live foreign plugin: ours stays unregistered and says so, its TDs count, and when it goes ours takes over" {
        only both "there is no device plugin of ours"
        in_tree_start node1 4 $QUOTE
        eventually 10 driver_metric tdx_foreign_plugin 1
        eventually 20 driver_says "another device plugin serves devices.kubevirt.io/tdx"
        pod theirs tdx=1
        running theirs
        in_tree_allocated node1 1
        [[ $(quotes theirs) == "a quote of "* ]]
        eventually 20 offers 3
        pod claim template=td
        running claim
        n_held 2
        gone theirs
        in_tree_stop node1
        eventually 30 driver_metric tdx_foreign_plugin 0
        eventually 30 allocatable 3
        pod ours tdx=1
        running ours
        [[ $(quotes ours) == "a quote of "* ]]
        in_tree_start node1 4 $QUOTE
        eventually 10 driver_metric tdx_foreign_plugin 1
        n_held 2
}

@test "both, a parked foreign plugin: plain pods wait, claims are served" {
        only both "with DRA alone plain pods go to DRA"
        park
        eventually 10 driver_metric tdx_foreign_plugin 1
        pod plain tdx=1
        pod claim template=td
        running claim
        [[ $(quotes claim $PARKED) == "a quote of "* ]]
        pending plain
        in_tree_allocated node1 0
}

@test "dra, a parked foreign plugin: plain pods go to DRA, also after virt-handler has restarted" {
        only dra "plain pods go to the device plugin"
        needs 1.36 "DRAExtendedResource is off"
        park
        pod vm tdx=1
        running vm
        has_claim vm
        [[ $(quotes vm $PARKED) == "a quote of "* ]]
        # It says Healthy before it looks.
        in_tree_stop node1
        in_tree_start node1 4 $PARKED enforced
        eventually 15 allocatable 0
        pod next tdx=1
        running next
        has_claim next
        is_running vm
        in_tree_allocated node1 0
}

@test "dra, a live foreign plugin: it serves plain pods, we serve claims, and each TD is counted once" {
        only dra "ours is a device plugin, too"
        in_tree_start node1 4 $QUOTE
        eventually 15 allocatable 4
        pod plain tdx=1
        running plain
        if has_claim plain; then return 1; fi
        in_tree_allocated node1 1
        eventually 20 offers 3
        pod claim template=td
        running claim
        n_held 2
}
