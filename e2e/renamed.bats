#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The host renames a directory that the driver's container has mounted: the mount follows it.

setup() { load scenario; load container; enter_host; }
teardown() { leave_node; }

metric_value() { page /metrics | sed -n "s/^$1 \([0-9]*\).*/\1/p"; }

@test "a directory is renamed away and created again: /healthz says so, and a new container serves with the new one" {
        local directory
        for directory in "$STATE" "$CDI" "$REGISTRY"; do
                container with-run --serve=dra
                prepare one tdx0
                healthy
                mv "$directory" "$directory.away"
                mkdir "$directory"
                eventually 30 unhealthy
                page /healthz | grep -q "$directory was renamed on the host.*$(basename "$directory").away.*restart the container"
                said driver "the host renamed a directory below this container's mount"
                metric 'tdx_held_tds{path="dra"}' 1
                restarted with-run --serve=dra
                prepare two tdx1
                kubelet unprepare default/one default/two
                end driver
        done
}

@test "a directory that is renamed away and back at once is none of the driver's business" {
        container with-run --serve=dra
        mv "$STATE" "$STATE.away"
        mv "$STATE.away" "$STATE"
        # Longer than a directory may be away before it is a problem, by the driver's own clock.
        eventually 30 eval '[ "$(metric_value process_start_time_seconds)" -lt $(($(date +%s) - 7)) ]'
        healthy
        prepare one tdx0
}
