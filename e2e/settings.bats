#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What the KubeVirt CR says of attestation, and where its path leads: each field by itself, /run and /var/run, the
# pod's view of the host, and mounts that cannot be made.

setup() { load scenario; enter_node 4; chmod 711 "$T"; }
teardown() { leave_node; }

start_qgs() {
        mkdir -p "$(dirname "$QGS")"
        start qgs "$SIM/qgs-sim" --socket "$QGS" --control "$T/qgs.ctl" "$@"
        eventually 10 qgs requests >/dev/null
}

# Without --qgs-socket and --vm-qgs-socket, so that the CR decides.
plain_flags() {
        FLAGS=(--node-name "$NODE" --kubelet-dir "$K" --cdi-dir "$CDI" --misc-capacity "$MISC" --api-server "$API"
                --poll-interval 200ms --log-level debug --listen 127.0.0.1:0)
}
registered() { kubelet wait-registered tdx.kubevirt.io 20s >/dev/null || { cat "$T/driver.log"; return 1; }; }
plain_driver() { # [FLAG...]
        plain_flags
        start driver "$DRIVER" run "${FLAGS[@]}" "$@"
        registered
}

# The host is below $T/host. In a pod the driver sees of it what is mounted at /host, on a read-only root: /var/run.
pod_driver() { # [FLAG...]
        mkdir -p "$T/pod/var/run" "$T/host/run"
        plain_flags
        start driver unshare -m --propagation private bash -c 'mount --bind "$0/pod" "$0/pod"
                mount -o remount,bind,ro "$0/pod" && mount --bind "$0/host/run" "$0/pod/var/run" && exec "$@"' \
                "$T" "$DRIVER" run "${FLAGS[@]}" --host-root "$T/pod" "$@"
        registered
}
# On the host itself, where /var/run is a link to /run.
on_host() { unshare -m --propagation private bash -c 'mount --bind "$0/host/run" /run && exec "$@"' "$T" "$@"; }
host_driver() { # [FLAG...]
        plain_flags
        start driver unshare -m --propagation private bash -c 'mount --bind "$0/host/run" /run && exec "$@"' \
                "$T" "$DRIVER" run "${FLAGS[@]}" "$@"
        registered
}

cr() { # ATTESTATION
        api kubevirt on
        api kubevirt-json kubevirt/kubevirt '{"configuration":{"confidentialCompute":{"tdx":{"attestation":'"$1"'}}}}' >/dev/null
}

seen_of_slice() {
        api slices-json | jq -r '[.. | objects | select(.spec?.devices?) | .spec.devices[]] |
                if length == 0 then "withdrawn" else .[0] |
                (if .taints then "tainted " + .taints[0].value else "open" end) +
                (if .attributes.attestation.bool then ", attesting" else ", attesting not" end) end'
}
slice_is() { [ "$(seen_of_slice)" = "$1" ]; }
becomes() { eventually 20 slice_is "$1" || { seen_of_slice; tail -n 20 "$T/driver.log"; return 1; }; }
has_event() { api events | grep -q -- "$1"; }
prepare() { # NAME TD
        api claim "default/$1" "$2" >/dev/null
        kubelet prepare "default/$1"
}
metric_is() { eventually 10 metric "$1" "$2" || { page /metrics | grep "^${1%%\{*}"; return 1; }; }
refused() { # FIELD 0|1
        metric_is "tdx_settings_refused{field=\"$1\"}" "$2"
}

# ---- each field stands for itself ----

@test "what is enforced is in force beside a refused path, from the start and without a record" {
        start_qgs # at a place that nothing names
        cr '{"enforced":true,"qgsSocketPath":"/var/run/qgs.socket"}'
        plain_driver --serve dra
        becomes "tainted path-refused, attesting not"
        eventually 10 has_event 'TDXNotSchedulable.*qgsSocketPath: the directory of "/var/run/qgs.socket"'
        says driver "KubeVirt's qgsSocketPath is refused: no new VM is placed here"
        if says driver "has not told"; then false; fi
        refused qgsSocketPath 1
        refused enforced 0
        metric_is tdx_schedulable 0
}

@test "a path that is a directory, empty, or no string enforces no less" {
        for bad in '"/var/run/tdx-qgs/"' '""' 7; do
                cr '{"enforced":true,"qgsSocketPath":'"$bad"'}'
                plain_driver --serve dra
                becomes "tainted path-refused, attesting not"
                stop_driver
                rm -rf "$STATE"
        done
}

@test "one change of a CR that enforces and moves to a refused path enforces; corrected, VMs are placed again" {
        start_qgs
        cr '{"enforced":false,"qgsSocketPath":"'"$QGS"'"}'
        plain_driver --serve dra
        becomes "open, attesting"
        prepare before tdx0
        cr '{"enforced":true,"qgsSocketPath":"/var/run/qgs.socket"}'
        becomes "tainted path-refused, attesting not"
        # What is held stays held, and keeps the directory that it has.
        kubelet prepare default/before
        jq -e --arg path "$(dirname "$QGS")" '.devices[0].containerEdits.mounts[0].hostPath == $path' "$CDI/kubevirt.io-tdx.json"
        cr '{"enforced":true,"qgsSocketPath":"'"$QGS"'"}'
        becomes "open, attesting"
        eventually 10 has_event TDXSchedulable
        refused qgsSocketPath 0
}

@test "a refused path that is not enforced costs attestation and nothing else" {
        start_qgs
        cr '{"enforced":false,"qgsSocketPath":"'"$QGS"'"}'
        plain_driver --serve dra
        becomes "open, attesting"
        cr '{"enforced":false,"qgsSocketPath":"/etc/qgs.socket"}'
        becomes "open, attesting not"
        prepare vm tdx1
        refused qgsSocketPath 1
        metric_is tdx_schedulable 1
        if has_event TDXNotSchedulable; then false; fi
}

@test "a value of enforced that is no boolean keeps the last one, and takes the path" {
        cr '{"enforced":true,"qgsSocketPath":"'"$QGS"'"}'
        start_qgs
        plain_driver --serve dra
        becomes "open, attesting"
        cr '{"enforced":"false","qgsSocketPath":"'"$T"'/host/run/other/qgs.socket"}'
        becomes "tainted absent, attesting not"
        said driver "attestation enforced=true socket=$T/host/run/other/qgs.socket" 10
        refused enforced 1
        refused qgsSocketPath 0
}

@test "a CR whose path does not go with --qgs-socket enforces all the same" {
        start_qgs
        cr '{"enforced":true,"qgsSocketPath":"/var/run/qgs/qgs.sock"}'
        plain_driver --serve dra --qgs-socket "$QGS"
        becomes "tainted path-refused, attesting not"
        eventually 10 has_event "TDXNotSchedulable.*differ in their file names"
        refused qgsSocketPath 1
        cr '{"enforced":true,"qgsSocketPath":"/var/run/qgs/qgs.socket"}'
        becomes "open, attesting"
}

@test "what was refused is known after a restart without the API server" {
        start_qgs
        cr '{"enforced":true,"qgsSocketPath":"'"$QGS"'"}'
        plain_driver --serve dra
        becomes "open, attesting"
        cr '{"enforced":true,"qgsSocketPath":"/var/run/qgs.socket"}'
        becomes "tainted path-refused, attesting not"
        stop_driver
        api refuse
        plain_flags
        start driver "$DRIVER" run "${FLAGS[@]}" --serve dra
        said driver 'going on with the last known' 30
        says driver "attestation enforced=true socket=$QGS"
        metric_is tdx_schedulable 0
        refused qgsSocketPath 1
        api accept
        eventually 40 slice_is "tainted path-refused, attesting not"
}

@test "a CR that may not be read, with nothing known from before, is told in an Event" {
        api kubevirt on
        api kubevirt-forbid on
        plain_driver --serve dra
        eventually 20 has_event 'TDXSettingsUnknown.*list and watch of kubevirts.kubevirt.io are not permitted'
        becomes "open, attesting not"
        api kubevirt-forbid off
        eventually 40 has_event TDXSettingsKnown
}

@test "--vm-qgs-socket that is not the CR's path is warned of, once for each path" {
        start_qgs
        cr '{"enforced":true,"qgsSocketPath":"/run/a/qgs.socket"}'
        plain_driver --serve dra --qgs-socket "$QGS" --vm-qgs-socket /run/vm/qgs.socket
        said driver '--vm-qgs-socket is not KubeVirt.s qgsSocketPath.*flag=/run/vm/qgs.socket qgsSocketPath=/run/a/qgs.socket' 10
        cr '{"enforced":false,"qgsSocketPath":"/run/a/qgs.socket"}'
        said driver 'attestation enforced=false' 10
        # The other name of the flag's path is the flag's path.
        cr '{"enforced":true,"qgsSocketPath":"/var/run/vm/qgs.socket"}'
        said driver 'attestation enforced=true.*' 10
        becomes "open, attesting"
        [ "$(grep -c 'WARN.*--vm-qgs-socket is not' "$T/driver.log")" = 1 ]
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
        said driver "cannot see the host's $path: mount $path at $T/pod$path" 10
        prepare one tdx0
        jq -e --arg path "$path" '.devices[0].containerEdits.mounts[0].hostPath == $path' "$CDI/kubevirt.io-tdx.json"
        if says driver "VMs cannot be given their devices"; then false; fi
        cr '{"enforced":true,"qgsSocketPath":"'$path'/qgs.socket"}'
        becomes "tainted not-seen, attesting not"
        eventually 10 has_event "TDXNotSchedulable.*mount $path at $T/pod$path"
}

# ---- mounts that cannot be made ----

# A file where the way to the directory should be, after the settings were taken.
block() { rm -rf "$1" && touch "$1"; }

@test "while the directory that VMs would mount cannot be created, no VM is placed; then they are" {
        local parent=$T/host/run/parent
        cr '{"enforced":false,"qgsSocketPath":"'"$parent"'/qgs/qgs.socket"}'
        plain_driver --serve dra
        becomes "open, attesting not"
        eventually 10 test -d "$parent/qgs"
        block "$parent"
        becomes "tainted no-mount, attesting not"
        eventually 10 has_event "TDXNotSchedulable.*the directory $parent/qgs, which VMs mount, cannot be created"
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
        CDI=$T/blocked/cdi
        touch "$T/blocked"
        plain_driver --serve dra
        becomes "tainted no-mount, attesting not"
        eventually 10 has_event "TDXNotSchedulable.*the CDI spec $CDI/kubevirt.io-tdx.json cannot be written"
        rm "$T/blocked"
        becomes "open, attesting not"
        prepare one tdx0
        [ -f "$CDI/kubevirt.io-tdx.json" ]
}

@test "where the API server keeps no taints, devices whose mount cannot be made are withdrawn" {
        api drop-fields taints
        CDI=$T/blocked/cdi
        touch "$T/blocked"
        plain_driver --serve dra
        becomes withdrawn
        rm "$T/blocked"
        becomes "open, attesting not"
}

@test "the plugin's devices are Unhealthy as far as they need the mount or the spec" {
        KUBELET_DEVICES=yes
        end kubelet || true
        start_kubelet
        healthy_are() { [ "$(kubelet devices | grep -c ' Healthy')" = "$1" ]; }
        local parent=$T/host/run/parent
        CDI=$T/blocked/cdi
        touch "$T/blocked"
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
        rm "$T/blocked"
        eventually 20 healthy_are 4
}
