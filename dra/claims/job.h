/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All that goes on about one claim UID, for claims/prepare: who asked, how far it is, and the one
 * place that decides what comes next.
 */
#pragma once

#include "base/backoff.h"
#include "base/list.h"
#include "base/table.h"
#include "claims/leftovers.h"
#include "claims/request.h"
#include "claims/rewrite.h"

#include <stdbool.h>

struct kube_call;
struct records;
struct timer;

enum job_state {
        JOB_HELD,     /* the engine is not active yet */
        JOB_READING,  /* GET of the claim, or a pause before the next one */
        JOB_WAITING,  /* for room */
        JOB_SAVING,   /* the record is being written */
        JOB_REMOVING, /* the record is being removed */
        JOB_SETTLED   /* nothing is on its way */
};

struct job {
        struct table_node node; /* by UID */
        struct prepare *prepare;
        char *uid;
        char *namespace_;
        char *name;
        enum job_state state;
        struct list prepares; /* requests */
        struct list releases; /* requests */
        struct list again;    /* prepares that came after those releases */
        struct list waiting;  /* the engine's, while JOB_WAITING */
        struct kube_call *get;
        struct backoff backoff;
        struct ledger_claim *claim; /* read and checked, not yet in the ledger; owned */
        bool is_replacing;          /* while JOB_SAVING: the claim was held before */
        struct timer *timer;        /* retry of the GET, or the end of a wait */
};

struct prepare {
        struct prepare_options options;
        struct records *records;
        char *boot_id;
        char *mount_source;
        bool is_active;
        bool is_stopping;
        struct table jobs;
        struct list waiting; /* jobs, the longest wait first */
        struct leftovers leftovers;
        struct rewrite rewrite;
};

/* Settled; found by its UID in prepare->jobs. */
struct job *job_new(struct prepare *prepare, const struct prepare_claim_id *id);
void job_free(struct job *job);

/* Settled, and something may have changed: start what is asked for next, or end. */
void job_advance(struct job *job);
/* Stop whatever can be stopped (reading, waiting), leaving the job settled. */
void job_settle(struct job *job);
/* There is no room: wait for as long as a caller does, and refuse the others. */
void job_wait(struct job *job);
/* Refuse the Prepares that came after an Unprepare: another one has come. */
void job_forget_again(struct job *job);
/* TDs were released, or there are more: admit what fits. */
void job_retry_waiting(struct prepare *prepare);
