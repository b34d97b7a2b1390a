/* SPDX-License-Identifier: Apache-2.0 */
#include "base/brake.h"

#include <time.h>

bool brake_take(struct brake *brake, uint64_t now_ms, uint64_t *ret_n_left_out)
{
        uint64_t next_ms = atomic_load(&brake->next_ms);

        /* Of two threads that find the brake free, one logs. */
        if (now_ms < next_ms ||
            !atomic_compare_exchange_strong(&brake->next_ms, &next_ms, now_ms + BRAKE_MS)) {
                atomic_fetch_add(&brake->n_left_out, 1);
                return false;
        }
        *ret_n_left_out = atomic_exchange(&brake->n_left_out, 0);
        return true;
}

void brake_log(struct brake *brake, enum log_level level, const char *message,
               const struct log_field *fields)
{
        struct log_field all[LOG_FIELDS_MAX + 2] = { 0 };
        struct timespec now;
        uint64_t n_left_out;
        size_t n = 0;

        clock_gettime(CLOCK_MONOTONIC, &now);
        if (!brake_take(brake, (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000,
                        &n_left_out))
                return;
        while (n < LOG_FIELDS_MAX && fields[n].key) {
                all[n] = fields[n];
                ++n;
        }
        if (n_left_out)
                all[n] = log_int("left_out", (int64_t)n_left_out);
        log_write(level, message, all);
}
