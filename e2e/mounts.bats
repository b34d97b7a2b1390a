#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# As in its pod, each of the host's directories is a bind mount of its own. The host removes one and creates it again:
# the mount stays with the removed directory, and only a new container gets a new mount.

setup() {
        load scenario
        [ "$(id -u)" = 0 ] || skip "needs root for mounts"
        export KUBELET_DEVICES=yes
        enter_node 4
        CDI=$T/c/cdi
        mkdir -p "$CDI" "$STATE" "$T/hk" "$T/hc" "$T/host/var" "$T/host/root/var/run"
        chmod 755 "$T"
}
teardown() { leave_node; }

# The driver in a container: the host's directories on their own paths, nothing else of them. DRA's own part of the
# host's /var/run, as the manifest mounts it, is below $T/pod if $1 is "with-run".
container() { # with-run|without-run [FLAG...]
        local run=$1
        shift
        driver_flags
        cat >"$T/container" <<END
set -e
mount --bind "$K" "$T/hk"
mount --bind "$T/c" "$T/hc"
mount -t tmpfs tmpfs "$K"
mount -t tmpfs tmpfs "$T/c"
for directory in plugins_registry device-plugins pod-resources plugins/tdx.kubevirt.io; do
        mkdir -p "$K/\$directory"
        mount --bind "$T/hk/\$directory" "$K/\$directory"
done
mkdir "$CDI"
mount --bind "$T/hc/cdi" "$CDI"
mkdir -p "$T/pod/var/run" "$T/pod$T/c" "$T/pod$(dirname "$(dirname "$QGS")")"
mount --bind "$T/host/root/var/run" "$T/pod/var/run"
mount --bind "$(dirname "$(dirname "$QGS")")" "$T/pod$(dirname "$(dirname "$QGS")")"
[ $run = without-run ] || mount --bind "$T/hc" "$T/pod$T/c"
exec "$DRIVER" run ${FLAGS[@]} --host-root "$T/pod" --listen 127.0.0.1:0 $@
END
        start driver unshare --mount --propagation private bash "$T/container"
        kubelet wait-registered tdx.kubevirt.io 20s
        said driver "health are served" 10
}

healthy() { page /healthz; }
unhealthy() { ! healthy; }

# What kubelet does when /healthz fails.
restarted() { # with-run|without-run [FLAG...]
        end driver || true
        container "$@"
        healthy
}

prepare() { # NAME TD
        api claim "default/$1" "$2" --replace >/dev/null
        kubelet prepare "default/$1"
}

@test "the CDI directory is removed and created again: /healthz says so, and a new container serves again" {
        container without-run --serve=dra
        healthy
        rm -r "$CDI"
        mkdir "$CDI"
        run prepare one tdx0
        [ "$status" -ne 0 ]
        [[ $output == *"$CDI was removed on the host"*"restart the container"* ]]
        eventually 30 unhealthy
        page /healthz | grep -q "$CDI was removed on the host"
        said driver "the host removed a directory below this container's mount"
        restarted without-run --serve=dra
        prepare one tdx0
        [ -s "$CDI/kubevirt.io-tdx.json" ]
}

@test "the CDI directory is removed and created again: where the pod sees all of /var/run, claims are served on" {
        container with-run --serve=dra
        rm -r "$CDI"
        mkdir "$CDI"
        prepare one tdx0
        eventually 10 test -s "$CDI/kubevirt.io-tdx.json"
        # Longer than a directory may be gone before it is a problem, by the driver's own clock.
        eventually 30 eval '[ "$(metric_value process_start_time_seconds)" -lt $(($(date +%s) - 7)) ]'
        healthy
        rm "$CDI/kubevirt.io-tdx.json"
        eventually 10 test -s "$CDI/kubevirt.io-tdx.json"
}
metric_value() { page /metrics | sed -n "s/^$1 \([0-9]*\).*/\1/p"; }

@test "kubelet's directories of plugins are removed and created again: not registered, not healthy, and a new container is" {
        container without-run --serve=both
        kubelet wait-healthy 4 20s
        kubelet stop
        rm -r "$K/plugins_registry" "$K/device-plugins"
        kubelet start
        eventually 30 unhealthy
        metric 'tdx_registered{path="dra"}' 0
        metric 'tdx_registered{path="plugin"}' 0
        page /healthz | grep -q "$K/plugins_registry was removed on the host"
        restarted without-run --serve=both
        kubelet wait-healthy 4 20s
        eventually 10 metric 'tdx_registered{path="dra"}' 1
        eventually 10 metric 'tdx_registered{path="plugin"}' 1
}

@test "podresources' directory is removed and created again: /healthz says so, and a new container hears of pods again" {
        container without-run --serve=both
        kubelet wait-healthy 4 20s
        kubelet pod default/one
        kubelet stop
        rm -r "$K/pod-resources"
        kubelet start
        eventually 30 unhealthy
        page /healthz | grep -q "$K/pod-resources was removed on the host"
        restarted without-run --serve=both
        kubelet wait-healthy 4 20s
        kubelet delete default/one
        api wait-devices 4 30s
}

@test "the state directory is removed and created again: /healthz says so, and what is held is held on" {
        container without-run --serve=dra
        prepare one tdx0
        rm -r "$STATE"
        mkdir "$STATE"
        eventually 30 unhealthy
        page /healthz | grep -q "$STATE was removed on the host"
        metric 'tdx_held_tds{path="dra"}' 1
}

@test "the host's /var/run is removed and created again: /healthz says so" {
        container without-run --serve=dra
        rm -r "$T/host/root/var/run"
        mkdir "$T/host/root/var/run"
        eventually 30 unhealthy
        page /healthz | grep -q "$T/pod/var/run was removed on the host"
}
