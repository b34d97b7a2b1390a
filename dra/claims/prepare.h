/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Preparing and unpreparing one claim, whoever asks and however often: read the claim, check it,
 * find room in the ledger, make that durable, answer.
 *
 * Everything about one claim UID runs through one job, so that concurrent and repeated calls for it
 * share their work and get the same answer. Where a claim finds no room it waits here for a
 * release: kubelet tries a refused Prepare again only after 60 to 90 s, and on a forced deletion it
 * prepares the new claim before it unprepares the old one.
 *
 * Before prepare_activate() every request is held: an instance that waits for its predecessor to
 * leave takes calls, but must not write.
 */
#pragma once

#include "claims/request.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct prepare;
struct records;

#define PREPARE_CDI_PREFIX "dra-tdx" /* of the CDI devices that claims get: "dra-tdx5" */

struct prepare *prepare_new(const struct prepare_options *options);
/* Only when it is idle. */
void prepare_free(struct prepare *prepare);

/* The directory that the CDI devices mount, from now on, as this process sees it; copied. It is
 * created before an answer if it is missing. NULL: this process cannot see it, and leaves it to the
 * container runtime. To be called before the first claim is answered. */
void prepare_set_mount_source(struct prepare *prepare, const char *directory);

/* From now on requests are served, those held so far first. The checkpoint was loaded into the
 * ledger. */
void prepare_activate(struct prepare *prepare, struct records *records, const char *boot_id);

/* patience_ms: how long the caller itself will wait. */
void prepare_claim(struct prepare *prepare, struct prepare_request *request,
                   const struct prepare_claim_id *id, uint64_t patience_ms);
/* Never asks the API server, and succeeds for a claim that is not held. */
void prepare_release(struct prepare *prepare, struct prepare_request *request,
                     const struct prepare_claim_id *id);
/* The caller has gone: on_done is not called any more, and work that nobody else wants stops where
 * it can. Harmless for a request that is not pending. */
void prepare_cancel(struct prepare_request *request);

/* For a slow timer: if the records' directory has been taken away, save again all that is held, at
 * each call until it is on disk. What is in memory is never given up for what is not on disk. True:
 * it was taken away since the last call. */
bool prepare_keep_records(struct prepare *prepare);
/* Claims were added to the ledger that have no record: save all that is held. */
void prepare_record_held(struct prepare *prepare);
/* Why claims that are held are not on disk; NULL: they are. Borrowed until the next call. */
const char *prepare_record_trouble(const struct prepare *prepare);
/* Remove the records that could not be removed when their claims were unprepared; for a slow timer.
 */
void prepare_retry_removals(struct prepare *prepare);

/* The total has changed: whoever waits is looked at again. */
void prepare_retry_waiting(struct prepare *prepare);

/* Refuse everything that is not yet being written, now and from now on; what is being written ends
 * by itself. */
void prepare_stop(struct prepare *prepare);
/* Claims that wait for a TD. */
size_t prepare_n_waiting(const struct prepare *prepare);
bool prepare_is_idle(const struct prepare *prepare); /* no job is left */
