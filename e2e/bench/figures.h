/* SPDX-License-Identifier: Apache-2.0 */
/* Samples and their percentiles. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct samples {
        uint64_t *ns;
        size_t n;
        size_t n_allocated;
};

void sample(struct samples *samples, uint64_t ns);
/* The nearest-rank percentile in microseconds; 0 if there are no samples. */
double percentile_us(struct samples *samples, unsigned percent);
