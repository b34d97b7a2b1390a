#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# A fight over the node's ResourceSlices: answered less and less often, and an Event names the other client.

setup() { load scenario; enter_node 4; }
teardown() { leave_node; }

published() { api wait-devices "${1:-4}" 15s; }

requested() { # VERB COUNT: requests for slices since the statistics were reset, at least
        local n
        n=$(api stats | sed -n "s/^$1 resourceslices //p")
        [ "${n:-0}" -ge "$2" ]
}

n_events() { [ "$(api events | grep -c "TDXSlicesContended.*$1")" -eq "$2" ]; }

# Each of the drivers tells it once: in an Event, and in the log.
told_once() { # PATTERN [DRIVER...]: default "driver"
        local pattern=$1 drivers=("${@:2}") name
        drivers=("${drivers[@]:-driver}")
        eventually 20 n_events "$pattern" "${#drivers[@]}"
        n_events '' "${#drivers[@]}"
        for name in "${drivers[@]}"; do
                [ "$(grep -c "WARN .*the slices are contended" "$T/$name.log")" -eq 1 ]
        done
}

# After six undone ones the next round comes in seconds; without a brake there are dozens a second.
slows_down() { # VERB
        eventually 30 requested "$1" 6
        api stats reset
        sleep 3
        if requested "$1" 12; then api stats; false; fi
}

@test "a client that undoes each write is answered less and less often, and an Event names it once" {
        driver
        published
        api stats reset
        api undo-slices meddler
        printf 'tdx 5\n' >"$MISC"
        slows_down update
        told_once 'field manager meddler'
        api undo-slices
        published 5
}

@test "a client that undoes the first of several slices is answered less and less often" {
        driver
        published
        api undo-slices meddler
        api stats reset
        printf 'tdx 200\n' >"$MISC"
        slows_down update
        told_once 'field manager meddler'
        api undo-slices
        published 200
}

@test "a client that adds a slice again and again is answered less and less often" {
        driver
        published
        api undo-slices meddler
        api stats reset
        post_slice stray '{"driver":"tdx.kubevirt.io","nodeName":"'"$NODE"'","pool":{"name":"'"$NODE"'",
                "generation":1,"resourceSliceCount":1},"devices":[{"name":"old0"}]}'
        slows_down delete
        told_once 'field manager meddler'
        api undo-slices
        published
}

@test "two drivers under one node's name share the slices slowly, and each names the other" {
        driver
        published
        api stats reset
        printf 'tdx 5\n' >"$T/other-misc"
        mkdir "$T/other" "$T/other/cdi"
        driver_flags
        start other "$DRIVER" run "${FLAGS[@]}" --kubelet-dir "$T/other" --device-plugin-dir "$T/other/device-plugins" \
                --cdi-dir "$T/other/cdi" --misc-capacity "$T/other-misc"
        slows_down update
        told_once 'another instance of this driver' driver other
        stop_driver other
        published
}

@test "a change of capacity during a fight is published at once" {
        driver
        published
        api stats reset
        api undo-slices meddler
        printf 'tdx 5\n' >"$MISC"
        # The next correction comes after 16 s.
        eventually 40 requested update 8
        api undo-slices
        printf 'tdx 6\n' >"$MISC"
        api wait-devices 6 12s
}
