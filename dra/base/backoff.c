/* SPDX-License-Identifier: Apache-2.0 */
#include "base/backoff.h"

#include <assert.h>
#include <sys/random.h>
#include <time.h>

uint64_t backoff_next_ms(struct backoff *backoff, uint64_t retry_after_ms, uint32_t random)
{
        uint64_t delay = backoff->first_ms, asked;

        assert(backoff->first_ms > 0 && backoff->cap_ms >= backoff->first_ms);
        /* Doubling stops at the cap, so that no number of failures overflows. */
        for (unsigned i = 0; i < backoff->n_failures && delay < backoff->cap_ms; ++i)
                delay *= 2;
        if (delay > backoff->cap_ms)
                delay = backoff->cap_ms;
        if (backoff->n_failures < UINT32_MAX)
                ++backoff->n_failures;
        delay -= random % (delay / 2 + 1);
        asked = retry_after_ms < BACKOFF_RETRY_AFTER_MAX_MS ? retry_after_ms
                                                            : BACKOFF_RETRY_AFTER_MAX_MS;
        return delay > asked ? delay : asked;
}

void backoff_reset(struct backoff *backoff)
{
        backoff->n_failures = 0;
}

uint32_t backoff_random(void)
{
        struct timespec now;
        uint32_t random;

        if (getrandom(&random, sizeof(random), GRND_NONBLOCK) == sizeof(random))
                return random;
        clock_gettime(CLOCK_MONOTONIC, &now);
        return (uint32_t)now.tv_nsec;
}
