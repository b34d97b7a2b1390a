/* SPDX-License-Identifier: Apache-2.0 */
/* A claim as the API server has it, checked against this node and turned into one of the ledger's:
 * pure. */
#pragma once

#include <stdbool.h>

struct claim;
struct error;
struct ledger_claim;

/* Whether what kubelet calls uid may be prepared in this pool. 0, or -errno with the reason for the
 * pod's event: -ESTALE: another claim of that name by now; -EAGAIN: not allocated; -EINVAL: not
 * ours to prepare. */
int allocation_check(const struct claim *claim, const char *uid, const char *pool,
                     struct error *error);

/* Whether the claim has a device of this pool; false also if it is not allocated at all. */
bool allocation_is_here(const struct claim *claim, const char *pool);

/* The caller's. No device has a slot yet. claim is checked, or its devices are of this pool. */
struct ledger_claim *allocation_to_ledger(const struct claim *claim, const char *uid,
                                          const char *namespace_, const char *name,
                                          const char *boot_id);
