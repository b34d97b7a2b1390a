#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The host removes a directory that the driver's container has mounted, and creates it again.

setup() { load scenario; load container; enter_host; }
teardown() { leave_node; }

@test "the CDI directory is removed and created again: /healthz says so, and a new container serves again" {
        container without-run --serve=dra
        healthy
        rm -r "$CDI"
        mkdir "$CDI"
        run prepare one tdx0
        [ "$status" -ne 0 ]
        [[ $output == *"$CDI was removed on the host"*"restart the container"* ]]
        eventually 30 unhealthy
        page /healthz | grep -q "$CDI was removed on the host"
        said driver "the host removed a directory below this container's mount"
        restarted without-run --serve=dra
        prepare one tdx0
        [ -s "$CDI/kubevirt.io-tdx.json" ]
}

@test "the CDI directory is removed and created again: where the pod sees all of /var/run, claims are served until the restart" {
        container with-run --serve=dra
        rm -r "$CDI"
        mkdir "$CDI"
        prepare one tdx0
        eventually 10 test -s "$CDI/kubevirt.io-tdx.json"
        # The runtime's watch of the removed directory ends with the container's mount of it.
        eventually 30 unhealthy
        page /healthz | grep -q "$CDI was removed on the host"
        rm "$CDI/kubevirt.io-tdx.json"
        eventually 10 test -s "$CDI/kubevirt.io-tdx.json"
}

@test "the state directory is removed and created again: /healthz says so, and held TDs stay held" {
        container without-run --serve=dra
        prepare one tdx0
        rm -r "$STATE"
        mkdir "$STATE"
        eventually 30 unhealthy
        page /healthz | grep -q "$STATE was removed on the host"
        metric 'tdx_held_tds{path="dra"}' 1
}

@test "the host's /var/run is removed and created again: /healthz says so" {
        container without-run --serve=dra
        rm -r "$T/host/root/var/run"
        mkdir "$T/host/root/var/run"
        eventually 30 unhealthy
        page /healthz | grep -q "$T/pod/var/run was removed on the host"
}
