#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# ResourceSlices that stay right against everybody else.

setup() { load scenario; enter_node 4; }
teardown() { leave_node; }

published() { api wait-devices "${1:-4}" 15s; }

@test "the slice belongs to the node, the driver and the node's pool" {
        driver
        published
        api slices-json | jq -e --arg node "$NODE" '[.. | objects | select(.kind? == "ResourceSlice" or .spec?.driver?)][0] as $s |
                $s.spec.driver == "tdx.kubevirt.io" and $s.spec.nodeName == $node and $s.spec.pool.name == $node and
                $s.spec.pool.resourceSliceCount == 1 and
                $s.metadata.ownerReferences[0].uid == "11111111-2222-3333-4444-555555555555"'
}

@test "slices that were deleted come back" {
        driver
        published
        api delete-slices
        published
}

@test "a kubelet restart wipes the slices and they are back within seconds" {
        driver
        published
        kubelet restart
        kubelet wait-registered tdx.kubevirt.io 15s
        published
}

@test "a foreign edit is corrected" {
        driver
        published
        local name
        name=$(api slices | grep -o "$NODE-tdx[^ ]*" | head -1)
        api edit-slice "$name" '{"spec":{"devices":[{"name":"tdx0"}]}}'
        published
}

written() { # COUNT: PUTs of slices so far, at least
        [ "$(api stats | sed -n 's/^update resourceslices //p')" -ge "$1" ]
}
@test "a client that undoes each write is answered less and less often, and an Event names it once" {
        driver
        published
        api stats reset
        api undo-slices meddler
        printf 'tdx 5\n' >"$MISC"
        # Three at once, then after 1, 2 and 4 s.
        eventually 30 written 6
        [ "$(api events | grep -c 'TDXSlicesContended.*field manager meddler')" -eq 1 ]
        [ "$(grep -c "WARN .*the slices are contended" "$T/driver.log")" -eq 1 ]
        api stats reset
        sleep 3
        ! written 2
        api undo-slices
        published 5
}

@test "in steady state the API server sees one watch and no request" {
        driver
        published
        sleep 1
        api stats reset
        sleep 3
        run api stats
        [[ $output == *"watches 1"* ]]
        [ "$(grep -vcE '^(watches|connections) ' <<<"$output")" -eq 0 ]
}

generations() { api slices-json | jq -c '[.. | objects | select(.spec?.pool?) | .spec.pool.generation] | unique'; }

@test "a change of many slices bumps the generation, correcting one slice does not" {
        driver --capacity 100
        published 100
        [ "$(generations)" = '[1]' ]
        api edit-slice "$NODE-tdx.kubevirt.io-0" '{"spec":{"devices":[{"name":"tdx0"}]}}'
        published 100
        [ "$(generations)" = '[1]' ]
        stop_driver
        driver --capacity 130
        published 130
        [ "$(generations)" = '[2]' ]
}

@test "the driver recovers from a conflict, a lost answer and a 410" {
        driver
        published
        api fail 2 409 PUT
        printf 'tdx 5\n' >"$MISC"
        published 5
        api drop 1 PUT --after-apply
        printf 'tdx 6\n' >"$MISC"
        published 6
        api expire
        api kill-watches
        api delete-slices
        published 6
}

@test "429 with Retry-After and 5xx are waited out" {
        api fail 2 429 POST --retry-after 1
        driver
        published
        api fail 3 503
        api delete-slices
        published
}

@test "the driver starts without an API server and publishes when it comes" {
        api refuse
        driver
        kubelet prepare-empty
        api accept
        published
}

@test "the driver catches up after the API server was away" {
        driver
        published
        api refuse
        api kill-watches
        printf 'tdx 9\n' >"$MISC"
        said driver "tds=9"
        api accept
        published 9
}

@test "a rotated token is read again" {
        echo first >"$T/token"
        api token first
        driver --token-file "$T/token"
        published
        echo second >"$T/token"
        api token second
        api kill-watches
        api delete-slices
        published
}

@test "a cluster without resource.k8s.io/v1 is reported once, and the driver continues" {
        api no-dra
        driver
        said driver "resource.k8s.io"
        sleep 1
        [ "$(grep -c 'resource.k8s.io' "$T/driver.log")" -le 2 ]
        kubelet prepare-empty
}

certificates() (
        cd "$T" || exit
        openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=ca -keyout ca.key -out ca.crt
        local name
        for name in server client; do
                openssl req -newkey rsa:2048 -nodes -subj "/CN=$name" -keyout $name.key -out $name.csr
                openssl x509 -req -in $name.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -out $name.crt \
                        -extfile <(echo "subjectAltName=IP:127.0.0.1")
        done
) >/dev/null 2>&1

@test "TLS with a client certificate works, and a server of another authority is refused" {
        certificates
        end api
        start api "$SIM/apiserver-sim" --control "$T/api.ctl" --port 0 --port-file "$T/tls.port" --node "$NODE:11111111-2222-3333-4444-555555555555" \
                --tls-cert "$T/server.crt" --tls-key "$T/server.key" --client-ca "$T/ca.crt"
        eventually 10 test -s "$T/tls.port"
        # shellcheck disable=SC2034  # read by driver_flags
        API=https://127.0.0.1:$(cat "$T/tls.port")
        launch_driver driver --ca-file "$T/ca.crt" --client-cert "$T/client.crt" --client-key "$T/client.key"
        published
        api claim default/a tdx0 --uid aaaaaaaa-0000-0000-0000-000000000001
        kubelet wait-registered tdx.kubevirt.io 15s
        kubelet prepare --uid aaaaaaaa-0000-0000-0000-000000000001 default/a
        stop_driver
        openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=other -keyout "$T/other.key" -out "$T/other.crt" 2>/dev/null
        launch_driver driver --ca-file "$T/other.crt" --client-cert "$T/client.crt" --client-key "$T/client.key"
        said driver "cannot publish.*--ca-file must name the CA" 15
}

tls_api() { # CERTIFICATE: the API server with it; API is its address
        end api
        rm -f "$T/tls.port"
        start api "$SIM/apiserver-sim" --control "$T/api.ctl" --port 0 --port-file "$T/tls.port" \
                --tls-cert "$1" --tls-key "$T/server.key"
        eventually 10 test -s "$T/tls.port"
        API=https://127.0.0.1:$(cat "$T/tls.port")
}
server_certificate() { # NAME DAYS SUBJECT_ALT_NAME: signed by the CA
        openssl x509 -req -in "$T/server.csr" -CA "$T/ca.crt" -CAkey "$T/ca.key" -CAcreateserial -days "$2" \
                -out "$T/$1.crt" -extfile <(echo "subjectAltName=$3") 2>/dev/null
}

@test "the words for a server's certificate that is not accepted have the remedy that helps" {
        certificates
        server_certificate expired -1 IP:127.0.0.1
        tls_api "$T/expired.crt"
        launch_driver driver --ca-file "$T/ca.crt"
        said driver "certificate has expired; renew it, or set this node's clock right" 15
        stop_driver
        server_certificate renamed 2 DNS:elsewhere
        tls_api "$T/renamed.crt"
        launch_driver driver --ca-file "$T/ca.crt"
        said driver "--api-server must name the API server as its certificate does" 15
        stop_driver
        tls_api "$T/server.crt"
        launch_driver driver --ca-file "$T/client.crt"
        said driver "--ca-file must name the CA that signed it" 15
}

@test "plain http goes to this machine only" {
        run "$DRIVER" run --node-name "$NODE" --kubelet-dir "$K" --cdi-dir "$CDI" --qgs-socket "$QGS" --capacity 1 \
                --api-server http://10.1.2.3:80
        [ "$status" -ne 0 ]
        [[ $output == *https* ]]
}

post_slice() { # NAME SPEC
        /usr/bin/python3 - "$API" "$1" "$2" <<'PY'
import json, sys, urllib.request
body = {"apiVersion": "resource.k8s.io/v1", "kind": "ResourceSlice", "metadata": {"name": sys.argv[2]},
        "spec": json.loads(sys.argv[3])}
urllib.request.urlopen(urllib.request.Request(
    sys.argv[1] + "/apis/resource.k8s.io/v1/resourceslices", json.dumps(body).encode(),
    {"Content-Type": "application/json"}), timeout=10)
PY
}

@test "a slice of this driver and node that cannot be read is removed, and an Event says so" {
        driver --serve=dra
        api wait-devices 4
        post_slice odd '{"driver":"tdx.kubevirt.io","nodeName":"'"$NODE"'","pool":{"name":"'"$NODE"'",
                "generation":9223372036854775807,"resourceSliceCount":1},"devices":[{"name":"old0"}]}'
        post_slice theirs '{"driver":"other.example.com","nodeName":"'"$NODE"'","pool":{"name":"theirs",
                "generation":9223372036854775807,"resourceSliceCount":1},"devices":[{"name":"old0"}]}'
        eventually 15 eval '! api slices | grep -q "^odd"'
        said driver "a ResourceSlice of this node cannot be read, removing it slice=odd"
        eventually 10 eval 'api events | grep -q TDXForeignSlice'
        api devices | grep -q "^$NODE .*complete: 4 devices"
        api slices | grep -q theirs
}

@test "where taints are dropped, a deleted claim's device is not listed while attestation is enforced" {
        api drop-fields taints
        start qgs "$SIM/qgs-sim" --socket "$QGS" --control "$T/qgs.ctl"
        driver --attestation enforced
        published
        api claim default/old tdx0
        kubelet prepare default/old
        end qgs KILL || true
        published 0
        # It is the scheduler's from now on; on the node it is held until kubelet unprepares it.
        api delete-claim default/old
        holds 1
        published 0
}
