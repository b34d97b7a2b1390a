/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What can be measured of the driver, as plain numbers, and its text for Prometheus (exposition
 * format 0.0.4). Pure: the numbers are given.
 *
 * Base units, counters that end in _total and begin at zero with the process, every series there
 * from the first scrape on. What is not known yet has no sample: that is not the same as zero.
 */
#pragma once

#include "base/histogram.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct text;

enum metrics_path { METRICS_DRA, METRICS_PLUGIN, METRICS_N_PATHS };
enum metrics_result { METRICS_SUCCESS, METRICS_ERROR, METRICS_N_RESULTS };

/* What went wrong between us and the API server, by who can help. */
enum metrics_api_error {
        METRICS_API_FORBIDDEN,
        METRICS_API_INVALID,
        METRICS_API_NOT_SERVED,
        METRICS_API_UNANSWERED, /* no, a busy or an unusable answer */
        METRICS_N_API_ERRORS
};

struct metrics {
        const char *version; /* goes into a label as it is */

        bool is_active; /* holds the node's lock; what is counted below is empty otherwise */
        bool is_served[METRICS_N_PATHS];
        bool is_registered[METRICS_N_PATHS];
        bool is_foreign_plugin;

        bool is_qgs_known;
        const char *qgs_state; /* one word: "stale"; NULL is fine while it is not known */
        bool is_attesting;     /* QGS answers a VM */
        bool is_schedulable;   /* false: no new VM is placed here */
        bool refuses_path, refuses_enforced; /* fields of the KubeVirt CR, not followed */

        bool is_capacity_known;
        unsigned capacity; /* TDs */
        unsigned held[METRICS_N_PATHS];
        unsigned free;          /* to be offered */
        unsigned overcommitted; /* held beyond the capacity */

        bool is_measured;        /* the host shows which TDs it runs */
        unsigned running;        /* all of them */
        unsigned foreign;        /* that no claim and no pod holds */
        unsigned leaked;         /* key IDs that are charged though their VM has gone */
        uint64_t refused_starts; /* by a misc.max */

        size_t n_claims;
        size_t n_waiting;
        uint64_t prepares[METRICS_N_RESULTS];
        uint64_t unprepares[METRICS_N_RESULTS];
        struct histogram prepare_durations;
        uint64_t refusals[METRICS_N_PATHS];

        bool is_publishing; /* there is an API server, and DRA is served */
        bool is_published;  /* what is there is what is wanted */
        size_t n_slices;
        int64_t published_s; /* Unix time when it was so last; 0: never */
        uint64_t api_errors[METRICS_N_API_ERRORS];

        uint64_t podresources_errors;
        uint64_t list_pushes;

        /* The process. */
        int64_t started_s; /* Unix time */
        double cpu_seconds;
        uint64_t resident_bytes; /* 0: not known */
};

/* Appends the page. */
void metrics_print(const struct metrics *metrics, struct text *page);
