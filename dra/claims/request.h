/* SPDX-License-Identifier: Apache-2.0 */
/* What claims/prepare is given and asked: types that it shares with claims/job. */
#pragma once

#include "base/list.h"

#include <stdint.h>
#include <uv.h>

struct cdi_store;
struct error;
struct job;
struct kube_api;
struct ledger;
struct ledger_claim;

/* Everything is borrowed and outlives the engine. */
struct prepare_options {
        uv_loop_t *loop;
        struct ledger *ledger;
        struct cdi_store *cdi;
        struct kube_api *api; /* NULL: no API server is configured, and no claim can be read */
        const char *pool;     /* the node's name */
        uint64_t wait_ms;     /* for room, and for an API server that does not answer */
        void (*on_held_changed)(void *owner); /* what claims hold has changed */
        /* A claim was unprepared or released; NULL: not wanted. */
        void (*on_released)(void *owner, const char *namespace_, const char *name);
        /* The CDI spec was missing or changed, and a claim's answer wrote it again. NULL is fine.
         */
        void (*on_spec_restored)(void *owner);
        void *owner;
};

struct prepare_claim_id {
        const char *namespace_;
        const char *name;
        const char *uid;
};

/* claim is what the claim holds, borrowed for the duration of the call back, or NULL with the
 * reason in error: -ENOSPC where no TD was free (after a release claim is always NULL, and
 * error->code tells). The request may be freed in it; the engine must not be called. */
typedef void prepare_on_done(void *owner, const struct ledger_claim *claim,
                             const struct error *error);

/* One caller's wish for one claim, in the caller's storage: set on_done and owner, leave the rest.
 * It stays until on_done was called (which may happen at once) or prepare_cancel(). */
struct prepare_request {
        prepare_on_done *on_done;
        void *owner;
        struct list link;
        uint64_t deadline_ms; /* loop time: until when it waits for room */
        struct job *job;      /* NULL: not pending */
};
