#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# A hostile machine: other processes delete, fill, break or edit things while the driver runs. Each was a defect once.

setup_file() {
        export SHIM=$BATS_FILE_TMPDIR/shim.so
        gcc -shared -fPIC -O1 -D_GNU_SOURCE -Wall -o "$SHIM" "$BATS_TEST_DIRNAME/sim/shim.c" -ldl
}

setup() {
        load scenario
        enter_node 4
}
teardown() {
        local directory
        for directory in "$CDI" "$STATE/claims"; do
                ! mountpoint -q "$directory" || umount -l "$directory"
        done
        leave_node
}

ticks() { awk '{ print $14 + $15 }' "/proc/$(pid_of driver)/stat"; }
is_idle() { # takes less than a third of a processor over a second
        local before
        before=$(ticks)
        sleep 1
        [ $(($(ticks) - before)) -lt 30 ]
}
with_shim() { # VARIABLE=VALUE [FLAG...]: the driver on a bad disk or with a wrong clock, as e2e/sim/shim.c says
        [[ $DRIVER == */plain-* ]] || skip "sanitizers and LD_PRELOAD do not go together"
        local setting=$1
        shift
        export LD_PRELOAD=$SHIM "${setting?}"
        launch_driver driver "$@"
        unset LD_PRELOAD "${setting%%=*}"
}
is_alive() { kill -0 "$(pid_of driver)"; }

@test "if an admin edits a slice's pool too small, the driver restores it, and nothing ends" {
        driver --serve dra --capacity 128
        api wait-devices 128
        api edit-slice "$NODE-tdx.kubevirt.io-1" '{"spec": {"pool": {"resourceSliceCount": 1}}}'
        eventually 5 sh -c "'$SIM/ctl' '$T/api.ctl' slices-json | jq -e 'all(.spec.pool.resourceSliceCount == 2)'"
        is_alive
}

@test "if an admin removes a slice's owner, the driver restores it" {
        driver --serve dra
        api wait-devices 4
        api edit-slice "$NODE-tdx.kubevirt.io-0" '{"metadata": {"ownerReferences": null}}'
        eventually 5 sh -c "'$SIM/ctl' '$T/api.ctl' slices-json | jq -e 'all(.metadata.ownerReferences[0].kind == \"Node\")'"
}

@test "a CDI directory that is full costs no processor, and claims say what is wrong" {
        mkdir -p "$CDI"
        mount -t tmpfs -o size=64k tmpfs "$CDI"
        driver --serve dra --poll-interval 30s
        api wait-devices 4
        kill -STOP "$(pid_of driver)"
        rm "$CDI/kubevirt.io-tdx.json"
        head -c 200000 /dev/zero >"$CDI/fill" 2>/dev/null || true
        kill -CONT "$(pid_of driver)"
        is_idle
        api claim default/a tdx0
        run kubelet prepare default/a
        [[ $output == *"No space left"* ]]
        rm "$CDI/fill"
        kubelet prepare default/a
}

@test "a directory in the CDI spec's place costs no processor" {
        mkdir -p "$CDI/kubevirt.io-tdx.json/x"
        driver --serve dra --poll-interval 30s
        touch "$CDI/other.json"
        is_idle
}

@test "a removed state directory is written again: no TD is handed out twice, and no second instance serves" {
        driver --serve dra
        local name
        for name in a b c d; do api claim default/$name tdx0; done
        kubelet prepare default/a default/b default/c default/d
        rm -rf "$STATE" || true # the driver writes records again meanwhile
        eventually 5 sh -c "[ \$(ls '$STATE/claims' | wc -l) -eq 4 ]"
        launch_driver second --serve dra
        said second "another instance serves this node"
        end second KILL || true
        kill_driver
        driver --serve dra --prepare-wait 0
        holds 4
        api claim default/e tdx0
        run kubelet prepare default/e
        [ "$status" -ne 0 ]
}

@test "a record that cannot be removed is removed when the disk is well again" {
        driver --serve dra
        api claim default/a tdx0
        kubelet prepare default/a
        kill_driver
        mount --bind "$STATE/claims" "$STATE/claims"
        mount -o remount,ro,bind "$STATE/claims"
        driver --serve dra
        kubelet unprepare default/a
        said driver "cannot be removed"
        mount -o remount,rw,bind "$STATE/claims"
        eventually 5 sh -c "[ -z \"\$(ls '$STATE/claims')\" ]"
}

@test "on a host without a tdx line a claim is refused at once, with that reason" {
        echo "sev 500" >"$MISC"
        driver --serve dra
        api claim default/a tdx0
        SECONDS=0
        run kubelet prepare default/a
        [ "$status" -ne 0 ]
        [[ $output == *"this node runs 0"* ]]
        [ $SECONDS -lt 5 ]
}

@test "a damaged record of three TDs holds three" {
        driver --serve dra
        api claim default/three tdx0,tdx1,tdx2
        kubelet prepare default/three
        kill_driver
        printf X | dd of="$(find "$STATE/claims" -type f)" bs=1 seek=80 conv=notrunc 2>/dev/null
        driver --serve dra --prepare-wait 0
        api claim default/x tdx3
        api claim default/y tdx3
        kubelet prepare default/x
        run kubelet prepare default/y
        [ "$status" -ne 0 ]
}

@test "while the token's file is missing, the driver uses the last token" {
        echo one >"$T/token"
        api token one
        driver --serve dra --token-file "$T/token"
        local uid
        uid=$(api claim default/a tdx0)
        rm "$T/token"
        kubelet prepare default/a --uid "$uid" # kubelet's stand-in has no token to look it up with
}

@test "a claim that waits on a node that loses its capacity is refused, saying that there is none" {
        driver --serve dra --prepare-wait 10s
        api claim default/a tdx0,tdx1,tdx2,tdx3
        api claim default/b tdx0
        kubelet prepare default/a
        kubelet prepare default/b >"$T/b" 2>&1 &
        local waiting=$!
        said driver "claim waits for a TD"
        echo "sev 1" >"$MISC"
        said driver "tds=0"
        kubelet unprepare default/a
        if wait $waiting; then return 1; fi
        grep -q "this node runs 0" "$T/b"
}

@test "a wall clock set back by hours delays nothing" {
        end kubelet
        KUBELET_DEVICES=yes start_kubelet
        with_shim SHIM_CLOCK_S=-10800
        api wait-devices 4 15s
}

@test "a sync of the directory that fails refuses the claim, and its record does not come back" {
        with_shim SHIM_FSYNC_FAILS=$T/fails --serve dra
        api wait-devices 4
        api claim default/a tdx0
        touch "$T/fails"
        run kubelet prepare default/a
        [ "$status" -ne 0 ]
        rm "$T/fails"
        kubelet unprepare default/a
        [ -z "$(ls "$STATE/claims")" ]
}

@test "the loop answers other calls while the disk is slow" {
        with_shim SHIM_FSYNC_MS=700 --serve dra
        api wait-devices 4
        api claim default/a tdx0
        kubelet prepare default/a &
        local slow=$!
        sleep 0.3
        SECONDS=0
        kubelet unprepare default/none --uid 99999999-0000-0000-0000-000000000001
        [ $SECONDS -lt 1 ]
        wait $slow
}

@test "a claim that is prepared, unprepared and prepared again on a slow disk is held in the end" {
        with_shim SHIM_FSYNC_MS=400 --serve dra
        api wait-devices 4
        local uid last
        uid=$(api claim default/a tdx0)
        kubelet prepare default/a --uid "$uid" &
        sleep 0.2
        kubelet unprepare default/a --uid "$uid" &
        sleep 0.2
        kubelet prepare default/a --uid "$uid" &
        last=$!
        wait $last
        holds 1
        eventually 5 test -s "$STATE/claims/$uid"
}

@test "a link in the place of the CDI spec or of a record is replaced, and not followed" {
        driver --serve dra
        echo untouched >"$T/victim"
        local uid
        uid=$(api claim default/a tdx0)
        ln -s "$T/victim" "$STATE/claims/$uid"
        ln -sf "$T/victim" "$CDI/kubevirt.io-tdx.json"
        kubelet prepare default/a
        [ "$(cat "$T/victim")" = untouched ]
        [ ! -L "$CDI/kubevirt.io-tdx.json" ]
        [ ! -L "$STATE/claims/$uid" ]
}

@test "a process that keeps writing to the CDI directory delays no call" {
        driver --serve dra
        api claim default/a tdx0
        start writer sh -c "while :; do : >'$CDI/other.json'; rm '$CDI/other.json'; done"
        SECONDS=0
        kubelet prepare default/a
        kubelet unprepare default/a
        [ $SECONDS -lt 3 ]
}
