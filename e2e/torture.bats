#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# A few points of `make torture`, from each step, and what it would find: see e2e/torture/run.

setup() {
        [[ $DRIVER == */plain-* ]] || skip "sanitizers and LD_PRELOAD do not go together"
        [ "$(id -u)" = 0 ] || skip "needs root for a boot ID of its own"
}

torture() { "$BATS_TEST_DIRNAME/torture/run" --driver "$DRIVER" --counter "$(dirname "$DRIVER")/e2e/torture/counter.so" "$@"; }

@test "a cut or a fault at any of a few calls of a Prepare, an Unprepare and an Allocate breaks no promise" {
        torture --sample 3 --step prepare --step prepare-two --step unprepare --step allocate --step prepare-after-reboot
}

@test "a cut or a fault at any of a few calls of a start, a hand-over and a change of capacity breaks no promise" {
        torture --sample 3 --step start --step start-with-records --step start-with-damage --step capacity --step handover
}

@test "a sync or a rename that is missing in the driver is found" {
        torture --self-test
}
