/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the VMs' requests ended: counts for the node and each TD, and the last RELAY_QUOTES_KEPT
 * quotes for the drivers. Pure.
 *
 * Quotes are numbered from 0. A quote is told once any driver has been given its line.
 */
#pragma once

#include "host/relay_message.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct outcomes;

struct outcomes *outcomes_new(void);
void outcomes_free(struct outcomes *outcomes); /* NULL is fine */

void outcomes_add(struct outcomes *outcomes, const struct relay_quote *quote);
/* A predecessor's counts, in place of the TD's or the node's own. */
void outcomes_set(struct outcomes *outcomes, const struct relay_snapshot *snapshot);

/* The number that the next quote will have. */
uint64_t outcomes_next(const struct outcomes *outcomes);
/* The first that is neither told nor overwritten; outcomes_next() if there is none. */
uint64_t outcomes_first_untold(const struct outcomes *outcomes);
/* NULL: overwritten, or not there yet. Borrowed until the next one is added. */
const struct relay_quote *outcomes_quote(const struct outcomes *outcomes, uint64_t number);
/* The quotes before this number are told. */
void outcomes_told(struct outcomes *outcomes, uint64_t number);

/* Of the node first, then of each TD that had a quote; *position begins with 0. False: no more. */
bool outcomes_snapshot(const struct outcomes *outcomes, size_t *position,
                       struct relay_snapshot *ret);
