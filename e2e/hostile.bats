#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0

@test "hostile VMs neither keep others from their quotes nor harm QGS" {
        relay=$(dirname "${DRIVER:-build/plain-gcc/dra-driver-tdx}")/tdx-quote-relay
        "$BATS_TEST_DIRNAME/hostile" --relay "$relay"
}
