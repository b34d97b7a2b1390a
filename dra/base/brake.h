/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Log lines for a cause that can repeat faster than a person reads: one a second, and the next one
 * says how many were left out.
 *
 *         log_warn_braked("cannot accept a connection", log_str("socket", path));
 *
 * Each place in the code has its own brake, on any thread. Not for a line that is logged once per
 * change of a state: if it were left out, nothing would say what the state is.
 */
#pragma once

#include "base/log.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define BRAKE_MS 1000

/* Zeros: nothing logged yet. */
struct brake {
        atomic_uint_fast64_t next_ms; /* the earliest time of the next line */
        atomic_uint_fast64_t n_left_out;
};

/* True: log now; *ret_n_left_out lines were left out since the last one. now_ms: of a monotonic
 * clock. */
bool brake_take(struct brake *brake, uint64_t now_ms, uint64_t *ret_n_left_out);

/* As log_write(), at most once per BRAKE_MS; adds left_out=N to the fields, if there is any. */
void brake_log(struct brake *brake, enum log_level level, const char *message,
               const struct log_field *fields);

/* clang-format off */
#define log_braked(level, message, ...)                                              \
        do {                                                                         \
                static struct brake brake_;                                          \
                                                                                     \
                brake_log(&brake_, (level), (message), log_fields(__VA_ARGS__));     \
        } while (0)
#define log_error_braked(message, ...) log_braked(LOG_ERROR, (message), __VA_ARGS__)
#define log_warn_braked(message, ...)  log_braked(LOG_WARN, (message), __VA_ARGS__)
/* clang-format on */
