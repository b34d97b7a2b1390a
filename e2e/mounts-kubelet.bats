#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The same with kubelet's own directories.

setup() { load scenario; load container; enter_host; }
teardown() { leave_node; }

@test "kubelet's directories of plugins are removed and created again: not registered, not healthy, and a new container is" {
        container without-run --serve=both
        kubelet wait-healthy 4 20s
        kubelet stop
        rm -r "$K/plugins_registry" "$K/device-plugins"
        kubelet start
        eventually 30 unhealthy
        metric 'tdx_registered{path="dra"}' 0
        metric 'tdx_registered{path="plugin"}' 0
        page /healthz | grep -q "$K/plugins_registry was removed on the host"
        restarted without-run --serve=both
        kubelet wait-healthy 4 20s
        eventually 10 metric 'tdx_registered{path="dra"}' 1
        eventually 10 metric 'tdx_registered{path="plugin"}' 1
}

@test "podresources' directory is removed and created again: /healthz says so, and a new container hears of pods again" {
        container without-run --serve=both
        kubelet wait-healthy 4 20s
        kubelet pod default/one
        kubelet stop
        rm -r "$K/pod-resources"
        kubelet start
        eventually 30 unhealthy
        page /healthz | grep -q "$K/pod-resources was removed on the host"
        restarted without-run --serve=both
        kubelet wait-healthy 4 20s
        kubelet delete default/one
        api wait-devices 4 30s
}
