#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# How many TDs there are, and what the scheduler is told of it.

setup() { load scenario; enter_node 4; }
teardown() { leave_node; }

misc() { printf '%b' "$1" >"$MISC"; }

@test "the tdx line of misc.capacity becomes as many devices" {
        driver
        api wait-devices 4 15s
        [ "$(cdi_devices)" -eq 4 ]
}

@test "misc.capacity is found where cgroup v2, v1 and hybrid have it" {
        local place
        for place in . misc unified; do
                rm -rf "$T/cgroup"
                mkdir -p "$T/cgroup/$place"
                echo "tdx 3" >"$T/cgroup/$place/misc.capacity"
                run "$DRIVER" inspect --cgroup-root "$T/cgroup"
                [[ $output == *"capacity   3 TDs"* ]]
        done
}

@test "capacity that grows, shrinks, vanishes and returns leads to the right slices" {
        driver
        api wait-devices 4 15s
        misc 'tdx 7\n'
        api wait-devices 7 15s
        misc 'tdx 2\n'
        api wait-devices 2 15s
        misc 'sev 509\n'
        api wait-devices 0 15s
        said driver "misc.capacity has no tdx line"
        misc 'tdx 5\n'
        api wait-devices 5 15s
}

@test "only devices that are not held are withdrawn" {
        driver
        api wait-devices 4 15s
        api claim default/a tdx3
        kubelet prepare default/a
        misc 'tdx 2\n'
        api wait-devices 2 15s
        [ "$(api devices | grep -o 'tdx[0-9]*' | sort | tr '\n' ' ')" = "tdx0 tdx3 " ]
}

@test "4096 TDs are published in slices of at most 64" {
        driver --capacity 4096
        api wait-slices 64 20s
        api wait-devices 4096 20s
        [ "$(cdi_devices)" -eq 4096 ]
}

@test "more than 4096 are offered as 4096, and the log says so" {
        misc 'tdx 5000\n'
        driver
        api wait-devices 4096 20s
        said driver "more TDs than the driver can offer"
}

@test "a reserve stays with the host" {
        driver --reserve 3
        api wait-devices 1 15s
}

@test "a reserve larger than the capacity leaves nothing, not a negative number" {
        driver --reserve 9
        api wait-slices 1 15s
        api wait-devices 0 15s
}

@test "a bad misc.capacity is reported with its fault, and the last known capacity stays" {
        driver
        api wait-devices 4 15s
        local text
        for text in 'tdx max\n' 'tdx -3\n' 'tdx 99999999999999999999\n' 'tdx\n' 'tdx 1\ntdx 2\n'; do
                misc "$text"
                said driver "keeping the last known value.*misc.capacity"
                : >"$T/driver.log"
                misc 'tdx 4\n'
                sleep 0.3
        done
        rm "$MISC" && mkdir "$MISC"
        said driver "keeping the last known value.*directory"
        rmdir "$MISC"
        head -c 1000000 /dev/zero | tr '\0' 'x' >"$MISC"
        said driver "keeping the last known value.*larger than"
        api wait-devices 4 15s
        stop_driver
}

@test "a missing, an empty and an unterminated file mean what they say" {
        rm "$MISC"
        launch_driver driver
        said driver "cannot read the TDX capacity\|there is no misc.capacity"
        : >"$MISC"
        said driver "misc.capacity has no tdx line"
        api wait-devices 0 15s
        misc 'tdx 6'
        api wait-devices 6 15s
}
