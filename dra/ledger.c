/* SPDX-License-Identifier: Apache-2.0 */
#include "ledger.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"
#include "device.h"

#include <assert.h>
#include <string.h>

#define SLOTS_PER_WORD 64U
#define N_WORDS        (DEVICE_INDEX_MAX / SLOTS_PER_WORD)

struct ledger {
        struct table claims; /* by UID */
        unsigned total;
        bool is_total_known;
        bool is_incomplete;
        unsigned held;
        unsigned elsewhere;
        unsigned foreign;
        unsigned kept;
        uint64_t taken[N_WORDS];            /* slots, a bit each */
        unsigned first_word;                /* no word below it has a free slot */
        uint16_t n_named[DEVICE_INDEX_MAX]; /* how many claims' devices have each name */
};

struct ledger_claim *ledger_claim_new(const char *uid, const char *namespace_, const char *name,
                                      size_t n_devices)
{
        struct ledger_claim *claim = xcalloc(1, sizeof(*claim));

        claim->uid = xstrdup(uid);
        claim->namespace_ = xstrdup(namespace_);
        claim->name = xstrdup(name);
        claim->n_devices = n_devices;
        claim->devices = xcalloc(n_devices, sizeof(*claim->devices));
        return claim;
}

void ledger_claim_free(struct ledger_claim *claim)
{
        if (!claim)
                return;
        for (size_t i = 0; i < claim->n_devices; ++i) {
                free(claim->devices[i].request);
                free(claim->devices[i].pool);
                free(claim->devices[i].device);
        }
        free(claim->devices);
        for (size_t i = 0; i < claim->n_pods; ++i)
                free(claim->pod_uids[i]);
        free(claim->pod_uids);
        free(claim->uid);
        free(claim->namespace_);
        free(claim->name);
        free(claim->boot_id);
        free(claim);
}

unsigned ledger_claim_weight(const struct ledger_claim *claim)
{
        unsigned weight = 0;

        if (claim->is_uncertain)
                return claim->uncertain_tds;
        for (size_t i = 0; i < claim->n_devices; ++i)
                weight += !claim->devices[i].is_admin_access;
        return weight;
}

struct ledger *ledger_new(void)
{
        return xcalloc(1, sizeof(struct ledger));
}

static struct ledger_claim *claim_of(struct table_node *node)
{
        return node ? container_of(node, struct ledger_claim, node) : NULL;
}

void ledger_free(struct ledger *ledger)
{
        struct table_node *node;

        if (!ledger)
                return;
        while ((node = table_next(&ledger->claims, NULL))) {
                table_remove(&ledger->claims, node);
                ledger_claim_free(claim_of(node));
        }
        table_deinit(&ledger->claims);
        free(ledger);
}

void ledger_set_total(struct ledger *ledger, unsigned total)
{
        assert(total <= DEVICE_INDEX_MAX);
        ledger->total = total;
        ledger->is_total_known = true;
}

unsigned ledger_total(const struct ledger *ledger)
{
        return ledger->total;
}

bool ledger_is_total_known(const struct ledger *ledger)
{
        return ledger->is_total_known;
}

void ledger_set_incomplete(struct ledger *ledger, bool is_incomplete)
{
        ledger->is_incomplete = is_incomplete;
}

bool ledger_is_incomplete(const struct ledger *ledger)
{
        return ledger->is_incomplete;
}

void ledger_set_elsewhere(struct ledger *ledger, unsigned n)
{
        ledger->elsewhere = n;
}

unsigned ledger_elsewhere(const struct ledger *ledger)
{
        return ledger->elsewhere;
}

void ledger_set_foreign(struct ledger *ledger, unsigned n)
{
        ledger->foreign = n;
}

unsigned ledger_usable(const struct ledger *ledger)
{
        return ledger->total > ledger->foreign ? ledger->total - ledger->foreign : 0;
}

void ledger_set_kept(struct ledger *ledger, unsigned n)
{
        ledger->kept = n;
}

unsigned ledger_kept(const struct ledger *ledger)
{
        return ledger->kept;
}

unsigned ledger_held(const struct ledger *ledger)
{
        return ledger->held;
}

size_t ledger_n_claims(const struct ledger *ledger)
{
        return ledger->claims.n_nodes;
}

/* ---- slots ---- */

static bool is_taken(const struct ledger *ledger, uint32_t slot)
{
        return ledger->taken[slot / SLOTS_PER_WORD] >> (slot % SLOTS_PER_WORD) & 1;
}

static void take_slot(struct ledger *ledger, uint32_t slot)
{
        ledger->taken[slot / SLOTS_PER_WORD] |= UINT64_C(1) << (slot % SLOTS_PER_WORD);
}

static void leave_slot(struct ledger *ledger, uint32_t slot)
{
        unsigned word = slot / SLOTS_PER_WORD;

        ledger->taken[word] &= ~(UINT64_C(1) << (slot % SLOTS_PER_WORD));
        if (word < ledger->first_word)
                ledger->first_word = word;
}

/* The lowest free slot, so that slots stay below the total and thus in the CDI spec. Checks one
 * word per 64 slots taken since the hint was set: at most 64 words, on the largest node when it is
 * full. */
static uint32_t take_lowest_slot(struct ledger *ledger)
{
        for (; ledger->first_word < N_WORDS; ++ledger->first_word) {
                uint64_t free_slots = ~ledger->taken[ledger->first_word];
                uint32_t slot;

                if (!free_slots)
                        continue;
                slot = ledger->first_word * SLOTS_PER_WORD + (uint32_t)__builtin_ctzll(free_slots);
                take_slot(ledger, slot);
                return slot;
        }
        return LEDGER_NO_SLOT;
}

/* The slot that the device is named after if it is free and below limit; otherwise LEDGER_NO_SLOT.
 */
static uint32_t take_named_slot(struct ledger *ledger, const char *device, unsigned limit)
{
        unsigned index;

        if (device_parse(device, &index) < 0 || index >= limit || is_taken(ledger, index))
                return LEDGER_NO_SLOT;
        take_slot(ledger, index);
        return index;
}

/* First the devices whose own slot is free, so that none takes the slot that another device of the
 * claim is named after. */
static void assign_slots(struct ledger *ledger, struct ledger_claim *claim, unsigned limit)
{
        struct ledger_device *end = claim->devices + claim->n_devices;

        for (struct ledger_device *device = claim->devices; device < end; ++device)
                if (device->slot == LEDGER_NO_SLOT && !device->is_admin_access)
                        device->slot = take_named_slot(ledger, device->device, limit);
        for (struct ledger_device *device = claim->devices; device < end; ++device)
                if (device->slot == LEDGER_NO_SLOT && !device->is_admin_access)
                        device->slot = take_lowest_slot(ledger);
}

/* ---- holding ---- */

static void count_names(struct ledger *ledger, const struct ledger_claim *claim, int change)
{
        unsigned index;

        for (size_t i = 0; i < claim->n_devices; ++i)
                if (!claim->devices[i].is_admin_access &&
                    device_parse(claim->devices[i].device, &index) == 0)
                        ledger->n_named[index] = (uint16_t)(ledger->n_named[index] + change);
}

static void add(struct ledger *ledger, struct ledger_claim *claim)
{
        table_insert(&ledger->claims, &claim->node, claim->uid);
        ledger->held += ledger_claim_weight(claim);
        count_names(ledger, claim, 1);
}

int ledger_hold(struct ledger *ledger, struct ledger_claim *claim)
{
        unsigned weight = ledger_claim_weight(claim);

        assert(!ledger_find(ledger, claim->uid));
        /* If the total or the holders are not known yet, let the pod wait rather than send it to
         * another node. */
        if (weight && (!ledger->is_total_known || ledger->is_incomplete))
                return LEDGER_FULL;
        if (weight > ledger->total)
                return LEDGER_TOO_LARGE;
        if (weight && ledger->held + ledger->elsewhere + weight > ledger->total)
                return LEDGER_FULL;
        for (size_t i = 0; i < claim->n_devices; ++i)
                claim->devices[i].slot = LEDGER_NO_SLOT;
        /* Fewer than total slots are taken, so the lowest free ones lie below the total. */
        assign_slots(ledger, claim, ledger->total);
        add(ledger, claim);
        return 0;
}

void ledger_restore(struct ledger *ledger, struct ledger_claim *claim)
{
        assert(!ledger_find(ledger, claim->uid));
        for (size_t i = 0; i < claim->n_devices; ++i) {
                struct ledger_device *device = &claim->devices[i];

                if (device->is_admin_access || device->slot >= DEVICE_INDEX_MAX ||
                    is_taken(ledger, device->slot))
                        device->slot = LEDGER_NO_SLOT;
                else
                        take_slot(ledger, device->slot);
        }
        assign_slots(ledger, claim, DEVICE_INDEX_MAX);
        add(ledger, claim);
}

bool ledger_is_device_held(const struct ledger *ledger, unsigned index)
{
        return ledger->n_named[index] > 0;
}

const struct ledger_claim *ledger_find(const struct ledger *ledger, const char *uid)
{
        return claim_of(table_find(&ledger->claims, uid));
}

struct ledger_claim *ledger_release(struct ledger *ledger, const char *uid)
{
        struct ledger_claim *claim = claim_of(table_find(&ledger->claims, uid));

        if (!claim)
                return NULL;
        table_remove(&ledger->claims, &claim->node);
        ledger->held -= ledger_claim_weight(claim);
        count_names(ledger, claim, -1);
        for (size_t i = 0; i < claim->n_devices; ++i)
                if (claim->devices[i].slot != LEDGER_NO_SLOT)
                        leave_slot(ledger, claim->devices[i].slot);
        return claim;
}

const struct ledger_claim *ledger_find_named(const struct ledger *ledger, const char *namespace_,
                                             const char *name)
{
        const struct ledger_claim *claim = NULL;

        while ((claim = ledger_next(ledger, claim)))
                if (!claim->is_uncertain && strcmp(claim->name, name) == 0 &&
                    strcmp(claim->namespace_, namespace_) == 0)
                        return claim;
        return NULL;
}

const struct ledger_claim *ledger_find_unidentified(const struct ledger *ledger,
                                                    const char *namespace_, const char *name)
{
        _cleanup_(free) char *key = xasprintf("%s/%s", namespace_, name);

        return ledger_find(ledger, key);
}

struct ledger_claim *ledger_release_unidentified(struct ledger *ledger, const char *namespace_,
                                                 const char *name)
{
        _cleanup_(free) char *key = xasprintf("%s/%s", namespace_, name);

        return ledger_release(ledger, key);
}

void ledger_set_recorded(struct ledger *ledger, const char *uid)
{
        claim_of(table_find(&ledger->claims, uid))->is_unrecorded = false;
}

const struct ledger_claim *ledger_next(const struct ledger *ledger,
                                       const struct ledger_claim *previous)
{
        return claim_of(table_next(&ledger->claims, previous ? &previous->node : NULL));
}

void ledger_describe_holders(const struct ledger *ledger, unsigned most, struct text *text)
{
        const struct ledger_claim *claim = NULL;
        size_t n_named = 0, n_claims = 0;

        while ((claim = ledger_next(ledger, claim))) {
                if (!ledger_claim_weight(claim))
                        continue;
                if (++n_claims > most)
                        continue;
                ++n_named;
                if (claim->is_uncertain && !claim->is_unidentified)
                        text_addf(text, "%sclaim with UID %s", n_named > 1 ? ", " : "", claim->uid);
                else
                        text_addf(text, "%s%s/%s", n_named > 1 ? ", " : "", claim->namespace_,
                                  claim->name);
        }
        if (n_claims > n_named)
                text_addf(text, " and %zu more", n_claims - n_named);
        if (ledger->elsewhere)
                text_addf(text, "%s%u by the device plugin's pods", n_claims ? ", and " : "",
                          ledger->elsewhere);
}
