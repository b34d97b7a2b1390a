/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One record as a file in the directory of records: read, put aside, and with the mark of its
 * weight beside it. Blocking file calls on a directory descriptor; no state of its own.
 *
 * Only a regular file is a record. A link, FIFO, socket, device or directory under a claim's UID is
 * damage: it is never followed and never waited for, and its claim holds what the mark says.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct error;
struct ledger_claim;

#define RECORDFILE_MAX (1 << 20) /* bytes; the largest claim makes a record of some 20 KiB */

/* 0 and a claim of the caller's; CLAIMS_RECORD_NEWER; -ENOENT: it is not there; any other -errno
 * with the reason: recordfile_is_our_trouble() tells whether it says anything about the record. An
 * error of the disk or of a full table of descriptors is tried again at once, since the first may
 * pass. */
int recordfile_read(int directory_fd, const char *uid, struct ledger_claim **ret_claim,
                    struct error *err);

/* Descriptors, memory or permissions that we lack: what the record holds is not known. */
bool recordfile_is_our_trouble(int r);

/* A claim that holds as many TDs as the mark says, until kubelet speaks of it. The caller's. */
struct ledger_claim *recordfile_uncertain_claim(int directory_fd, const char *uid);

/* What a scan finds under a claim's UID: 0 and the claim as recorded; or CLAIMS_RECORD_NEWER or
 * -errno with the reason, and an uncertain claim that holds what the mark says. The claim is the
 * callee's.
 */
typedef void recordfile_on_found(void *owner, struct ledger_claim *claim, int r,
                                 struct error *reason);

/* Read every record, in no order: the driver's start and `inspect` see the same. The names are read
 * first, so that on_found may rename and replace what it is told of (POSIX leaves open whether
 * readdir() shows that). path is for texts only. 0, or -errno where the directory or a record
 * cannot be read for a reason that is not the record's: what is held is then not known. */
int recordfile_scan(int directory_fd, const char *path, recordfile_on_found *on_found, void *owner,
                    struct error *err);

/* Keep what lies under the claim's UID as <where>/<uid>.<unix time>, where is a directory beside
 * this one (made if missing), and write the claim's record in its place: otherwise the next start
 * would not know that the claim is held. -errno: the record lies where it lay (disk full,
 * read-only), and the next start finds it again. */
int recordfile_set_aside(int directory_fd, const char *path, const char *where,
                         const struct ledger_claim *claim, bool is_durable, struct error *err);

/* The mark tells how many TDs a claim of more than one holds, whatever happens to the record's
 * bytes: a symbolic link <uid>.tds whose target is the number, so that ls shows it and writing it
 * is one atomic step. Earlier versions kept it in the attribute user.dra.tds of the record, which
 * is read still. Set before the record is written; 0 or -errno. */
int recordfile_mark(int directory_fd, const char *uid, unsigned n_tds);
/* TDs by the mark; 1 without one. */
unsigned recordfile_marked(int directory_fd, const char *uid);
/* After the record was removed. */
void recordfile_unmark(int directory_fd, const char *uid);
/* Remove marks whose record has gone: a kill between the two removals leaves one. */
void recordfile_sweep_marks(int directory_fd);
