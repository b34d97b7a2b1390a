/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many TDs the driver may hand out: what host/capacity reads, less the reserve. Each state of
 * the reading is logged once.
 */
#pragma once

#include "base/error.h"

#include <stdbool.h>

struct config;

struct capacity {
        const struct config *config;
        bool is_known;
        unsigned tds;       /* of both paths */
        int outcome;        /* of the last reading */
        struct error error; /* of the last one that failed */
};

void capacity_init(struct capacity *total, const struct config *config);

/* Read it again. Whether it has changed, or is known for the first time. A reading that fails says
 * nothing about the host: what was known stands. */
bool capacity_read(struct capacity *total);
