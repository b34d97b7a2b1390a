/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides who owns each TD that the host runs. Pure; the caller passes the time, in milliseconds of
 * any monotonic clock.
 *
 * A TD in a holder's pod is that holder's. Every other charged key ID is foreign (libvirt, Kata, a
 * pod that runs more than it holds) or leaked, and reduces the TDs that may be offered.
 *
 * A VM never counts twice: it is held from its holder's Prepare or Allocate on, and its TD appears
 * later, in that holder's pod. If a holder's pods are not known, TDs in pods without a holder, or
 * in cgroups that cannot be told apart, are taken for that holder's. A holder ends before the
 * kernel has freed the VM's key ID, so a rise of foreign or leaked TDs counts only after
 * MEASURE_SETTLE_MS and two readings in a row. A fall counts at once.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct misc_tree;

#define MEASURE_SETTLE_MS 5000U

/* A claim or a plugin device, which may run TDs. Borrowed. */
struct measure_holder {
        unsigned tds;
        const char *const *pod_uids; /* the pods it may run them in */
        size_t n_pods;               /* 0: not known */
};

/* Each charged key ID counts in exactly one of them. */
struct measure_found {
        unsigned ours;
        unsigned foreign;
        unsigned leaked;
};

/* *ret_foreign_at: for each place of the tree, how many TDs are foreign; the caller's. */
void measure_attribute(const struct misc_tree *tree, const struct measure_holder *holders,
                       size_t n_holders, struct measure_found *ret, unsigned **ret_foreign_at);

/* One number with its hysteresis. */
struct measure_level {
        unsigned in_force;
        unsigned rising; /* the least of the readings above in_force since rising_since_ms */
        bool is_rising;
        uint64_t rising_since_ms;
};

struct measure {
        bool is_known; /* false: there was no reading yet */
        struct measure_level foreign;
        struct measure_level leaked;
};

#define MEASURE_NULL \
        {            \
                0    \
        }

/* Take in a reading. The first one is in force at once: a driver that has just started must not
 * offer TDs that others use. Returns whether a number in force has changed, or is known for the
 * first time. */
bool measure_take(struct measure *measure, const struct measure_found *found, uint64_t now_ms);

/* TDs to withhold in addition to those that --reserve keeps for others anyway. */
unsigned measure_withheld(const struct measure *measure, unsigned reserve);
