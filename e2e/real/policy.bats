#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What the driver's own token may write.

setup_file() {
        load cluster
        install
        eventually 20 offers 4
}
setup() { load cluster; }

slice() { # NODE: written with the token of the driver's pod, without effect
        local pod token
        pod=$(driver_pod)
        token=$(k -n dra-driver-tdx create token dra-driver-tdx --bound-object-kind Pod --bound-object-name "${pod#pod/}")
        k get --raw /version >/dev/null
        on node1 env -u KUBECONFIG kubectl --server https://10.96.0.1 --certificate-authority "$E2E_DIR/pki/ca.crt" --token "$token" \
                create --dry-run=server -f - <<END
{apiVersion: resource.k8s.io/v1, kind: ResourceSlice, metadata: {name: $1-by-hand},
 spec: {driver: tdx.kubevirt.io, nodeName: $1, pool: {name: $1, generation: 1, resourceSliceCount: 1}, devices: []}}
END
}

@test "the driver's token may write its own node's slices" {
        slice node1
}

@test "the driver's token may not write a slice of another node" {
        run slice node2
        [ "$status" -ne 0 ]
        [[ $output == *"denied"* ]]
}
