#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What check and inspect say of the host, and run of the same: kernel, TDX module, capacity, directories.

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

# The driver with its own /sys: $T/sys/module and $T/sys/devices are seen as the kernel's.
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
        said driver "WARN .*cannot read the TDX module's version any more"
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
        capacity_fails 'can run 0 TDs' --capacity 0
        printf 'tdx 0\n' >"$MISC"
        capacity_fails 'can run 0 TDs'
        printf 'sev max\ntdx max\n' >"$MISC"
        capacity_fails 'misc.max'
        printf 'tdx 3\n' >"$MISC"
        driver --serve dra
        api claim default/three tdx0,tdx1,tdx2
        kubelet prepare default/three
        capacity_fails '0 TDs left to offer: 3 of the host .*3 held by 1 claim'
        kubelet unprepare default/three
        run check --attestation optional
        [ "$status" -eq 0 ]
}

@test "foreign TDs are not left to offer, and a claim's own VM is not counted twice" {
        local cgroups=$T/cgroups pod
        MISC=$cgroups/misc.capacity
        misc() { "$SIM/misc-sim" "$cgroups" "$@"; }
        misc init 4
        misc mkdir machine.slice/qemu-1.scope
        misc start machine.slice/qemu-1.scope
        driver --serve dra --cgroup-root "$cgroups"
        api claim default/a tdx0
        kubelet prepare default/a
        misc mkdir kubepods
        pod=kubepods/pod$(curl -sf "$API/apis/resource.k8s.io/v1/namespaces/default/resourceclaims/a" |
                jq -r '.status.reservedFor[0].uid')
        misc mkdir "$pod"
        misc start "$pod"
        run check --attestation optional --cgroup-root "$cgroups"
        echo "$output"
        [ "$status" -eq 0 ]
        grep -E '^ok    capacity +2 TDs left to offer: 4 of the host .*1 held by 1 claim, .*1 run by others' <<<"$output"
        misc start machine.slice/qemu-1.scope
        misc start machine.slice/qemu-1.scope
        capacity_fails '0 TDs left to offer: .*3 run by others' --cgroup-root "$cgroups"
        run check --attestation optional --cgroup-root "$cgroups" --foreign ignore
        grep -E '^ok    capacity +3 TDs left to offer' <<<"$output"
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
        grep -E "^held       3 TDs by 1 claim$" <<<"$output"
        [ "$(cat "$record")" = damaged ]
}

# ---- directories ----

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

@test "check fails if the directory that VMs mount cannot be created, whether or not attestation is enforced" {
        [ "$(id -u)" = 0 ] || skip "needs root to mount"
        mkdir "$T/host/ours"
        driver_flags
        # shellcheck disable=SC2016  # for the inner shell
        run unshare -m --propagation private sh -c '
                mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"' "$T/host/ours" \
                "$DRIVER" check "${FLAGS[@]}" --attestation optional --qgs-socket "$T/host/ours/x/qgs.socket"
        echo "$output"
        [ "$status" -eq 1 ]
        grep -E '^FAIL  mount .*Read-only file system' <<<"$output"
}
