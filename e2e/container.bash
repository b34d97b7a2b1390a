# SPDX-License-Identifier: Apache-2.0
# The driver as in its pod: each of the host's directories is a separate bind mount. The host removes one and creates
# it again: the mount stays with the removed directory, and only a new container gets a new mount. Sourced by *.bats.
# shellcheck shell=bash disable=SC2154

enter_host() {
        [ "$(id -u)" = 0 ] || skip "needs root for mounts"
        export KUBELET_DEVICES=yes
        enter_node 4
        CDI=$T/c/cdi
        mkdir -p "$CDI" "$STATE" "$T/hk" "$T/hc" "$T/host/var" "$T/host/root/var/run"
        chmod 755 "$T"
}

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
