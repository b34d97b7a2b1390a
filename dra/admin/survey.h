/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The facts that `run` would start from now: settings, QGS, capacity, and the TDs already held.
 *
 * `check` and `inspect` print them. The survey uses the same modules as `run` (attestation,
 * capacity, the scan of the records, the QGS probe), so that the three commands cannot differ. It
 * writes nothing. It blocks for up to SURVEY_PATIENCE_MS on an API server that does not answer, and
 * on QGS.
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
        /* Called for each record that the scan finds (claims/recordfile.h); arguments are borrowed.
         * NULL is fine. */
        void (*on_record)(const struct ledger_claim *claim, int r, const struct error *reason);
};

/* The API server, asked for this node's Node object if asks_for_node is set. */
struct survey_api {
        bool is_ok;
        char text[ERROR_TEXT_SIZE]; /* its answer, or why it was not asked */
};

/* The settings in force: flags, the KubeVirt CR, the last run's record, or the defaults. */
struct survey_settings {
        bool is_enforced;
        bool is_refused;                  /* run would refuse a value of the flags or of the CR */
        char *host_socket;                /* owned, as is vm_socket; NULL: the flags are invalid */
        char *vm_socket;                  /* in the VM's container */
        char source[2 * ERROR_TEXT_SIZE]; /* where the settings come from, and why */
};

/* TDs in use, by the driver's records and by the host's cgroups. */
struct survey_held {
        struct error error; /* code 0: the counts below are known */
        unsigned n_claims;
        unsigned by_claims;
        unsigned by_plugin;
        unsigned withheld; /* TDs outside Kubernetes and leaked key IDs, beyond the reserve
                              (--foreign) */
};

struct survey {
        struct survey_api api;
        struct survey_settings settings;
        struct qgs_verdict_state qgs; /* verdict on settings.host_socket after one probe */
        struct capacity_sight capacity;
        struct survey_held held;
        unsigned n_left; /* TDs to offer: the capacity less reserve, held and withheld; 0 also if
                            not known */
};

void survey_make(const struct config *config, const struct survey_options *options,
                 struct survey *ret);
/* Call it after printing: flushes stdout, then waits up to 30 s for QGS to answer a pending
 * request (and says so on stderr), because closing a connection early harms QGS up to 1.25. */
void survey_deinit(struct survey *survey);
static inline void cleanup_survey(struct survey *survey)
{
        survey_deinit(survey);
}
