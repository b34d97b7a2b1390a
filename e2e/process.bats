#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The process: its log and its signals.

setup() { load scenario; enter_node 4; }
teardown() { leave_node; }

# The driver with standard error in a pipe, $log. It is read up to the line with metrics' address, and from then on
# only by read_log.
driver_into_pipe() {
        mkfifo "$T/pipe"
        exec {log}<>"$T/pipe"
        driver_flags
        "$DRIVER" run "${FLAGS[@]}" --listen 127.0.0.1:0 2>"$T/pipe" >/dev/null 3>&- 4>&- {log}>&- &
        echo $! >"$T/driver.pid"
        local line
        : >"$T/driver.log"
        until says driver 'health are served'; do
                IFS= read -r -t 60 line <&"$log" || return 1
                echo "$line" >>"$T/driver.log"
        done
}
read_log() { dd if="$T/pipe" iflag=nonblock bs=4096 2>/dev/null >>"$T/driver.log" || true; }
fill_pipe() { dd if=/dev/zero of="$T/pipe" oflag=nonblock bs=4096 2>/dev/null || true; }
has_ended() { ! kill -0 "$(pid_of driver)"; }
log_says() { read_log; says driver "$1"; }
dropped() { page /metrics | sed -n 's/^tdx_log_lines_dropped_total //p'; }
has_dropped() { [ "$(dropped)" -ge "$1" ]; }

@test "a stalled reader of the log holds up no call, and is told of the dropped lines later" {
        driver_into_pipe
        fill_pipe
        kubelet wait-registered tdx.kubevirt.io 40s
        api claim default/a tdx0
        kubelet prepare default/a
        eventually 10 has_dropped 3
        kubelet unprepare default/a

        read_log
        kubelet prepare default/a
        eventually 10 log_says 'log lines were dropped.* lines=[0-9]'
}

@test "SIGTERM ends the driver in order while the reader of its log stalls" {
        driver_into_pipe
        kubelet wait-registered tdx.kubevirt.io 40s
        fill_pipe
        kill -TERM "$(pid_of driver)"
        eventually 10 has_ended
        [ ! -S "$REGISTRY/tdx.kubevirt.io-reg.sock" ]
}

has_accepted_in_vain() { [ "$(grep -c 'cannot accept a connection' "$T/driver.log")" -ge "$1" ]; } # LINES

# Holds 100 connections to the path until it is ended.
start_holder() { # PATH
        start holder /usr/bin/python3 -c '
import signal, socket, sys
held = [socket.socket(socket.AF_UNIX) for _ in range(100)]
for s in held:
    s.setblocking(False)
    try:
        s.connect(sys.argv[1])
    except OSError:
        pass # the queue is full
signal.pause()' "$1"
}

@test "a cause that repeats ten times a second is logged once a second, with the number of the others" {
        driver
        prlimit --pid "$(pid_of driver)" --nofile=48:48
        start_holder "$STATE/dra.sock"
        eventually 10 has_accepted_in_vain 4
        end holder || true
        # By the driver's own clock.
        run python3 -c '
import datetime, sys
times = [datetime.datetime.fromisoformat(line[:23]) for line in open(sys.argv[1]) if "cannot accept a connection" in line]
seconds = (times[-1] - times[0]).total_seconds()
assert len(times) <= seconds + 2, f"{len(times)} lines in {seconds} s"' "$T/driver.log"
        echo "$output"
        [ "$status" -eq 0 ]
        says driver 'cannot accept a connection.* left_out=[0-9]'
}

@test "signals of terminals and log rotations end nothing" {
        driver
        local signal
        for signal in USR1 USR2 ALRM PIPE HUP; do kill -$signal "$(pid_of driver)"; done
        said driver "looking at everything again"
        api claim default/a tdx0
        kubelet prepare default/a
        stop_driver
}

@test "SIGHUP makes the driver look at the host at once" {
        driver --poll-interval 30s
        api wait-devices 4
        echo 'tdx 6' >"$MISC"
        kill -HUP "$(pid_of driver)"
        said driver 'capacity tds=6' 10
        grep -A 20 'looking at everything again' "$T/driver.log" | grep -q 'capacity tds=6'
        api wait-devices 6
}

@test "SIGQUIT and SIGINT end the driver in order" {
        local signal
        for signal in QUIT INT; do
                driver
                end driver $signal
                [ ! -S "$REGISTRY/tdx.kubevirt.io-reg.sock" ]
                grep -q 'stopping signal=' "$T/driver.log"
        done
}

@test "further signals do not cut an orderly stop short" {
        driver
        # A peer that ignores that its connection is to end makes the stop take its full time of grace.
        start peer /usr/bin/python3 -c '
import signal, socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\4" + bytes(5))
s.recv(1)
print("connected", flush=True)
signal.pause()' "$STATE/dra.sock"
        said peer connected
        local signal pid
        pid=$(pid_of driver)
        kill -TERM "$pid"
        said driver 'stopping signal='
        for signal in TERM HUP USR1 QUIT INT TERM; do kill -$signal "$pid"; done
        wait "$pid"
        rm "$T/driver.pid"
        [ "$(grep -c 'stopping signal=' "$T/driver.log")" = 1 ]
}

@test "a scenario cannot lose a process by starting another of its name" {
        start sleeper sleep 600
        local first
        first=$(pid_of sleeper)
        run start sleeper sleep 600
        [ "$status" -eq 1 ]
        [[ $output == *"the sleeper with pid $first still runs"* ]]
        [ "$(pid_of sleeper)" = "$first" ]
        end sleeper || true
        start sleeper sleep 600
        # Once it has ended by itself, its name is free.
        kill -KILL "$(pid_of sleeper)"
        eventually 10 eval '! is_running sleeper'
        start sleeper true
}

# The limits of a user namespace hold in it alone.
driver_without() { # instances | watches
        local limit=$1
        unshare --user --map-root-user sh -c 'echo 0 >/proc/sys/user/max_inotify_instances' ||
                skip "needs user namespaces and a /proc/sys that can be written"
        driver_flags
        # shellcheck disable=SC2016
        start driver unshare --user --map-root-user sh -c 'echo 0 >"/proc/sys/user/max_inotify_$1" && shift && exec "$@"' \
                sh "$limit" "$DRIVER" run "${FLAGS[@]}"
        kubelet wait-registered tdx.kubevirt.io 40s
}

@test "without inotify the driver serves at the pace of its poll, and says once which sysctl to raise" {
        local limit
        for limit in instances watches; do
                driver_without $limit
                said driver "cannot watch directories.* sysctl=fs.inotify.max_user_$limit "
                api claim default/$limit tdx0
                kubelet prepare default/$limit
                kubelet unprepare default/$limit
                rm "$REGISTRY/tdx.kubevirt.io-reg.sock"
                said driver "a socket was gone, put back" 10
                kubelet wait-registered tdx.kubevirt.io 40s
                [ "$(grep -c 'cannot watch directories' "$T/driver.log")" = 1 ]
                stop_driver
        done
}
