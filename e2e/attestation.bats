#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Attestation as VEP 107 means it: what a node offers on both paths, by the state of its QGS and what is enforced.
#
# The rows of the matrix are played at once, each on its own node; a test only reports how its row went.

export KUBELET_DEVICES=yes
export RIGHTS=manifest
AT_ONCE=8

# The state QGS is in when the driver starts, --attestation, whether the API server keeps taints; then what the
# scheduler sees of the slice, and of the plugin's devices.
matrix() {
        cat <<'END'
answering  enforced  kept     | open, attesting             | 4 healthy
answering  optional  kept     | open, attesting             | 4 healthy
group      enforced  kept     | open, attesting             | 0 healthy
group      optional  kept     | open, attesting             | 4 healthy
absent     enforced  kept     | tainted absent, attesting not  | 0 healthy
absent     enforced  dropped  | withdrawn                   | 0 healthy
absent     optional  kept     | open, attesting not         | 4 healthy
absent     optional  dropped  | open, attesting not         | 4 healthy
nodir      enforced  kept     | tainted absent, attesting not  | 0 healthy
nodir      optional  kept     | open, attesting not         | 4 healthy
stale      enforced  kept     | tainted stale, attesting not   | 0 healthy
stale      enforced  dropped  | withdrawn                   | 0 healthy
stale      optional  kept     | open, attesting not         | 4 healthy
refused    enforced  kept     | tainted refused, attesting not | 0 healthy
refused    enforced  dropped  | withdrawn                   | 0 healthy
refused    optional  kept     | open, attesting not         | 4 healthy
hung       enforced  kept     | tainted hung, attesting not    | 0 healthy
hung       enforced  dropped  | withdrawn                   | 0 healthy
hung       optional  kept     | open, attesting not         | 4 healthy
silent     enforced  kept     | tainted hung, attesting not    | 0 healthy
failing    enforced  kept     | tainted failing, attesting not | 0 healthy
closing    enforced  kept     | tainted failing, attesting not | 0 healthy
END
}

setup_file() {
        load scenario
        load qgs
        export OUTCOMES=$BATS_FILE_TMPDIR
        local n=0 state policy taints wanted
        while read -r state policy taints _ wanted; do
                while [ "$(jobs -pr | wc -l)" -ge $AT_ONCE ]; do wait -n || true; done
                (exec >"$OUTCOMES/$(printf %02d "$n")" 2>&1 3>&- 4>&-; play "$state" "$policy" "$taints" "$wanted") &
                n=$((n + 1))
        done < <(matrix)
        wait
}

setup() { load scenario; load qgs; KUBELET_DEVICES=no; enter_node 4; }
teardown() { leave_node; }

put_qgs() { # STATE
        [ "$1" != nodir ] || { rm -rf "$(dirname "$QGS")"; return; }
        mkdir -p "$(dirname "$QGS")"
        [ "$1" != absent ] || return 0
        start qgs "$SIM/qgs-sim" --socket "$QGS" --control "$T/qgs.ctl"
        eventually 5 qgs requests >/dev/null
        case $1 in
        group) qgs owner 999 999; qgs mode 0660 ;;
        refused) qgs mode 0755 ;;
        stale) qgs stale ;;
        hung) qgs stop-accepting ;;
        silent) qgs hang ;;
        failing) qgs error 0x12001 ;;
        closing) qgs eof ;;
        esac
}

seen() { echo "$(seen_of_slice) | $(kubelet devices | grep -c ' Healthy') healthy"; }

sees() { # TEXT
        [ "$(seen | tr -s ' ')" = "$1" ]
}

play() { # STATE POLICY TAINTS WANTED
        local wanted status=0
        wanted=$(tr -s ' ' <<<"$4" | sed 's/^ //')
        KUBELET_DEVICES=yes
        enter_node 4
        [ "$3" = kept ] || api drop-fields taints
        put_qgs "$1"
        launch_driver driver --attestation "$2"
        # Nothing but the right offer, from the first one on.
        kubelet wait-listed 30s >"$T/first"
        eventually 10 sees "$wanted" || status=1
        sleep 1
        sees "$wanted" || status=1
        printf '%-10s %-9s %-8s | %s\n' "$1" "$2" "$3" "$(seen)"
        printf 'wanted %s\n' "$wanted"
        if [ "${wanted##*| }" = "0 healthy" ] && grep -q ' Healthy' "$T/first"; then
                echo "the plugin's first list had healthy devices"
                status=1
        fi
        [ $status -eq 0 ] || tail -n 30 "$T/driver.log"
        leave_node || status=1
        [ $status -ne 0 ] || echo well
}

@test "the matrix: every state of QGS, enforced and not, on both paths, with taints kept and dropped" {
        local status=0 outcome
        for outcome in "$OUTCOMES"/*; do
                head -n 1 "$outcome"
                [ "$(tail -n 1 "$outcome")" = well ] || { cat "$outcome"; status=1; }
        done
        return $status
}

# ---- live ----

generation() { api slices | awk '{ print $2 }'; }
# A change is in the slice, and so with the scheduler, within a second, most of which is this script's own.
@test "VEP 107, VM user: a VM on a node with QGS attests, as uid 107 and without root's rights" {
        start_qgs
        driver --serve dra
        eventually 5 slice_is "open, attesting"
        prepare vm tdx1
        attest tdx1 | grep '^quote of'
}

@test "VEP 107, developer: a TDX VM starts without any attestation set-up" {
        driver --serve dra
        eventually 5 slice_is "open, attesting not"
        prepare vm tdx0
        run attest tdx0
        [[ $output == *"no quote"* ]]
}

@test "VEP 107, admin: where QGS is not set up right, nothing new is placed, and the reason is in slice, log and Event" {
        driver --serve dra --attestation enforced
        eventually 5 slice_is "tainted absent, attesting not"
        says driver 'QGS does not answer: no new VM is placed here until it does'
        eventually 5 sh -c "'$SIM/ctl' '$T/api.ctl' events | grep -q TDXNotSchedulable"
        api events | grep 'start QGS'
        start_qgs
        eventually 5 slice_is "open, attesting"
        eventually 5 sh -c "'$SIM/ctl' '$T/api.ctl' events | grep -q TDXSchedulable"
}

@test "VEP 107, two nodes, one with QGS: only there an enforced VM finds a device" {
        start_qgs
        driver --serve dra --attestation enforced
        mkdir -p "$T/k2/plugins_registry"
        start driver2 "$DRIVER" run --node-name node2 --kubelet-dir "$T/k2" --cdi-dir "$T/cdi2" --capacity 4 \
                --qgs-socket "$T/host2/run/tdx-qgs/qgs.socket" --vm-qgs-socket "$QGS" --api-server "$API" \
                --serve dra --attestation enforced
        untainted() {
                api slices-json | jq -rc '[.. | objects | select(.spec?.nodeName?) |
                        {(.spec.nodeName): ([.spec.devices[] | select(.taints | not)] | length)}] | add'
        }
        is_placed_right() { [ "$(untainted)" = '{"node1":4,"node2":0}' ]; }
        eventually 10 is_placed_right || { untainted; tail "$T/driver2.log"; return 1; }
}

@test "QGS appearing and vanishing, also with its directory, is in the slice within a second" {
        start_qgs
        driver --serve dra --attestation enforced
        eventually 5 slice_is "open, attesting"
        within_a_second qgs gone -- "tainted absent, attesting not"
        within_a_second qgs ok -- "open, attesting"
        qgs recreate-dir
        sleep 0.5
        slice_is "open, attesting"
        within_a_second qgs mode 0700 -- "tainted refused, attesting not"
        within_a_second qgs mode 0666 -- "open, attesting"
}

@test "QGS behind a link above its directory is followed" {
        RIGHTS=root # a pod has the host's /var/run mounted, wherever it leads
        mkdir -p "$T/host/real" "$T/host/var"
        ln -s ../real "$T/host/var/run"
        QGS=$T/host/var/run/tdx-qgs/qgs.socket
        driver --serve dra --attestation enforced
        eventually 5 slice_is "tainted absent, attesting not"
        QGS=$T/host/real/tdx-qgs/qgs.socket
        within_a_second start_qgs -- "open, attesting"
        within_a_second qgs gone -- "tainted absent, attesting not"
}

@test "kubevirt's flapping: not enforced, a QGS directory that is missing or comes and goes changes no device's place" {
        driver --serve dra --attestation optional
        eventually 5 slice_is "open, attesting not"
        for _ in 1 2 3; do
                rm -rf "$(dirname "$QGS")"
                sleep 0.3
                mkdir -p "$(dirname "$QGS")"
                slice_is "open, attesting not"
        done
        [ "$(generation)" = 1 ]
}

@test "a VM that was started before QGS attests once QGS comes" {
        driver --serve dra
        prepare vm tdx0
        "$SIM/cdi-run" --cdi-dir "$CDI" --device kubevirt.io/tdx=dra-tdx0 -- \
                sh -c "until '$SIM/vm-sim' --socket '$QGS'; do sleep 0.1; done" >"$T/vm.log" 2>&1 &
        local vm=$!
        said vm 'no quote'
        start_qgs
        wait $vm
        grep '^quote of' "$T/vm.log"
}

@test "a socket for its group only: the CDI edits give the VM the group, and it attests" {
        start_qgs --mode 0660
        qgs owner 999 999
        driver --serve dra --attestation enforced
        eventually 5 slice_is "open, attesting"
        jq -e '.cdiVersion == "0.7.0" and .devices[0].containerEdits.additionalGids == [999]' "$CDI/kubevirt.io-tdx.json"
        prepare vm tdx0
        attest tdx0 | grep '^quote of'
        qgs mode 0666
        eventually 5 jq -e '.cdiVersion == "0.3.0" and (.devices[0].containerEdits | has("additionalGids") | not)' \
                "$CDI/kubevirt.io-tdx.json"
}

@test "if QGS is elsewhere on the host, the VM finds it where KubeVirt says" {
        start_qgs
        launch_driver driver --serve dra --vm-qgs-socket /var/run/tdx-qgs/qgs.socket
        kubelet wait-registered tdx.kubevirt.io 15s
        eventually 5 slice_is "open, attesting"
        prepare vm tdx0
        QGS=/var/run/tdx-qgs/qgs.socket attest tdx0 | grep '^quote of'
}

@test "the health streams tell each pod's status why, at once and on change" {
        driver --serve dra --attestation enforced
        eventually 5 slice_is "tainted absent, attesting not"
        run kubelet health-watch 500ms
        [[ $output == *"tdx0 pool=node1 Unhealthy timeout=20 QGS is absent: there is no $QGS"* ]]
        kubelet health-watch 2s --version v1alpha1 >"$T/health" &
        local watch=$!
        sleep 0.5
        start_qgs
        wait $watch
        grep 'tdx3 pool=node1 Unhealthy' "$T/health"
        grep 'tdx3 pool=node1 Healthy timeout=20 QGS answers' "$T/health"
}

@test "a new device is on the health streams at once" {
        driver --serve dra
        eventually 5 slice_is "open, attesting not"
        kubelet health-watch 2s >"$T/health" &
        local watch=$!
        sleep 0.5
        sed -i 's/^tdx.*/tdx 5/' "$MISC"
        wait $watch
        grep 'tdx4 pool=node1 Healthy' "$T/health"
}

@test "not enforced, devices are healthy, and the message says what is missing" {
        driver --serve dra
        eventually 5 slice_is "open, attesting not"
        run kubelet health-watch 500ms
        [[ $output == *"tdx0 pool=node1 Healthy timeout=20 QGS is absent: "* ]]
}

recreate() { # N: the socket goes and comes
        python3 - "$QGS" "$1" <<'END'
import os, socket, sys, time
for _ in range(int(sys.argv[2])):
    os.path.exists(sys.argv[1]) and os.unlink(sys.argv[1])
    s = socket.socket(socket.AF_UNIX)
    s.bind(sys.argv[1])
    s.listen()
    os.chmod(sys.argv[1], 0o666)
    time.sleep(0.005)
os.unlink(sys.argv[1])
END
}
rss_kib() { awk '/^VmRSS/ { print $2 }' "/proc/$(pid_of driver)/status"; }
n_descriptors() { find "/proc/$(pid_of driver)/fd" -type l | wc -l; }

@test "a thousand re-creations of the socket cost little, a handful of slice updates, and no memory" {
        start_qgs
        driver --serve dra --attestation enforced
        eventually 5 slice_is "open, attesting"
        local stat before after rss descriptors
        recreate 200
        eventually 5 slice_is "tainted absent, attesting not"
        rss=$(rss_kib)
        descriptors=$(n_descriptors)
        api stats reset
        stat=/proc/$(pid_of driver)/stat
        before=$(awk '{ print $14 + $15 }' "$stat")
        recreate 1000
        after=$(awk '{ print $14 + $15 }' "$stat")
        eventually 5 slice_is "tainted absent, attesting not"
        api stats | tee "$T/stats"
        echo "CPU: $((after - before)) hundredths of a second, memory: $rss to $(rss_kib) KiB"
        [ $((after - before)) -lt 100 ]
        [ "$(awk '/PUT/ { n += $NF } END { print n + 0 }' "$T/stats")" -le 10 ]
        [ "$(n_descriptors)" -le $((descriptors + 1)) ] # a probe may be under way
        [[ $DRIVER != */plain-* ]] || [ "$(rss_kib)" -le $((rss + 256)) ]
}

@test "conflicting flags are refused by name" {
        driver_flags
        run "$DRIVER" run "${FLAGS[@]}" --vm-qgs-socket /var/run/tdx-qgs/other.socket
        [ "$status" -ne 0 ] && [[ $output == *"--qgs-socket"*"file names"*"--vm-qgs-socket"* ]]
        run "$DRIVER" run "${FLAGS[@]}" --vm-qgs-socket /var/run/qgs.socket
        [ "$status" -ne 0 ] && [[ $output == *"--vm-qgs-socket"*"shared"* ]]
        run "$DRIVER" run "${FLAGS[@]}" --attestation maybe
        [ "$status" -ne 0 ] && [[ $output == *"--attestation"*"from-kubevirt, enforced, optional"* ]]
}

@test "in a container QGS is looked for, and its directory made, where the host's files are; VMs get the host's path" {
        local root=$T/host path=/var/run/tdx-qgs-$BATS_SUITE_TEST_NUMBER
        RIGHTS=root # the paths are this machine's own
        mkdir -p "$root/var/run"
        launch_driver driver --host-root "$root" --qgs-socket "$path/qgs.socket" --vm-qgs-socket /run/vm/qgs.socket
        kubelet wait-registered tdx.kubevirt.io 15s
        api claim default/a tdx0
        kubelet prepare default/a
        [ -d "$root$path" ]
        [ ! -e "$path" ]
        jq -e --arg path "$path" '.devices[0].containerEdits.mounts[0] | .hostPath == $path and .containerPath == "/run/vm"' \
                "$CDI/kubevirt.io-tdx.json"
        says driver "there is no $path/qgs.socket"
        rmdir "$root$path"
        mkdir -p "$root$path" # unless the driver was quicker
        start qgs "$SIM/qgs-sim" --socket "$root$path/qgs.socket" --control "$T/qgs.ctl"
        said driver "QGS answers"
}
