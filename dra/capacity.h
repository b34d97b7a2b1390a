/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many TDs the driver may hand out: host/misc's reading less the reserve. `run`, `check` and
 * `inspect` all read it here, so they report the same; `run` logs each state of the reading once.
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
        unsigned n_offered;    /* n_host less the reserve, at most DEVICE_INDEX_MAX */
        enum kvm_tdx kvm;      /* with MISC_NO_TDX only */
        char source[PATH_MAX]; /* the file, or "--capacity"; "" with MISC_NO_FILE */
        char reason[ERROR_TEXT_SIZE]; /* why n_offered is 0, with the remedy; "": it is not */
};

/* kvm_file: KVM_TDX_FILE. */
void capacity_look(const struct config *config, const char *kvm_file, struct capacity_sight *ret);

struct capacity {
        const struct config *config;
        const char *kvm_file; /* borrowed; capacity_init() sets KVM_TDX_FILE */
        bool is_known;
        unsigned tds;                 /* for both paths */
        uint64_t n_host;              /* that the host can run */
        char reason[ERROR_TEXT_SIZE]; /* logged last */
};

void capacity_init(struct capacity *total, const struct config *config);

/* Read again. True if the value changed or is known for the first time. A failed reading says
 * nothing about the host, so the last known value stays. */
bool capacity_read(struct capacity *total);
