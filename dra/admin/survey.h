/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `run` would go by if it started now: settings, QGS, capacity, and what is held already.
 *
 * `check` and `inspect` print it. It asks with the modules that `run` asks with (attestation,
 * capacity, the records' scan, the probe of QGS), so that the three cannot differ. It writes
 * nothing. Blocks: up to SURVEY_PATIENCE_MS for an API server that does not answer, and for QGS.
 */
#pragma once

#include "base/error.h"
#include "capacity.h"
#include "host/qgs_verdict.h"

#include <stdbool.h>
#include <stdint.h>

struct config;
struct ledger_claim;

#define SURVEY_PATIENCE_MS 15000

struct survey_options {
        bool asks_for_node; /* see survey_api */
        /* Of each record as the scan finds it (claims/recordfile.h); borrowed. NULL is fine. */
        void (*on_record)(const struct ledger_claim *claim, int r, const struct error *reason);
};

/* The API server, asked for this node's Node object if the options say so. */
struct survey_api {
        bool is_ok;
        char text[ERROR_TEXT_SIZE]; /* what it said, or why it was not asked */
};

/* The settings in force: flags, the KubeVirt CR, the last run's record, or the defaults. */
struct survey_settings {
        bool is_enforced;
        bool is_refused;                  /* run does not follow what the flags or the CR say */
        char *host_socket;                /* owned, as is vm_socket; NULL: the flags are unfit */
        char *vm_socket;                  /* in the VM's container */
        char source[2 * ERROR_TEXT_SIZE]; /* where they come from, and why from there */
};

/* TDs that others have, by the records and by the host's cgroups. */
struct survey_held {
        struct error error; /* code 0: the next are known */
        unsigned n_claims;
        unsigned by_claims;
        unsigned by_plugin;
        unsigned withheld; /* run outside Kubernetes, or leaked, beyond the reserve (--foreign) */
};

struct survey {
        struct survey_api api;
        struct survey_settings settings;
        struct qgs_verdict_state qgs; /* of settings.host_socket, by one probe */
        struct capacity_sight capacity;
        struct survey_held held;
        unsigned n_left; /* TDs to offer: the capacity less reserve, held and withheld; 0: not known
                          */
};

void survey_make(const struct config *config, const struct survey_options *options,
                 struct survey *ret);
/* All has been printed: flushes stdout, and waits for a request to QGS that has not been answered
 * yet, up to 30 s, since QGS up to 1.25 is harmed by a connection that is closed early. */
void survey_deinit(struct survey *survey);
static inline void cleanup_survey(struct survey *survey)
{
        survey_deinit(survey);
}
