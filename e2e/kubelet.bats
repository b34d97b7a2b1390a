#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Whether kubelet really knows the driver, and where its directories are.

setup() { load scenario; enter_node 4; }
teardown() { leave_node; }

@test "a kubelet that is gone or another one has not registered the driver, and a lost registration is made again in a minute" {
        end kubelet
        start_kubelet --no-devices --registers-once
        driver --serve=dra --listen 127.0.0.1:0
        metric 'tdx_registered{path="dra"}' 1
        page /readyz
        kubelet stop
        eventually 10 metric 'tdx_registered{path="dra"}' 0
        page /readyz | grep -q "kubelet has not registered the DRA driver"
        # Its one attempt is lost.
        kill -STOP "$(pid_of driver)"
        kubelet start
        said kubelet "nobody answers the dial" 30
        kill -CONT "$(pid_of driver)"
        metric 'tdx_registered{path="dra"}' 0
        kubelet wait-registered tdx.kubevirt.io 60s
        eventually 10 metric 'tdx_registered{path="dra"}' 1
        page /readyz
}

@test "a device plugin that kubelet registers and does not ask for its list is not registered, and says so once" {
        end kubelet
        KUBELET_DEVICES=yes start_kubelet
        kubelet watch-plugins off
        launch_driver driver --serve=plugin --listen 127.0.0.1:0
        said driver "does not ask for its list" 40
        metric 'tdx_registered{path="plugin"}' 0
        page /readyz | grep -q "kubelet has not registered the device plugin"
        eventually 30 eval '[ "$(kubelet device-plugins | wc -l)" -ge 2 ]'
        [ "$(grep -c 'does not ask for its list' "$T/driver.log")" = 1 ]
        kubelet watch-plugins on
        eventually 40 metric 'tdx_registered{path="plugin"}' 1
        said driver "the device plugin is registered"
        kubelet stop
        eventually 10 metric 'tdx_registered{path="plugin"}' 0
}

@test "a kubelet directory as long as MicroK8s' has room for the sockets of a pod" {
        local uid=0c1ef3a4-6d1c-4d0e-9a40-2f6e2a3b4c5d names
        end kubelet
        K=$T/$(printf 'k%.0s' $(seq $((41 - ${#T} - 1))))
        mkdir "$K"
        start_kubelet
        driver --pod-uid $uid
        names=$(find "$K" -name '*tdx*' -type s -printf '%f ')
        [[ $names != *$uid* ]]
        # The next instance's are others.
        launch_driver next --pod-uid 0c1ef3a4-6d1c-4d0e-9a40-2f6e2a3b4c5e
        eventually 10 eval '[ "$(find "$K" -type s -path "*tdx*" | wc -l)" = 4 ]'
        stop_driver
        kubelet wait-registered tdx.kubevirt.io 15s
        said next "active: this instance now serves the node" 15
        stop_driver next
        # Where there is room the names have the whole UID.
        end kubelet
        K=$T/k
        start_kubelet
        launch_driver driver --pod-uid $uid
        eventually 10 test -S "$K/plugins/tdx.kubevirt.io/dra-$uid.sock"
}

@test "device plugins stay in /var/lib/kubelet while the rest moves with kubelet's --root-dir" {
        end kubelet
        KUBELET_DEVICES=yes start_kubelet
        # $K is /var/lib/kubelet for the device manager; the other root has all the rest.
        local root=$T/r name
        mkdir "$root"
        for name in plugins plugins_registry pod-resources; do
                mkdir -p "$K/$name"
                ln -s "$K/$name" "$root/$name"
        done
        launch_driver driver --serve=both --kubelet-dir "$root"
        kubelet wait-registered tdx.kubevirt.io 20s
        kubelet wait-healthy 4 20s
        run "$DRIVER" run --help
        [[ $(tr -s ' \n' ' ' <<<"$output") == *"--device-plugin-dir DIR"*"(default /var/lib/kubelet/device-plugins)"* ]]
}
