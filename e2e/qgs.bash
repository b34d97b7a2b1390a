# SPDX-License-Identifier: Apache-2.0
# QGS on the play's host, what the scheduler sees of it, and VMs that want a quote. Sourced by *.bats, after
# scenario.bash.
# shellcheck shell=bash disable=SC2153

QGSD=991:990 # the user and group that its packages make

start_qgs() { # [FLAG...]
        mkdir -p "$(dirname "$QGS")"
        start qgs "$SIM/qgs-sim" --socket "$QGS" --control "$T/qgs.ctl" "$@"
        eventually 40 qgs requests >/dev/null
}
# As in its packages: its own user, in a directory that systemd has made (RuntimeDirectory=).
start_packaged_qgs() { # VERSION [FLAG...]
        make_runtime_directory
        start_qgs --user $QGSD --mode own --version "$@"
}
make_runtime_directory() {
        mkdir -p "$(dirname "$QGS")"
        chown $QGSD "$(dirname "$QGS")"
        chmod 0755 "$(dirname "$QGS")"
}
count() { qgs counts | tr ' ' '\n' | sed -n "s/^$1=//p"; } # closed-early, most-open, ...
counts() { [ "$(count "$1")" = "$2" ]; }                   # WHAT N
counts_at_least() { [ "$(count "$1")" -ge "$2" ]; }        # WHAT N
asked_again() { # COMMAND...: and until QGS has had a request after it
        local n
        n=$(count platform-info)
        "$@"
        eventually 30 counts_at_least platform-info $((n + 1))
}

seen_of_slice() {
        api slices-json | jq -r '[.. | objects | select(.spec?.devices?) | .spec.devices[]] |
                if length == 0 then "withdrawn" else .[0] |
                (if .taints then "tainted " + .taints[0].value else "open" end) +
                (if .attributes.attestation.bool then ", attesting" else ", attesting not" end) end'
}
slice_is() { [ "$(seen_of_slice)" = "$1" ]; }
# With --attestation enforced.
is_answering() { slice_is "open, attesting"; }
is_in_state() { slice_is "tainted $1, attesting not"; } # STATE

prepare() { # NAME TD
        api claim "default/$1" "$2" >/dev/null
        kubelet prepare "default/$1"
}
in_container() { # TD COMMAND...
        "$SIM/cdi-run" --cdi-dir "$CDI" --device "kubevirt.io/tdx=dra-$1" -- "${@:2}"
}
attest() { # TD [FLAG...]: as QEMU in the VM's container
        in_container "$1" "$SIM/vm-sim" --socket "$QGS" "${@:2}"
}
# The VM fails with these words.
attests_not() { # TD TEXT [FLAG...]
        local output
        if output=$(attest "$1" "${@:3}"); then echo "$output"; return 1; fi
        [[ $output == *"$2"* ]] || { echo "$output"; return 1; }
}

now_ms() { echo $((${EPOCHREALTIME/./} / 1000)); }
# When the driver last said this, by its own clock.
said_at_ms() { # PATTERN
        date -u -d "$(grep -E -- "$1" "$T/driver.log" | tail -n 1 | cut -d ' ' -f 1)" +%s%3N
}
# What a bound leaves to a machine that has other things to do; less than the 8 s after which the driver looks anyway.
SLACK_MS=5000
within() { # MS BEGIN_MS END_MS
        echo "after $(($3 - $2)) ms, within $1"
        [ $(($3 - $2)) -le $(($1 + SLACK_MS)) ]
}
# From after the command to the slice that is wanted.
within_a_second() { # COMMAND... -- WANTED
        local begin words=()
        while [ "$1" != -- ]; do words+=("$1"); shift; done
        "${words[@]}"
        begin=$(now_ms)
        eventually 20 slice_is "$2"
        echo "$2"
        within 1000 "$begin" "$(now_ms)"
}
