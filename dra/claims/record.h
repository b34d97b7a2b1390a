/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One claim as the bytes of its record. Pure.
 *
 * A line "dra-driver-tdx claim 1 crc32c <8 hex digits> <n> bytes\n" and that many bytes of JSON;
 * the checksum is taken over those bytes as they lie there, so that a field added by a later
 * version never looks like damage.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct error;
struct ledger_claim;

/* Devices of one claim: AllocationResultsMaxSize of resource.k8s.io/v1. */
#define CLAIMS_RECORD_TDS_MAX 32

enum claims_record_outcome {
        CLAIMS_RECORD_NEWER =
                1 /* written by a version of this driver whose format we do not know */
};

/* The record's bytes; the caller's. */
char *claims_record_encode(const struct ledger_claim *claim, size_t *ret_n);
/* 0 and a claim of the caller's; CLAIMS_RECORD_NEWER; or -EBADMSG with the reason: truncated,
 * checksum, not our format. */
int claims_record_decode(const char *bytes, size_t n, struct ledger_claim **ret_claim,
                         struct error *err);
