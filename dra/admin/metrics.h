/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver's metrics as plain numbers, and their text for Prometheus (exposition format 0.0.4).
 * Pure: the caller supplies the numbers.
 *
 * Base units; counters end in _total and start at zero with the process; every series exists from
 * the first scrape on. A value that is not known yet has no sample, because zero would mean
 * something else.
 */
#pragma once

#include "base/histogram.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct text;

enum metrics_path { METRICS_DRA, METRICS_PLUGIN, METRICS_N_PATHS };
enum metrics_result { METRICS_SUCCESS, METRICS_ERROR, METRICS_N_RESULTS };

/* Failures between us and the API server, grouped by remedy. */
enum metrics_api_error {
        METRICS_API_FORBIDDEN,
        METRICS_API_INVALID,
        METRICS_API_NOT_SERVED,
        METRICS_API_UNANSWERED, /* no answer, a busy server, or an unusable answer */
        METRICS_N_API_ERRORS
};

/* How requests for quotes ended (host/relay_message.h). */
enum metrics_quote {
        METRICS_QUOTE_DELIVERED,
        METRICS_QUOTE_QGS_ERROR,
        METRICS_QUOTE_GAVE_UP,
        METRICS_QUOTE_MALFORMED,
        METRICS_QUOTE_REFUSED_TYPE,
        METRICS_QUOTE_LEFT,
        METRICS_N_QUOTES
};

struct metrics {
        const char *version; /* copied into a label without escaping */

        bool is_active; /* holds the node's lock; otherwise the counts below are empty */
        bool is_served[METRICS_N_PATHS];
        bool is_registered[METRICS_N_PATHS];
        bool is_foreign_plugin;

        bool is_qgs_known;
        const char *qgs_state; /* one word: "stale"; may be NULL while is_qgs_known is false */
        bool is_attesting;     /* QGS answers a VM */
        bool is_schedulable;   /* false: no new VM is placed here */
        bool refuses_path, refuses_enforced; /* fields of the KubeVirt CR that are refused */

        bool is_relaying; /* --qgs=relay; otherwise the next four are not shown */
        bool is_relay_connected;
        uint64_t quotes[METRICS_N_QUOTES]; /* VMs' requests, by how they ended */
        uint64_t delivered_s;              /* Unix time of the last delivered quote; 0: none yet */
        uint64_t quotes_unlogged;

        bool is_capacity_known;
        unsigned capacity; /* TDs */
        unsigned held[METRICS_N_PATHS];
        unsigned free;          /* left to offer */
        unsigned overcommitted; /* held beyond the capacity */

        bool is_measured;        /* the host shows which TDs it runs */
        unsigned running;        /* TDs, with or without a holder */
        unsigned foreign;        /* TDs that no claim and no pod holds */
        unsigned leaked;         /* key IDs that are charged although their VM has ended */
        uint64_t refused_starts; /* by a misc.max */

        size_t n_claims;
        bool is_unrecorded; /* the disk refuses records of claims that are held */
        size_t n_waiting;
        uint64_t prepares[METRICS_N_RESULTS];
        uint64_t unprepares[METRICS_N_RESULTS];
        struct histogram prepare_durations;
        uint64_t refusals[METRICS_N_PATHS];

        bool is_publishing; /* an API server is configured and the DRA path is on */
        bool is_published;  /* the API server's slices are the wanted ones */
        size_t n_slices;
        int64_t published_s; /* Unix time when is_published was last true; 0: never */
        uint64_t api_errors[METRICS_N_API_ERRORS];

        uint64_t podresources_errors;
        uint64_t list_pushes;

        /* The process. */
        int64_t started_s; /* Unix time */
        double cpu_seconds;
        uint64_t resident_bytes; /* 0: not known */
        uint64_t log_lines_dropped;
};

/* Appends the page. */
void metrics_print(const struct metrics *metrics, struct text *page);
