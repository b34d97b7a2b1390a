/* SPDX-License-Identifier: Apache-2.0 */
/* Exact parsing of numbers and durations. Nothing else turns digits into integers. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* n bytes, all of them decimal digits, at least one: no sign, no space, no prefix. 0, -EINVAL, or
 * -ERANGE beyond 2^64-1. *ret is untouched on failure. */
int parse_u64(const char *bytes, size_t n, uint64_t *ret);

/* "500ms", "30s", "2m", "1h", or "0": milliseconds, at most ten years. 0, -EINVAL or -ERANGE. */
int parse_duration_ms(const char *string, uint64_t *ret_ms);
