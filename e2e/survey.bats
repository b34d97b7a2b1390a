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
