#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What the KubeVirt CR says of attestation: each field by itself, against the flags, and when it cannot be read.

export RIGHTS=manifest

setup() { load scenario; load qgs; load kubevirt; enter_node 4; chmod 711 "$T"; }
teardown() { leave_node; }

@test "enforcement is in force beside a refused path, from the start and without a record" {
        start_qgs # at a place that nothing names
        cr '{"enforced":true,"qgsSocketPath":"/var/run/qgs.socket"}'
        plain_driver --serve dra
        becomes "tainted path-refused, attesting not"
        eventually 10 has_event 'TDXNotSchedulable.*qgsSocketPath: the directory of "/var/run/qgs.socket"'
        says driver "KubeVirt's qgsSocketPath is refused: no new VM is placed here"
        if says driver "no usable attestation settings"; then false; fi
        refused qgsSocketPath 1
        refused enforced 0
        metric_is tdx_schedulable 0
}

@test "a path that is a directory, empty, or not a string enforces no less" {
        for bad in '"/var/run/tdx-qgs/"' '""' 7; do
                cr '{"enforced":true,"qgsSocketPath":'"$bad"'}'
                plain_driver --serve dra
                becomes "tainted path-refused, attesting not"
                stop_driver
                rm -rf "$STATE"
        done
}

@test "one change of a CR that enforces and moves to a refused path enforces; corrected, VMs are placed again" {
        start_qgs
        cr '{"enforced":false,"qgsSocketPath":"'"$QGS"'"}'
        plain_driver --serve dra
        becomes "open, attesting"
        prepare before tdx0
        cr '{"enforced":true,"qgsSocketPath":"/var/run/qgs.socket"}'
        becomes "tainted path-refused, attesting not"
        # Held devices stay held and keep their directory.
        kubelet prepare default/before
        jq -e --arg path "$(dirname "$QGS")" '.devices[0].containerEdits.mounts[0].hostPath == $path' "$CDI/kubevirt.io-tdx.json"
        cr '{"enforced":true,"qgsSocketPath":"'"$QGS"'"}'
        becomes "open, attesting"
        eventually 10 has_event TDXSchedulable
        refused qgsSocketPath 0
}

@test "a refused path that is not enforced costs attestation and nothing else" {
        start_qgs
        cr '{"enforced":false,"qgsSocketPath":"'"$QGS"'"}'
        plain_driver --serve dra
        becomes "open, attesting"
        cr '{"enforced":false,"qgsSocketPath":"/etc/qgs.socket"}'
        becomes "open, attesting not"
        prepare vm tdx1
        refused qgsSocketPath 1
        metric_is tdx_schedulable 1
        if has_event TDXNotSchedulable; then false; fi
}

@test "a value of enforced that is not a boolean keeps the last one, and takes the path" {
        cr '{"enforced":true,"qgsSocketPath":"'"$QGS"'"}'
        start_qgs
        plain_driver --serve dra
        becomes "open, attesting"
        cr '{"enforced":"false","qgsSocketPath":"'"$T"'/host/run/other/qgs.socket"}'
        becomes "tainted absent, attesting not"
        said driver "attestation enforced=true socket=$T/host/run/other/qgs.socket" 10
        refused enforced 1
        refused qgsSocketPath 0
}

@test "a CR whose path conflicts with --qgs-socket still enforces" {
        start_qgs
        cr '{"enforced":true,"qgsSocketPath":"/var/run/qgs/qgs.sock"}'
        plain_driver --serve dra --qgs-socket "$QGS"
        becomes "tainted path-refused, attesting not"
        eventually 10 has_event "TDXNotSchedulable.*differ in their file names"
        refused qgsSocketPath 1
        cr '{"enforced":true,"qgsSocketPath":"/var/run/qgs/qgs.socket"}'
        becomes "open, attesting"
}

@test "after a restart without the API server the driver knows which settings it refused" {
        start_qgs
        cr '{"enforced":true,"qgsSocketPath":"'"$QGS"'"}'
        plain_driver --serve dra
        becomes "open, attesting"
        cr '{"enforced":true,"qgsSocketPath":"/var/run/qgs.socket"}'
        becomes "tainted path-refused, attesting not"
        stop_driver
        api refuse
        plain_flags
        start driver "$DRIVER" run "${FLAGS[@]}" --serve dra
        said driver 'using the last known ones' 30
        says driver "attestation enforced=true socket=$QGS"
        metric_is tdx_schedulable 0
        refused qgsSocketPath 1
        api accept
        eventually 40 slice_is "tainted path-refused, attesting not"
}

@test "a CR that may not be read, with no settings known from before, is reported in an Event" {
        api kubevirt on
        api kubevirt-forbid on
        plain_driver --serve dra
        eventually 20 has_event 'TDXSettingsUnknown.*list and watch of kubevirts.kubevirt.io are not permitted'
        becomes "open, attesting not"
        api kubevirt-forbid off
        eventually 40 has_event TDXSettingsKnown
}

@test "--vm-qgs-socket that differs from the CR's path is warned about, once for each path" {
        start_qgs
        cr '{"enforced":true,"qgsSocketPath":"/run/a/qgs.socket"}'
        plain_driver --serve dra --qgs-socket "$QGS" --vm-qgs-socket /run/vm/qgs.socket
        said driver '--vm-qgs-socket is not KubeVirt.s qgsSocketPath.*flag=/run/vm/qgs.socket qgsSocketPath=/run/a/qgs.socket' 10
        cr '{"enforced":false,"qgsSocketPath":"/run/a/qgs.socket"}'
        said driver 'attestation enforced=false' 10
        # The other name of the flag's path is the flag's path.
        cr '{"enforced":true,"qgsSocketPath":"/var/run/vm/qgs.socket"}'
        said driver 'attestation enforced=true.*' 10
        becomes "open, attesting"
        [ "$(grep -c 'WARN.*--vm-qgs-socket is not' "$T/driver.log")" = 1 ]
}
