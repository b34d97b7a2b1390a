#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The storm, short: see e2e/storm/storm.c. A random seed that fails is in what is printed.

storm() { "$BUILD/e2e/storm/storm" "$@"; }

# A deliberate fault, which the checks must find.
is_found() {
        for seed in 1 2 3; do
                run storm --fault "$1" --seed "$seed"
                [ "$status" = 1 ]
                [[ $output == *"storm: seed $seed, operation "*": VIOLATION: "* ]]
        done
}

@test "ten thousand operations break no promise" {
        run storm --seed 7
        echo "$output"
        [ "$status" = 0 ]
        [[ $output == *"storm: seed 7, 100"*" operations, "*" checks: 0 violations" ]]
}

@test "nor do ten thousand with a new seed" {
        run storm
        echo "$output"
        [ "$status" = 0 ]
}

@test "the same seed makes the same storm" {
        [ "$(storm --seed 3 --ops 2000 --trace | md5sum)" = "$(storm --seed 3 --ops 2000 --trace | md5sum)" ]
}

@test "an Allocate that does not check for a free TD is caught" {
        is_found no-check-in-allocate
}

@test "a driver that releases TDs when podresources is missing is caught" {
        is_found release-on-missing-podresources
}

@test "a driver that forgets its claims when it restarts is caught" {
        is_found forget-on-restart
}

@test "a driver that offers untainted devices while QGS does not answer is caught" {
        is_found no-taint
}

@test "a driver that offers foreign TDs is caught" {
        is_found ignore-foreign
}

@test "a driver that answers without its CDI spec is caught" {
        is_found no-spec
}

@test "a driver that does not write its records again after the state directory was taken away is caught" {
        is_found no-rewrite
}

@test "a driver whose record of plugin devices lacks their pods is caught when kubelet's checkpoint is gone" {
        is_found no-pods-recorded
}

@test "a driver that waits for its log's reader is caught" {
        is_found block-on-log
}
