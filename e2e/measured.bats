#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What the host really runs: TDs of others, leaked key IDs, starts that the kernel refuses, and its own wrong counts.

setup() {
        load scenario
        enter_node 4
        CGROUPS=$T/cgroups
        MISC=$CGROUPS/misc.capacity
        misc init 4
        misc mkdir kubepods
}
teardown() { leave_node; }

misc() { "$SIM/misc-sim" "$CGROUPS" "$@"; }
measuring() { driver --cgroup-root "$CGROUPS" --listen 127.0.0.1:0 "$@"; }
number() { metric "tdx_$1" "$2"; }
becomes() { eventually 30 number "$@"; } # a rise counts after 5 s, and in two readings
posted() { eventually 15 sh -c "'$SIM/ctl' '$T/api.ctl' events | grep -q '$1'"; }

# The pod that a claim is reserved for, with a container.
pod_of() { # CLAIM
        curl -sf "$API/apis/resource.k8s.io/v1/namespaces/default/resourceclaims/$1" | jq -r '.status.reservedFor[0].uid'
}
enter_pod() { # CLAIM: the path of its container
        local path
        path=kubepods/pod$(pod_of "$1")/container
        misc mkdir "$path"
        echo "$path"
}

@test "libvirt's TDs are not offered, and are again when they end" {
        misc mkdir machine.slice/qemu-1.scope
        misc start machine.slice/qemu-1.scope
        measuring
        api wait-devices 3 15s # the first reading counts at once
        number foreign_tds 1
        number running_tds 1
        number free_tds 3
        misc start machine.slice/qemu-1.scope
        api wait-devices 2 30s
        said driver "TDs that no claim or plugin device holds tds=2 .*where=.*/machine.slice/qemu-1.scope"
        posted 'Warning TDXForeign.*/machine.slice/qemu-1.scope'
        misc stop machine.slice/qemu-1.scope
        misc stop machine.slice/qemu-1.scope
        api wait-devices 4 15s
        posted 'Normal TDXForeign'
}

@test "a claim's own VM is not counted a second time, from its start to its end" {
        measuring
        api wait-devices 4 15s
        api claim default/a tdx0
        kubelet prepare default/a
        local path
        path=$(enter_pod a)
        misc start "$path"
        becomes running_tds 1
        # Longer than a rise takes to count.
        local i
        for i in $(seq 20); do
                number foreign_tds 0
                [[ $(api devices) == *" 4 devices"* ]]
                sleep 0.4
        done
        # The TD outlives its claim for a moment.
        kubelet unprepare default/a
        misc stop "$path"
        becomes running_tds 0
        ! says driver "no claim or plugin device holds tds=[1-9]"
        [[ $(api devices) == *" 4 devices"* ]]
}

@test "Kata's TD beside a claim whose VM has not started is foreign" {
        measuring
        api wait-devices 4 15s
        api claim default/a tdx0
        kubelet prepare default/a
        local kata=kubepods/pod11111111-2222-4333-8444-555555555555/sandbox
        misc mkdir "$kata"
        misc start "$kata"
        api wait-devices 3 30s
        number foreign_tds 1
        number free_tds 2
        holds 1
}

@test "what is held stays offered under its name, however many TDs others run" {
        measuring
        api wait-devices 4 15s
        api claim default/a tdx3
        kubelet prepare default/a
        misc mkdir machine.slice/qemu-1.scope
        local i
        for i in 1 2 3 4; do misc start machine.slice/qemu-1.scope; done
        api wait-devices 1 30s
        [ "$(api devices | grep -o 'tdx[0-9]*')" = tdx3 ]
        holds 1
        # One that the scheduler had placed before it heard of it: Kubernetes' holders are below the capacity.
        api claim default/b tdx1
        kubelet prepare default/b
        holds 2
}

@test "after a restart of the driver it is known which pod's TD is whose" {
        measuring
        api claim default/a tdx0
        kubelet prepare default/a
        misc start "$(enter_pod a)"
        misc mkdir machine.slice/qemu-1.scope
        misc start machine.slice/qemu-1.scope
        becomes foreign_tds 1
        kill_driver
        measuring
        api wait-devices 3 15s
        eventually 10 number running_tds 2
        number foreign_tds 1
}

@test "the reserve is what TDs of others take first" {
        misc mkdir machine.slice/qemu-1.scope
        misc start machine.slice/qemu-1.scope
        measuring --reserve 2
        api wait-devices 2 15s
        number foreign_tds 1
        misc start machine.slice/qemu-1.scope
        misc start machine.slice/qemu-1.scope
        api wait-devices 1 30s
}

@test "--foreign=ignore shows them and offers all" {
        misc mkdir machine.slice/qemu-1.scope
        misc start machine.slice/qemu-1.scope
        measuring --foreign=ignore
        api wait-devices 4 15s
        eventually 10 number foreign_tds 1
        number free_tds 4
        ! api events | grep TDXForeign
        run "$DRIVER" run --node-name n --foreign=perhaps
        [ "$status" -ne 0 ]
        [[ $output == *"count or ignore"* ]]
}

@test "a key ID that stays charged after its VM has gone is told as leaked, and is not offered" {
        measuring
        api wait-devices 4 15s
        api claim default/a tdx0
        kubelet prepare default/a
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

@test "what a removed slice leaves charged to the root is leaked, too" {
        measuring
        misc mkdir machine.slice/qemu-1.scope
        misc start machine.slice/qemu-1.scope
        misc leak machine.slice/qemu-1.scope
        misc rmdir machine.slice/qemu-1.scope
        misc rmdir machine.slice
        becomes leaked_key_ids 1
        run inspect_here
        [[ $output == *"1 leaked: charged to cgroup /,"* ]]
}

@test "a start that misc.max refuses is told with its cgroup, and counted since the driver's start" {
        misc mkdir kubepods/limited
        misc max kubepods/limited 0
        ! misc start kubepods/limited
        measuring
        eventually 10 number running_tds 0
        number refused_starts_total 0
        ! misc start kubepods/limited
        becomes refused_starts_total 1
        said driver "the kernel has refused to start TDs.*cgroup=/kubepods/limited"
        posted 'Warning TDXStartRefused.*/kubepods/limited'
}

@test "a kernel that counts too few after a refused start is not believed" {
        misc mkdir machine.slice/qemu-1.scope
        misc start machine.slice/qemu-1.scope
        misc mkdir kubepods/limited
        misc max kubepods/limited 0
        measuring
        api wait-devices 3 15s
        ! misc buggy-start kubepods/limited # now the root says 0, and kubepods 2^64-1
        said driver "count of TDs cannot be right.*18446744073709551615" 15
        eventually 10 number running_tds 1
        number foreign_tds 1
        [[ $(api devices) == *" 3 devices"* ]]
        [ "$(grep -c 'count of TDs cannot be right' "$T/driver.log")" -eq 1 ]
}

@test "more TDs than the host can run are told and change nothing" {
        misc mkdir machine.slice/qemu-1.scope
        misc start machine.slice/qemu-1.scope
        measuring
        api wait-devices 3 15s
        misc mkdir a
        misc mkdir b
        echo "tdx 4" >"$CGROUPS/a/misc.current"
        echo "tdx 4" >"$CGROUPS/b/misc.current"
        said driver "cannot tell which TDs this host runs, keeping what is known.*add up to 9" 15
        number foreign_tds 1
        [[ $(api devices) == *" 3 devices"* ]]
}

@test "a root that shows no sum of its own is added up" {
        rm -r "$CGROUPS"
        misc init 4 no-root-current
        misc mkdir machine.slice/qemu-1.scope
        misc start machine.slice/qemu-1.scope
        measuring
        api wait-devices 3 15s
}

@test "pods whose cgroups have no misc controller: what runs above them is the holders' first" {
        misc no-misc kubepods
        measuring
        api wait-devices 4 15s
        api claim default/a tdx0
        kubelet prepare default/a
        local path
        path=$(enter_pod a)
        misc start "$path"
        misc start "$path"
        becomes foreign_tds 1
        number running_tds 2
}

@test "without the host's cgroups one line says that TDs of others are not counted" {
        MISC=$T/misc.capacity
        driver --cgroup-root "$T/nothing" --listen 127.0.0.1:0
        api wait-devices 4 15s
        said driver "TDs that others run on this host are not counted.*--reserve"
        eventually 10 sh -c "[ \$(grep -c 'keeping what is known\|level=debug' '$T/driver.log') -ge 0 ]"
        [ "$(grep -c 'are not counted' "$T/driver.log")" -eq 1 ]
        run page /metrics
        [[ $output != *$'\n'"tdx_foreign_tds "* ]]
        [[ $("$DRIVER" inspect --cgroup-root "$T/nothing" --kubelet-dir "$K") == *"running    not known"* ]]
}

inspect_here() { "$DRIVER" inspect --cgroup-root "$CGROUPS" --kubelet-dir "$K" --cdi-dir "$CDI"; }
@test "inspect says where TDs run" {
        local pod=11111111-2222-4333-8444-555555555555
        misc mkdir machine.slice/qemu-1.scope
        misc start machine.slice/qemu-1.scope
        misc mkdir "kubepods/pod$pod/container"
        misc start "kubepods/pod$pod/container"
        run inspect_here
        [[ $output == *"running    2 TDs on this host"* ]]
        [[ $output == *"  1 in pod $pod, cgroup /kubepods/pod$pod"* ]]
        [[ $output == *"  1 in cgroup /machine.slice/qemu-1.scope"* ]]
}
