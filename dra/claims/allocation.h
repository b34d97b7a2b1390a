/* SPDX-License-Identifier: Apache-2.0 */
/* Checks a claim that the API server returned against this node, and converts it to a claim of the
 * ledger. Pure. */
#pragma once

#include <stdbool.h>

struct claim;
struct error;
struct ledger_claim;

/* Check that the claim with kubelet's uid may be prepared in this pool. 0, or -errno with the
 * reason for the pod's Event. -ESTALE: the name now belongs to a different claim. -EAGAIN: the
 * claim is not allocated. -EINVAL: this driver cannot prepare it. */
int allocation_check(const struct claim *claim, const char *uid, const char *pool,
                     struct error *error);

/* True if the claim has a device in this pool; false also if it is not allocated. */
bool allocation_is_here(const struct claim *claim, const char *pool);

/* The result is the caller's, and none of its devices has a slot yet. The claim must have passed
 * allocation_check(), or allocation_is_here(). */
struct ledger_claim *allocation_to_ledger(const struct claim *claim, const char *uid,
                                          const char *namespace_, const char *name,
                                          const char *boot_id);
