#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The state directory is taken away while the driver runs: what is held is in memory still.

setup() { load scenario; enter_node 2; }
teardown() {
        local status=0
        end driver || status=$?
        while mountpoint -q "$K/plugins"; do umount "$K/plugins"; done
        leave_node && [ $status -eq 0 ]
}

fill() { # two claims hold both TDs
        api claim default/a tdx0
        api claim default/b tdx1
        api claim default/late tdx0
        kubelet prepare default/a default/b
}

n_records() { [ "$(find "$STATE/claims" -type f 2>/dev/null | wc -l)" -eq "$1" ]; }

refuses_another() {
        run kubelet prepare --deadline 3s default/late
        [ "$status" -eq 1 ]
        [[ $output == *"no TD is free"* ]]
}

unrecorded() { page /readyz | grep -q '^not ready: claims that are held cannot be recorded: .*plugins' && metric tdx_records_refused 1; }
recorded() { page /readyz && metric tdx_records_refused 0; }

@test "a state directory that cannot be created again costs no claim, is reported once, and is created as soon as possible" {
        driver --serve dra --listen 127.0.0.1:0
        recorded
        fill
        # The driver makes it again at once: a file gets there first, sooner or later.
        until rm -rf "$K/plugins" && (set -C; : >"$K/plugins") 2>/dev/null; do :; done
        said driver "the state directory is gone and cannot be recreated" 15
        refuses_another
        [ "$(grep -c "the state directory is gone" "$T/driver.log")" -eq 1 ]
        eventually 15 unrecorded
        # A restart would lose what only memory has.
        page /healthz
        rm "$K/plugins"
        eventually 15 n_records 2
        said driver "every claim is recorded again"
        eventually 15 recorded
        kill_driver
        driver --serve dra
        holds 2
        refuses_another
}

@test "a state directory that is renamed away: records go to the new one, and no second instance serves beside the first" {
        driver --serve dra
        fill
        mv "$STATE" "$T/away"
        launch_driver second --serve dra
        said second "another instance serves this node" 15
        eventually 15 n_records 2
        end second KILL || true
        refuses_another
        kubelet unprepare default/a
        kubelet prepare default/late
        n_records 2
        kill_driver
        driver --serve dra
        holds 2
        kubelet prepare default/b default/late
}

@test "a second instance that waits does not become active because the state directory was removed" {
        driver --serve dra
        fill
        launch_driver second --serve dra
        said second "another instance serves this node" 15
        # At one go: an rm -rf meets the files that the driver writes meanwhile.
        mv "$STATE" "$T/gone" && rm -rf "$T/gone"
        eventually 15 n_records 2
        mv "$STATE" "$T/away"
        eventually 15 n_records 2
        refuses_another
        if says second "active:"; then return 1; fi
        kill_driver
        said second "active:" 15
        kubelet wait-registered tdx.kubevirt.io 15s
        holds 2
        kubelet prepare default/a default/b
        stop_driver second
}

@test "a mount over kubelet's plugins directory: records are written where the path leads now" {
        [ "$(id -u)" = 0 ] || skip "needs root to mount"
        driver --serve dra
        fill
        mount -t tmpfs -o size=1m tmpfs "$K/plugins" || skip "cannot mount"
        eventually 15 n_records 2
        launch_driver second --serve dra
        said second "another instance serves this node" 15
        end second KILL || true
        refuses_another
        kill_driver
        driver --serve dra
        holds 2
        refuses_another
        stop_driver
}

@test "the plugin's record is written where the state directory is now, too" {
        end kubelet KILL || true
        KUBELET_DEVICES=yes start_kubelet
        driver
        kubelet wait-listed 20s
        kubelet pod default/plain
        eventually 15 grep -q tdx "$STATE/plugin-devices"
        mv "$STATE" "$T/away"
        eventually 15 grep -q tdx "$STATE/plugin-devices"
}

@test "a read-only disk at the start: the driver says what it is and ends, and what was held is held when it is writable" {
        [ "$(id -u)" = 0 ] || skip "needs root to mount"
        mkdir -p "$K/plugins"
        mount -t tmpfs -o size=1m tmpfs "$K/plugins" || skip "cannot mount"
        driver --serve dra
        fill
        stop_driver
        mount -o remount,ro "$K/plugins"
        driver_flags
        run "$DRIVER" run "${FLAGS[@]}"
        [ "$status" -eq 1 ]
        [[ $output == *"on a read-only disk, and no claim can be prepared or unprepared"*"Read-only file system"* ]]
        mount -o remount,rw "$K/plugins"
        driver --serve dra
        holds 2
        kubelet unprepare default/a
        holds 1

        # An empty one, too.
        stop_driver
        rm -rf "$STATE"
        mount -o remount,ro "$K/plugins"
        run "$DRIVER" run "${FLAGS[@]}"
        [ "$status" -eq 1 ]
        [[ $output == *"on a read-only disk"*"cannot create directory"* ]]
        mount -o remount,rw "$K/plugins"
}
