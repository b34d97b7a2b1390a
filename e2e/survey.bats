#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# check and inspect say what run would do: the same settings, socket, probe and capacity.

setup() {
        load scenario
        enter_node 4
        mkdir -p "$(dirname "$QGS")"
        chmod 0711 "$T"
}
teardown() { leave_node; }

check() { # [FLAG...]
        driver_flags
        "$DRIVER" check "${FLAGS[@]}" "$@"
}

# The driver with a /sys of its own: $T/sys/module and $T/sys/devices are seen as the kernel's.
with_sys() { # COMMAND...
        # shellcheck disable=SC2016  # for the inner shell
        unshare -m --propagation private sh -c '
                mount --bind "$0/module" /sys/module && mount --bind "$0/devices" /sys/devices && exec "$@"' \
                "$T/sys" "$@"
}
enter_sys() {
        [ "$(id -u)" = 0 ] || skip "needs root to show the driver another /sys"
        mkdir -p "$T/sys/module/kvm_intel/parameters" "$T/sys/devices/faux/tdx_host"
        with_sys true || skip "cannot mount"
        VERSION=$T/sys/devices/faux/tdx_host/version
        PARAMETER=$T/sys/module/kvm_intel/parameters/tdx
}
driver_with_sys() { # [FLAG...]
        driver_flags
        # exec'ed by unshare and sh, so the pid is the driver's.
        # shellcheck disable=SC2016
        start driver unshare -m --propagation private sh -c '
                mount --bind "$0/module" /sys/module && mount --bind "$0/devices" /sys/devices && exec "$@"' \
                "$T/sys" "$DRIVER" run "${FLAGS[@]}" "$@"
        kubelet wait-registered tdx.kubevirt.io 15s >/dev/null || { cat "$T/driver.log"; return 1; }
}

published_version() { # VERSION, or null: of every device
        api slices-json | jq -e --arg v "$1" '[.. | objects | select(.spec?.devices?) | .spec.devices[]] |
                length == 4 and all(.[]; .attributes.moduleVersion.version // "null" == $v)'
}

@test "the module's version in the slice follows an update at run time, and goes when it cannot be read" {
        enter_sys
        echo 1.5.20 >"$VERSION"
        driver_with_sys --serve dra
        eventually 15 published_version 1.5.20

        echo 1.5.24 >"$VERSION"
        eventually 15 published_version 1.5.24

        rm "$VERSION"
        eventually 15 published_version null
        said driver "WARN .*TDX module's version cannot be read any more"
        stop_driver
}

@test "the remedy for a host without a tdx line says what the kernel says" {
        local parameter words
        enter_sys
        echo 'sev 509' >"$MISC"
        for parameter in Y N absent; do
                case $parameter in
                Y) words='this kernel does not count TDs: give --capacity N' ;;
                N) words="kvm_intel's parameter tdx is N.*dmesg" ;;
                absent) words='load kvm_intel with tdx=1' ;;
                esac
                if [ "$parameter" = absent ]; then rm "$PARAMETER"; else echo "$parameter" >"$PARAMETER"; fi
                driver_flags
                run with_sys "$DRIVER" check "${FLAGS[@]}"
                [ "$status" -eq 1 ]
                grep -E "^FAIL  capacity .*no tdx line: .*$words" <<<"$output"
                run with_sys "$DRIVER" inspect "${FLAGS[@]}"
                grep -E "^capacity .*no tdx line: .*$words" <<<"$output"
                driver_with_sys
                said driver "WARN .*offers no TDs.*no tdx line: .*$words"
                stop_driver
        done
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
        FLAGS=(--node-name "$NODE" --kubelet-dir "$K" --cdi-dir "$CDI" --misc-capacity "$MISC" --api-server "$API"
                --log-level debug)
}
cr_driver() {
        start driver "$DRIVER" run "${FLAGS[@]}" --serve dra --poll-interval 200ms
        kubelet wait-registered tdx.kubevirt.io 15s >/dev/null || { cat "$T/driver.log"; return 1; }
}
cr_check() { run "$DRIVER" check "${FLAGS[@]}"; }
cr_inspect() { run "$DRIVER" inspect "${FLAGS[@]}"; }

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
                        grep -E "^FAIL  QGS +$state: .*no VM would be placed here" <<<"$output"
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
        grep -E "^ok    QGS +absent: .*VMs would be placed here, and could not attest" <<<"$output"
}

@test "check tells of a hung QGS before it has been answered, and closes no connection early" {
        enter_cr enforced=true
        kill -STOP "$(pid_of qgs)"
        start check "$DRIVER" check "${FLAGS[@]}"
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

@test "check and inspect write nothing" {
        local before
        enter_cr enforced=true
        before=$(find "$STATE" "$CDI" 2>/dev/null | sort) || true
        cr_check
        [ "$status" -eq 0 ]
        cr_inspect
        [ "$(find "$STATE" "$CDI" 2>/dev/null | sort)" = "$before" ]
}

# ---- capacity ----

capacity_fails() { # WORDS [FLAG...]
        local words=$1
        shift
        run check --attestation optional "$@"
        echo "$output"
        [ "$status" -eq 1 ] && grep -E "^FAIL  capacity +.*$words" <<<"$output"
}

@test "check fails if no TD is left to offer" {
        run check --attestation optional
        echo "$output"
        [ "$status" -eq 0 ]
        grep -E "^ok    capacity +4 TDs left to offer" <<<"$output"
        capacity_fails 'reserve 20 leaves none of the 4 TDs' --reserve 20
        capacity_fails 'reserve 4 leaves none' --reserve 4
        capacity_fails 'runs 0 TDs' --capacity 0
        printf 'tdx 0\n' >"$MISC"
        capacity_fails 'runs 0 TDs'
        printf 'sev max\ntdx max\n' >"$MISC"
        capacity_fails 'misc.max'
        printf 'tdx 3\n' >"$MISC"
        driver --serve dra
        api claim default/three tdx0,tdx1,tdx2
        kubelet prepare default/three
        capacity_fails '0 TDs left to offer: 3 of the host .*3 held by 1 claims'
        kubelet unprepare default/three
        run check --attestation optional
        [ "$status" -eq 0 ]
}

@test "inspect tells how many TDs a damaged record holds" {
        driver --serve dra
        api claim default/three tdx0,tdx1,tdx2
        kubelet prepare default/three
        stop_driver
        local record
        record=$(find "$STATE/claims" -type f)
        printf 'damaged' >"$record"
        run inspect
        echo "$output"
        grep -E "^  uid ${record##*/}  damaged, held as 3 TDs" <<<"$output"
        grep -E "^held       3 TDs by 1 claims" <<<"$output"
        [ "$(cat "$record")" = damaged ]
}

# ---- what run would not start with ----

@test "without an API server check fails, unless the device plugin alone is served" {
        FLAGS=(--node-name "$NODE" --kubelet-dir "$K" --cdi-dir "$CDI" --misc-capacity "$MISC" --attestation optional)
        run "$DRIVER" check "${FLAGS[@]}"
        echo "$output"
        [ "$status" -eq 1 ]
        grep -E '^FAIL  API server +not running in a pod and no --api-server given$' <<<"$output"
        run "$DRIVER" check "${FLAGS[@]}" --serve plugin
        echo "$output"
        [ "$status" -eq 0 ]
        grep -E '^ok    API server .*--serve=plugin works without' <<<"$output"
}

@test "check fails if a directory that run needs takes no files" {
        : >"$T/file"
        run check --attestation optional --cdi-dir "$T/file/cdi"
        echo "$output"
        [ "$status" -eq 1 ]
        grep -E '^FAIL  CDI .*Not a directory' <<<"$output"
        mkdir -p "$STATE/lock"
        run check --attestation optional
        echo "$output"
        [ "$status" -eq 1 ]
        grep -E '^FAIL  lock .*not a file' <<<"$output"
}

@test "check and inspect name a socket that run refuses, and go on" {
        local socket
        for socket in qgs.socket /run/qgs.socket /x; do
                run check --qgs-socket "$socket" --attestation enforced
                echo "$output"
                [ "$status" -eq 1 ]
                grep -E "^FAIL  flags +--qgs-socket: .*\"$socket\"" <<<"$output"
                grep -E '^ok    capacity' <<<"$output"
                driver_flags
                run "$DRIVER" inspect "${FLAGS[@]}" --qgs-socket "$socket"
                echo "$output"
                [ "$status" -eq 0 ]
                grep -E "^attest .*a setting is refused.*--qgs-socket: .*\"$socket\"" <<<"$output"
        done
}

# ---- help ----

@test "the help has its flags in groups, says both paths and fits 100 columns; the version has a name" {
        run "$DRIVER" --help
        [ "$status" -eq 0 ]
        [[ $output == *"claims (DRA)"*"devices.kubevirt.io/tdx"* ]]
        [[ $output == *$'\n\nAttestation:\n  --attestation POLICY '* ]]
        if grep -nE '.{101}' <<<"$output"; then return 1; fi
        run "$DRIVER" --version
        [ "$status" -eq 0 ]
        [[ $output =~ ^dra-driver-tdx\ [0-9]+\.[0-9]+\.[0-9]+$ ]]
        run "$DRIVER" version
        [[ $output =~ ^dra-driver-tdx\ [0-9]+\.[0-9]+\.[0-9]+$ ]]
}
