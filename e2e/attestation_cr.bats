#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Attestation's settings as they come from the KubeVirt CR: live, refused, several, forbidden, last known.

export RIGHTS=manifest
export KUBELET_DEVICES=no

setup() { load scenario; load qgs; enter_node 4; }
teardown() { leave_node; }

in_force() { tail -n 1 <<<"$(grep -o 'attestation enforced=[a-z]* socket=[^ ]*' "$T/driver.log")"; }

@test "KubeVirt's settings are in force within a second of their change, and disturb no claim" {
        start_qgs
        api kubevirt on
        api kubevirt-set kubevirt/kubevirt qgs="$QGS"
        driver_flags from-cluster
        start driver as_pod "$DRIVER" run "${FLAGS[@]}" --serve dra
        kubelet wait-registered tdx.kubevirt.io 15s
        eventually 5 slice_is "open, attesting"
        prepare vm tdx0
        qgs gone
        eventually 5 slice_is "open, attesting not"
        within_a_second api kubevirt-set kubevirt/kubevirt enforced=true -- "tainted absent, attesting not"
        holds 1
        within_a_second api kubevirt-set kubevirt/kubevirt enforced=false -- "open, attesting not"
        api kubevirt-set kubevirt/kubevirt qgs="$T/host/run/other/qgs.socket" enforced=true
        eventually 2 says driver "attestation enforced=true socket=$T/host/run/other/qgs.socket"
        kubelet prepare default/vm
}

@test "a refused KubeVirt setting is reported with its field, and the previous one stays" {
        start_qgs
        api kubevirt on
        api kubevirt-set kubevirt/kubevirt enforced=true qgs="$QGS"
        driver --serve dra
        eventually 5 slice_is "open, attesting"
        for bad in '"/var/run/qgs.socket"' '"relative"' '"/a/../b/qgs.socket"' 7; do
                api kubevirt-json kubevirt/kubevirt \
                        '{"configuration":{"confidentialCompute":{"tdx":{"attestation":{"enforced":true,"qgsSocketPath":'"$bad"'}}}}}'
                sleep 0.2
        done
        said driver 'attestation.qgsSocketPath'
        says driver 'shared by'
        slice_is "open, attesting"
        qgs gone
        eventually 2 slice_is "tainted absent, attesting not"
}

@test "two KubeVirt CRs are reported once, none means the defaults, and no permission changes nothing" {
        start_qgs
        api kubevirt on
        api kubevirt-set a/one enforced=true qgs="$QGS"
        driver --serve dra
        eventually 5 slice_is "open, attesting"
        api kubevirt-set b/two enforced=false
        said driver 'state=several'
        api kubevirt-forbid on
        said driver 'state=forbidden' 10
        qgs gone
        eventually 2 slice_is "tainted absent, attesting not"
        api kubevirt-forbid off
        api kubevirt-delete b/two
        api kubevirt-delete a/one
        eventually 10 slice_is "open, attesting not"
        [ "$(grep -c 'state=several' "$T/driver.log")" = 1 ]
}

@test "without the API server the last known settings are in force" {
        start_qgs
        api kubevirt on
        api kubevirt-set kubevirt/kubevirt enforced=true qgs="$QGS"
        driver --serve dra
        eventually 5 slice_is "open, attesting"
        stop_driver
        api refuse
        qgs gone
        launch_driver driver --serve dra
        said driver 'using the last known ones' 15
        [[ $(in_force) == *"enforced=true socket=$QGS" ]]
        api accept
        eventually 40 slice_is "tainted absent, attesting not"
}

@test "a CR that breaks while the driver is down does not loosen the settings in force" {
        start_qgs
        api kubevirt on
        api kubevirt-set kubevirt/kubevirt enforced=true qgs="$QGS"
        driver --serve dra
        eventually 5 slice_is "open, attesting"
        stop_driver
        qgs gone
        api kubevirt-json kubevirt/kubevirt '{"configuration":{"confidentialCompute":{"tdx":{"attestation":7}}}}'
        driver --serve dra
        eventually 5 slice_is "tainted absent, attesting not"
}

@test "flags that settle everything need no KubeVirt CR, and never ask for one" {
        driver --serve dra --attestation optional
        eventually 5 slice_is "open, attesting not"
        api stats | tee "$T/stats"
        if grep -q kubevirts "$T/stats"; then false; fi
}
