#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Attestation as VEP 107 means it: what a node offers on both paths, by the state of its QGS and what is enforced.
#
# The rows of the matrix are played at once, each on a node of its own; a test only tells how its row went.

KUBELET_DEVICES=yes
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
END
}

setup_file() {
        load scenario
        export OUTCOMES=$BATS_FILE_TMPDIR
        local n=0 state policy taints bar wanted
        while read -r state policy taints bar wanted; do
                while [ "$(jobs -pr | wc -l)" -ge $AT_ONCE ]; do wait -n || true; done
                (exec >"$OUTCOMES/$(printf %02d "$n")" 2>&1 3>&- 4>&-; play "$state" "$policy" "$taints" "$wanted") &
                n=$((n + 1))
        done < <(matrix)
        wait
}

setup() { load scenario; KUBELET_DEVICES=no; enter_node 4; }
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
        hung) qgs jam ;;
        silent) qgs hang ;;
        esac
}

seen_of_slice() {
        api slices-json | jq -r '[.. | objects | select(.spec?.devices?) | .spec.devices[]] |
                if length == 0 then "withdrawn" else .[0] |
                (if .taints then "tainted " + .taints[0].value else "open" end) +
                (if .attributes.attestation.bool then ", attesting" else ", attesting not" end) end'
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
        launch_driver driver --attestation "$2" --qgs-probe "$([ "$1" = silent ] && echo platform-info || echo connect)"
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
