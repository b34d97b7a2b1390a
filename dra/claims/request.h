/* SPDX-License-Identifier: Apache-2.0 */
/* Options and requests of claims/prepare: the types that it shares with claims/job. */
#pragma once

#include "base/list.h"

#include <stdint.h>
#include <uv.h>

struct error;
struct job;
struct kube_api;
struct ledger;
struct ledger_claim;

/* All pointers are borrowed and outlive the engine. */
struct prepare_options {
        uv_loop_t *loop;
        struct ledger *ledger;
        struct kube_api *api; /* NULL: no API server is configured, so no claim can be read */
        const char *pool;     /* the node's name */
        uint64_t wait_ms;     /* longest wait for room, or for an API server that does not answer */
        void (*on_held_changed)(void *owner); /* the set of held TDs has changed */
        /* A claim was unprepared or released. May be NULL. */
        void (*on_released)(void *owner, const char *namespace_, const char *name);
        /* A held claim is about to be answered: make sure that a container can be given the devices
         * that the answer names. A negative errno with its text refuses this Prepare. */
        int (*on_answering)(void *owner, struct error *err);
        void *owner;
};

struct prepare_claim_id {
        const char *namespace_;
        const char *name;
        const char *uid;
};

/* After a Prepare: claim is the held claim, borrowed for the call, or NULL with the reason in
 * error; -ENOSPC: no TD was free. After a release claim is always NULL, and error->code tells the
 * outcome. The callback may free the request, but must not call the engine. */
typedef void prepare_on_done(void *owner, const struct ledger_claim *claim,
                             const struct error *error);

/* One caller's request for one claim, in the caller's storage: set on_done and owner, leave the
 * rest. Keep it until on_done was called (possibly at once) or prepare_cancel() returned. */
struct prepare_request {
        prepare_on_done *on_done;
        void *owner;
        struct list link;
        uint64_t deadline_ms; /* loop time at which it stops waiting for room */
        struct job *job;      /* NULL: not pending */
};
