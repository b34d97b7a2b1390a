# SPDX-License-Identifier: Apache-2.0
# The quote relay between QGS and VMs, without a driver. Sourced by *.bats, after scenario.bash and qgs.bash.
# shellcheck shell=bash disable=SC2034

RELAY=${RELAY:-$(dirname "$DRIVER")/tdx-quote-relay}

# A host with QGS's place, and a place for the relay's directory. Neither kubelet nor API server.
enter_host() {
        T=$(mktemp -d /tmp/dra.XXXXXX)
        chmod 711 "$T" # VMs, which are not root, pass through
        QGS=$T/host/run/tdx-qgs/qgs.socket
        DIR=$T/relay
        NAMED=/run/tdx-qgs/qgs.socket # as the host names it
        mkdir -p "$T/host/run" "$T/vm"
}

# With the rights of the manifests' container: root without a capability but these two.
as_relay() {
        exec setpriv --no-new-privs --bounding-set=-all,+setgid,+setuid --inh-caps=-all --ambient-caps=-all -- "$@"
}
# Without a capability LeakSanitizer cannot stop the process for its look at the end, and may wait for ever; the unit
# tests, soak.bats and hostile.bats run the relay with sanitizers.
launch_relay() { # NAME [FLAG...]: does not wait
        [[ $DRIVER == */plain-* ]] || skip "LeakSanitizer needs more rights than the relay has"
        start "$1" as_relay "$RELAY" run --relay-dir "$DIR" --host-root "$T/host" --log-level debug "${@:2}"
}
relay() { # [FLAG...]: until it serves
        launch_relay relay "$@"
        eventually 10 says relay "serving VMs" || { cat "$T/relay.log"; return 1; }
}
configure() { # [DEVICES [NAME]]
        "$SIM/relay-driver" "$DIR" configure "${1:-4}" "$NAMED" "${2:-qgs.socket}"
}
counted() { # OUTCOME: how many of the node's requests ended so
        "$SIM/relay-driver" "$DIR" snapshot | head -n 1 | jq ".counts[\"$1\"]"
}
has_counted() { [ "$(counted "$1")" = "$2" ]; } # OUTCOME N
qgs_is() { [ "$("$SIM/relay-driver" "$DIR" ask | jq -r .qgs.result)" = "$1" ]; } # RESULT
worker_pid() { pgrep -P "$(pid_of "${1:-relay}")"; }

# As a VM's container has it: a mount of the TD's directory, read-only.
in_vm() { # TD COMMAND...
        "$SIM/cdi-run" --mount "$DIR/qgs/$1:$T/vm/qgs:ro" -- "${@:2}"
}
vm() { # TD [FLAG...]
        in_vm "$1" "$SIM/vm-sim" --socket "$T/vm/qgs/qgs.socket" "${@:2}"
}
# In the background, a quote for each line that ask_for_quote sends; its answers are in vm.log.
keep_vm() { # TD
        mkfifo "$T/vm.in"
        in_vm "$1" sh -c "while read -r _; do '$SIM/vm-sim' --socket '$T/vm/qgs/qgs.socket'; done" \
                <"$T/vm.in" >"$T/vm.log" 2>&1 3>&- 4>&- &
        echo $! >"$T/vm.pid"
        exec 9>"$T/vm.in"
}
n_answers() { [ "$(wc -l <"$T/vm.log")" = "$1" ]; }
kept_vm_attests() {
        local n
        n=$(wc -l <"$T/vm.log")
        echo >&9
        eventually 30 n_answers $((n + 1))
        tail -n 1 "$T/vm.log" | grep '^quote of'
}

leave_host() {
        [ "${BATS_TEST_COMPLETED:-}" = 1 ] || tail -n 40 "$T"/*.log
        exec 9>&-
        leave_node
}

# VMs of these TDs ask for one quote after another, until end_loop, which fails if any got none.
start_loop() { # TD...
        local sockets=("${@/#/$DIR/qgs/}")
        start loop "$SIM/vm-loop" "${sockets[@]/%//qgs.socket}"
        said loop "the first quote" 20
}
end_loop() { end loop || { cat "$T/loop.log"; return 1; }; cat "$T/loop.log"; }
# Quotes that came through this relay since the call.
serves_vms() { # RELAY
        local n
        n=$(grep -c 'outcome=delivered' "$T/$1.log")
        eventually 20 delivered_more_than "$1" "$n"
}
delivered_more_than() { [ "$(grep -c 'outcome=delivered' "$T/$1.log")" -gt "$2" ]; } # RELAY N
