#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# QGS hangs, dies, fails or runs out of descriptors: what the driver says of it and when, and that the driver does it no
# harm. Bounds are those of the driver's own log, with SLACK_MS for a machine that has other things to do.

export RIGHTS=manifest
AT_ONCE=12 # hardly anything but waiting

setup_file() {
        load scenario
        load plays
        load qgs
        play_all
}
setup() { load scenario; load plays; load qgs; }

answering() { # VERSION [FLAG...]: QGS as an admin has opened it, and the driver beside it
        make_runtime_directory
        start_qgs --user $QGSD --mode 0666 --version "$@"
        driver --serve dra --attestation enforced
        eventually 30 is_answering
}
has_done_no_harm() {
        qgs counts
        counts closed-early 0
        counts abandoned 0
        counts most-open 1
}
never_said() { # PATTERN
        if grep -E -- "$1" "$T/driver.log"; then return 1; fi
}
qgs_signal() { kill "-$1" "$(pid_of qgs)"; }
qgs_has_ended() { ! kill -0 "$(pid_of qgs)" 2>/dev/null; }
qgs_ended_with() { # STATUS
        local status=0
        eventually 60 qgs_has_ended
        wait "$(pid_of qgs)" || status=$?
        rm "$T/qgs.pid"
        [ $status = "$1" ]
}

# ---- the longest first ----

silent() { # VERSION
        answering "$1"
        qgs hang
        eventually 60 is_in_state hung
        # Until QGS's own 30 s have ended the first connection and there was another.
        eventually 120 counts_at_least connections 3
        is_in_state hung
        never_said 'qgs=failing'
        qgs ok
        eventually 120 is_answering
        has_done_no_harm
}
@test "QGS 1.25 that takes requests and never replies is hung, not failing, and each connection is waited for" {
        went_well silent 1.25
}
@test "QGS 1.26 that takes requests and never replies is hung, not failing, and each connection is waited for" {
        went_well silent 1.26
}

# A launcher or VM that is hostile, or merely broken.
open_connections() { # N [SECONDS]: and close them, without a request
        python3 - "$QGS" "$1" "${2:-0}" <<'END'
import socket, sys, time
connections = [socket.socket(socket.AF_UNIX) for _ in range(int(sys.argv[2]))]
for connection in connections:
    connection.connect(sys.argv[1])
time.sleep(float(sys.argv[3]))
END
}

killed_by_a_vm() {
        answering 1.25
        open_connections 24
        eventually 30 counts_at_least closed-early 24
        [ "$(count closed-early)" = 24 ]
        qgs_ended_with 139
        eventually 60 is_in_state stale
}
@test "24 connections that a VM closes early kill QGS 1.25, and the driver sees it" {
        went_well killed_by_a_vm
}

out_of_descriptors() { # VERSION
        answering "$1"
        qgs max-open 5
        # They stay until the driver has seen what they do.
        open_connections 6 40 &
        local vm=$!
        said qgs 'Too many open files' 30
        eventually 60 is_in_state hung
        qgs_ended_with 0
        eventually 60 is_in_state absent
        kill $vm 2>/dev/null || true
        wait $vm || true
        start_qgs --user $QGSD --mode 0666 --version "$1"
        eventually 60 is_answering
}
@test "QGS 1.25 that ran out of descriptors is hung, then it ends and is absent, until it is started again" {
        went_well out_of_descriptors 1.25
}
@test "QGS 1.26 that ran out of descriptors is hung, then it ends and is absent, until it is started again" {
        went_well out_of_descriptors 1.26
}

stopped() { # VERSION
        local begin
        answering "$1"
        begin=$(now_ms)
        qgs_signal STOP
        eventually 60 is_in_state hung
        within 15000 "$begin" "$(said_at_ms qgs=hung)"
        qgs_signal CONT
        eventually 60 is_answering
        never_said 'qgs=(failing|stale|absent)'
        has_done_no_harm
}
@test "QGS 1.25 that is stopped is hung within 15 s, and answers when it continues" {
        went_well stopped 1.25
}
@test "QGS 1.26 that is stopped is hung within 15 s, and answers when it continues" {
        went_well stopped 1.26
}

killed() {
        local begin
        answering 1.26
        begin=$(now_ms)
        end qgs KILL || true
        eventually 60 is_in_state stale
        within 12000 "$begin" "$(said_at_ms qgs=stale)"
        start_qgs --user $QGSD --mode 0666
        begin=$(stat -c %.3Z "$QGS" | tr -d .)
        eventually 30 is_answering
        within 1000 "$begin" "$(said_at_ms 'QGS answers')"
}
@test "QGS that is killed is stale within 12 s, and answers within a second of its restart" {
        went_well killed
}

stale_at_start() {
        answering 1.25
        end qgs KILL || true
        eventually 60 is_in_state stale
        start qgs "$SIM/qgs-sim" --socket "$QGS" --control "$T/qgs.ctl" --user $QGSD --version 1.25
        qgs_ended_with 1
        says qgs 'bind: Address already in use'
        is_in_state stale
        rm "$QGS" # as README's drop-in has systemd do
        start_qgs --user $QGSD --mode 0666 --version 1.25
        eventually 30 is_answering
}
@test "QGS 1.25 does not start beside the socket that it left when it was killed, and does once that is removed" {
        went_well stale_at_start
}

asked_again_and_again() { # VERSION
        answering "$1"
        eventually 120 counts_at_least platform-info 5
        qgs counts
        [ "$(count pause)" -le $((10000 + SLACK_MS)) ]
        has_done_no_harm
}
@test "QGS 1.25 is asked at least every 10 s, by one connection at a time, and none is closed early" {
        went_well asked_again_and_again 1.25
}
@test "QGS 1.26 is asked at least every 10 s, by one connection at a time, and none is closed early" {
        went_well asked_again_and_again 1.26
}

asked_by_a_person() {
        start_packaged_qgs 1.25
        chmod 0666 "$QGS"
        driver_flags
        (as_pod "$DRIVER" check "${FLAGS[@]}") || true
        counts platform-info 1
        (as_pod "$DRIVER" inspect "${FLAGS[@]}")
        counts platform-info 2
        # Also one that answers later than they tell, and one that has not done so yet.
        qgs slow 8s
        (as_pod "$DRIVER" inspect "${FLAGS[@]}") | tee "$T/inspect"
        grep -i 'hung' "$T/inspect"
        eventually 30 counts open 0
        has_done_no_harm
}
@test "check and inspect close no connection early either" {
        went_well asked_by_a_person
}

stopped_driver() {
        answering 1.25
        qgs slow 1s
        eventually 60 counts open 1
        stop_driver
        eventually 30 counts open 0
        has_done_no_harm
}
@test "a driver that stops while QGS has its request waits for the answer" {
        went_well stopped_driver
}

slow_once() {
        answering 1.26
        qgs slow 2s
        asked_again true
        asked_again true
        qgs slow 0s
        asked_again true
        is_answering
        never_said 'qgs='
}
@test "QGS that takes two seconds for an answer is not hung" {
        went_well slow_once
}

failing() {
        answering 1.26
        qgs error 0x12001
        eventually 60 is_in_state failing
        says driver 'qgs=failing .*0x12001.*a restart does not cure that.*PCCS.*registration.*enclave'
        qgs eof
        eventually 60 is_failing_by "closes connections without an answer"
        never_said 'qgs=hung'
        qgs ok
        eventually 120 is_answering
        has_done_no_harm
}
is_failing_by() { # TEXT
        is_in_state failing
        grep 'qgs=failing' "$T/driver.log" | tail -n 1 | grep "$1"
}
@test "QGS that answers with an error, or closes without an answer, is failing, not hung, and no restart is advised" {
        went_well failing
}

no_quotes() { # HOW TEXT
        make_runtime_directory
        start_qgs --user $QGSD --mode 0666
        qgs no-quotes "$1"
        driver --serve dra --attestation enforced --listen 127.0.0.1:0
        eventually 30 is_answering
        prepare vm tdx0
        asked_again attests_not tdx0 "$2"
        is_answering
        says driver "QGS answers"
        metric tdx_attesting 1
        page /metrics | grep '^# HELP tdx_attesting .*QGS answers'
        kubelet health-watch 500ms >"$T/health"
        grep 'QGS answers' "$T/health"
        api events >"$T/events"
        if grep -iE 'VMs attest' "$T"/{driver.log,health,events} || page /metrics | grep -i 'VMs attest'; then return 1; fi
}
@test "if every quote ends the connection while QGS answers, that is all the driver says" {
        went_well no_quotes eof ended
}
@test "if every quote is an error while QGS answers, that is all the driver says" {
        went_well no_quotes 0x12001 0x12001
}

not_killed_by_a_vm() {
        answering 1.26
        open_connections 64
        eventually 30 counts_at_least closed-early 64
        eventually 60 counts open 0
        asked_again true
        is_answering
}
@test "they do QGS 1.26 no harm" {
        went_well not_killed_by_a_vm
}

vanishes_while_asked() {
        answering 1.25
        qgs hang
        eventually 60 counts open 1
        end qgs KILL || true
        eventually 60 is_in_state stale
        never_said 'qgs=failing'
}
@test "QGS that is killed while it has the driver's request is stale" {
        went_well vanishes_while_asked
}
