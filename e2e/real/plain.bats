#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Unmodified KubeVirt pods, which ask for devices.kubevirt.io/tdx: through the device plugin (overlay both), or through
# a claim that the scheduler makes (overlay dra).

export QGS_MODE=0666 # plain pods attest, too

setup_file() {
        load cluster
        set_up_node
}
teardown_file() { load cluster; qgs_stop; }
setup() { load cluster; }
teardown() { no_pods; }

@test "a plain pod runs, holds a TD and fetches a quote" {
        pod vm tdx=1
        running vm
        [[ $(quotes vm) == "a quote of "* ]]
        n_held 1
        gone vm
        eventually 15 n_held 0
}

@test "with DRA alone the scheduler makes the plain pod's claim" {
        only dra "plain pods go to the device plugin"
        needs 1.36 "DRAExtendedResource is off"
        pod vm tdx=1
        running vm
        has_claim vm
        eventually 10 offers 4
}

@test "with both, the plain pod goes to the device plugin, and the slice shrinks by the TD it holds" {
        only both "there is no device plugin"
        pod vm tdx=1
        running vm
        if has_claim vm; then return 1; fi
        eventually 10 offers 3
        gone vm
        eventually 20 offers 4
}

@test "on a full node the plain pod that waits takes the place of the one that leaves, and is not refused" {
        local i
        for i in 1 2 3 4; do pod vm$i tdx=1; done
        running vm1 vm2 vm3 vm4
        for i in 1 2 3; do
                pod next$i tdx=1
                pending next$i
                gone vm$i
                running next$i
        done
        n_held 4
}

@test "both paths fill the node exactly: of three pods each, four run" {
        local i
        for i in 1 2; do
                pod plain$i tdx=1
                pod claim$i template=td
        done
        running plain1 plain2 claim1 claim2
        n_held 4
        # kubelet passes the plugin's health on with its status; before that it refuses the pod itself.
        [ "$OVERLAY" = dra ] || eventually 15 allocatable 2
        pod claim3 template=td
        pod plain3 tdx=1
        pending claim3
        pending plain3
        gone plain1
        gone claim1
        running claim3 plain3
        n_held 4
}

n_running() { k get pods -l e2e=pod -o json | jq '[.items[] | select(.status.containerStatuses[0].ready == true and .metadata.deletionTimestamp == null)] | length'; }

# A pod that kubelet has refused is gone for good: its creator makes another, as KubeVirt does.
n_refused() { k get pods -l e2e=pod -o json | jq '[.items[] | select(.status.phase == "Failed")] | length'; }

four_run() { [ "$(n_running)" = 4 ]; }

@test "two hundred pods come and go by chance on both paths: never more than four hold a TD, and four can in the end" {
        RANDOM=${SEED:-7}
        local step kind name names=() n=0
        for ((step = 0; step < 200; step++)); do
                if [ ${#names[@]} -lt 6 ] && ((RANDOM % 5 < 3)) || [ ${#names[@]} -eq 0 ]; then
                        kind=template=td
                        ((RANDOM % 2)) || kind=tdx=1
                        name=r$((n += 1))
                        pod $name $kind
                        names+=("$name")
                else
                        k delete pod "${names[0]}" --wait=false >/dev/null
                        names=("${names[@]:1}")
                fi
                [ "$(n_running)" -le 4 ]
        done
        echo "of $n pods kubelet refused $(n_refused)"
        no_pods
        for kind in template=td tdx=1 template=td tdx=1; do pod "end$((n += 1))" $kind; done
        eventually 40 four_run
        n_held 4
}
