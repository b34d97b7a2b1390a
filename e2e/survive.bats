#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Kills, reboots, full disks, damaged records, rolling updates.

setup() { load scenario; enter_node 4; }
teardown() {
        local status=0
        end driver || status=$?
        if mountpoint -q "$T/full"; then umount "$T/full"; fi
        leave_node && [ $status -eq 0 ]
}

claims() { # FIRST LAST
        local i
        for ((i = $1; i <= $2; ++i)); do
                api claim "default/c$i" "tdx$i"
                kubelet prepare "default/c$i"
        done
}

record() { ls -d "$STATE"/claims/* | head -1; }

@test "kill -9, and every claim is still held and answered as before" {
        driver
        api claim default/a tdx1
        api claim default/b tdx1
        local a b
        a=$(kubelet prepare default/a)
        b=$(kubelet prepare default/b)
        kill_driver
        driver
        holds 2
        [ "$(kubelet prepare default/a)" = "$a" ]
        [ "$(kubelet prepare default/b)" = "$b" ]
        kubelet unprepare default/a default/b
        holds 0
}

@test "kill -9 at any moment of many prepares loses no claim that was answered" {
        local round i pids
        for round in 1 2 3 4 5 6; do
                driver --capacity 64
                pids=()
                for i in {1..12}; do
                        api claim "default/r$round-$i" "tdx$i" >/dev/null
                        kubelet prepare "default/r$round-$i" >"$T/r$round-$i" 2>&1 &
                        pids+=($!)
                done
                sleep "0.$((RANDOM % 3))$((RANDOM % 10))"
                kill_driver
                wait "${pids[@]}" || true
        done
        driver --capacity 64
        for round in 1 2 3 4 5 6; do
                for i in {1..12}; do
                        ! grep -q "cdi=" "$T/r$round-$i" || inspect | grep -q "default/r$round-$i "
                done
        done
        [ -z "$(find "$STATE" -name '.*.tmp')" ]
}

# The driver in a mount namespace in which the kernel tells another boot id.
reboot() {
        kill_driver
        rm -rf "$CDI" "$STATE"/*.sock "${REGISTRY:?}"/*
        echo 01234567-89ab-cdef-0123-456789abcdef >"$T/boot_id"
        driver_flags
        start driver unshare -m sh -c 'mount --bind "$0" /proc/sys/kernel/random/boot_id && exec "$@"' \
                "$T/boot_id" "$DRIVER" run "${FLAGS[@]}"
        kubelet wait-registered tdx.kubevirt.io 15s
}

@test "a reboot takes the CDI directory and the sockets, not the claims" {
        [ "$(id -u)" = 0 ] || skip "needs root to show the driver another boot id"
        driver
        claims 0 1
        local before
        before=$(kubelet prepare default/c0 default/c1)
        reboot
        holds 2
        [ "$(cdi_devices)" -eq 4 ]
        [ "$(kubelet prepare default/c0 default/c1)" = "$before" ]
        holds 2
        grep -q 01234567-89ab "$(record)"
}

@test "a claim that was reallocated while the node was down is prepared by its new allocation" {
        [ "$(id -u)" = 0 ] || skip "needs root to show the driver another boot id"
        driver
        api claim default/a tdx1 --uid aaaaaaaa-0000-0000-0000-000000000001
        kubelet prepare default/a
        api claim default/a tdx3 --uid aaaaaaaa-0000-0000-0000-000000000001 --replace
        reboot
        run kubelet prepare default/a
        [[ $output == *"default/a: tdx3 "*"dra-tdx1"* ]]
        holds 1
}

@test "a claim that vanished while the node was down is released" {
        [ "$(id -u)" = 0 ] || skip "needs root to show the driver another boot id"
        driver
        claims 0 1
        api delete-claim default/c0
        reboot
        said driver "does not exist any more"
        eventually 5 holds 1
}

@test "a held claim stays held through a reboot into less capacity" {
        [ "$(id -u)" = 0 ] || skip "needs root to show the driver another boot id"
        driver
        claims 0 3
        printf 'tdx 2\n' >"$MISC"
        reboot
        kubelet prepare default/c0 default/c1 default/c2 default/c3
        holds 4
        kubelet unprepare default/c0 default/c1
        api claim default/late tdx0
        run kubelet prepare --deadline 3s default/late
        [ "$status" -eq 1 ]
        kubelet unprepare default/c2
        kubelet prepare default/late
        holds 2
}

@test "a held claim stays held if a full disk prevents rewriting its record" {
        [ "$(id -u)" = 0 ] || skip "needs root to mount a small file system"
        mkdir -p "$T/full" "$STATE"
        mount -t tmpfs -o size=256k,mode=700 tmpfs "$T/full" || skip "cannot mount"
        rmdir "$STATE" && ln -s "$T/full" "$STATE"
        driver
        claims 0 0
        local record
        record=$(record)
        kill_driver
        truncate -s 30 "$record"
        dd if=/dev/zero of="$T/full/filler" bs=4k 2>/dev/null || true
        driver
        run kubelet prepare default/c0
        [ "$status" -eq 1 ]
        rm "$T/full/filler"
        api claim default/big tdx0,tdx1,tdx2,tdx3
        run kubelet prepare --deadline 3s default/big
        [ "$status" -eq 1 ]
        kubelet prepare default/c0
        holds 1
        stop_driver
}

@test "a full disk refuses new claims with the reason, and lets held ones go" {
        [ "$(id -u)" = 0 ] || skip "needs root to mount a small file system"
        mkdir -p "$T/full" "$STATE"
        mount -t tmpfs -o size=256k,mode=700 tmpfs "$T/full" || skip "cannot mount"
        rmdir "$STATE" && ln -s "$T/full" "$STATE"
        driver
        claims 0 1
        dd if=/dev/zero of="$T/full/filler" bs=4k 2>/dev/null || true
        api claim default/late tdx2
        run kubelet prepare default/late
        [ "$status" -eq 1 ]
        [[ $output == *"No space left"* ]]
        holds 2
        kubelet unprepare default/c0
        holds 1
        rm "$T/full/filler"
        kubelet prepare default/late
        holds 2
        stop_driver
}

@test "a read-only state directory refuses new claims and lets held ones go" {
        [ "$(id -u)" = 0 ] || skip "needs root to mount"
        mkdir -p "$T/full" "$STATE"
        mount -t tmpfs -o size=1m,mode=700 tmpfs "$T/full" || skip "cannot mount"
        rmdir "$STATE" && ln -s "$T/full" "$STATE"
        driver
        claims 0 1
        mount -o remount,ro "$T/full"
        api claim default/late tdx2
        run kubelet prepare default/late
        [ "$status" -eq 1 ]
        [[ $output == *"ead-only"* ]]
        kubelet unprepare default/c0
        said driver "cannot be removed"
        api claim default/next tdx2
        mount -o remount,rw "$T/full"
        kubelet prepare default/next
        stop_driver
}

@test "a truncated, a flipped and a newer record are moved aside, their claims stay held, and kubelet's next word settles them" {
        driver
        claims 0 2
        kill_driver
        local files
        mapfile -t files < <(ls -d "$STATE"/claims/*)
        truncate -s 40 "${files[0]}"
        /usr/bin/python3 - "${files[1]}" <<'PY'
import sys
data = bytearray(open(sys.argv[1], "rb").read())
data[-9] ^= 4
open(sys.argv[1], "wb").write(data)
PY
        sed -i '1s/ claim 1 / claim 99 /' "${files[2]}"
        driver
        said driver "moved aside to damaged/"
        said driver "moved aside to newer/"
        eventually 5 sh -c "'$SIM/ctl' '$T/api.ctl' events | grep -q TDXCheckpointDamaged"
        [ "$(ls "$STATE/damaged" | wc -l)" -eq 2 ]
        [ "$(ls "$STATE/newer" | wc -l)" -eq 1 ]
        api claim default/x tdx3
        kubelet prepare default/x
        api claim default/late tdx0
        run kubelet prepare --deadline 3s default/late
        [ "$status" -eq 1 ]
        kubelet prepare default/c0 default/c1
        kubelet unprepare default/c2
        kubelet prepare default/late
        holds 4
}

@test "kubelet killed with a kill -9 of the driver: both return and agree" {
        driver
        claims 0 3
        kill_driver
        kubelet restart
        driver
        kubelet prepare default/c0 default/c1 default/c2 default/c3
        holds 4
}

@test "an unwritable CDI directory is reported, and its spec written as soon as possible" {
        mkdir -p "$T/blocker"
        CDI=$T/blocker/cdi
        touch "$CDI"
        driver
        said driver "VMs cannot be given their devices"
        api claim default/a tdx0
        run kubelet prepare default/a
        [ "$status" -eq 1 ]
        [[ $output == *"$CDI"* ]]
        rm "$CDI"
        kubelet prepare default/a
        [ "$(cdi_devices)" -eq 4 ]
}

@test "a rolling update: the next instance holds its calls until the old one has stopped, and no call fails" {
        driver --pod-uid 11111111-aaaa
        claims 0 1
        launch_driver next --pod-uid 22222222-bbbb
        said next "standing by"
        eventually 10 sh -c "[ \$('$SIM/ctl' '$T/kubelet.ctl' plugins | grep -c tdx.kubevirt.io) -eq 2 ]"
        api claim default/during tdx2
        kubelet prepare default/during >"$T/during" &
        local during=$!
        sleep 0.5
        [ ! -s "$T/during" ]
        stop_driver
        wait $during
        grep -q "default/during: tdx2" "$T/during"
        said next "active"
        kubelet prepare default/c0 default/c1
        holds 3
        [ ! -e "$STATE/dra-11111111-aaaa.sock" ]
        [ -S "$STATE/dra-22222222-bbbb.sock" ]
        stop_driver next
}

@test "a rolling update survives the old instance's kill -9, and sweeps its sockets" {
        driver --pod-uid 11111111-aaaa
        claims 0 1
        launch_driver next --pod-uid 22222222-bbbb
        said next "standing by"
        kill_driver
        said next "active"
        eventually 5 test ! -e "$STATE/dra-11111111-aaaa.sock"
        eventually 5 test ! -e "$REGISTRY/tdx.kubevirt.io-11111111-aaaa-reg.sock"
        kubelet prepare default/c0 default/c1
        holds 2
}

stops_soon() { # NAME: an orderly end within three seconds
        SECONDS=0
        end "$1" TERM
        [ $SECONDS -le 3 ]
}

@test "an orderly stop is quick in any state: standing by, with a call that waits, with the API server away or slow" {
        driver --pod-uid 11111111-aaaa
        claims 0 3
        api claim default/late tdx0 --uid aaaaaaaa-0000-0000-0000-000000000007
        launch_driver next --pod-uid 22222222-bbbb
        kubelet wait-registered tdx.kubevirt.io 15s --count 2
        kubelet prepare default/late >"$T/late" &
        local held=$!
        sleep 0.3
        stops_soon next
        if wait $held; then return 1; fi
        kubelet prepare default/late >"$T/late" &
        local waiting=$!
        said driver "claim waits for a TD"
        stops_soon driver
        if wait $waiting; then return 1; fi
        grep -q "kubelet tries again by itself" "$T/late"
        api refuse
        launch_driver driver
        said driver "cannot publish" 15
        stops_soon driver
        api accept
        api slow 5000 GET
        launch_driver driver
        kubelet wait-registered tdx.kubevirt.io 15s
        kubelet prepare --uid aaaaaaaa-0000-0000-0000-000000000008 default/slow >"$T/slow" &
        local slow=$!
        sleep 0.3
        stops_soon driver
        if wait $slow; then return 1; fi
}

@test "a second instance without a pod UID waits for the first, touching nothing" {
        driver
        launch_driver next
        said next "waiting for it to leave"
        claims 0 0
        stop_driver
        said next "active"
        kubelet wait-registered tdx.kubevirt.io 15s
        holds 1
        kubelet prepare default/c0
}

@test "slices stay while the driver is down for a moment" {
        driver
        api wait-devices 4 15s
        stop_driver
        api wait-devices 4 15s
        driver
        api wait-devices 4 15s
}
