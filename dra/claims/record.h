/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Encodes one claim as the bytes of its record, and decodes them. Pure.
 *
 * The format is one line, "dra-driver-tdx claim 1 crc32c <8 hex digits> <n> bytes\n", followed by n
 * bytes of JSON. The checksum covers those bytes as stored, so that a field added by a later
 * version never looks like damage.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct error;
struct ledger_claim;

/* Most devices in one claim: AllocationResultsMaxSize of resource.k8s.io/v1. */
#define CLAIMS_RECORD_TDS_MAX 32

enum claims_record_outcome {
        CLAIMS_RECORD_NEWER =
                1 /* written by a later version of this driver, in a format unknown to this one */
};

/* Returns the record's bytes, *ret_n of them; the caller's. */
char *claims_record_encode(const struct ledger_claim *claim, size_t *ret_n);
/* 0 and the claim, which is the caller's; CLAIMS_RECORD_NEWER; or -EBADMSG with the reason:
 * truncated, wrong checksum, or not our format. */
int claims_record_decode(const char *bytes, size_t n, struct ledger_claim **ret_claim,
                         struct error *err);
