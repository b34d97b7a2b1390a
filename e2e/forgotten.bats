#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Claims that kubelet will never unprepare: it has lost its own record of them, or they are gone.

setup() { load scenario; enter_node 2; }
teardown() {
        local status=0
        end driver || status=$?
        leave_node && [ $status -eq 0 ]
}

prepare_both() {
        api claim default/a tdx0 --uid aaaaaaaa-0000-0000-0000-000000000001
        api claim default/b tdx1 --uid aaaaaaaa-0000-0000-0000-000000000002
        kubelet prepare default/a default/b
}

kubelet_forgets() { # all claims; it prepares again those that are named
        end kubelet KILL || true
        start_kubelet
        kubelet wait-registered tdx.kubevirt.io 15s
        [ $# -eq 0 ] || kubelet prepare "$@"
}

@test "a claim that kubelet has forgotten and that is deleted is released while the driver runs; one that kubelet knows is not" {
        driver --serve dra --reconcile-after 2s
        prepare_both
        kubelet_forgets default/b
        api delete-claim default/a
        api delete-claim default/b
        said driver "does not exist any more, releasing it.*claim=a" 90
        eventually 15 holds 1
        if says driver "releasing it.*claim=b"; then return 1; fi
        api claim default/next tdx0
        kubelet prepare default/next
        kubelet unprepare default/b
        holds 1
}

@test "a claim that kubelet has forgotten and that is allocated to another node, or not at all, is released" {
        driver --serve dra --reconcile-after 2s
        prepare_both
        kubelet_forgets
        api claim default/a tdx0 --uid aaaaaaaa-0000-0000-0000-000000000001 --pool node2 --replace
        api claim default/b --uid aaaaaaaa-0000-0000-0000-000000000002 --unallocated --replace
        said driver "has no device of this node any more, releasing it.*claim=a" 90
        said driver "has no device of this node any more, releasing it.*claim=b" 30
        eventually 15 holds 0
}

# The driver in a mount namespace in which the kernel tells another boot id.
reboot() {
        kill_driver
        echo 01234567-89ab-cdef-0123-456789abcdef >"$T/boot_id"
        driver_flags
        start driver unshare -m sh -c 'mount --bind "$0" /proc/sys/kernel/random/boot_id && exec "$@"' \
                "$T/boot_id" "$DRIVER" run "${FLAGS[@]}" "$@"
        kubelet wait-registered tdx.kubevirt.io 15s
}

@test "an unreadable record of an earlier boot does not cost a TD for ever" {
        [ "$(id -u)" = 0 ] || skip "needs root to show the driver another boot id"
        driver --serve dra --reconcile-after 1s
        kill_driver
        printf 'x' >"$STATE/claims/aaaaaaaa-0000-0000-0000-00000000000f"
        driver --serve dra --reconcile-after 1s
        holds 1
        reboot --serve dra --reconcile-after 1s
        said driver "whose record is not readable, releasing it" 60
        eventually 15 holds 0
}
