#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Key IDs that are leaked, starts that the kernel refuses, its wrong counts, and hosts that show less.

setup() {
        load scenario
        load measured
        enter_measured_node 4
}
teardown() { leave_node; }

@test "a key ID that stays charged after its VM has gone is reported as leaked, and is not offered" {
        measuring
        api wait-devices 4 15s
        prepared a tdx0
        local path
        path=$(enter_pod a)
        misc start "$path"
        becomes running_tds 1
        misc leak "$path"
        misc rmdir "$path"
        misc rmdir "${path%/*}"
        kubelet unprepare default/a
        becomes leaked_key_ids 1
        api wait-devices 3 15s
        number foreign_tds 0
        said driver "key IDs are leaked.*where=.*/kubepods"
        posted 'Warning TDXKeyIDsLeaked'
}

@test "key IDs that a removed slice leaves charged to the root are leaked, too" {
        measuring
        start_foreign 1
        misc leak machine.slice/qemu-1.scope
        misc rmdir machine.slice/qemu-1.scope
        misc rmdir machine.slice
        becomes leaked_key_ids 1
        run inspect_here
        [[ $output == *"1 leaked: charged to cgroup /,"* ]]
}

@test "a start that misc.max refuses is reported with its cgroup, and counted since the driver's start" {
        misc mkdir kubepods/limited
        misc max kubepods/limited 0
        never misc start kubepods/limited
        measuring
        eventually 10 number running_tds 0
        number refused_starts_total 0
        never misc start kubepods/limited
        becomes refused_starts_total 1
        said driver "the kernel has refused to start TDs.*cgroup=/kubepods/limited"
        posted 'Warning TDXStartRefused.*/kubepods/limited'
}

@test "a kernel that counts too few after a refused start is not believed" {
        start_foreign 1
        misc mkdir kubepods/limited
        misc max kubepods/limited 0
        measuring
        api wait-devices 3 15s
        never misc buggy-start kubepods/limited # now the root says 0, and kubepods 2^64-1
        said driver "count of TDs cannot be right.*18446744073709551615" 15
        eventually 10 number running_tds 1
        number foreign_tds 1
        is_offered 3
        [ "$(grep -c 'count of TDs cannot be right' "$T/driver.log")" -eq 1 ]
}

@test "a count of more TDs than the host can run is reported and changes nothing" {
        start_foreign 1
        measuring
        api wait-devices 3 15s
        misc mkdir a
        misc mkdir b
        echo "tdx 4" >"$CGROUPS/a/misc.current"
        echo "tdx 4" >"$CGROUPS/b/misc.current"
        said driver "cannot count the TDs that run on this host; using the last known count.*add up to 9" 15
        number foreign_tds 1
        is_offered 3
}

@test "a root without its own sum is added up" {
        rm -r "$CGROUPS"
        misc init 4 no-root-current
        misc mkdir machine.slice/qemu-1.scope
        start_foreign 1
        measuring
        api wait-devices 3 15s
}

@test "if pods' cgroups have no misc controller, TDs that run above them are the holders' first" {
        misc no-misc kubepods
        measuring
        api wait-devices 4 15s
        prepared a tdx0
        local path
        path=$(enter_pod a)
        misc start "$path"
        misc start "$path"
        becomes foreign_tds 1
        number running_tds 2
}

@test "without the host's cgroups one line says that TDs of others are not counted" {
        MISC=$T/misc.capacity
        echo "tdx 4" >"$MISC"
        driver --cgroup-root "$T/nothing" --listen 127.0.0.1:0
        api wait-devices 4 15s
        said driver "TDs that others run on this host are not counted.*--reserve"
        echo "tdx 5" >"$MISC" # it is looked at again and again
        api wait-devices 5 15s
        [ "$(grep -c 'are not counted' "$T/driver.log")" -eq 1 ]
        run page /metrics
        [[ $output != *$'\n'"tdx_foreign_tds "* ]]
        [[ $("$DRIVER" inspect --cgroup-root "$T/nothing" --kubelet-dir "$K") == *"running    not known"* ]]
}

@test "inspect says where TDs run" {
        local pod=11111111-2222-4333-8444-555555555555
        start_foreign 1
        misc mkdir "kubepods/pod$pod/container"
        misc start "kubepods/pod$pod/container"
        run inspect_here
        [[ $output == *"running    2 TDs on this host"* ]]
        [[ $output == *"  1 in pod $pod, cgroup /kubepods/pod$pod"* ]]
        [[ $output == *"  1 in cgroup /machine.slice/qemu-1.scope"* ]]
}
