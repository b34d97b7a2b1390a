/* SPDX-License-Identifier: Apache-2.0 */
#include "base/histogram.h"

#include <stddef.h>

/* From an empty Prepare (a millisecond) to the longest wait for a TD (--prepare-wait). */
const double histogram_bounds_seconds[HISTOGRAM_N_BOUNDS] = { 0.005, 0.025, 0.1, 0.5, 2, 10, 30 };

void histogram_observe(struct histogram *histogram, double seconds)
{
        size_t i = 0;

        while (i < HISTOGRAM_N_BOUNDS && seconds > histogram_bounds_seconds[i])
                ++i;
        ++histogram->counts[i];
        histogram->sum_seconds += seconds;
}
