#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# One quote relay takes over from another: no VM's connect fails, whichever of the two ends, and QGS's threads are
# shared.

setup() {
        load scenario
        load qgs
        load relay
        enter_host
}
teardown() { leave_host; }

two_relays() { # "new" serves, "relay" has ended what it had
        relay
        configure 4
        start_loop claim-tdx0 plugin-tdx0 claim-tdx3
        launch_relay new
        said new "serving VMs.*sockets=\"taken over\" n=8" 20
        said relay "the other relay serves" 20
        serves_vms new
}

@test "an update: not one of the VMs that ask all the time misses a quote, and the counts go on" {
        local n
        start_qgs
        two_relays
        end relay || { echo "status $?"; false; }
        said new "the previous relay has ended" 20
        configure 4
        serves_vms new
        end_loop
        n=$(count quotes)
        eventually 10 has_counted delivered "$n"
        [ "$(count closed-early)" = 0 ]
        [ "$(count abandoned)" = 0 ]
}

@test "requests under way at the update are answered by the relay that took them, and QGS has four at most" {
        local i
        start_qgs
        relay
        configure 4
        eventually 20 qgs_is answered # so that the relay's own question is not one of the four
        qgs slow 1s
        for i in 0 1 2 3; do
                start "a$i" "$SIM/vm-sim" --uid 0 --gid 0 --socket "$DIR/qgs/claim-tdx$i/qgs.socket"
                start "b$i" "$SIM/vm-sim" --uid 0 --gid 0 --socket "$DIR/qgs/plugin-tdx$i/qgs.socket"
        done
        eventually 20 counts_at_least open 4
        launch_relay new
        said new "serving VMs" 20
        for i in 0 1 2 3; do
                start "c$i" "$SIM/vm-sim" --uid 0 --gid 0 --socket "$DIR/qgs/claim-tdx$i/qgs.socket"
        done
        end relay || { echo "status $?"; false; }
        for i in a0 a1 a2 a3 b0 b1 b2 b3 c0 c1 c2 c3; do said "$i" '^quote of' 30; done
        [ "$(count most-open)" -le 4 ]
        [ "$(grep -c outcome=delivered "$T/relay.log")" -ge 4 ]
        [ "$(grep -c outcome=delivered "$T/new.log")" -ge 12 ] # the old one's are told to it
}

@test "the new relay dies: the old one accepts VMs again, and the driver finds it" {
        start_qgs
        two_relays
        end new KILL || true
        said relay "the other relay is gone; accepting VMs again" 20
        serves_vms relay
        configure 4
        end relay || { echo "status $?"; false; }
        end loop || true
}

@test "one that asks to succeed and goes away leaves the old one as it was" {
        start_qgs
        relay
        configure 1
        echo '{"succeed":{}}' | timeout 60 python3 -c "
import socket, sys
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect(sys.argv[1])
    connection.sendall(sys.stdin.buffer.read())
    received = b''
    while received.count(b'\"listener\"') < 2:
        received += connection.recv(65536)
    print(received.decode())" "$DIR/relay.sock"
        said relay "accepting VMs again"
        vm claim-tdx0
        configure 1
}

@test "two relays that start at the same time come one after the other" {
        start_qgs
        launch_relay first
        launch_relay relay
        said first "serving VMs" 20
        said relay "serving VMs" 20
        [ "$(cat "$T"/{first,relay}.log | grep -c 'sockets="taken over"')" = 1 ]
        [ "$(cat "$T"/{first,relay}.log | grep -c 'the other relay serves')" = 1 ]
        configure 1
        vm claim-tdx0
}

@test "a relay that hangs does not keep the next one from serving" {
        start_qgs
        relay
        configure 1
        kill -STOP "$(pid_of relay)"
        launch_relay new
        said new "does not hand over; binding its sockets again" 20
        said new "serving VMs" 20
        vm claim-tdx0
        kill -CONT "$(pid_of relay)"
        end relay || { echo "status $?"; false; }
        vm claim-tdx0
        configure 1
}

@test "of three relays the last one serves, whichever ends first" {
        start_qgs
        two_relays
        launch_relay third
        said third 'serving VMs.*sockets="taken over"' 20
        serves_vms third
        end new || { echo "status $?"; false; }
        said relay "a third relay has taken over" 20
        serves_vms third
        end relay || { echo "status $?"; false; }
        serves_vms third
        configure 4
        end_loop
}

@test "without a successor a stop answers what is under way, and the sockets wait for the next relay" {
        start_qgs
        relay
        configure 1
        eventually 20 qgs_is answered
        qgs slow 1s
        start vm "$SIM/vm-sim" --uid 0 --gid 0 --socket "$DIR/qgs/claim-tdx0/qgs.socket"
        eventually 20 counts open 1
        end relay || { echo "status $?"; false; }
        said vm '^quote of'
        [ -S "$DIR/qgs/claim-tdx0/qgs.socket" ]
        qgs slow 0s
        relay
        vm claim-tdx0
}

@test "the driver's lines: what no driver heard, then the counts, then each quote; across an update none is lost" {
        start_qgs
        relay
        configure 1
        vm claim-tdx0
        start driver "$SIM/relay-driver" "$DIR" follow "$T/lines"
        eventually 10 grep -q snapshot "$T/lines"
        vm plugin-tdx0
        eventually 10 grep -q plugin "$T/lines"
        launch_relay new
        said relay "the other relay serves" 20
        vm claim-tdx0 # no driver is there
        start driver2 "$SIM/relay-driver" "$DIR" follow "$T/lines2"
        eventually 10 grep -q snapshot "$T/lines2"
        jq -c 'select(.quote) | [.quote.device, .quote.path, .quote.outcome, (.quote.reportDataSha256 | length)]' "$T/lines" \
                "$T/lines2" >"$T/quotes"
        cat "$T/quotes"
        [ "$(cat "$T/quotes")" = '["tdx0","claim","delivered",64]
["tdx0","plugin","delivered",64]
["tdx0","claim","delivered",64]' ]
        [ "$(jq -s '[.[] | select(.snapshot.lost != null)] | last | .snapshot.counts.delivered' "$T/lines2")" = 3 ]
}

@test "the relay is small: it links neither gRPC nor curl, and both processes share little memory with 128 TDs" {
        local pid total=0
        if readelf -d "$RELAY" | grep NEEDED | grep -E 'libgrpc|libcurl|libprotobuf|libstdc'; then return 1; fi
        relay
        configure 128
        start_qgs
        vm claim-tdx127
        [[ $BUILD != *san-* ]] || skip "a sanitizer's memory is not the relay's"
        for pid in $(pid_of relay) $(worker_pid); do
                total=$((total + $(awk '/^Private_/ { n += $2 } END { print n }' "/proc/$pid/smaps_rollup")))
        done
        echo "$total KiB"
        [ "$total" -lt 4096 ]
}

@test "a relay that is told to stop again and again ends in order" {
        local i pid
        for i in 1 2 3 4 5; do
                relay
                pid=$(pid_of relay)
                (while kill -TERM "$pid"; do :; done) 2>/dev/null &
                wait "$pid"
                rm "$T/relay.pid" "$T/relay.log"
        done
}
