#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Records are missing or damaged when the driver starts: kubelet says what it has prepared.

setup() { load scenario; enter_node 4; }
teardown() {
        local status=0
        end driver || status=$?
        leave_node && [ $status -eq 0 ]
}

claims() { # FIRST LAST
        local i
        for ((i = $1; i <= $2; ++i)); do
                api claim "default/c$i" "tdx$i"
                kubelet prepare "default/c$i"
        done
}

n_records() { [ "$(find "$STATE/claims" -type f 2>/dev/null | wc -l)" -eq "$1" ]; }
has_event() { api events | grep -q "$1"; }

refuses_another() {
        api claim default/late tdx0
        run kubelet prepare --deadline 8s default/late
        [ "$status" -eq 1 ]
        [[ $output == *"no TD is free"* ]]
}

@test "records that were lost while the driver was down: nothing is handed out twice, and the claims keep their TDs" {
        driver --serve dra
        claims 0 2
        api claim default/pair tdx0
        kubelet prepare default/pair
        local before
        before=$(kubelet prepare default/c0 default/c1 default/c2 default/pair)
        kill_driver
        rm -rf "$STATE/claims"
        driver --serve dra
        refuses_another
        eventually 15 n_records 4
        eventually 15 has_event TDXRecordsMissing
        grep "records of claims are missing" "$T/driver.log" | grep -q "there is no record at all"
        [ "$(kubelet prepare default/c0 default/c1 default/c2 default/pair)" = "$before" ]
        kubelet unprepare default/c0 default/pair
        holds 2
        kubelet prepare default/late
}

@test "one lost record of many is written again" {
        driver --serve dra
        claims 0 3
        kill_driver
        rm "$(grep -l '"name":"c2"' "$STATE"/claims/*)"
        driver --serve dra
        refuses_another
        eventually 15 n_records 4
        grep "records of claims are missing" "$T/driver.log" | grep -q "prepared 1 claim of"
        holds 4
}

@test "damaged records are settled by what kubelet lists, before it prepares them again" {
        driver --serve dra
        claims 0 1
        api claim default/three tdx2,tdx3
        kubelet prepare default/three
        kill_driver
        local record
        for record in "$STATE"/claims/*; do [ -L "$record" ] || truncate -s 40 "$record"; done
        driver --serve dra
        eventually 15 sh -c "[ \$(grep -l '\"namespace\":\"default\"' '$STATE'/claims/* | wc -l) -eq 3 ]"
        holds 4
        [ "$(find "$STATE/damaged" -type f | wc -l)" -eq 3 ]
        kubelet unprepare default/three
        holds 2
}

@test "with the API server away too, lost claims are held by their names, and recorded when it is back" {
        driver --serve dra
        claims 0 3
        kill_driver
        rm -rf "$STATE/claims"
        api refuse
        launch_driver driver --serve dra
        eventually 15 sh -c "[ \$(grep -c 'holding it by its name' '$T/driver.log') -eq 4 ]"
        kubelet wait-registered tdx.kubevirt.io 15s
        kubelet unprepare default/c3
        says driver "claim unprepared"
        api accept
        eventually 45 n_records 3
        holds 3
        api claim default/next tdx3
        kubelet prepare default/next
        refuses_another
}

@test "a lost claim that the API server no longer has is held until kubelet unprepares it" {
        driver --serve dra
        claims 0 3
        kill_driver
        rm -rf "$STATE/claims"
        api delete-claim default/c0
        driver --serve dra
        said driver "holding it by its name" 15
        eventually 15 n_records 3
        refuses_another
        kubelet unprepare default/c0
        kubelet prepare default/late
        holds 4
}

@test "a lost claim without a UID that kubelet lists no more is released" {
        driver --serve dra
        claims 0 3
        kill_driver
        rm -rf "$STATE/claims"
        api delete-claim default/c0
        driver --serve dra
        said driver "holding it by its name" 15
        end kubelet KILL || true
        start_kubelet
        kubelet wait-registered tdx.kubevirt.io 15s
        said driver "lists a claim that was held by its name no more" 60
        says driver "claim=c0"
}

@test "a kubelet that has just started lists nothing: a new claim waits until it does" {
        driver --serve dra
        claims 0 3
        kill_driver
        rm -rf "$STATE/claims"
        kubelet set empty 3s
        kubelet restart
        driver --serve dra
        refuses_another
        eventually 15 n_records 4
}

@test "while podresources is not there, or does not answer, the driver relies on its records, and says so once" {
        kubelet podresources off
        driver --serve dra
        api claim default/a tdx0
        kubelet prepare default/a
        api claim default/b tdx1
        kubelet prepare default/b
        [ "$(grep -c "does not say which claims it has prepared" "$T/driver.log")" -eq 1 ]
        kill_driver
        kubelet podresources refuse
        kubelet podresources on
        driver --serve dra
        api claim default/c tdx2
        kubelet prepare default/c
        [ "$(grep -c "does not say which claims it has prepared" "$T/driver.log")" -eq 1 ]
        holds 3
        kill_driver
        rm -rf "$STATE/claims"
        driver --serve dra
        said driver "does not say which claims it has prepared" 20
        kubelet podresources ok
        eventually 15 n_records 3
}

@test "claims that are prepared and unprepared in a kubelet's first seconds do not come back as lost ones" {
        kubelet restart
        driver --serve dra
        local round
        for round in 1 2 3 4 5 6; do
                api claim "default/r$round" tdx0
                kubelet prepare "default/r$round"
                kubelet unprepare "default/r$round"
        done
        holds 0
        api claim default/a tdx0
        kubelet prepare default/a
        eventually 20 sh -c "[ \$('$SIM/ctl' '$T/kubelet.ctl' lists) -gt 3 ]"
        holds 1
        if says driver "records of claims are missing"; then return 1; fi
}
