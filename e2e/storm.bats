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

@test "nor do ten thousand that nobody has seen before" {
        run storm
        echo "$output"
        [ "$status" = 0 ]
}

@test "the same seed makes the same storm" {
        [ "$(storm --seed 3 --ops 2000 --trace | md5sum)" = "$(storm --seed 3 --ops 2000 --trace | md5sum)" ]
}

@test "an Allocate that does not look whether a TD is free is found out" {
        is_found no-check-in-allocate
}

@test "a driver that lets go when podresources is missing is found out" {
        is_found release-on-missing-podresources
}

@test "a driver that forgets when it restarts is found out" {
        is_found forget-on-restart
}

@test "a driver that offers untainted devices while QGS does not answer is found out" {
        is_found no-taint
}

@test "a driver that offers what others use is found out" {
        is_found ignore-foreign
}

@test "a driver that answers without its CDI spec is found out" {
        is_found no-spec
}
