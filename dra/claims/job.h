/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The job of one claim UID: who asked, which step it has reached, and the single function that
 * decides the next step, job_advance(). Internal to claims/prepare.
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
        JOB_SETTLED   /* no request or write is in flight */
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
        struct list again;    /* prepares that arrived after those releases */
        struct list waiting;  /* in prepare->waiting, while JOB_WAITING */
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
        bool is_active;
        bool is_stopping;
        struct table jobs;
        struct list waiting; /* jobs, the longest wait first */
        struct leftovers leftovers;
        struct rewrite rewrite;
};

/* Returns a settled job, already in prepare->jobs under its UID. */
struct job *job_new(struct prepare *prepare, const struct prepare_claim_id *id);
void job_free(struct job *job);

/* The job is settled and something may have changed: start the next step, or free the job if
 * nothing is left to do. */
void job_advance(struct job *job);
/* Stop reading or waiting. The job is settled afterwards. */
void job_settle(struct job *job);
/* There is no room: keep the callers whose deadline lies ahead waiting, and refuse the others. */
void job_wait(struct job *job);
/* Refuse the Prepares that followed an Unprepare, because another Unprepare has arrived. */
void job_forget_again(struct job *job);
/* TDs were released or added: admit the waiting claims that fit. */
void job_retry_waiting(struct prepare *prepare);
