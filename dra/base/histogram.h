/* SPDX-License-Identifier: Apache-2.0 */
/* How long something took, counted in buckets, as Prometheus wants it. */
#pragma once

#include <stdint.h>

#define HISTOGRAM_N_BOUNDS 7

extern const double histogram_bounds_seconds[HISTOGRAM_N_BOUNDS]; /* rising; each is inclusive */

struct histogram {
        uint64_t counts[HISTOGRAM_N_BOUNDS + 1]; /* of each bucket alone; the last has no bound */
        double sum_seconds;
};

void histogram_observe(struct histogram *histogram, double seconds);
