#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The count is right though kubelet forgets, directories go away, and others run TDs on the host.

export QGS_MODE=0666 # plain pods attest, too

setup_file() {
        load cluster
        set_up_node
}
teardown_file() { load cluster; qgs_stop; }
setup() {
        load cluster
        k -n dra-driver-tdx rollout status daemonset/dra-driver-tdx --timeout=90s >/dev/null
}
teardown() {
        [ -n "$BATS_TEST_COMPLETED" ] || driver_log | tail -n 20
        no_pods
}

@test "an init container and a container of one pod, which both ask for a TD, hold one" {
        only both "plain pods go to the device plugin"
        k create --validate=ignore -f - >/dev/null <<'END'
{apiVersion: v1, kind: Pod, metadata: {name: two, labels: {e2e: pod}}, spec: {
  terminationGracePeriodSeconds: 1, securityContext: {runAsUser: 107, runAsGroup: 107, runAsNonRoot: true},
  initContainers: [{name: first, image: "localhost/pod:1", imagePullPolicy: Never,
    command: [/pod, quote, /var/run/tdx-qgs/qgs.socket], resources: {limits: {devices.kubevirt.io/tdx: 1}}}],
  containers: [{name: compute, image: "localhost/pod:1", imagePullPolicy: Never,
    resources: {limits: {devices.kubevirt.io/tdx: 1}}}]}}
END
        running two
        eventually 10 n_held 1
        eventually 10 offers 3
}

# The pod's own cgroup, which runc leaves frozen when it kills a container.
freezer_of() { # CONTAINER
        # shellcheck disable=SC2016  # for the node's shell
        on node1 sh -c 'container=$(crictl ps -q --name "$1" | head -1)
                pid=$(crictl inspect --output go-template --template "{{.info.pid}}" "$container")
                group=$(sed -n "s/^[0-9]*:freezer://p" /proc/$pid/cgroup)
                echo "/sys/fs/cgroup/freezer$(dirname "$group")/freezer.state"' sh "$1"
}

@test "kubelet has forgotten a plain pod that still runs: after a restart of the driver its TD is still held" {
        only both "plain pods go to the device plugin"
        [ -d /sys/fs/cgroup/freezer ] || skip "with cgroup v2 a frozen process can be killed"
        local state
        pod vm tdx=1
        running vm
        n_held 1
        state=$(freezer_of compute)
        on node1 sh -c "echo FROZEN >$state"
        daemon node1 stop kubelet
        k delete pod vm --force --grace-period=0 >/dev/null 2>&1
        on node1 rm -f /var/lib/kubelet/device-plugins/kubelet_internal_checkpoint
        on node1 pkill -KILL -f "^/usr/bin/dra-driver-tdx run"
        daemon node1 start kubelet
        eventually 60 driver_says "active: this instance now serves the node"
        eventually 30 n_held 1
        eventually 20 offers 3
        on node1 sh -c "echo THAWED >$state"
        eventually 60 n_held 0
        eventually 30 offers 4
}

n_restarts() { k -n dra-driver-tdx get "$(driver_pod)" -o jsonpath='{.status.containerStatuses[0].restartCount}'; }
has_restarted() { [ "$(n_restarts)" -gt "$1" ] && driver_metric 'tdx_registered{path="dra"}' 1; } # FROM

@test "directories are removed and recreated below the driver's mounts: what is held stays so, and pods start again" {
        local before
        pod held template=td
        running held
        n_held 1
        before=$(n_restarts)
        # The driver puts back what is missing, so that rm may find a directory that is not empty.
        on node1 sh -c 'for d in /var/run/cdi /var/lib/kubelet/plugins_registry /var/lib/kubelet/device-plugins \
                /var/lib/kubelet/plugins/tdx.kubevirt.io; do
                until rm -rf $d 2>/dev/null; do :; done; mkdir -p $d; done'
        # kubelet has its watch and its socket in the directories that are gone, so it is restarted, too.
        daemon node1 stop kubelet
        daemon node1 start kubelet
        # kubelet ends the container, for what it has mounted is gone: a minute to see it, and one for the probe.
        eventually 100 has_restarted "$before"
        eventually 60 n_held 1
        pod vm template=td
        running vm
        quotes vm
        eventually 20 n_held 2
        [ "$OVERLAY" = both ] || return 0
        eventually 60 driver_metric 'tdx_registered{path="plugin"}' 1
        pod plain tdx=1
        running plain
        quotes plain
        eventually 20 n_held 3
}

# containerd's watch of a removed directory ends only when no mount holds it any more: the driver's does.
@test "the CDI directory alone is removed and created again: pods start again once the container has restarted" {
        local before
        before=$(n_restarts)
        on node1 sh -c 'until rm -rf /var/run/cdi 2>/dev/null; do :; done; mkdir -p /var/run/cdi'
        eventually 100 has_restarted "$before"
        pod vm template=td
        running vm
        quotes vm
}

host_runs() { on node1 sh -c "echo 'tdx $1' >/run/e2e/cgroup/misc.current"; } # N TDs, by the kernel's count

@test "TDs that others run on the host are not offered, on either path, while they run" {
        host_runs 1
        eventually 60 offers 3
        [ "$OVERLAY" = dra ] || eventually 60 allocatable 3
        eventually 10 driver_metric tdx_foreign_tds 1
        host_runs 0
        eventually 60 offers 4
        [ "$OVERLAY" = dra ] || eventually 60 allocatable 4
        on node1 rm /run/e2e/cgroup/misc.current
}

# Of the driver's container, in MiB; page cache counts, too.
memory_peak() {
        # shellcheck disable=SC2016  # for the node's shell
        on node1 sh -c 'pid=$(pgrep -f "^/usr/bin/dra-driver-tdx run" | head -1)
                v1=/sys/fs/cgroup/memory$(sed -n "s/^[0-9]*:memory://p" /proc/$pid/cgroup)/memory.max_usage_in_bytes
                v2=/sys/fs/cgroup$(sed -n "s/^0:://p" /proc/$pid/cgroup)/memory.peak
                cat "$v1" 2>/dev/null || cat "$v2"' | awk '{ print int($1 / 1048576) }'
}

@test "the driver's container has half of its memory limit left after all of this and two dozen pods" {
        local i
        for i in {1..8}; do
                pod "a$i" template=td
                pod "b$i" template=td
                pod "c$i" template=td
                running "a$i" "b$i" "c$i"
                gone "a$i" "b$i" "c$i"
        done
        echo "peak $(memory_peak) MiB"
        [ "$(memory_peak)" -le 48 ]
}
