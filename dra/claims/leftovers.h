/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records that belong to no claim any more and could not be removed, because the disk took no
 * writes. The claim's TD was given back all the same: refusing would keep its pod in Terminating.
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

/* Try to remove each again. One whose claim is there again (is_claimed) is a record like any other,
 * and no leftover any more. */
void leftovers_retry(struct leftovers *leftovers, struct records *records,
                     bool (*is_claimed)(void *owner, const char *uid), void *owner);
