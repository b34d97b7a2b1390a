#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The CDI spec, as the container runtime takes it.

setup() { load scenario; enter_node 4; }
teardown() { leave_node; }

@test "another CDI spec with our devices is named in the log, an Event and check" {
        driver --serve=dra
        eventually 10 test -s "$CDI/kubevirt.io-tdx.json"
        cp "$CDI/kubevirt.io-tdx.json" "$CDI/kubevirt.io-tdx.backup.json"
        said driver "another CDI spec names our devices.*$CDI/kubevirt.io-tdx.backup.json" 10
        eventually 10 eval 'api events | grep -q TDXCDIConflict'
        driver_flags
        run "$DRIVER" check "${FLAGS[@]}"
        [ "$status" -eq 1 ]
        [[ $output == *"FAIL  CDI"*"kubevirt.io-tdx.backup.json also names our devices"* ]]
        rm "$CDI/kubevirt.io-tdx.backup.json"
        said driver "no other CDI spec names our devices" 10
        [ "$(grep -c 'another CDI spec names our devices' "$T/driver.log")" = 1 ]
}

@test "a container runtime that rejects groups in a CDI spec is warned of once, if QGS's socket has a group" {
        end api
        start_api --runtime containerd://1.7.13
        end kubelet
        start_kubelet --no-devices
        mkdir -p "${QGS%/*}"
        start qgs "$SIM/qgs-sim" --socket "$QGS" --control "$T/qgs.ctl"
        eventually 10 qgs owner 991 990
        qgs mode 0660
        driver --serve=dra
        said driver 'the container runtime is too old.*1.7.13.*group=990' 20
        qgs mode 0666
        eventually 20 eval 'jq -e ".devices[0].containerEdits | has(\"additionalGids\") | not" "$CDI/kubevirt.io-tdx.json"'
        qgs mode 0660
        eventually 20 eval 'jq -e ".devices[0].containerEdits | has(\"additionalGids\")" "$CDI/kubevirt.io-tdx.json"'
        [ "$(grep -c 'the container runtime is too old' "$T/driver.log")" = 1 ]
}
