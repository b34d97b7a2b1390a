/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records without a claim that could not be removed because the disk refused writes. Their TDs were
 * released anyway: refusing the Unprepare would keep the pod in Terminating.
 */
#pragma once

#include "base/list.h"

#include <stdbool.h>

struct records;

struct leftovers {
        struct list list;
};

void leftovers_init(struct leftovers *leftovers);
void leftovers_deinit(struct leftovers *leftovers);

void leftovers_add(struct leftovers *leftovers, const char *uid);
bool leftovers_has(const struct leftovers *leftovers, const char *uid);

/* Try to remove each record again. If is_claimed says that the claim exists again, its record is an
 * ordinary one, so drop it from the list. */
void leftovers_retry(struct leftovers *leftovers, struct records *records,
                     bool (*is_claimed)(void *owner, const char *uid), void *owner);
