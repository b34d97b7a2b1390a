#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# A kubelet with another --root-dir, as k0s starts it, and manifests/components/k0s: both paths work.

export QGS_MODE=0666 # plain pods attest, too

no_driver() {
        k -n dra-driver-tdx delete daemonset/dra-driver-tdx --wait=true --timeout=60s --ignore-not-found >/dev/null
        eventually 40 has_no_driver
}
has_no_driver() { [ -z "$(k -n dra-driver-tdx get pods -o name)" ]; }
kubelet_root() { # DIRECTORY
        daemon node1 stop kubelet
        on node1 sh -c "mkdir -p $1 && echo $1 >/run/e2e/kubelet-root"
        daemon node1 start kubelet
}

setup_file() {
        load cluster
        no_driver
        kubelet_root /var/lib/k0s/kubelet
        on node1 rm -rf /var/lib/kubelet/plugins /var/lib/kubelet/plugins_registry /var/lib/kubelet/pod-resources
        export COMPONENTS=k0s
        set_up_node
}
teardown_file() {
        load cluster
        qgs_stop
        no_driver
        kubelet_root /var/lib/kubelet
}
setup() { load cluster; }
teardown() {
        [ -n "$BATS_TEST_COMPLETED" ] || driver_log | tail -n 20
        no_pods
}

@test "claims and plain pods run and attest, and kubelet's directory at the usual place is not used" {
        pod claimed template=td
        pod plain tdx=1
        running claimed plain
        [[ $(quotes claimed) == "a quote of "* && $(quotes plain) == "a quote of "* ]]
        n_held 2
        on node1 sh -c 'ls /var/lib/k0s/kubelet/plugins/tdx.kubevirt.io/*.sock /var/lib/k0s/kubelet/plugins_registry/*.sock'
        on node1 sh -c 'cd /var/lib/kubelet && [ ! -e plugins ] && [ ! -e plugins_registry ] && [ ! -e pod-resources ]'
        gone claimed plain
        eventually 20 n_held 0
}

@test "device-plugins does not move with kubelet's root" {
        only both "there is no device plugin"
        on node1 test -S /var/lib/kubelet/device-plugins/dra-driver-tdx.sock
        eventually 20 allocatable 4
}
