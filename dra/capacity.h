/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many TDs the driver may hand out: what host/misc reads, less the reserve. `run`, `check` and
 * `inspect` read it here and say the same of it; `run` logs each state of the reading once.
 */
#pragma once

#include "base/error.h"
#include "host/kvm.h"

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

struct config;

/* One reading. */
struct capacity_sight {
        int outcome;           /* 0, enum misc_outcome, or a negative errno: nothing is known */
        uint64_t n_host;       /* TDs that the host can run; 0 unless outcome is 0 */
        unsigned n_offered;    /* of them, less the reserve, at most DEVICE_INDEX_MAX */
        enum kvm_tdx kvm;      /* with MISC_NO_TDX only */
        char source[PATH_MAX]; /* the file, or "--capacity"; "" with MISC_NO_FILE */
        char reason[ERROR_TEXT_SIZE]; /* why there is none to offer, with the remedy; "": there is
                                       */
};

/* kvm_file: KVM_TDX_FILE. */
void capacity_look(const struct config *config, const char *kvm_file, struct capacity_sight *ret);

struct capacity {
        const struct config *config;
        const char *kvm_file; /* borrowed; capacity_init() says KVM_TDX_FILE */
        bool is_known;
        unsigned tds;                 /* of both paths */
        uint64_t n_host;              /* that the host can run */
        char reason[ERROR_TEXT_SIZE]; /* logged last */
};

void capacity_init(struct capacity *total, const struct config *config);

/* Read it again. Whether it has changed, or is known for the first time. A reading that fails says
 * nothing about the host: what was known stands. */
bool capacity_read(struct capacity *total);
