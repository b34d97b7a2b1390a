#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# check and inspect say what run would do: the same settings, socket and probe (survey_host.bats has the rest).

export RIGHTS=manifest

setup() {
        load scenario
        enter_node 4
        mkdir -p "$(dirname "$QGS")"
        chmod 0711 "$T"
}
teardown() { leave_node; }

as_pod_once() { (as_pod "$DRIVER" "$@"); } # COMMAND [FLAG...]: as kubectl exec does
check() { # [FLAG...]
        driver_flags
        as_pod_once check "${FLAGS[@]}" "$@"
}

# ---- settings and QGS ----

# A KubeVirt CR that has QGS at another place than the default; the driver has no flag for it.
enter_cr() { # [FIELD=VALUE...]
        QGS=$T/host/run/elsewhere/qgs.socket
        mkdir -p "$(dirname "$QGS")"
        start qgs "$SIM/qgs-sim" --socket "$QGS" --control "$T/qgs.ctl"
        eventually 10 qgs requests
        qgs mode 0666
        api kubevirt on
        api kubevirt-set kubevirt/kubevirt qgs="$QGS" "$@"
        driver_flags from-cluster
}
cr_driver() {
        start driver as_pod "$DRIVER" run "${FLAGS[@]}" --serve dra
        kubelet wait-registered tdx.kubevirt.io 15s >/dev/null || { cat "$T/driver.log"; return 1; }
}
cr_check() { run as_pod_once check "${FLAGS[@]}"; }
cr_inspect() { run as_pod_once inspect "${FLAGS[@]}"; }

# "answering", or the taint's word: what the driver itself has published.
published_state() {
        api slices-json | jq -r '[.. | objects | select(.spec?.devices?) | .spec.devices[]][0] |
                if .taints then .taints[0].value elif .attributes.attestation.bool then "answering" else "unknown" end'
}
publishes() { [ "$(published_state)" = "$1" ]; }

@test "check and inspect use the CR's path and the same probe as the driver, and say whether a VM would be placed" {
        local mode state
        enter_cr enforced=true
        cr_driver
        for mode in ok eof gone stale; do
                case $mode in ok) state=answering ;; eof) state=failing ;; gone) state=absent ;; stale) state=stale ;; esac
                qgs ok
                eventually 60 publishes answering
                qgs $mode
                eventually 60 publishes $state

                cr_check
                echo "$output"
                if [ $mode = ok ]; then
                        [ "$status" -eq 0 ]
                        grep -F "ok    QGS          $QGS answers" <<<"$output"
                else
                        [ "$status" -eq 1 ]
                        grep -E "^FAIL  QGS +$state: .*the driver would place no VM here" <<<"$output"
                fi
                grep -E "^ok    attestation +enforced, socket $QGS .*KubeVirt CR kubevirt/kubevirt" <<<"$output"
                cr_inspect
                echo "$output"
                [ "$status" -eq 0 ]
                grep -E "^attest +enforced, socket $QGS .*KubeVirt CR kubevirt/kubevirt" <<<"$output"
                grep -E "^QGS +$state" <<<"$output"
        done
        [[ $(qgs counts) == *"closed-early=0"* ]] || { qgs counts; return 1; }
}

@test "a QGS that does not answer costs attestation, and check succeeds, if it is not enforced" {
        enter_cr enforced=false
        qgs gone
        cr_check
        echo "$output"
        [ "$status" -eq 0 ]
        grep -E "^ok    QGS +absent: .*VMs would be placed here, but could not attest" <<<"$output"
}

@test "check reports a hung QGS before QGS has answered, and closes no connection early" {
        enter_cr enforced=true
        kill -STOP "$(pid_of qgs)"
        start check as_pod "$DRIVER" check "${FLAGS[@]}"
        said check "^FAIL  QGS  *hung: " 25
        kill -CONT "$(pid_of qgs)"
        wait "$(pid_of check)" && return 1 # it fails, and does not hang
        rm "$T/check.pid"
        [[ $(qgs counts) == *"closed-early=0"* ]]
}

@test "if the API server cannot be asked, check says so, and goes by the last run's settings" {
        enter_cr enforced=true
        cr_driver
        eventually 60 publishes answering
        stop_driver
        end api
        cr_check
        echo "$output"
        [ "$status" -eq 1 ]
        grep "^FAIL  API server" <<<"$output"
        grep -E "^ok    attestation +enforced, socket $QGS .*the last run's settings are in force" <<<"$output"
        grep -F "ok    QGS          $QGS answers" <<<"$output"
        rm -r "$STATE"
        cr_inspect
        echo "$output"
        grep -E "^attest +not enforced, socket /var/run/tdx-qgs/qgs.socket .*the defaults are in force" <<<"$output"
}

@test "check fails for a path of the CR that run refuses if QGS is enforced, and only then" {
        enter_cr enforced=true
        api kubevirt-set kubevirt/kubevirt qgs=/run/qgs.socket
        cr_check
        echo "$output"
        [ "$status" -eq 1 ]
        grep -E '^FAIL  attestation +enforced, .*qgsSocketPath.*/run/qgs.socket' <<<"$output"
        cr_inspect
        echo "$output"
        grep -E '^attest +enforced, refuses a setting, .*/run/qgs.socket' <<<"$output"
        api kubevirt-set kubevirt/kubevirt enforced=false
        cr_check
        echo "$output"
        [ "$status" -eq 0 ]
        grep -E '^ok    attestation +not enforced, .*qgsSocketPath.*/run/qgs.socket' <<<"$output"
}

@test "check and inspect write nothing" {
        local before
        enter_cr enforced=true
        mkdir -p "$STATE" # as the pod's mount does
        before=$(find "$STATE" "$CDI" 2>/dev/null | sort) || true
        cr_check
        [ "$status" -eq 0 ]
        cr_inspect
        [ "$(find "$STATE" "$CDI" 2>/dev/null | sort)" = "$before" ]
}

# ---- what run would not start with ----

@test "without an API server check fails, unless the device plugin alone is served" {
        FLAGS=(--node-name "$NODE" --kubelet-dir "$K" --device-plugin-dir "$K/device-plugins" --cdi-dir "$CDI"
                --misc-capacity "/host$MISC" --host-root /host --attestation optional)
        run as_pod_once check "${FLAGS[@]}"
        echo "$output"
        [ "$status" -eq 1 ]
        grep -E '^FAIL  API server +not running in a pod and no --api-server given$' <<<"$output"
        run as_pod_once check "${FLAGS[@]}" --serve plugin
        echo "$output"
        [ "$status" -eq 0 ]
        grep -E '^ok    API server .*--serve=plugin works without' <<<"$output"
}

@test "check and inspect name a socket that run refuses, and continue" {
        local socket
        for socket in qgs.socket /run/qgs.socket /x; do
                run check --qgs-socket "$socket" --attestation enforced
                echo "$output"
                [ "$status" -eq 1 ]
                grep -E "^FAIL  flags +--qgs-socket: .*\"$socket\"" <<<"$output"
                grep -E '^ok    capacity' <<<"$output"
                driver_flags
                run as_pod_once inspect "${FLAGS[@]}" --qgs-socket "$socket"
                echo "$output"
                [ "$status" -eq 0 ]
                grep -E "^attest .*refuses a setting.*--qgs-socket: .*\"$socket\"" <<<"$output"
        done
}

# ---- help ----

@test "the help has its flags in groups, says both paths and fits 100 columns; the version has a name" {
        run "$DRIVER" --help
        [ "$status" -eq 0 ]
        [[ $output == *"ResourceClaims (DRA)"*"devices.kubevirt.io/tdx"* ]]
        [[ $output == *$'\n\nAttestation:\n  --attestation POLICY '* ]]
        if grep -nE '.{101}' <<<"$output"; then return 1; fi
        run "$DRIVER" --version
        [ "$status" -eq 0 ]
        [[ $output =~ ^dra-driver-tdx\ [0-9]+\.[0-9]+\.[0-9]+$ ]]
        run "$DRIVER" version
        [[ $output =~ ^dra-driver-tdx\ [0-9]+\.[0-9]+\.[0-9]+$ ]]
}
