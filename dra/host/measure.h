/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whose the TDs are that the host runs: pure, time is given, in milliseconds of any monotonic
 * clock.
 *
 * A TD in a pod that holds one is that holder's. Every other key ID that is charged is foreign
 * (libvirt, Kata, a pod that runs more than it holds) or leaked, and takes a TD from what may be
 * offered.
 *
 * A VM never counts twice: from its holder's Prepare or Allocate on it is held, and its TD appears
 * later, in that holder's pod. If the pod's cgroup is not known, TDs in pods that hold nothing, or
 * that cannot be told apart, are taken for the holder's. A VM that ends leaves its holder before
 * the kernel has freed its key ID: so what is not ours must be so for MEASURE_SETTLE_MS, and in two
 * readings in a row, before it counts. What has gone is gone at once.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct misc_tree;

#define MEASURE_SETTLE_MS 5000U

/* Someone who may run TDs: a claim, or a device of the plugin. Borrowed. */
struct measure_holder {
        unsigned tds;
        const char *const *pod_uids; /* the pods it may run them in */
        size_t n_pods;               /* 0: not known */
};

/* Each key ID that is charged is in one of them. */
struct measure_found {
        unsigned ours;
        unsigned foreign;
        unsigned leaked;
};

/* ret_foreign_at: how many of each place are foreign, as many as the tree has places; the caller's.
 */
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

/* A reading. The first one is in force at once: a driver that has just started must not offer what
 * others use. Whether what is in force has changed, or is known for the first time. */
bool measure_take(struct measure *measure, const struct measure_found *found, uint64_t now_ms);

/* TDs that cannot be offered, given those that are kept for others anyway (--reserve). */
unsigned measure_withheld(const struct measure *measure, unsigned reserve);
