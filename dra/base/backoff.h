/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long to wait before the next attempt: pure.
 *
 * After the n-th failure in a row the wait is d = first_ms * 2^(n-1), at most cap_ms, less a random
 * part of up to half of d, so that the nodes of a cluster do not retry in step.
 */
#pragma once

#include <stdint.h>

/* A server's Retry-After is honoured up to this, so that a confused proxy cannot silence us. */
#define BACKOFF_RETRY_AFTER_MAX_MS 300000U /* 5 min */

struct backoff {
        uint32_t first_ms; /* > 0 */
        uint32_t cap_ms;   /* >= first_ms */
        unsigned n_failures;
};

/* Counts one failure; returns the milliseconds to wait: between d/2 and d, but never less than
 * retry_after_ms (0: the server named none). random is any 32 random bits. */
uint64_t backoff_next_ms(struct backoff *backoff, uint64_t retry_after_ms, uint32_t random);

void backoff_reset(struct backoff *backoff);

/* 32 random bits from the kernel; from the clock if the kernel has none yet, early in a boot. */
uint32_t backoff_random(void);
