/* SPDX-License-Identifier: Apache-2.0 */
/* One claim as the bytes of its record, and back: pure. The format is in records.h. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct error;
struct ledger_claim;

/* Devices of one claim: AllocationResultsMaxSize of resource.k8s.io/v1. */
#define RECORDS_TDS_MAX 32

enum records_outcome {
        RECORDS_NEWER = 1 /* written by a version of this driver whose format we do not know */
};

/* The record's bytes; the caller's. */
char *records_encode(const struct ledger_claim *claim, size_t *ret_n);
/* 0 and a claim of the caller's; RECORDS_NEWER; or -EBADMSG with the reason: truncated,
 * checksum, not our format. */
int records_decode(const char *bytes, size_t n, struct ledger_claim **ret_claim, struct error *err);

/* Whether a claim UID can be a file name: 1 to 64 letters, digits and dashes. */
bool records_uid_is_valid(const char *uid);
