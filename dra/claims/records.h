/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ledger on disk: one record a claim, in <state>/claims/<uid>.
 *
 * A file a claim, rather than one file for all, keeps the cost of a Prepare flat however many
 * claims are held, confines damage to one claim whose UID the file name still tells, and lets
 * Unprepare succeed on a full disk, since removing needs no room. Their bytes are those of
 * claims/record.
 *
 * Writes are durable before they are reported: written to a temporary name, synced, renamed,
 * directory synced. They run on a worker thread of libuv; those that come while one is on its way
 * go together in the next round and share its directory sync.
 */
#pragma once

#include "base/memory.h"
#include "claims/record.h"

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

struct records;
struct error;
struct ledger;
struct ledger_claim;

/* Open (creating it where missing, 0700) the directory state_dir/claims. is_durable false leaves
 * out the syncs: for measurements only. */
int records_open(uv_loop_t *loop, const char *state_dir, bool is_durable, struct records **ret,
                 struct error *err);
/* Only when nothing is pending (see records_is_idle). */
void records_free(struct records *records);
/* Whether the directory has been removed, renamed away or mounted over since this was asked last.
 * Orders go to a new one under its path from then on, or fail if it cannot be made; what the old
 * one had, the owner must save again. */
bool records_take_lost(struct records *records);

bool records_is_idle(const struct records *records);

/* Read every record into the ledger. A damaged record (also a link or anything else that is not a
 * regular file) goes to state_dir/damaged/<uid>.<unix time>, one of a newer version to
 * state_dir/newer/<uid>.<unix time>; either way its claim goes into the ledger as is_uncertain, of
 * the boot boot_id (which is this one: after the next, no TD of it runs), a record that says so
 * takes the old one's place (so that the next start knows, too), and on_damaged hears of it, once;
 * reason says whether it was moved aside. Where the disk takes no writes the record stays where it
 * is and is found again. Left-over temporary files are removed, foreign files left alone. 0, or
 * -errno where the directory or a record cannot be read for a reason that is not the record's
 * (descriptors, memory, permissions): what is held is then not known. */
typedef void records_on_damaged(void *owner, const char *uid, const struct error *reason);
int records_load(struct records *records, struct ledger *ledger, const char *boot_id,
                 records_on_damaged *on_damaged, void *owner, struct error *err);

/* Called on the loop thread when the write is durable (error->code 0) or has failed. It then left
 * the disk as it was, unless it was the directory's sync that failed: then all of a round fail, and
 * the next start may find any of them done. */
typedef void records_on_done(void *owner, const struct error *error);

/* Write (or replace) the claim's record; the claim is encoded before this returns. Orders per claim
 * are kept. */
void records_save(struct records *records, const struct ledger_claim *claim,
                  records_on_done *on_done, void *owner);
/* Remove the record of a UID; one that is not there counts as removed. */
void records_remove(struct records *records, const char *uid, records_on_done *on_done,
                    void *owner);
