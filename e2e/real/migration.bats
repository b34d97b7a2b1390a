#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# A node goes from the device plugin to DRA while VMs run (README, "Two paths, one ledger"): the overlay `both` is
# followed by `dra`.

setup_file() {
        load cluster
        if [ "$OVERLAY" = both ] && at_least 1.36; then set_up_node; fi
}
teardown_file() { load cluster; qgs_stop; }
setup() {
        load cluster
        only both "it begins with both"
        needs 1.36 "DRAExtendedResource is off"
}
teardown() {
        [ -z "${BATS_TEST_SKIPPED:-}" ] || return 0
        [ -n "$BATS_TEST_COMPLETED" ] || driver_log | tail -n 12
        no_pods
        install
        eventually 30 allocatable 4
}

are_undisturbed() { # POD...
        local name
        is_running "$@" || return 1
        for name in "$@"; do [ "$(k get pod "$name" -o jsonpath='{.status.containerStatuses[0].restartCount}')" = 0 ] || return 1; done
}

@test "running pods keep running, even over a restart of kubelet; the next plain pods get a claim, and each TD is one VM's" {
        pod old1 tdx=1
        pod old2 tdx=1
        pod claim template=td
        running old1 old2 claim
        OVERLAY=dra install
        eventually 15 allocatable 0
        eventually 10 offers 2
        pod new tdx=1
        running new
        has_claim new
        quotes new
        n_held 4
        pod late tdx=1
        pending late
        daemon node1 stop kubelet
        daemon node1 start kubelet
        eventually 20 driver_metric 'tdx_registered{path="dra"}' 1
        gone old1
        running late
        has_claim late
        n_held 4
        are_undisturbed old2 claim new
}
