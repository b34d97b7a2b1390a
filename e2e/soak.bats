#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# `make soak`, in short.

@test "quotes go on while QGS restarts, its directory is recreated, the worker is killed and the relay updated" {
        relay=$(dirname "${DRIVER:-build/plain-gcc/dra-driver-tdx}")/tdx-quote-relay
        "$BATS_TEST_DIRNAME/soak" --relay "$relay" --seconds 22
}
