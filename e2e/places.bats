#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Where the path of QGS's socket leads: /run and /var/run, the pod's view of the host, and mounts that cannot be made.

export RIGHTS=manifest

setup() { load scenario; load qgs; load kubevirt; enter_node 4; chmod 711 "$T"; }
teardown() { leave_node; }

# The host is below $T/host, and the pod sees its /run as manifests/ mount it: at /host/var/run.
pod_driver() { RUN_IS_HOSTS=yes plain_driver "$@"; } # [FLAG...]
# On the host itself, where /var/run is a link to /run.
on_host() { unshare -m --propagation private bash -c 'mount --bind "$0/host/run" /run && exec "$@"' "$T" "$@"; }
host_driver() { # [FLAG...]
        RIGHTS=root plain_flags
        start driver unshare -m --propagation private bash -c 'mount --bind "$0/host/run" /run && exec "$@"' \
                "$T" "$DRIVER" run "${FLAGS[@]}" "$@"
        registered
}

# ---- one place, two names ----

attests_at() { # PATH TD: as QEMU in the VM's container, on the host
        on_host "$SIM/cdi-run" --cdi-dir "$CDI" --device "kubevirt.io/tdx=dra-$2" -- \
                "$SIM/vm-sim" --socket "$1" --uid 107 --gid 107 | grep '^quote of'
}

@test "/run/tdx-qgs and /var/run/tdx-qgs mean the same place, in the CR and in the flag, in the pod and outside" {
        start_qgs
        local n=0 start spelling
        for start in pod_driver host_driver; do
                for spelling in /run /var/run; do
                        cr '{"enforced":true,"qgsSocketPath":"'"$spelling"'/tdx-qgs/qgs.socket"}'
                        $start --serve dra
                        becomes "open, attesting"
                        prepare "cr$n" "tdx$n"
                        # The VM has it where KubeVirt tells QEMU to look.
                        jq -e --arg path "$spelling/tdx-qgs" '.devices[0].containerEdits.mounts[0].containerPath == $path' \
                                "$CDI/kubevirt.io-tdx.json"
                        attests_at "$spelling/tdx-qgs/qgs.socket" "tdx$n"
                        stop_driver
                        n=$((n + 1))
                done
        done
}

@test "the flag in the one spelling and the CR in the other go together" {
        start_qgs
        cr '{"enforced":true,"qgsSocketPath":"/run/tdx-qgs/qgs.socket"}'
        pod_driver --serve dra --qgs-socket /var/run/tdx-qgs/qgs.socket
        becomes "open, attesting"
        prepare one tdx0
        attests_at /run/tdx-qgs/qgs.socket tdx0
        stop_driver
        cr '{"enforced":true,"qgsSocketPath":"/var/run/tdx-qgs/qgs.socket"}'
        pod_driver --serve dra --qgs-socket /run/tdx-qgs/qgs.socket
        becomes "open, attesting"
        attests_at /var/run/tdx-qgs/qgs.socket tdx0
}

@test "if the pod does not see the path, VMs start without it unless enforced, and the reason says what to mount" {
        local path=/srv/tdx-qgs-test
        cr '{"enforced":false,"qgsSocketPath":"'$path'/qgs.socket"}'
        pod_driver --serve dra
        becomes "open, attesting not"
        said driver "cannot see the host's $path: mount $path at /host$path" 10
        prepare one tdx0
        jq -e --arg path "$path" '.devices[0].containerEdits.mounts[0].hostPath == $path' "$CDI/kubevirt.io-tdx.json"
        if says driver "VMs cannot be given their devices"; then false; fi
        cr '{"enforced":true,"qgsSocketPath":"'$path'/qgs.socket"}'
        becomes "tainted not-seen, attesting not"
        eventually 10 has_event "TDXNotSchedulable.*mount $path at /host$path"
}

# ---- mounts that cannot be made ----

# A file where the way to the directory should be, after the settings were taken. The driver makes the directory again.
block() { until [ -f "$1" ]; do rm -rf "$1" && { : >"$1"; } 2>/dev/null; done; }
block_spec() { mkdir -p "$CDI/kubevirt.io-tdx.json/in-the-way"; }
unblock_spec() { rmdir "$CDI/kubevirt.io-tdx.json/in-the-way"; } # the driver clears an empty directory away

@test "while the directory that VMs would mount cannot be created, no VM is placed; then they are" {
        local parent=$T/host/run/parent
        cr '{"enforced":false,"qgsSocketPath":"'"$parent"'/qgs/qgs.socket"}'
        plain_driver --serve dra
        becomes "open, attesting not"
        eventually 10 test -d "$parent/qgs"
        block "$parent"
        becomes "tainted no-mount, attesting not"
        eventually 10 has_event "TDXNotSchedulable.*cannot create the directory $parent/qgs, which VMs mount"
        metric_is tdx_schedulable 0
        run prepare one tdx0
        [[ $output == *"$parent/qgs"* && $output != *--cdi-dir* ]]
        rm "$parent"
        becomes "open, attesting not"
        eventually 10 has_event TDXSchedulable
        kubelet prepare default/one
        [ -d "$parent/qgs" ]
}

@test "while the CDI spec cannot be written, no VM is placed by a claim; then they are" {
        block_spec
        plain_driver --serve dra
        becomes "tainted no-mount, attesting not"
        eventually 10 has_event "TDXNotSchedulable.*cannot write the CDI spec $CDI/kubevirt.io-tdx.json"
        unblock_spec
        becomes "open, attesting not"
        prepare one tdx0
        [ -f "$CDI/kubevirt.io-tdx.json" ]
}

@test "where the API server keeps no taints, devices whose mount cannot be made are withdrawn" {
        api drop-fields taints
        block_spec
        plain_driver --serve dra
        becomes withdrawn
        unblock_spec
        becomes "open, attesting not"
}

@test "the plugin's devices are Unhealthy as far as they need the mount or the spec" {
        leave_node
        KUBELET_DEVICES=yes enter_node 4
        healthy_are() { [ "$(kubelet devices | grep -c ' Healthy')" = "$1" ]; }
        local parent=$T/host/run/parent
        block_spec
        cr '{"enforced":false,"qgsSocketPath":"'"$parent"'/qgs/qgs.socket"}'
        plain_driver --serve both
        becomes "tainted no-mount, attesting not"
        # A plain mount needs no spec.
        eventually 20 healthy_are 4
        block "$parent"
        eventually 20 healthy_are 0
        rm "$parent"
        eventually 20 healthy_are 4
        stop_driver
        plain_driver --serve both --plugin-inject cdi
        kubelet wait-listed 30s >/dev/null
        eventually 20 healthy_are 0
        unblock_spec
        eventually 20 healthy_are 4
}
