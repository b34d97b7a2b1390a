/* SPDX-License-Identifier: Apache-2.0 */
#include "e2e/bench/figures.h"

#include "base/memory.h"

#include <stdlib.h>

void sample(struct samples *samples, uint64_t ns)
{
        if (samples->n == samples->n_allocated) {
                samples->n_allocated = samples->n ? samples->n * 2 : 1024;
                samples->ns = xreallocarray(samples->ns, samples->n_allocated, sizeof(uint64_t));
        }
        samples->ns[samples->n++] = ns;
}

static int compare(const void *a, const void *b)
{
        uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

        return (x > y) - (x < y);
}

double percentile_us(struct samples *samples, unsigned percent)
{
        size_t rank = (samples->n * percent + 99) / 100;

        if (!samples->n)
                return 0;
        qsort(samples->ns, samples->n, sizeof(uint64_t), compare);
        return (double)samples->ns[rank ? rank - 1 : 0] / 1000;
}
