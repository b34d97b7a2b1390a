/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prepares and unprepares claims, however many callers ask: read the claim, check it, find room in
 * the ledger, make that durable, answer.
 *
 * All calls for one claim UID run through one job, so that concurrent and repeated calls share
 * their work and get the same answer. A claim that finds no room waits here for a release: kubelet
 * retries a refused Prepare only after 60 to 90 s, and after a forced deletion it prepares the new
 * claim before it unprepares the old one.
 *
 * Before prepare_activate() every request is held: an instance that waits for its predecessor to
 * exit accepts calls, but must not write.
 */
#pragma once

#include "claims/request.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct prepare;
struct records;

#define PREPARE_CDI_PREFIX "dra-tdx" /* name prefix of the claims' CDI devices: "dra-tdx5" */

struct prepare *prepare_new(const struct prepare_options *options);
/* Requires prepare_is_idle(). */
void prepare_free(struct prepare *prepare);

/* Serve requests from now on, starting with those held so far. The caller has loaded the records
 * into the ledger. */
void prepare_activate(struct prepare *prepare, struct records *records, const char *boot_id);

/* patience_ms: how long the caller will wait for its answer. */
void prepare_claim(struct prepare *prepare, struct prepare_request *request,
                   const struct prepare_claim_id *id, uint64_t patience_ms);
/* Never asks the API server. Succeeds if the claim is not held. */
void prepare_release(struct prepare *prepare, struct prepare_request *request,
                     const struct prepare_claim_id *id);
/* The caller has gone: on_done is not called. If no other caller waits for the claim, its work
 * stops, but a write in flight completes. No-op if the request is not pending. */
void prepare_cancel(struct prepare_request *request);

/* For a slow timer. If the directory of records was removed or replaced, save all held claims
 * again, and repeat that at each call until they are on disk: a lost file never releases a claim.
 * True: the directory was lost since the last call. */
bool prepare_keep_records(struct prepare *prepare);
/* The ledger has new claims without a record: save all held claims. */
void prepare_record_held(struct prepare *prepare);
/* Why held claims are missing on disk; NULL: none are. Borrowed until the next call. */
const char *prepare_record_trouble(const struct prepare *prepare);
/* For a slow timer: retry the removal of records that failed when their claims were unprepared. */
void prepare_retry_removals(struct prepare *prepare);

/* The total has changed: try the waiting claims again. */
void prepare_retry_waiting(struct prepare *prepare);

/* Reject all requests that have not reached the disk, present and future; in-flight writes
 * complete. */
void prepare_stop(struct prepare *prepare);
/* Number of claims that wait for a TD. */
size_t prepare_n_waiting(const struct prepare *prepare);
bool prepare_is_idle(const struct prepare *prepare); /* no job is left */
