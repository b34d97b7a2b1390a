#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Claims: prepared, waited for, refused, unprepared.

setup() { load scenario; enter_node 4; }
teardown() { leave_node; }

refused() { # TEXT COMMAND...: fails, saying TEXT
        local text=$1
        shift
        run "$@"
        [ "$status" -eq 1 ]
        [[ $output == *$text* ]] || { echo "$output"; return 1; }
}

@test "a claim gets the CDI device of its TD, and keeps its device's and request's names" {
        driver
        api claim default/a tdx2 --request vm
        run kubelet prepare default/a
        [ "$status" -eq 0 ]
        [[ $output == *"tdx2 pool=$NODE cdi=kubevirt.io/tdx=dra-tdx2 requests=vm"* ]]
        holds 1
}

@test "a claim is prepared by v1beta1 as by v1" {
        driver
        api claim default/a tdx1
        kubelet prepare --version v1beta1 default/a
        kubelet unprepare default/a
        holds 0
}

@test "the name of a subrequest is stripped" {
        driver
        api claim default/a tdx0 --request main/fast
        run kubelet prepare default/a
        [[ $output == *"requests=main"* && $output != *fast* ]]
}

@test "preparing again gives the same answer and holds nothing more" {
        driver
        api claim default/a tdx1
        local first
        first=$(kubelet prepare default/a)
        [ "$(kubelet prepare default/a)" = "$first" ]
        holds 1
}

@test "calls for one claim at the same time share one answer" {
        driver
        api claim default/a tdx1
        api slow 300 GET /apis/resource.k8s.io/v1/namespaces
        local i pids=()
        for i in 1 2 3 4 5 6; do
                kubelet prepare default/a >"$T/answer.$i" &
                pids+=($!)
        done
        wait "${pids[@]}"
        [ "$(sort -u "$T"/answer.* | wc -l)" -eq 1 ]
        holds 1
}

@test "one bad claim does not fail the batch" {
        driver
        api claim default/good tdx0
        api claim default/bad gpu0
        run kubelet prepare default/good default/bad
        [ "$status" -eq 1 ]
        [[ $output == *"default/good: tdx0"* ]]
        [[ $output == *"default/bad: error: "*"no device gpu0"* ]]
        holds 1
}

@test "several TDs in one claim are all held" {
        driver
        api claim default/three tdx0,tdx1,tdx2
        kubelet prepare default/three
        holds 3
        kubelet unprepare default/three
        holds 0
}

@test "unfit claims are refused, saying why" {
        driver
        api claim default/unallocated tdx0 --unallocated
        refused "not allocated" kubelet prepare default/unallocated
        api claim default/pool tdx0 --pool elsewhere
        refused "this node's pool is $NODE" kubelet prepare default/pool
        api claim default/driver tdx0 --driver gpu.example.com
        refused "no device of driver tdx.kubevirt.io" kubelet prepare default/driver
        api claim default/device tdx4096
        refused "no device tdx4096" kubelet prepare default/device
        api claim default/uid tdx0
        refused "deleted and created again" kubelet prepare --uid 99999999-0000-0000-0000-000000000000 default/uid
        refused "cannot read the claim" kubelet prepare --uid 99999999-0000-0000-0000-000000000001 default/none
        refused "not a claim UID" kubelet prepare --uid ../../etc/passwd default/uid
        api claim default/six tdx0,tdx1,tdx2,tdx3,tdx4,tdx5
        refused "wants 6 TDs and this node runs 4" kubelet prepare default/six
        holds 0
        [ -z "$(ls "$STATE/claims")" ]
}

@test "an API server that answers nonsense is reported as such, and the claim is served when it recovers" {
        driver --prepare-wait 0
        local uid=aaaaaaaa-0000-0000-0000-000000000001 text
        local claim='"apiVersion":"resource.k8s.io/v1","kind":"ResourceClaim"'
        local meta="\"metadata\":{\"name\":\"x\",\"namespace\":\"default\",\"uid\":\"$uid\"}"
        local -A answers=(
                [notjson]='this is not JSON'
                [empty]=''
                [truncated]="{$claim,$meta,\"status\":{"
                [duplicate]="{$claim,$meta,\"status\":{},\"status\":{}}"
                [types]="{$claim,$meta,\"status\":{\"allocation\":{\"devices\":{\"results\":[{\"driver\":\"tdx.kubevirt.io\",\"pool\":7,\"device\":\"tdx0\",\"request\":\"r\"}]}}}}"
                [list]="{$claim,$meta,\"status\":{\"allocation\":{\"devices\":{\"results\":\"tdx0\"}}}}"
                [kind]='{"apiVersion":"v1","kind":"Pod","metadata":{}}'
        )
        for text in "${!answers[@]}"; do
                printf '%s' "${answers[$text]}" >"$T/answer"
                api claim-json "default/$text" "$T/answer"
                refused "error: " kubelet prepare --uid "$uid" "default/$text"
        done
        /usr/bin/python3 -c "print('{$claim,$meta,\"status\":' + '[' * 100000 + ']' * 100000 + '}')" >"$T/deep"
        api claim-json default/deep "$T/deep"
        refused "nested deeper" kubelet prepare --uid "$uid" default/deep
        /usr/bin/python3 - >"$T/many" <<PY
print('{$claim,$meta,"status":{"allocation":{"devices":{"results":[' + ','.join(
    '{"driver":"tdx.kubevirt.io","pool":"$NODE","device":"tdx%d","request":"r"}' % i for i in range(10000)) + ']}}}}')
PY
        api claim-json default/many "$T/many"
        refused "results" kubelet prepare --uid "$uid" default/many
        head -c 67108864 /dev/zero | tr '\0' ' ' >"$T/large"
        api claim-json default/large "$T/large"
        refused "error: " kubelet prepare --uid "$uid" default/large
        api claim default/good tdx0
        kubelet prepare default/good
        holds 1
}

@test "an API server that stumbles is asked again within the same call" {
        driver
        api claim default/a tdx0
        kubelet prepare default/a
        api claim default/b tdx1
        kubelet prepare --uid "$(api claim default/c tdx2 --uid cccccccc-0000-0000-0000-000000000001 >/dev/null; echo cccccccc-0000-0000-0000-000000000001)" default/c
        api fail 2 503 GET /apis/resource.k8s.io/v1/namespaces/default/resourceclaims/d
        api claim default/d tdx1 --uid dddddddd-0000-0000-0000-000000000001
        kubelet prepare --uid dddddddd-0000-0000-0000-000000000001 default/d
        api truncate 1
        api claim default/e tdx3 --uid eeeeeeee-0000-0000-0000-000000000001
        kubelet prepare --uid eeeeeeee-0000-0000-0000-000000000001 default/e
        holds 4
}

@test "a name that another claim still holds does not make a claim wait" {
        driver
        api claim default/old tdx1
        kubelet prepare default/old
        api claim default/new tdx1
        run kubelet prepare default/new
        [ "$status" -eq 0 ]
        [[ $output == *"default/new: tdx1 "*"cdi=kubevirt.io/tdx=dra-tdx"* && $output != *dra-tdx1* ]]
        holds 2
}

fill() {
        local i
        for i in 0 1 2 3; do
                api claim "default/c$i" "tdx$i"
                kubelet prepare "default/c$i"
        done
}

@test "a claim that finds no free TD waits until another leaves" {
        driver
        fill
        api claim default/late tdx0
        kubelet prepare default/late >"$T/late" &
        local waiting=$!
        said driver "claim waits for a TD"
        kubelet unprepare default/c2
        wait $waiting
        grep -q "default/late: tdx0 .*dra-tdx2" "$T/late"
        holds 4
}

@test "a claim that waited in vain is refused, naming the holders" {
        driver --prepare-wait 500ms
        fill
        api claim default/late tdx0
        run kubelet prepare default/late
        [ "$status" -eq 1 ]
        [[ $output == *"no TD is free: 4 of 4 held. Choose another node"*"hold them: default/c"* ]]
        [ ${#output} -le 450 ]
        holds 4
}

@test "waiting claims are served in order, and as soon as capacity grows" {
        driver
        fill
        api claim default/first tdx0
        api claim default/second tdx1
        kubelet prepare default/first >"$T/first" &
        eventually 5 says driver "claim waits for a TD.*claim=first"
        kubelet prepare default/second >"$T/second" &
        local second=$!
        eventually 5 says driver "claim waits for a TD.*claim=second"
        kubelet unprepare default/c0
        eventually 5 grep -q "default/first: tdx0" "$T/first"
        [ ! -s "$T/second" ]
        printf 'tdx 5\n' >"$MISC"
        wait $second
        holds 5
}

@test "a waiting call that kubelet gives up leaves nothing behind" {
        driver
        fill
        api claim default/late tdx0
        run kubelet prepare --deadline 1s default/late
        [ "$status" -eq 1 ]
        kubelet unprepare default/c0
        sleep 0.5
        holds 3
        [ "$(ls "$STATE/claims" | wc -l)" -eq 3 ]
}

@test "adminAccess consumes nothing and gets no device" {
        driver
        fill
        api claim default/admin tdx0 --admin
        run kubelet prepare default/admin
        [ "$status" -eq 0 ]
        [[ $output != *dra-tdx* ]]
        holds 4
}

@test "unprepare needs no API server, and an unknown claim is not an error" {
        driver
        api claim default/a tdx0
        kubelet prepare default/a
        api refuse
        kubelet unprepare default/a
        kubelet unprepare --uid 12345678-0000-0000-0000-000000000000 default/never-seen
        holds 0
}

@test "a prepare that waits ends at once when its own claim is unprepared" {
        driver
        fill
        local uid=aaaaaaaa-0000-0000-0000-000000000009
        api claim default/late tdx0 --uid $uid
        kubelet prepare default/late >"$T/late" 2>&1 &
        local late=$!
        said driver "claim waits for a TD"
        kubelet unprepare --uid $uid default/late
        if wait $late; then return 1; fi
        grep -q "unprepared while it was being prepared" "$T/late"
        holds 4
}

@test "a deleted, a damaged and a vanished CDI spec is restored before a claim is answered" {
        driver --poll-interval 30s
        local spec=$CDI/kubevirt.io-tdx.json good
        good=$(cat "$spec")
        rm "$spec"
        api claim default/a tdx0
        kubelet prepare default/a
        [ "$(cat "$spec")" = "$good" ]
        echo '{' >"$spec"
        eventually 5 test "$(cat "$spec")" = "$good" || kubelet prepare default/a
        [ "$(cat "$spec")" = "$good" ]
        mv "$CDI" "$T/removed"
        kubelet prepare default/a
        [ "$(cat "$spec")" = "$good" ]
}

@test "a claim that is refused for want of its CDI spec is logged as refused, not as prepared" {
        driver --poll-interval 30s
        local spec=$CDI/kubevirt.io-tdx.json
        # The driver restores the spec at once, unless it finds a directory in its place.
        kill -STOP "$(pid_of driver)"
        rm "$spec"
        mkdir -p "$spec/x"
        kill -CONT "$(pid_of driver)"
        api claim default/a tdx0
        refused "$spec" kubelet prepare default/a
        said driver "claim refused claim=a .*$spec"
        if says driver "claim prepared"; then return 1; fi
        rm -r "$spec"
        kubelet prepare default/a
        holds 1
}

@test "what the spec says passes CDI's rules, and a VM's side fetches a quote through the mount" {
        driver
        start qgs "$SIM/qgs-sim" --socket "$QGS" --control "$T/qgs.ctl"
        eventually 5 qgs requests
        api claim default/a tdx3
        kubelet prepare default/a
        "$SIM/cdi-run" --cdi-dir "$CDI" --device kubevirt.io/tdx=dra-tdx3 --check
        run "$SIM/cdi-run" --cdi-dir "$CDI" --device kubevirt.io/tdx=dra-tdx3 -- "$SIM/vm-sim" --socket "$QGS"
        [ "$status" -eq 0 ]
        [[ $output == *"quote of "* ]]
}

@test "a QGS directory that vanished is created again before a claim is answered" {
        driver --poll-interval 30s
        rmdir "${QGS%/*}"
        api claim default/a tdx0
        kubelet prepare default/a
        [ -d "${QGS%/*}" ]
}

@test "while the API server is slow, kubelet's other calls are answered at once" {
        driver
        api claim default/a tdx0 --uid aaaaaaaa-0000-0000-0000-000000000001
        api slow 3000 GET /apis/resource.k8s.io/v1/namespaces
        kubelet prepare --uid aaaaaaaa-0000-0000-0000-000000000001 default/a >"$T/slow" &
        local slow=$!
        sleep 0.2
        SECONDS=0
        kubelet getinfo
        kubelet prepare-empty
        kubelet unprepare --uid 12345678-0000-0000-0000-000000000000 default/other
        [ $SECONDS -le 1 ]
        [ ! -s "$T/slow" ]
        wait $slow
        grep -q "default/a: tdx0" "$T/slow"
}

@test "the directory of the QGS socket is made when it is missing, and a shared one refused" {
        driver
        [ -d "${QGS%/*}" ]
        [ "$(stat -c %a "${QGS%/*}")" = 755 ]
        stop_driver
        local path
        for path in /run/qgs.socket /var/run/qgs.socket /qgs.socket /tmp/qgs.socket /etc/qgs/q.socket relative/q.socket \
                /run/tdx/../qgs.socket /var/lib/kubelet/plugins/x.socket; do
                run "$DRIVER" run --node-name "$NODE" --kubelet-dir "$K" --capacity 1 --qgs-socket "$path"
                [ "$status" -eq 2 ] || { echo "$path: $output"; return 1; }
                [[ $output == *"--qgs-socket"* ]]
        done
}
