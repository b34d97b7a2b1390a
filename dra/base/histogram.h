/* SPDX-License-Identifier: Apache-2.0 */
/* Durations counted in buckets, for a Prometheus histogram. */
#pragma once

#include <stdint.h>

#define HISTOGRAM_N_BOUNDS 7

extern const double histogram_bounds_seconds[HISTOGRAM_N_BOUNDS]; /* rising; each is inclusive */

struct histogram {
        uint64_t counts[HISTOGRAM_N_BOUNDS +
                        1]; /* per bucket, not cumulative; the last has no bound */
        double sum_seconds;
};

void histogram_observe(struct histogram *histogram, double seconds);
