#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The process's file descriptors: the standard ones, and how many it may have.

setup() { load scenario; enter_node 4; }
teardown() { leave_node; }

# Starts the driver without the standard descriptors named.
launch_without() { # FD...
        local fd
        driver_flags
        (
                exec </dev/null >"$T/driver.log" 2>&1 3>&- 4>&-
                for fd; do eval "exec $fd>&-"; done
                exec "$DRIVER" run "${FLAGS[@]}"
        ) &
        echo $! >"$T/driver.pid"
}

@test "standard descriptors that are closed at the start are /dev/null and nothing else" {
        local closed fd
        for closed in "0" "1" "2" "0 1" "0 2" "1 2" "0 1 2"; do
                # shellcheck disable=SC2086
                launch_without $closed
                kubelet wait-registered tdx.kubevirt.io 40s
                for fd in $closed; do
                        [ "$(readlink "/proc/$(pid_of driver)/fd/$fd")" = /dev/null ]
                done
                api claim "default/a${closed// /}" tdx0
                kubelet prepare "default/a${closed// /}"
                kubelet unprepare "default/a${closed// /}"
                stop_driver
        done
}

@test "too few descriptors for the driver are a clear error at the start, not a crash" {
        local n
        driver_flags
        for n in 8 12 16 20 22 24 40 63; do
                run bash -c "ulimit -n $n; exec \"\$@\"" bash "$DRIVER" run "${FLAGS[@]}"
                echo "$n: $output"
                [ "$status" -eq 2 ]
                [[ $output == *"may open $n files"*"LimitNOFILE"* ]]
        done
}

@test "with a small soft limit the driver takes what the hard one allows" {
        (
                ulimit -S -n 20
                exec 3>&- 4>&-
                driver_flags
                exec "$DRIVER" run "${FLAGS[@]}" >"$T/driver.log" 2>&1
        ) &
        echo $! >"$T/driver.pid"
        kubelet wait-registered tdx.kubevirt.io 40s
        local soft hard
        read -r soft hard < <(prlimit --noheadings --output SOFT,HARD --nofile --pid "$(pid_of driver)")
        [ "$soft" = "$hard" ]
        [ "$soft" -ge 64 ]
}
