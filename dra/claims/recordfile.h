/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One record as a file in the directory of records: reads it, sets it aside, and keeps the mark of
 * its weight beside it. Blocking file calls on a directory descriptor; keeps no state.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct error;
struct ledger_claim;

#define RECORDFILE_MAX (1 << 20) /* bytes; the largest claim makes a record of about 20 KiB */

/* 0 and the claim, which is the caller's; CLAIMS_RECORD_NEWER; -ENOENT: there is no record; any
 * other -errno with the reason: recordfile_is_our_trouble() tells whether this process is at fault
 * rather than the record. A disk error, or a full descriptor table, is retried at once, because it
 * may be transient. */
int recordfile_read(int directory_fd, const char *uid, struct ledger_claim **ret_claim,
                    struct error *err);

/* This process lacks descriptors, memory or permissions, so the content of the record is unknown.
 */
bool recordfile_is_our_trouble(int r);

/* A claim that holds as many TDs as the mark says, until kubelet names it. The caller's. */
struct ledger_claim *recordfile_uncertain_claim(int directory_fd, const char *uid);

/* One result of a scan. r is 0: claim is the one recorded. r is CLAIMS_RECORD_NEWER or -errno with
 * the reason: claim is an uncertain one that holds what the mark says. The callee owns the claim.
 */
typedef void recordfile_on_found(void *owner, struct ledger_claim *claim, int r,
                                 struct error *reason);

/* Read every record, in no order; the driver's start and `inspect` share this. All names are read
 * before the first call, so that on_found may rename and replace its file (POSIX leaves open
 * whether readdir() shows that). path is for messages only. 0, or -errno if this process cannot
 * read the directory or a record: the set of held claims is then unknown. */
int recordfile_scan(int directory_fd, const char *path, recordfile_on_found *on_found, void *owner,
                    struct error *err);

/* Keep the file named by the claim's UID as <where>/<uid>.<unix time>, and write the claim's record
 * in its place, so that the next start knows the claim is held. where is a directory beside this
 * one, created if missing. -errno (disk full, read-only): the file is left in place, and the next
 * start finds it again. */
int recordfile_set_aside(int directory_fd, const char *path, const char *where,
                         const struct ledger_claim *claim, bool is_durable, struct error *err);

/* Record how many TDs a claim with more than one holds, so that the number survives damage to the
 * record. The mark is a symbolic link <uid>.tds whose target is the number: ls shows it, and
 * writing it is one atomic step. Earlier versions used the record's attribute user.dra.tds, which
 * is still read. Call this before writing the record. 0 or -errno. */
int recordfile_mark(int directory_fd, const char *uid, unsigned n_tds);
/* TDs according to the mark; 1 if there is none. */
unsigned recordfile_marked(int directory_fd, const char *uid);
/* Remove the mark. Call this after removing the record. */
void recordfile_unmark(int directory_fd, const char *uid);
/* Remove marks without a record: a kill between the two removals leaves one. */
void recordfile_sweep_marks(int directory_fd);
