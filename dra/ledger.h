/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who holds a TD on this node: pure decisions, no I/O.
 *
 * One TD is as good as another, so room is a count: the holders' TDs never exceed the total,
 * whatever the devices were called when the scheduler chose them. A slot (0 ... DEVICE_INDEX_MAX-1)
 * names a TD on the host side, that is the CDI device a claim gets; it is the index of the
 * allocated device's name where that is free and below the total, and the lowest free one
 * otherwise. So the slots of new claims are always below the total. Design: KEP-4381 (a driver
 * re-checks at Prepare what the scheduler allocated), k/k#136269.
 */
#pragma once

#include "base/memory.h"
#include "base/table.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct text;

/* adminAccess: looks at the device, consumes nothing. Also what no slot is left for after a
 * restore. */
#define LEDGER_NO_SLOT UINT32_MAX

struct ledger_device {
        char *request; /* base name of the claim's request, without "/subrequest" */
        char *pool;
        char *device;  /* as allocated; kubelet wants this name back */
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
        bool is_uncertain; /* its record was unreadable: it holds so many TDs until kubelet speaks
                              of it again */
        unsigned uncertain_tds;
        /* kubelet lists it as prepared, and its UID is not known: it stands under
         * "<namespace>/<name>", which is not a UID, and is not on disk. is_uncertain, too. */
        bool is_unidentified;
        bool is_unrecorded; /* what it holds is not on disk as it stands here */
        size_t n_devices;
        struct ledger_device *devices;
        size_t n_pods; /* whose containers get the devices, as of Prepare; 0: not known */
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

/* The TDs this node may run. May fall below what is held: then nothing new fits until enough has
 * left. */
void ledger_set_total(struct ledger *ledger, unsigned total);
unsigned ledger_total(const struct ledger *ledger);

bool ledger_is_total_known(const struct ledger *ledger);

/* While incomplete: claims may be held that the ledger lacks, and nothing new fits. A new ledger is
 * complete. */
void ledger_set_incomplete(struct ledger *ledger, bool is_incomplete);
bool ledger_is_incomplete(const struct ledger *ledger);

/* TDs of the total that claims cannot have: those that plugin devices hold, or are kept for them.
 */
void ledger_set_elsewhere(struct ledger *ledger, unsigned n);
unsigned ledger_elsewhere(const struct ledger *ledger);

/* TDs of the total that run outside what is held here, as the host measures it: neither path offers
 * them. They shape the offer alone: a measurement lags behind, and a claim whose record was lost is
 * prepared again while its own VM runs, so nothing is refused for it. */
void ledger_set_foreign(struct ledger *ledger, unsigned n);
/* The total less those; what is held may be more. */
unsigned ledger_usable(const struct ledger *ledger);
/* As ledger_set_elsewhere(), of the usable TDs and for the offer. */
void ledger_set_kept(struct ledger *ledger, unsigned n);
unsigned ledger_kept(const struct ledger *ledger);

unsigned ledger_held(const struct ledger *ledger);
size_t ledger_n_claims(const struct ledger *ledger);

enum ledger_outcome {
        LEDGER_FULL =
                1, /* does not fit now; does when enough holders leave, or the total is known */
        LEDGER_TOO_LARGE = 2 /* wants more TDs than the node has at all */
};

/* Take in a claim whose UID is not held, giving each device without adminAccess a slot: 0 and the
 * ledger owns the claim, or an outcome, the ledger unchanged and the claim still the caller's. */
int ledger_hold(struct ledger *ledger, struct ledger_claim *claim);

/* Take in a claim as it was before a restart: its slots stand (a slot that another claim has, too,
 * is given anew), and the total does not matter: what is held is held. */
void ledger_restore(struct ledger *ledger, struct ledger_claim *claim);

/* Whether a claim was allocated the device "tdx<index>" (adminAccess does not count). */
bool ledger_is_device_held(const struct ledger *ledger, unsigned index);

const struct ledger_claim *ledger_find(const struct ledger *ledger,
                                       const char *uid); /* NULL: not held */
/* The claim of that name, whatever its UID, that is not is_uncertain; NULL: none. */
const struct ledger_claim *ledger_find_named(const struct ledger *ledger, const char *namespace_,
                                             const char *name);
/* The claim of that name that is_unidentified. */
const struct ledger_claim *ledger_find_unidentified(const struct ledger *ledger,
                                                    const char *namespace_, const char *name);
/* Give it up, as ledger_release(). */
struct ledger_claim *ledger_release_unidentified(struct ledger *ledger, const char *namespace_,
                                                 const char *name);
/* Give a claim up: it is the caller's again. NULL: not held. */
struct ledger_claim *ledger_release(struct ledger *ledger, const char *uid);

/* The claim, which is held, is on disk now. */
void ledger_set_recorded(struct ledger *ledger, const char *uid);

/* Every claim once, in no order; the ledger must not change in between. NULL starts and ends. */
const struct ledger_claim *ledger_next(const struct ledger *ledger,
                                       const struct ledger_claim *previous);

/* "default/a, default/b and 3 more", at most most names, for a person who asks who is in the way.
 */
void ledger_describe_holders(const struct ledger *ledger, unsigned most, struct text *text);
