#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The quote relay beside the driver (manifests/components/quote-relay): running pods attest, on both paths, whatever
# happens to QGS, to the relay and to the driver. QGS's socket is for its own group alone.

setup_file() {
        load cluster
        export COMPONENTS=quote-relay
        set_up_node
}
teardown_file() {
        load cluster
        qgs_stop
        kubevirt_crd deleted
        unset COMPONENTS
        k -n dra-driver-tdx delete daemonset/dra-driver-tdx --wait=true --timeout=60s >/dev/null
        install
}
setup() {
        load cluster
        k -n dra-driver-tdx rollout status daemonset/dra-driver-tdx --timeout=90s >/dev/null
}
teardown() {
        [ -n "$BATS_TEST_COMPLETED" ] || { driver_log; k -n dra-driver-tdx logs "$(driver_pod)" -c relay; } | tail -n 40
        no_pods
}

attests() { [[ $(quotes "$@") == "a quote of "* ]]; } # POD [SOCKET]

@test "a claim's pod and a plain pod attest, neither with QGS's group" {
        pod claimed template=td
        pod plain tdx=1
        running claimed plain
        attests claimed
        attests plain
        if k exec claimed -- /pod write "$(dirname $QUOTE)/x" >/dev/null; then return 1; fi
        eventually 10 driver_metric 'tdx_relay_connected' 1
        eventually 10 driver_metric 'tdx_quotes_total{outcome="delivered"}' 2
}

@test "running pods attest again after QGS's directory was recreated" {
        pod claimed template=td
        pod plain tdx=1
        running claimed plain
        attests claimed
        qgs_stop
        qgs_start
        attests claimed
        attests plain
}

# Until the file is there; the answers are counted, and the first failure ends it.
ask_all_the_while() { # POD FILE
        local n=0
        until [ -e "$2" ]; do
                attests "$1" || return 1
                n=$((n + 1))
        done
        echo "$n quotes"
}

@test "driver and relay are updated together, then killed: a running pod attests all the while" {
        local enough=$BATS_TEST_TMPDIR/enough
        pod claimed template=td
        running claimed
        ask_all_the_while claimed "$enough" >"$BATS_TEST_TMPDIR/log" 2>&1 3>&- 4>&- &
        local asking=$!
        install DRA_LOG_FORMAT=json
        install
        touch "$enough"
        wait $asking || { cat "$BATS_TEST_TMPDIR/log"; return 1; }
        cat "$BATS_TEST_TMPDIR/log"
        on node1 pkill -KILL -f "^/usr/bin/tdx-quote-relay" || true
        on node1 pkill -KILL -f "^/usr/bin/dra-driver-tdx run"
        eventually 60 attests claimed
        eventually 60 driver_metric 'tdx_relay_connected' 1
}

# /var/run is root's, so this QGS runs as root, and no VM could open its socket.
@test "VEP 107's second example, a socket in /var/run itself, works while attestation is enforced" {
        local socket=/var/run/qgs.socket
        kubevirt_crd created
        on node1 setsid "$ROOT/e2e/sim/qgs-sim" --socket $socket --control "$E2E_DIR/node1/qgs2.ctl" --version 1.26 \
                --mode 0660 >"$E2E_DIR/node1/log/qgs2.log" 2>&1 </dev/null 3>&- 4>&- &
        eventually 20 on node1 test -S $socket
        enforced true $socket
        eventually 40 driver_says "socket=$socket"
        eventually 30 placeable 4
        pod claimed template=attested
        running claimed
        attests claimed $socket
        gone claimed
        kubevirt_crd deleted
        on node1 pkill -f "qgs-sim --socket $socket" || true
        eventually 40 placeable 4
}
