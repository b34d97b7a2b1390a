#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What kubelet and scheduler do where one resource name is a device plugin's and a DeviceClass's: the driver's rules
# for both paths (README, "Two paths, one ledger") rest on it. Another's plugin and a resource of its own, so that
# nothing of ours is in the way but the devices behind the class: one overlay will do.

R=example.com/handover

setup_file() {
        load cluster
        if [ "$OVERLAY" = both ] || ! at_least 1.36; then return; fi
        set_up_node DRA_POLL_INTERVAL=2s
        k apply -f - >/dev/null <<END
{apiVersion: resource.k8s.io/v1, kind: DeviceClass, metadata: {name: handover},
 spec: {extendedResourceName: $R, selectors: [{cel: {expression: 'device.driver == "tdx.kubevirt.io"'}}]}}
END
}
teardown_file() {
        load cluster
        k delete deviceclass handover --ignore-not-found >/dev/null
        qgs_stop
}
setup() {
        load cluster
        only dra "nothing here depends on what the driver serves"
        needs 1.36 "DRAExtendedResource is off"
}
teardown() {
        [ -z "${BATS_TEST_SKIPPED:-}" ] || return 0
        on node1 sh -c 'echo "tdx 4" >/run/e2e/cgroup/misc.capacity'
        no_pods
        plugin_stop node1 other
        # With no holder left kubelet drops the resource at its next start.
        restart_kubelet
}

other() { # HEALTH [ARGUMENT...]: registered, and known to the scheduler
        plugin_start node1 other --resource $R --endpoint handover.sock --devices "$@"
        settled "$1"
}
say() { # HEALTH
        plugin node1 other set "$1"
        settled "$1"
}
settled() { local healthy=${1//U/}; eventually 10 allocatable ${#healthy} node1 $R; }
allocated() { [ "$(plugin node1 other allocated | grep -c dev)" = "$1" ]; } # N
restart_kubelet() {
        daemon node1 stop kubelet
        daemon node1 start kubelet
        eventually 40 offers 4
}
# Of its own accord, says the phase on 1.37 (its process ends well when it is told to); the event has the reason.
has_ended() { [[ $(phase "$1") =~ ^(Failed|Succeeded)$ ]]; } # POD
waits() { k get pod "$1" -o jsonpath='{.status.containerStatuses[0].state.waiting.reason}' | grep -qx "$2"; } # POD REASON

@test "while the plugin has healthy devices, even held ones, plain pods go to it alone; without any they go to DRA" {
        other HH
        pod p1 resource=$R
        pod p2 resource=$R
        running p1 p2
        allocated 2
        pod p3 resource=$R
        pending p3
        pod c1 template=td
        running c1
        say UU
        running p3
        has_claim p3
        is_running p1 p2
}

@test "a pod that DRA serves takes nothing from the plugin" {
        other UU
        pod p1 resource=$R
        running p1
        has_claim p1
        say HH
        is_running p1
        allocated 0
}

@test "what DRA serves still counts against the plugin's allocatable" {
        other UU
        pod p1 resource=$R
        running p1
        say HH
        pod p2 resource=$R
        running p2
        allocated 1
        pod p3 resource=$R
        pending p3
}

@test "a kubelet that restarts while the plugin is away ends a plugin pod that is younger than one of DRA" {
        other UU
        pod p1 resource=$R
        running p1
        has_claim p1
        say HH
        pod p2 resource=$R
        running p2
        allocated 1
        plugin_stop node1 other
        eventually 10 allocatable 0 node1 $R
        restart_kubelet
        eventually 20 has_ended p2
        events_of p2 | grep -q "^OutOf$R: "
        is_running p1
}

@test "five minutes after the plugin went, while a pod has its device, no container of a DRA pod starts" {
        [ -n "${E2E_SLOW:-}" ] || skip "it takes five minutes: E2E_SLOW=1"
        other HH
        pod p1 resource=$R
        running p1
        plugin_stop node1 other
        eventually 330 bash -c "[ \"\$($NODE_TOOL kubectl get node node1 -o json | jq -r '.status.capacity[\"$R\"]')\" = 0 ]"
        pod p2 resource=$R
        eventually 20 waits p2 CreateContainerConfigError
        has_claim p2
        events_of p2 | grep -q "endpoint not found in cache for a registered resource"
        is_running p1
}

@test "with pre_start_required a parked plugin fails the containers of DRA pods" {
        other UU --pre-start
        pod p1 resource=$R
        eventually 20 waits p1 CreateContainerConfigError
        has_claim p1
        events_of p1 | grep -q "no devices found allocated in local cache"
}

@test "when kubelet restarts before the plugin is back, plain pods that wait for it fall to DRA" {
        other HH
        pod p1 resource=$R
        pod p2 resource=$R
        running p1 p2
        pod p3 resource=$R
        pending p3
        plugin_stop node1 other
        restart_kubelet
        running p3
        has_claim p3
        is_running p1 p2
}

@test "a plugin's health reaches the scheduler within kubelet's status period, a slice's devices at once" {
        local began i
        other UU
        for i in U H U H; do
                began=${EPOCHREALTIME/./}
                plugin node1 other set H$i
                eventually 10 allocatable "$([ $i = H ] && echo 2 || echo 1)" node1 $R
                echo "# health to allocatable: $(((${EPOCHREALTIME/./} - began) / 1000)) ms" >&3
                [ $((${EPOCHREALTIME/./} - began)) -lt 4000000 ]
        done
        for i in 1 2 3 4; do pod c$i template=td; done
        running c1 c2 c3 c4
        pod c5 template=td
        pending c5
        on node1 sh -c 'echo "tdx 5" >/run/e2e/cgroup/misc.capacity'
        eventually 40 offers 5
        began=${EPOCHREALTIME/./}
        eventually 5 bash -c "[ -n \"\$($NODE_TOOL kubectl get pod c5 -o jsonpath='{.spec.nodeName}')\" ]"
        echo "# slice to bound, kubectl's own time included: $(((${EPOCHREALTIME/./} - began) / 1000)) ms" >&3
}
