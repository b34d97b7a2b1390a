#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Two paths, one capacity: pods with claims by DRA, plain pods by the device plugin, beside kubelet's device manager.
#
# A scenario mostly waits for clocks, kubelet's and the driver's. So all run at the same time, each on its own
# node, and a test only reports how its scenario went.

export KUBELET_DEVICES=yes
AT_ONCE=16

setup_file() {
        load scenario
        export OUTCOMES=$BATS_FILE_TMPDIR
        local name
        for name in $(awk '$1 == "skip" { getline; next } $1 == "went_well" && NF == 2 { print $2 }' \
                "$BATS_TEST_FILENAME"); do
                while [ "$(jobs -pr | wc -l)" -ge $AT_ONCE ]; do wait -n || true; done
                play "$name" 3>&- 4>&- &
        done
        wait || true
}

play() { # SCENARIO: its file in OUTCOMES ends with a line "well" if it went well
        set -eE
        trap 'echo "in line $LINENO: $BASH_COMMAND"' ERR
        trap 'end_play $? >&5 2>&1' EXIT
        exec 5>"$OUTCOMES/$1" >&5 2>&5
        enter_node 4
        "$1"
}

end_play() { # STATUS
        local well=$1
        trap - ERR EXIT
        [ "$well" -eq 0 ] || tail -n 40 "$T/driver.log" "$T/kubelet.log"
        leave_node || well=1
        [ "$well" -ne 0 ] || echo well
}

went_well() { # SCENARIO
        [ "$(tail -n 1 "$OUTCOMES/$1")" = well ] || { cat "$OUTCOMES/$1"; return 1; }
}

# Until kubelet has both the plugin's list and DRA's registration. Prints the first list.
both() { # [FLAG...]
        launch_driver driver "$@"
        kubelet wait-registered tdx.kubevirt.io 20s
        kubelet wait-listed 20s
}

refused() { # TEXT COMMAND...: fails, saying TEXT
        local text=$1 output
        shift
        if output=$("$@"); then echo "not refused: $*"; return 1; fi
        [[ $output == *"$text"* ]] || { echo "$output"; return 1; }
}

pod() { kubelet pod "default/$1" "${@:2}"; }             # NAME [COUNT]
leave() { kubelet delete "default/$1" "${@:2}"; }        # NAME [FLAG...]
prepare() {                                              # NAME TD[,TD...]
        api claim "default/$1" "$2" --replace >/dev/null
        kubelet prepare "default/$1"
}
asked_since() { [ "$(kubelet lists)" -gt "$1" ]; }       # N
now_ms() { echo $((${EPOCHREALTIME/./} / 1000)); }
device_is() { kubelet devices | grep -q "^$1 $2"; }      # ID WHAT

# Everything that runs on TDs: claims and containers, forgotten ones too.
users() { echo $(($(kubelet in-claims) + $(kubelet in-containers))); }

shrinks_and_grows_back() {
        both
        api wait-devices 4
        pod one
        local gone asked
        asked=$(kubelet lists)
        pod two
        api wait-devices 2 15s
        # The driver asks podresources now and in five seconds. A pod that goes shortly before has a container then.
        eventually 2 asked_since "$asked"
        sleep 4.3
        leave one --force
        gone=$(now_ms)
        leave two --takes 0s
        while [ "$(kubelet in-containers)" -gt 0 ]; do
                [[ $(api devices) == *" 2 devices"* ]]
        done
        api wait-devices 4 $((10000 - $(now_ms) + gone))ms
        kubelet wait-healthy 4 15s
}
@test "a pod takes a TD and the slice shrinks by one, and grows back in 10 s, not before its container can be gone" {
        went_well shrinks_and_grows_back
}

claims_hold_all() {
        both
        prepare all tdx0,tdx1,tdx2,tdx3
        kubelet wait-healthy 0 15s
        refused "Allocate failed due to no healthy devices present; cannot allocate unhealthy devices \
devices.kubevirt.io/tdx, which is unexpected" pod late
        kubelet unprepare default/all
        kubelet wait-healthy 4 15s
        pod held
        prepare rest tdx0,tdx1,tdx2
        kubelet wait-healthy 1 15s
        device_is tdx3 "Healthy in use"
        refused "Requested: 1, Available: 0" pod late
}
@test "while claims hold all the plugin offers nothing healthy but what its pods hold" {
        went_well claims_hold_all
}

claim_waits_for_a_pod() {
        both
        pod all 4
        api wait-devices 0 15s
        prepare late tdx1 >"$T/late" &
        local late=$!
        said driver "claim waits for a TD"
        leave all --takes 100ms
        wait $late
        grep -q "default/late: tdx1 " "$T/late"
}
@test "while pods hold all a claim waits inside Prepare, and is served when a pod leaves" {
        went_well claim_waits_for_a_pod
}

name_clash() {
        both --prepare-wait 0
        pod one | grep -q "default/one: tdx3"
        prepare two tdx3 | grep -q "default/two: tdx3 "
        [ "$(users)" = 2 ]
        api wait-devices 3 15s # the pod's TD is not published, the claim's is
}
@test "a claim on tdx3 is served while a pod holds the plugin's tdx3" {
        went_well name_clash
}

sides_stay_apart() {
        both
        pod one | grep -q "default/one: tdx3"
        pod two | grep -q "default/two: tdx2"
        prepare a tdx0 | grep -q cdi=kubevirt.io/tdx=dra-tdx0
        prepare b tdx1 | grep -q cdi=kubevirt.io/tdx=dra-tdx1
        [ "$(users)" = 4 ]
}
@test "the plugin prefers the devices that the scheduler gives claims last" {
        went_well sides_stay_apart
}

kubelet_restarts() {
        both
        pod runs 2
        pod crashes
        prepare claim tdx0
        sleep 1
        kubelet stop
        kubelet crash default/crashes
        kubelet start
        kubelet wait-listed 15s >"$T/first"
        [ "$(grep -c ' Healthy' "$T/first")" -eq 3 ]
        kubelet device-plugins | grep -q 'dra-driver-tdx.sock [0-9]\{1,3\} ms after kubelet.sock'
        pod none 0 --dra # admitted after those that were there
        [ "$(kubelet pods | grep -c ' running$')" -eq 3 ]
        [ "$(users)" = 4 ]
        api wait-devices 1 15s
        refused "Requested: 1, Available: 0" pod late
}
@test "a kubelet that restarts is registered with in a second, finds every held ID healthy, and keeps every pod" {
        went_well kubelet_restarts
}

killed() {
        both --prepare-wait 300ms
        pod one
        prepare a tdx0
        sleep 1
        kill_driver
        pod early >/dev/null || true # the plugin does not answer yet, or hands out a remaining TD
        both --prepare-wait 300ms >/dev/null
        local i
        for i in 1 2 3; do
                pod "more$i" || true
                prepare "b$i" "tdx$i" || true
                [ "$(users)" -le 4 ]
        done
        [ "$(users)" = 4 ]
        refused "no TD is free" prepare late tdx2
}
@test "kill -9 while both kinds hold TDs, and no more TDs are handed out than the host has" {
        went_well killed
}

share_changes() {
        both
        pod one
        pod two
        sleep 1
        stop_driver
        both --share split=3 # the plugin's part is one TD, of which its pods hold two
        [ "$(kubelet devices | grep -c ' Healthy')" -eq 2 ]
        api wait-devices 2 15s
        refused "Requested: 1, Available: 0" pod late
        stop_driver
        both --share split=1
        kubelet wait-healthy 3 15s
        api wait-devices 1 15s
        stop_driver
        both
        kubelet wait-healthy 4 15s
        api wait-devices 2 15s
}
@test "after a restart with another --share held devices stay held and healthy" {
        went_well share_changes
}

capacity_shrinks() {
        both --prepare-wait 300ms --listen 127.0.0.1:0
        metric tdx_overcommitted_tds 0
        pod one
        pod two
        prepare a tdx0
        printf 'tdx 1\n' >"$MISC"
        kubelet wait-healthy 2 15s
        said driver "more TDs are held than there are.*3 TDs are held (1 by claims, 2 by"
        metric tdx_overcommitted_tds 2
        eventually 10 eval 'api events | grep -q TDXOvercommitted'
        device_is tdx3 "Healthy in use"
        device_is tdx2 "Healthy in use"
        refused "no TD is free" prepare b tdx0
        refused "Requested: 1, Available: 0" pod late
        kubelet restart
        kubelet wait-listed 15s | grep -c ' Healthy' | grep -qx 2
        printf 'tdx 5\n' >"$MISC"
        kubelet wait-healthy 4 15s
        metric tdx_overcommitted_tds 0
        says driver "no more TDs are held"
        prepare b tdx1
        prepare c tdx2
        [ "$(users)" = 5 ]
}
@test "capacity that shrinks below what is held takes nothing from its holders" {
        went_well capacity_shrinks
}

podresources_misbehaves() {
        printf 'tdx 12\n' >"$MISC"
        both --poll-interval 30s
        api wait-devices 12
        pod first
        local fault n=11 asked
        for fault in refuse garbage limit off on large hang; do
                kubelet podresources $fault
                asked=$(kubelet lists)
                pod $fault
                api wait-devices $((--n)) 15s
                # Each Allocate makes the driver ask.
                [ $fault = off ] || eventually 3 asked_since "$asked"
        done
        said driver "cannot list allocated devices from kubelet" 8
        [[ $(api devices) == *" $n devices"* ]]
        kubelet podresources ok
        kubelet wait-healthy 12 15s
}
@test "podresources that refuses, hangs, answers garbage or five megabytes takes nothing from its holders" {
        went_well podresources_misbehaves
}

foreign_registrant() {
        both --listen 127.0.0.1:0
        api wait-devices 4
        kubelet foreign start
        said driver "stands back"
        metric tdx_foreign_plugin 1
        [[ $(inspect) == *"another plugin serves"*"--serve=dra"* ]]
        pod theirs
        api wait-devices 3 15s
        prepare claim tdx0
        [ "$(users)" = 2 ]
        metric 'tdx_held_tds{path="plugin"}' 1
        kubelet foreign stop
        kubelet wait-healthy 3 15s
        metric tdx_foreign_plugin 0
        device_is "$(kubelet pods | sed -n 's/^default.theirs: \(tdx[0-9]\).*/\1/p')" "Healthy in use"
        pod ours
        [ "$(users)" = 3 ]
}
@test "while a foreign plugin serves the name our plugin stays unregistered and DRA keeps counting; when it goes, ours takes over" {
        went_well foreign_registrant
}

foreign_beside_dra_alone() {
        launch_driver driver --serve dra --prepare-wait 300ms --listen 127.0.0.1:0
        kubelet wait-registered tdx.kubevirt.io 20s
        api wait-devices 4
        ! metric 'tdx_registered{path="plugin"}' 0 || return 1
        kubelet foreign start
        said driver "while it has healthy devices plain pods go to it"
        metric tdx_foreign_plugin 1
        # Our plugin is not registered, and that is no reason for an alarm.
        ! page /metrics driver | grep -F 'tdx_registered{path="plugin"}' || return 1
        pod theirs 2
        api wait-devices 2 15s
        prepare one tdx0
        prepare two tdx1
        refused "no TD is free" prepare three tdx2
        # Also by one that starts beside it, and by the kubelet's list alone.
        leave theirs
        api wait-devices 4 20s
        pod more 2
        stop_driver
        launch_driver driver --serve dra --listen 127.0.0.1:0
        kubelet wait-registered tdx.kubevirt.io 20s
        api wait-devices 2 15s
        metric 'tdx_held_tds{path="plugin"}' 2
}
@test "with --serve=dra TDs that a foreign plugin hands out are counted, too" {
        went_well foreign_beside_dra_alone
}

foreign_that_listens_late() {
        launch_driver driver --serve dra --poll-interval 30s
        kubelet wait-registered tdx.kubevirt.io 20s
        start foreign python3 -c "
import socket, time
s = socket.socket(socket.AF_UNIX)
s.bind('$K/device-plugins/kubevirt-tdx.sock')
time.sleep(0.05)
s.listen()
time.sleep(20)"
        said driver "plain pods go to it" 2
}
@test "a foreign plugin is noticed even if its socket appears before the plugin listens on it" {
        went_well foreign_that_listens_late
}

no_api_server() {
        start driver "$DRIVER" run --node-name "$NODE" --kubelet-dir "$K" --device-plugin-dir "$K/device-plugins" \
                --cdi-dir "$CDI" --qgs-socket "$QGS" \
                --vm-qgs-socket "$QGS" --misc-capacity "$MISC" --poll-interval 200ms
        kubelet wait-healthy 4 20s
        pod one 3
        refused "Requested: 2, Available: 1" pod two 2
        pod two
}
@test "without an API server the plugin serves alone" {
        went_well no_api_server
}

no_dra() {
        api no-dra
        both
        pod one | grep -q "default/one: tdx3 mounts=${QGS%/*}:${QGS%/*}:ro"
        pod two 3
        refused "Requested: 1, Available: 0" pod three
}
@test "with an API server that has no resource.k8s.io the plugin serves alone" {
        went_well no_dra
}

endpoint_is_kept() {
        both
        pod old
        sleep 1
        stop_driver
        kubelet set grace 0s
        both --serve dra
        kubelet allocatable --now
        refused "no healthy devices present" pod late
        api wait-devices 3 15s
        pod new --dra # kubelet starts no container for a resource name in its books unless a plugin serves it
}
@test "with --serve=dra the endpoint is kept while pods hold devices of the plugin" {
        went_well endpoint_is_kept
}

split_of_one_path() {
        both --share split=1
        pod old
        stop_driver
        both --serve dra --share split=1
        api wait-devices 3 15s
        prepare a tdx0
        prepare b tdx1
        prepare c tdx2
}
@test "with --serve=dra a split keeps no TD from claims, also while an old plugin pod runs" {
        went_well split_of_one_path
}

no_spec_no_pod() {
        rm -rf "$CDI"
        : >"$CDI"
        both --plugin-inject cdi --listen 127.0.0.1:0
        said driver "VMs cannot be given their devices.*a file is where a directory should be"
        refused "no healthy devices present" pod one
        rm "$CDI"
        kubelet wait-healthy 4 20s
        pod two | grep -q "cdi=kubevirt.io/tdx=plugin-tdx"
        local device
        device=$(kubelet devices | sed -n 's/^\(tdx[0-9]*\) .*in use.*/\1/p')
        "$SIM/cdi-run" --cdi-dir "$CDI" --device "kubevirt.io/tdx=plugin-$device" --check
        metric 'tdx_held_tds{path="plugin"}' 1
}
@test "with --plugin-inject=cdi a pod is refused while the CDI spec cannot be there, and nothing is held for it" {
        went_well no_spec_no_pod
}

spec_has_what_is_held() {
        both --plugin-inject cdi
        pod one | grep -q "plugin-tdx3"
        printf 'tdx 1\n' >"$MISC"
        kubelet wait-healthy 1 15s
        "$SIM/cdi-run" --cdi-dir "$CDI" --device kubevirt.io/tdx=plugin-tdx3 --check
        stop_driver
        both
        "$SIM/cdi-run" --cdi-dir "$CDI" --device kubevirt.io/tdx=plugin-tdx3 --check
}
@test "the CDI spec keeps a pod's device above a shrunken total, also when --plugin-inject changes" {
        went_well spec_has_what_is_held
}

handed_on() {
        both
        pod one 2
        prepare a tdx0,tdx1
        sleep 1
        leave one --force
        pod two 2 || true
        [ "$(users)" -le 4 ]
}
@test "a force-deleted pod's devices are not handed out while its container may live" {
        went_well handed_on
}

checkpoint_gone() {
        printf 'tdx 1\n' >"$MISC"
        both --cgroup-root "$T/cgroup"
        kubelet pod default/other --resource example.com/none # as on any node kubelet lists some pod
        pod one
        eventually 10 grep -q '"cgroup":' "$STATE/plugin-devices"
        kubelet stop
        rm "$K/device-plugins/kubelet_internal_checkpoint" # the usual advice for a wrong count
        kubelet start
        kill_driver
        both --cgroup-root "$T/cgroup"
        local asked i
        asked=$(kubelet lists)
        # Seconds after the first complete list it would be free.
        for i in 1 2; do
                eventually 60 asked_since $((asked + 4))
                asked=$(kubelet lists)
                if pod "late$i"; then return 1; fi
                [ "$(users)" = 1 ]
                [[ $(api devices) == *" 0 devices"* ]]
        done
        # The container ends at last.
        rm -r "$T/cgroup/kubepods"
        kubelet wait-healthy 1 20s
}
@test "a pod that kubelet has forgotten holds its TD until its container has gone, also after a restart of the driver" {
        went_well checkpoint_gone
}

init_container() {
        printf 'tdx 1\n' >"$MISC"
        both --cgroup-root "$T/cgroup"
        pod first --init 400ms
        [ "$(held_by_plugin)" = 1 ]
        leave first --takes 0s
        kubelet wait-healthy 1 20s
        # Later than an allocation that kubelet does not list is given up otherwise (5 s).
        pod second --init 7s
        [ "$(held_by_plugin)" = 1 ]
        [ "$(users)" = 1 ]
        refused "Requested: 1, Available: 0" pod third
}
held_by_plugin() { inspect | sed -n 's/^plugin  *\([0-9]*\) device.*/\1/p'; }
@test "an init container and the container after it, however far apart, hold one TD" {
        went_well init_container
}

vm_stops_and_starts() { # FLAG...: the claim is the VM's, stays allocated, and is prepared for each of its pods
        both --prepare-wait 500ms "$@"
        prepare vm tdx0
        kubelet unprepare default/vm
}

split_keeps_a_stopped_vms_td() {
        vm_stops_and_starts --share=split=1
        kubelet wait-healthy 3 15s
        pod plain 3
        refused "Requested: 1, Available: 0" pod late
        kubelet prepare default/vm
}
@test "a claim that belongs to a VM keeps its TD while the VM is stopped, with a split" {
        went_well split_keeps_a_stopped_vms_td
}

dynamic_gives_a_stopped_vms_td_away() {
        vm_stops_and_starts
        kubelet wait-healthy 4 15s
        pod plain 4
        refused "no TD is free: 4 of 4 held" kubelet prepare default/vm
        leave plain --takes 0s
        eventually 30 kubelet prepare default/vm
}
@test "without a split plain pods may take the TD of a stopped VM's claim, and the VM's start says who has it" {
        went_well dynamic_gives_a_stopped_vms_td_away
}

random_mix() {
        both --prepare-wait 100ms
        kubelet set linger 300ms
        RANDOM=20261124
        local i name forced=0
        for i in {1..60}; do
                name=n$((RANDOM % 6))
                case $((RANDOM % 12)) in
                [0-3])
                        # Not while a container lives whose pod kubelet has forgotten: see the scenario above.
                        while [ $(($(now_ms) - forced)) -lt 400 ]; do sleep 0.05; done
                        pod $name
                        ;;
                [4-6]) prepare $name "tdx$((RANDOM % 4))" ;;
                [78]) leave $name --takes 0s ;;
                9) forced=$(now_ms); leave $name --force ;;
                *) kubelet unprepare default/$name ;;
                esac >>"$T/mix" 2>&1 || true
                [ "$(users)" -le 4 ] || { tail -n 20 "$T/mix"; return 1; }
        done
        # Both kinds took part.
        grep -q '^default/n.: tdx. mounts' "$T/mix"
        grep -q '^default/n.: tdx. pool' "$T/mix"
        grep -q 'no TD is free' "$T/mix"
        grep -q 'Allocate failed' "$T/mix"
}
@test "sixty operations of all kinds never hand out more TDs than the host has" {
        went_well random_mix
}
