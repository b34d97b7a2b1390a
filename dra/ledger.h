/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who holds a TD on this node: pure decisions, no I/O.
 *
 * TDs are interchangeable, so room is a count: the holders' TDs never exceed the total, regardless
 * of which device names the scheduler chose. A slot (0 ... DEVICE_INDEX_MAX-1) names a TD on the
 * host side, that is the CDI device a claim gets. It is the index in the allocated device's name if
 * that slot is free and below the total, otherwise the lowest free one. So the slots of new claims
 * are always below the total. Design: KEP-4381 (a driver re-checks at Prepare what the scheduler
 * allocated), k/k#136269.
 */
#pragma once

#include "base/memory.h"
#include "base/table.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct text;

/* For adminAccess, which observes a device and consumes nothing. Also for a restored device if no
 * slot is left. */
#define LEDGER_NO_SLOT UINT32_MAX

struct ledger_device {
        char *request; /* base name of the claim's request, without "/subrequest" */
        char *pool;
        char *device;  /* as allocated; the answer to kubelet must repeat this name */
        uint32_t slot; /* which TD; LEDGER_NO_SLOT for adminAccess */
        bool is_admin_access;
};

/* A claim with the devices it was prepared with. All strings are owned. */
struct ledger_claim {
        struct table_node node; /* the ledger's */
        char *uid;
        char *namespace_;
        char *name;
        char *boot_id;     /* of the boot that prepared it */
        bool is_uncertain; /* its record was unreadable: it holds uncertain_tds TDs until kubelet
                              mentions it again */
        unsigned uncertain_tds;
        /* kubelet lists it as prepared, but its UID is not known: uid is "<namespace>/<name>",
         * which cannot be a UID, and it has no record on disk. Such a claim is is_uncertain, too.
         */
        bool is_unidentified;
        bool is_unrecorded; /* the record on disk is missing or differs from this */
        size_t n_devices;
        struct ledger_device *devices;
        size_t n_pods; /* pods whose containers get the devices, as of Prepare; 0: not known */
        char **pod_uids;
};

struct ledger_claim *ledger_claim_new(const char *uid, const char *namespace_, const char *name,
                                      size_t n_devices);
void ledger_claim_free(struct ledger_claim *claim);
DEFINE_CLEANUP(struct ledger_claim, ledger_claim, ledger_claim_free);

/* TDs the claim consumes: its devices without adminAccess, or uncertain_tds while
 * is_uncertain. */
unsigned ledger_claim_weight(const struct ledger_claim *claim);

struct ledger;

struct ledger *ledger_new(void); /* total unknown: nothing fits */
void ledger_free(struct ledger *ledger);
DEFINE_CLEANUP(struct ledger, ledger, ledger_free);

/* The TDs this node may run. The total may fall below what is held: then nothing new fits until
 * enough holders leave. */
void ledger_set_total(struct ledger *ledger, unsigned total);
unsigned ledger_total(const struct ledger *ledger);

bool ledger_is_total_known(const struct ledger *ledger);

/* While incomplete, the ledger may lack claims that are held, so nothing new fits. A new ledger is
 * complete. */
void ledger_set_incomplete(struct ledger *ledger, bool is_incomplete);
bool ledger_is_incomplete(const struct ledger *ledger);

/* TDs of the total that claims cannot have, because plugin devices hold them or they are reserved
 * for plugin devices. */
void ledger_set_elsewhere(struct ledger *ledger, unsigned n);
unsigned ledger_elsewhere(const struct ledger *ledger);

/* TDs of the total that the host is measured to run without a holder in this ledger: neither path
 * offers them. They affect the offer only and never cause a refusal: a measurement lags behind, and
 * a claim whose record was lost is prepared again while its own VM runs. */
void ledger_set_foreign(struct ledger *ledger, unsigned n);
/* The total less the foreign TDs; holders may have more than that. */
unsigned ledger_usable(const struct ledger *ledger);
/* As ledger_set_elsewhere(), but of the usable TDs, and for the offer only. */
void ledger_set_kept(struct ledger *ledger, unsigned n);
unsigned ledger_kept(const struct ledger *ledger);

unsigned ledger_held(const struct ledger *ledger);
size_t ledger_n_claims(const struct ledger *ledger);

enum ledger_outcome {
        LEDGER_FULL =
                1, /* does not fit now, but will once enough holders leave or the total is known */
        LEDGER_TOO_LARGE = 2 /* wants more TDs than the node has in total */
};

/* Add a claim whose UID is not held, giving each device without adminAccess a slot. 0: the ledger
 * owns the claim. An outcome: the ledger is unchanged and the caller still owns the claim. */
int ledger_hold(struct ledger *ledger, struct ledger_claim *claim);

/* Add a claim as it was before a restart. It keeps its slots (if another claim has the same slot,
 * it gets a new one), and it is added even beyond the total, because it already runs. */
void ledger_restore(struct ledger *ledger, struct ledger_claim *claim);

/* Whether a claim holds the device named "tdx<index>" (adminAccess does not count). */
bool ledger_is_device_held(const struct ledger *ledger, unsigned index);

const struct ledger_claim *ledger_find(const struct ledger *ledger,
                                       const char *uid); /* NULL: not held */
/* The claim of that name that is not is_uncertain, with any UID; NULL: none. */
const struct ledger_claim *ledger_find_named(const struct ledger *ledger, const char *namespace_,
                                             const char *name);
/* The claim of that name that is_unidentified; NULL: none. */
const struct ledger_claim *ledger_find_unidentified(const struct ledger *ledger,
                                                    const char *namespace_, const char *name);
/* Release it, as ledger_release() does. */
struct ledger_claim *ledger_release_unidentified(struct ledger *ledger, const char *namespace_,
                                                 const char *name);
/* Remove a claim and give it to the caller. NULL: not held. */
struct ledger_claim *ledger_release(struct ledger *ledger, const char *uid);

/* The record of this claim, which must be held, is on disk now. */
void ledger_set_recorded(struct ledger *ledger, const char *uid);

/* Every claim once, in no order; the ledger must not change in between. NULL starts and ends. */
const struct ledger_claim *ledger_next(const struct ledger *ledger,
                                       const struct ledger_claim *previous);

/* Append "default/a, default/b and 3 more", at most most names, for an error text that names the
 * holders. */
void ledger_describe_holders(const struct ledger *ledger, unsigned most, struct text *text);
