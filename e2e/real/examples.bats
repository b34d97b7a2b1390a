#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What people copy from manifests/examples, on a real API server, with KubeVirt's own CRDs.

setup_file() {
        load cluster
        kubevirt_crd created
        kubevirt_crd created virtualmachines
        enforced false
        set_up_node
        # Another file may have removed the CRD under a driver that runs on; it looks for it every half a minute.
        enforced true
        qgs_stop
        eventually 60 placeable 0
        enforced false
        qgs_start
        eventually 60 placeable 4
}
teardown_file() {
        load cluster
        kubevirt_crd deleted
        kubevirt_crd deleted virtualmachines
        k delete --ignore-not-found -f "$ROOT/manifests/examples/claims-for-vms.yaml" >/dev/null 2>&1 || true
        qgs_stop
}
setup() { load cluster; EXAMPLES=$ROOT/manifests/examples; }
teardown() {
        [ -n "$BATS_TEST_COMPLETED" ] || driver_log | tail -n 12
        k delete namespace tenant --ignore-not-found --timeout=60s >/dev/null
        no_pods
}

@test "each example is accepted unchanged, the VMs by KubeVirt's own CRD" {
        local example
        for example in "$EXAMPLES"/{pod-*,vm*,quota}.yaml; do
                k apply --dry-run=server --validate=strict -f "$example"
        done
}

patched() { # EXAMPLE: as it says itself
        k -n kubevirt patch kubevirt kubevirt --type merge --patch-file "$EXAMPLES/$1" >/dev/null
}

@test "the admin's settings and the developer's are in force at once" {
        qgs_stop
        patched kubevirt-enforced.yaml
        eventually 20 placeable 0
        patched kubevirt-developer.yaml
        eventually 20 placeable 4
        qgs_start
}

@test "the pod of a VM that names a claim gets it in place of the plain resource" {
        needs 1.36 "MutatingAdmissionPolicy is not served"
        patched kubevirt-developer.yaml
        k apply -f "$EXAMPLES/claims-for-vms.yaml" >/dev/null
        sed '/^---$/,$d' "$EXAMPLES/vm-attested.yaml" | k apply -f - >/dev/null
        eventually 15 offers 4 node1 '.attributes.attestation.bool == true'
        sleep 2 # until the API server goes by a policy, and nothing tells when
        pod vm vm=attested-td
        running vm
        k get pod vm -o json | jq -e '.spec.containers[0].resources == {"claims": [{"name": "tdx"}]}'
        if has_claim vm; then return 1; fi
        # Where the examples' CR says, and so where KubeVirt tells QEMU to look.
        [[ $(quotes vm /run/tdx-qgs/qgs.socket) == "a quote of "* ]]
        n_held 1
}

@test "a namespace's quota bounds plain pods" {
        local i
        k create namespace tenant >/dev/null
        k -n tenant apply -f "$EXAMPLES/quota.yaml" >/dev/null
        eventually 10 bash -c "$NODE_TOOL kubectl -n tenant get quota tds -o jsonpath='{.status.hard}' | grep -q tdx"
        # Their image is a placeholder: nothing is to pull it.
        for i in 1 2 3 4 5; do
                sed "s/name: td-plain/name: plain$i/; s/^  restartPolicy:/  nodeSelector: {nowhere: \"\"}\n&/" \
                        "$EXAMPLES/pod-plugin.yaml" | k -n tenant apply -f - || true
        done
        [ "$(k -n tenant get pods -o name | wc -l)" = 4 ]
}
