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
        kubelet wait-unregistered tdx.kubevirt.io 15s
}

@test "a kubelet restart is followed by a new registration" {
        driver
        kubelet restart
        kubelet wait-registered tdx.kubevirt.io 15s
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
        kubelet wait-registered tdx.kubevirt.io 15s
}

@test "a service socket that vanished is put back and serves" {
        driver
        rm "$STATE/dra.sock"
        eventually 5 test -S "$STATE/dra.sock"
        kubelet restart
        kubelet wait-registered tdx.kubevirt.io 15s
        kubelet prepare-empty
}

@test "a plugin registry that was removed and created again gets its socket back" {
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

@test "a refusal by kubelet is reported with its reason, and the driver continues" {
        driver
        kubelet notify false "the plugin is not welcome"
        said driver "the plugin is not welcome"
        kubelet prepare-empty
}

@test "garbage on the wire and a thousand idle connections disturb no other call" {
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

@test "wrong flags are named, with the values they take" {
        run "$DRIVER" run --capacity -1
        [ "$status" -eq 2 ]
        [[ $output == *"--capacity"*"0 to 4096"* ]]
        run "$DRIVER" run --prepare-wait 60s
        [[ $output == *"0 to 40s"* ]]
        run env DRA_LOG_LEVEL=loud "$DRIVER" run
        [[ $output == *DRA_LOG_LEVEL* ]]
        run "$DRIVER" run --quotes
        [[ $output == *"no flag"* ]]
        run "$DRIVER" --help
        [ "$status" -eq 0 ]
        [[ $output == *"--prepare-wait"* ]]
}
