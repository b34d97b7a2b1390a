#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# How kubelet finds the driver, and finds it again.

setup() { load scenario; enter_node 4; }
teardown() { leave_node; }

@test "the driver registers with kubelet under its name and both versions, the newest first" {
        driver
        kubelet plugins | grep -q "tdx.kubevirt.io"
        kubelet plugins | grep -q "v1.DRAPlugin,v1beta1.DRAPlugin,v1.DRAResourceHealth,v1alpha1.DRAResourceHealth"
        said driver "registered with kubelet"
}

@test "sockets are for root only, and no dot-name is left" {
        driver
        [ "$(stat -c %a "$STATE/dra.sock")" = 600 ]
        [ "$(stat -c %a "$REGISTRY/tdx.kubevirt.io-reg.sock")" = 600 ]
        [ -z "$(find "$K" -name '.*sock*')" ]
}

@test "an orderly stop takes the sockets away and succeeds" {
        driver
        stop_driver
        [ -z "$(find "$K" -type s -path '*tdx*')" ]
        kubelet wait-unregistered tdx.kubevirt.io 5s
}

@test "a kubelet restart is followed by a new registration" {
        driver
        kubelet restart
        kubelet wait-registered tdx.kubevirt.io 10s
}

@test "kubelet may come up after the driver" {
        kubelet stop
        launch_driver driver
        said driver "capacity" 10
        kubelet start
        kubelet wait-registered tdx.kubevirt.io 15s
}

@test "a registration socket that vanished is put back" {
        driver
        rm "$REGISTRY/tdx.kubevirt.io-reg.sock"
        said driver "a socket was gone, put back"
        eventually 5 test -S "$REGISTRY/tdx.kubevirt.io-reg.sock"
        kubelet wait-registered tdx.kubevirt.io 10s
}

@test "a service socket that vanished is put back and serves" {
        driver
        rm "$STATE/dra.sock"
        eventually 5 test -S "$STATE/dra.sock"
        kubelet restart
        kubelet wait-registered tdx.kubevirt.io 10s
        kubelet prepare-empty
}

@test "a plugin registry that was removed and made anew gets its socket back" {
        driver
        mv "$REGISTRY" "$T/removed"
        eventually 10 test -S "$REGISTRY/tdx.kubevirt.io-reg.sock"
}

@test "an empty request is answered with an empty answer" {
        driver
        kubelet prepare-empty
}

@test "an unknown method is UNIMPLEMENTED at once" {
        driver
        SECONDS=0
        run kubelet call /v1alpha1.DRAResourceHealth/WatchResources ""
        [[ $output == *UNIMPLEMENTED* ]]
        [ $SECONDS -le 2 ]
}

@test "garbage instead of a message is an error of that call only" {
        driver
        run kubelet call /k8s.io.kubelet.pkg.apis.dra.v1.DRAPlugin/NodePrepareResources ffffffff
        [[ $output == *INVALID_ARGUMENT* ]]
        kubelet prepare-empty
}

@test "a refusal by kubelet is reported with its reason, and the driver goes on" {
        driver
        kubelet notify false "the plugin is not welcome"
        said driver "the plugin is not welcome"
        kubelet prepare-empty
}

@test "garbage on the wire and a thousand idle connections harm nobody" {
        driver
        /usr/bin/python3 - "$STATE/dra.sock" <<'PY'
import os, socket, sys, time
path = sys.argv[1]
for i in range(200):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(path)
        s.sendall(os.urandom(1 + i * 37 % 900))
idle = []
for i in range(1000):
    s = socket.socket(socket.AF_UNIX)
    s.connect(path)
    idle.append(s)
time.sleep(0.2)
PY
        kubelet prepare-empty
}

@test "out of file descriptors, the driver recovers when there are some again" {
        driver
        prlimit --pid "$(pid_of driver)" --nofile=48:48
        /usr/bin/python3 - "$STATE/dra.sock" <<'PY'
import socket, sys, time
idle = []
for i in range(100):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(0.2)
    try:
        s.connect(sys.argv[1])
    except OSError:
        break
    idle.append(s)
time.sleep(0.5)
PY
        said driver "cannot accept a connection"
        kubelet restart
        kubelet wait-registered tdx.kubevirt.io 15s
        kubelet prepare-empty
}

@test "a peer that is not root is refused" {
        [ "$(id -u)" = 0 ] || skip "needs root"
        driver
        chmod 711 "$T"
        chmod 666 "$STATE/dra.sock"
        chmod -R a+x "$K"
        setpriv --reuid 107 --regid 107 --clear-groups /usr/bin/python3 - "$STATE/dra.sock" <<'PY'
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.settimeout(5)
s.connect(sys.argv[1])
assert s.recv(1) == b"", "the driver spoke to a peer that is not root"
PY
        said driver "only root may call"
}

@test "a kubelet that is gone or another one has not registered the driver, and a lost registration is made again in a minute" {
        end kubelet
        start_kubelet --no-devices --registers-once
        driver --serve=dra --listen 127.0.0.1:0
        metric 'tdx_registered{path="dra"}' 1
        page /readyz
        kubelet stop
        eventually 10 metric 'tdx_registered{path="dra"}' 0
        page /readyz | grep -q "kubelet has not registered the DRA driver"
        # Its one attempt is lost.
        kill -STOP "$(pid_of driver)"
        kubelet start
        said kubelet "nobody answers the dial" 30
        kill -CONT "$(pid_of driver)"
        metric 'tdx_registered{path="dra"}' 0
        kubelet wait-registered tdx.kubevirt.io 60s
        eventually 10 metric 'tdx_registered{path="dra"}' 1
        page /readyz
}

@test "a device plugin that kubelet registers and does not ask for its list is not registered, and says so once" {
        end kubelet
        KUBELET_DEVICES=yes start_kubelet
        kubelet watch-plugins off
        launch_driver driver --serve=plugin --listen 127.0.0.1:0
        said driver "does not ask for its list" 40
        metric 'tdx_registered{path="plugin"}' 0
        page /readyz | grep -q "kubelet has not registered the device plugin"
        eventually 30 eval '[ "$(kubelet device-plugins | wc -l)" -ge 2 ]'
        [ "$(grep -c 'does not ask for its list' "$T/driver.log")" = 1 ]
        kubelet watch-plugins on
        eventually 40 metric 'tdx_registered{path="plugin"}' 1
        said driver "the device plugin is registered"
        kubelet stop
        eventually 10 metric 'tdx_registered{path="plugin"}' 0
}

@test "a kubelet directory as long as MicroK8s' has room for the sockets of a pod" {
        local uid=0c1ef3a4-6d1c-4d0e-9a40-2f6e2a3b4c5d names
        end kubelet
        K=$T/$(printf 'k%.0s' $(seq $((41 - ${#T} - 1))))
        mkdir "$K"
        start_kubelet
        driver --pod-uid $uid
        names=$(find "$K" -name '*tdx*' -type s -printf '%f ')
        [[ $names != *$uid* ]]
        # The next instance's are others.
        launch_driver next --pod-uid 0c1ef3a4-6d1c-4d0e-9a40-2f6e2a3b4c5e
        eventually 10 eval '[ "$(find "$K" -type s -path "*tdx*" | wc -l)" = 4 ]'
        stop_driver
        kubelet wait-registered tdx.kubevirt.io 15s
        said next "active: this instance now serves the node" 15
        stop_driver next
        # Where there is room the names have the whole UID.
        K=$T/k
        start_kubelet
        launch_driver driver --pod-uid $uid
        eventually 10 test -S "$K/plugins/tdx.kubevirt.io/dra-$uid.sock"
}

@test "device plugins stay in /var/lib/kubelet while the rest moves with kubelet's --root-dir" {
        end kubelet
        KUBELET_DEVICES=yes start_kubelet
        # $K is /var/lib/kubelet for the device manager; the other root has all the rest.
        local root=$T/r name
        mkdir "$root"
        for name in plugins plugins_registry pod-resources; do
                mkdir -p "$K/$name"
                ln -s "$K/$name" "$root/$name"
        done
        launch_driver driver --serve=both --kubelet-dir "$root"
        kubelet wait-registered tdx.kubevirt.io 20s
        kubelet wait-healthy 4 20s
        run "$DRIVER" run --help
        [[ $output == *"--device-plugin-dir DIR"*"(default /var/lib/kubelet/device-plugins)"* ]]
}

@test "a socket path that is too long is a clear error at the start" {
        local long
        long=$(printf 'x%.0s' {1..90})
        run "$DRIVER" run --node-name "$NODE" --kubelet-dir "$T/$long" --capacity 1
        [ "$status" -eq 2 ]
        [[ $output == *"--kubelet-dir"* ]]
}

@test "without a node name the driver says where it could come from" {
        run env -u NODE_NAME "$DRIVER" run --capacity 1
        [ "$status" -eq 2 ]
        [[ $output == *"--node-name"*NODE_NAME* ]]
}

@test "flags that are wrong are named, with what they take" {
        run "$DRIVER" run --capacity -1
        [ "$status" -eq 2 ]
        [[ $output == *"--capacity"*"0 to 4096"* ]]
        run "$DRIVER" run --prepare-wait 60s
        [[ $output == *"0 to 40s"* ]]
        run env DRA_LOG_LEVEL=loud "$DRIVER" run
        [[ $output == *DRA_LOG_LEVEL* ]]
        run "$DRIVER" run --qgs
        [[ $output == *"no flag"* ]]
        run "$DRIVER" --help
        [ "$status" -eq 0 ]
        [[ $output == *"--prepare-wait"* ]]
}

@test "another CDI spec with our devices is named in the log, an Event and check" {
        driver --serve=dra
        eventually 10 test -s "$CDI/kubevirt.io-tdx.json"
        cp "$CDI/kubevirt.io-tdx.json" "$CDI/kubevirt.io-tdx.backup.json"
        said driver "another CDI spec names our devices.*$CDI/kubevirt.io-tdx.backup.json" 10
        eventually 10 eval 'api events | grep -q TDXCDIConflict'
        driver_flags
        run "$DRIVER" check "${FLAGS[@]}"
        [ "$status" -eq 1 ]
        [[ $output == *"FAIL  CDI"*"kubevirt.io-tdx.backup.json names our devices"* ]]
        rm "$CDI/kubevirt.io-tdx.backup.json"
        said driver "no other CDI spec names our devices" 10
        [ "$(grep -c 'another CDI spec names our devices' "$T/driver.log")" = 1 ]
}

@test "a container runtime that rejects groups in a CDI spec is warned of once, if QGS's socket has a group" {
        end api
        start_api --runtime containerd://1.7.13
        end kubelet
        start_kubelet --no-devices
        mkdir -p "${QGS%/*}"
        start qgs "$SIM/qgs-sim" --socket "$QGS" --control "$T/qgs.ctl"
        eventually 10 qgs owner 991 990
        qgs mode 0660
        driver --serve=dra
        said driver 'the container runtime is too old.*1.7.13.*group=990' 20
        qgs mode 0666
        eventually 20 eval 'jq -e ".devices[0].containerEdits | has(\"additionalGids\") | not" "$CDI/kubevirt.io-tdx.json"'
        qgs mode 0660
        eventually 20 eval 'jq -e ".devices[0].containerEdits | has(\"additionalGids\")" "$CDI/kubevirt.io-tdx.json"'
        [ "$(grep -c 'the container runtime is too old' "$T/driver.log")" = 1 ]
}
