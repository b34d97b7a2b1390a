/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ledger on disk: one record per claim, in <state>/claims/<uid>, in the format of
 * claims/record.
 *
 * One file per claim, rather than one file for all, keeps the cost of a Prepare flat however many
 * claims are held, confines damage to one claim whose UID is still known from the file name, and
 * lets Unprepare succeed on a full disk, since removing needs no space.
 *
 * A write is reported only once it is durable: written to a temporary name, synced, renamed,
 * directory synced. Writes run on a worker thread of libuv. Those ordered while a round is running
 * form the next round, which shares one directory sync.
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

/* Open the directory state_dir/claims, and create it with mode 0700 if it is missing. is_durable
 * false omits the syncs: for measurements only. */
int records_open(uv_loop_t *loop, const char *state_dir, bool is_durable, struct records **ret,
                 struct error *err);
/* Requires records_is_idle(). */
void records_free(struct records *records);
/* Whether the directory was removed, renamed or mounted over since the last call. From then on
 * writes go to a new directory at the same path, or fail if it cannot be created. The owner must
 * save again what the old one had. */
bool records_take_lost(struct records *records);

bool records_is_idle(const struct records *records);

/* Read every record into the ledger. A damaged record (also a link or anything else that is not a
 * regular file) is moved to state_dir/damaged/<uid>.<unix time>, and one of a newer version to
 * state_dir/newer/<uid>.<unix time>. Either way its claim enters the ledger as is_uncertain with
 * boot_id, the current boot (after the next boot no TD of it runs), and a record saying so replaces
 * the old one, for the next start. on_damaged is called once for each; reason says whether the
 * record was moved. If the disk refuses writes, the record stays and the next start finds it again.
 * Left-over temporary files are removed, foreign files left alone. 0, or -errno if this process
 * cannot read the directory or a record (descriptors, memory, permissions): the set of held claims
 * is then unknown. */
typedef void records_on_damaged(void *owner, const char *uid, const struct error *reason);
int records_load(struct records *records, struct ledger *ledger, const char *boot_id,
                 records_on_damaged *on_damaged, void *owner, struct error *err);

/* Called on the loop thread once the write is durable (error->code 0) or has failed. A failed write
 * leaves the disk unchanged, except if the directory's sync failed: then every write of that round
 * fails, and the next start may find any of them done. */
typedef void records_on_done(void *owner, const struct error *error);

/* Write or replace the claim's record. The claim is encoded before this returns. Writes and
 * removals for one claim are carried out in the order given. */
void records_save(struct records *records, const struct ledger_claim *claim,
                  records_on_done *on_done, void *owner);
/* Remove the record of a UID. A missing record counts as removed. */
void records_remove(struct records *records, const char *uid, records_on_done *on_done,
                    void *owner);
