/* SPDX-License-Identifier: Apache-2.0 */
#include "claims/rebuild.h"

#include "base/backoff.h"
#include "base/error.h"
#include "base/list.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/timer.h"
#include "cdi/spec.h"
#include "claims/allocation.h"
#include "claims/prepare.h"
#include "config.h"
#include "device.h"
#include "kube/api.h"
#include "kube/claim.h"
#include "ledger.h"

#include <errno.h>
#include <string.h>

#define UNLISTED_TWICE 2U /* lists in a row without a claim before it is released */

/* A claim that kubelet lists and the ledger lacks. */
struct lost {
        struct list link;
        struct rebuild *rebuild;
        char *namespace_;
        char *name;
        size_t n_devices;
        struct {
                char *device;
                uint32_t slot;
        } * devices;
        struct kube_call *get;
        struct backoff backoff;
        struct timer *retry;
        unsigned n_unlisted; /* lists in a row without it */
        bool is_answered;    /* the API server was asked, successfully or not */
        bool is_held;        /* in the ledger, without a UID */
};

/* A recent release: "namespace/name", and when. */
struct release {
        struct list link;
        char *key;
        uint64_t at_ms;
};

struct rebuild {
        struct rebuild_options options;
        char *boot_id;
        struct timer *timer;
        struct list lost;
        struct list releases; /* latest last */
        char **listed;        /* keys, of the last list */
        size_t n_listed;
        uint64_t listed_ms;     /* time of the last list; 0: never */
        uint64_t unanswered_ms; /* since when kubelet has not answered */
        uint64_t first_pods_ms; /* time of the first list with a pod; 0: never */
        unsigned n_found;       /* claims without a record */
        bool is_there;          /* kubelet was running at the last look */
        bool is_believed;       /* a trusted list has arrived */
        bool is_complete;
        bool is_finished; /* no more claims can appear */
        bool had_no_record;
};

static void look(struct rebuild *rebuild);

static uint64_t now(const struct rebuild *rebuild)
{
        return uv_now(rebuild->options.loop);
}

static uint64_t kubelet_age_ms(const struct rebuild *rebuild)
{
        return rebuild->options.kubelet_age_ms(rebuild->options.kubelet_owner);
}

static char *key_of(const char *namespace_, const char *name)
{
        return xasprintf("%s/%s", namespace_, name);
}

/* ---- recent releases ---- */

static void release_free(struct release *release)
{
        list_unlink(&release->link);
        free(release->key);
        free(release);
}

void rebuild_released(struct rebuild *rebuild, const char *namespace_, const char *name)
{
        struct release *release = xcalloc(1, sizeof(*release));

        release->key = key_of(namespace_, name);
        release->at_ms = now(rebuild);
        list_add_tail(&rebuild->releases, &release->link);
        while (container_of(rebuild->releases.next, struct release, link)->at_ms +
                       REBUILD_RELEASED_MS <
               release->at_ms)
                release_free(container_of(rebuild->releases.next, struct release, link));
}

static bool was_released(const struct rebuild *rebuild, const char *namespace_, const char *name)
{
        _cleanup_(free) char *key = key_of(namespace_, name);
        const struct list *position;

        list_for_each (position, &rebuild->releases) {
                const struct release *release = container_of(position, struct release, link);

                if (release->at_ms + REBUILD_RELEASED_MS >= now(rebuild) &&
                    strcmp(release->key, key) == 0)
                        return true;
        }
        return false;
}

/* ---- one lost claim ---- */

static void lost_free(struct lost *lost)
{
        list_unlink(&lost->link);
        if (lost->get)
                kube_cancel(lost->get);
        timer_free(lost->retry);
        for (size_t i = 0; i < lost->n_devices; ++i)
                free(lost->devices[i].device);
        free(lost->devices);
        free(lost->namespace_);
        free(lost->name);
        free(lost);
}

static struct lost *find_lost(const struct rebuild *rebuild, const char *namespace_,
                              const char *name)
{
        struct list *position;

        list_for_each (position, &rebuild->lost) {
                struct lost *lost = container_of(position, struct lost, link);

                if (strcmp(lost->name, name) == 0 && strcmp(lost->namespace_, namespace_) == 0)
                        return lost;
        }
        return NULL;
}

/* The slot in a CDI name: 5 for "kubevirt.io/tdx=dra-tdx5"; LEDGER_NO_SLOT if the name is not ours.
 */
static uint32_t slot_of(const char *cdi)
{
        static const char prefix[] = CDI_KIND "=" PREPARE_CDI_PREFIX;
        unsigned index;

        /* The prefix ends with "tdx", which is part of the device's name: "dra-" "tdx5". */
        if (strncmp(cdi, prefix, sizeof(prefix) - 1) != 0 ||
            device_parse(cdi + sizeof(prefix) - 1 - strlen("tdx"), &index) < 0)
                return LEDGER_NO_SLOT;
        return index;
}

static void add_device(struct lost *lost, const struct device_prepared *device)
{
        for (size_t i = 0; i < lost->n_devices; ++i)
                if (strcmp(lost->devices[i].device, device->device) == 0)
                        return;
        lost->devices = xreallocarray(lost->devices, lost->n_devices + 1, sizeof(*lost->devices));
        lost->devices[lost->n_devices].device = xstrdup(device->device);
        lost->devices[lost->n_devices++].slot = slot_of(device->cdi);
}

/* Hold the claim without a UID, by its name, as long as kubelet lists it. It may belong to a
 * damaged record, which has a UID and no name. Until the API server tells, both are held: rather
 * one TD too many than one too few. */
static void hold_by_name(struct lost *lost)
{
        _cleanup_(free) char *key = key_of(lost->namespace_, lost->name);
        const struct rebuild_options *options = &lost->rebuild->options;
        struct ledger_claim *claim;

        if (lost->is_held || ledger_find(options->ledger, key))
                return;
        claim = ledger_claim_new(key, lost->namespace_, lost->name, lost->n_devices);
        for (size_t i = 0; i < lost->n_devices; ++i)
                claim->devices[i] =
                        (struct ledger_device){ .request = xstrdup(""),
                                                .pool = xstrdup(options->pool),
                                                .device = xstrdup(lost->devices[i].device),
                                                .slot = lost->devices[i].slot };
        claim->is_uncertain = true;
        claim->is_unidentified = true;
        claim->uncertain_tds = (unsigned)lost->n_devices;
        lost->is_held = true;
        log_warn("kubelet has prepared a claim that has no record, holding it by its name",
                 log_str("namespace", lost->namespace_), log_str("claim", lost->name),
                 log_int("tds", (int64_t)lost->n_devices));
        ledger_restore(options->ledger, claim);
        options->on_changed(options->owner);
}

static void take_slots(struct ledger_claim *claim, const struct lost *lost)
{
        for (size_t i = 0; i < claim->n_devices; ++i)
                for (size_t j = 0; j < lost->n_devices; ++j)
                        if (strcmp(claim->devices[i].device, lost->devices[j].device) == 0)
                                claim->devices[i].slot = lost->devices[j].slot;
}

/* The API server has a UID for the name: hold the claim under it, and write its record again. */
static void hold_by_uid(struct lost *lost, const struct claim *seen)
{
        const struct rebuild_options *options = &lost->rebuild->options;
        struct ledger_claim *claim;

        ledger_claim_free(
                ledger_release_unidentified(options->ledger, lost->namespace_, lost->name));
        /* The claim may also stand for a damaged record of that UID, which has no further content.
         */
        ledger_claim_free(ledger_release(options->ledger, seen->uid));
        claim = allocation_to_ledger(seen, seen->uid, lost->namespace_, lost->name,
                                     lost->rebuild->boot_id);
        claim->is_unrecorded = true;
        take_slots(claim, lost);
        log_warn("kubelet has prepared a claim that has no readable record, holding and recording "
                 "it",
                 log_str("namespace", lost->namespace_), log_str("claim", lost->name),
                 log_str("uid", seen->uid), log_int("tds", ledger_claim_weight(claim)));
        ledger_restore(options->ledger, claim);
        prepare_record_held(options->prepare);
        options->on_changed(options->owner);
}

static void ask_api(struct lost *lost);

static void on_retry(void *owner)
{
        ask_api(owner);
}

/* kubelet may have prepared an older claim of this name, deleted since. The API server's is then
 * not allocated to this pool, or does not exist, and only kubelet's list tells. */
static void on_claim(void *owner, const struct kube_reply *reply)
{
        _cleanup_(claim) struct claim seen = CLAIM_NULL;
        struct lost *lost = owner;
        struct rebuild *rebuild = lost->rebuild;
        const struct ledger *ledger = rebuild->options.ledger;
        bool is_known = false;

        lost->get = NULL;
        lost->is_answered = true;
        if (reply->outcome == KUBE_OK)
                is_known = claim_parse(reply->object, DRIVER_NAME, &seen, NULL) == 0 && seen.uid &&
                           allocation_is_here(&seen, rebuild->options.pool);
        if (ledger_find_named(ledger, lost->namespace_, lost->name) ||
            was_released(rebuild, lost->namespace_, lost->name)) {
                lost_free(lost); /* prepared or unprepared meanwhile */
        } else if (is_known) {
                hold_by_uid(lost, &seen);
                lost_free(lost);
        } else {
                hold_by_name(lost);
                if (reply->outcome != KUBE_OK && reply->outcome != KUBE_NOT_FOUND)
                        timer_start(lost->retry,
                                    backoff_next_ms(&lost->backoff, reply->retry_after_ms,
                                                    backoff_random()));
        }
        look(rebuild);
}

static void ask_api(struct lost *lost)
{
        _cleanup_(free) char *path = kube_path_claim(lost->namespace_, lost->name);

        lost->get = kube_get(lost->rebuild->options.api, path, "ResourceClaim", on_claim, lost);
}

static struct lost *lost_new(struct rebuild *rebuild, const struct device_prepared *device)
{
        struct lost *lost = xcalloc(1, sizeof(*lost));

        lost->rebuild = rebuild;
        lost->namespace_ = xstrdup(device->namespace_);
        lost->name = xstrdup(device->claim);
        lost->backoff = (struct backoff){ .first_ms = 500, .cap_ms = 5000 };
        lost->retry = timer_new(rebuild->options.loop, on_retry, lost);
        list_add_tail(&rebuild->lost, &lost->link);
        return lost;
}

/* ---- kubelet's list ---- */

static void forget_list(struct rebuild *rebuild)
{
        while (rebuild->n_listed)
                free(rebuild->listed[--rebuild->n_listed]);
        free(take_ptr(rebuild->listed));
}

static void keep_list(struct rebuild *rebuild, const struct device_prepared *devices, size_t n)
{
        forget_list(rebuild);
        rebuild->listed = xcalloc(n, sizeof(*rebuild->listed));
        for (; rebuild->n_listed < n; ++rebuild->n_listed)
                rebuild->listed[rebuild->n_listed] = key_of(devices[rebuild->n_listed].namespace_,
                                                            devices[rebuild->n_listed].claim);
        rebuild->listed_ms = now(rebuild);
}

static bool is_listed(const struct rebuild *rebuild, const char *namespace_, const char *name)
{
        _cleanup_(free) char *key = key_of(namespace_, name);

        for (size_t i = 0; i < rebuild->n_listed; ++i)
                if (strcmp(rebuild->listed[i], key) == 0)
                        return true;
        return false;
}

enum rebuild_answer rebuild_lists(const struct rebuild *rebuild, const char *namespace_,
                                  const char *name)
{
        if (!rebuild || !rebuild->listed_ms ||
            now(rebuild) - rebuild->listed_ms > 2ULL * REBUILD_REFRESH_MS)
                return REBUILD_UNKNOWN;
        return is_listed(rebuild, namespace_, name) ? REBUILD_LISTED : REBUILD_UNLISTED;
}

/* Collect the list's lost claims with all their devices before asking for any: the list has one
 * entry per device. */
static void find_new(struct rebuild *rebuild, const struct device_prepared *devices, size_t n)
{
        for (size_t i = 0; i < n; ++i) {
                const struct device_prepared *device = &devices[i];
                struct lost *lost = find_lost(rebuild, device->namespace_, device->claim);

                if (strcmp(device->pool, rebuild->options.pool) != 0 ||
                    (lost && (lost->get || lost->is_answered)))
                        continue;
                if (!lost && (ledger_find_named(rebuild->options.ledger, device->namespace_,
                                                device->claim) ||
                              was_released(rebuild, device->namespace_, device->claim)))
                        continue;
                if (!lost) {
                        lost = lost_new(rebuild, device);
                        ++rebuild->n_found;
                }
                add_device(lost, device);
        }
}

static void ask_for_new(struct rebuild *rebuild)
{
        struct list *position, *following;

        list_for_each_safe (position, following, &rebuild->lost) {
                struct lost *lost = container_of(position, struct lost, link);

                if (lost->get || lost->is_answered)
                        continue;
                if (rebuild->options.api) {
                        ask_api(lost);
                        continue;
                }
                lost->is_answered = true;
                hold_by_name(lost);
        }
}

static void tell_found(struct rebuild *rebuild, unsigned n_found_before)
{
        unsigned n = rebuild->n_found - n_found_before;
        _cleanup_(free) char *text = NULL;

        if (!n)
                return;
        text = xasprintf("kubelet has prepared %u claim%s of which this driver has no readable "
                         "record%s; held again, by what kubelet and the API server say",
                         n, text_plural(n),
                         rebuild->had_no_record
                                 ? ", and there is no record at all: the state directory was "
                                   "emptied, or is not the one it was"
                                 : "");
        log_warn("records of claims are missing", log_str("reason", text));
        rebuild->options.on_event(rebuild->options.owner, "TDXRecordsMissing", text);
}

/* A claim without a UID ends at its Unprepare, or when kubelet stops listing it. Wait for a second
 * list without it: after a forced deletion the container lives for two more seconds. */
static void drop_unlisted(struct rebuild *rebuild)
{
        const struct rebuild_options *options = &rebuild->options;
        struct list *position, *following;

        list_for_each_safe (position, following, &rebuild->lost) {
                struct lost *lost = container_of(position, struct lost, link);

                lost->n_unlisted =
                        is_listed(rebuild, lost->namespace_, lost->name) ? 0 : lost->n_unlisted + 1;
                if (!lost->is_answered || lost->n_unlisted < UNLISTED_TWICE)
                        continue;
                ledger_claim_free(
                        ledger_release_unidentified(options->ledger, lost->namespace_, lost->name));
                log_info("kubelet lists a claim that was held by its name no more, releasing it",
                         log_str("namespace", lost->namespace_), log_str("claim", lost->name));
                lost_free(lost);
                options->on_changed(options->owner);
        }
}

void rebuild_listed(struct rebuild *rebuild, const struct device_prepared *devices, size_t n,
                    bool has_pods, const struct error *error)
{
        uint64_t age_ms = kubelet_age_ms(rebuild);
        unsigned n_found = rebuild->n_found;

        if (error->code)
                return;
        rebuild->unanswered_ms = now(rebuild);
        keep_list(rebuild, devices, n);
        if (has_pods && !rebuild->first_pods_ms)
                /* 0 means never, but the loop's clock may read 0. */
                rebuild->first_pods_ms = now(rebuild) ? now(rebuild) : 1;
        if (!has_pods && age_ms < REBUILD_SETTLE_MS)
                return;
        rebuild->is_believed = true;
        if (!rebuild->is_finished) {
                find_new(rebuild, devices, n);
                tell_found(rebuild, n_found);
                ask_for_new(rebuild);
        }
        /* Lists are complete now. A claim prepared later has a record, so it cannot be a lost one.
         */
        rebuild->is_finished |= age_ms >= REBUILD_SETTLE_MS && rebuild->first_pods_ms &&
                                now(rebuild) - rebuild->first_pods_ms >= REBUILD_PODS_MS;
        /* The list of a younger kubelet may lack pods that still run. */
        if (age_ms >= REBUILD_SETTLE_MS)
                drop_unlisted(rebuild);
        look(rebuild);
}

/* ---- the clock ---- */

/* A kubelet that has just started gets the full time to answer. */
static uint64_t patience_ms(struct rebuild *rebuild)
{
        bool is_there = kubelet_age_ms(rebuild) > 0;

        if (is_there && !rebuild->is_there)
                rebuild->unanswered_ms = now(rebuild);
        rebuild->is_there = is_there;
        return is_there ? REBUILD_PATIENCE_MS : REBUILD_ABSENT_MS;
}

/* Without a list, proceed after a while: a node whose kubelet lacks podresources must still serve.
 */
static bool is_waiting_over(struct rebuild *rebuild)
{
        struct list *position;

        if (!rebuild->is_believed) {
                uint64_t most_ms = patience_ms(rebuild);

                if (now(rebuild) - rebuild->unanswered_ms < most_ms)
                        return false;
                if (!rebuild->is_complete)
                        log_warn("kubelet's podresources does not say which claims it has "
                                 "prepared: those whose records are lost stay unknown until it "
                                 "does",
                                 log_int("after_ms", (int64_t)most_ms));
                return true;
        }
        list_for_each (position, &rebuild->lost)
                if (!container_of(position, struct lost, link)->is_answered)
                        return false;
        return true;
}

static void look(struct rebuild *rebuild)
{
        bool is_complete = is_waiting_over(rebuild);

        if (is_complete == rebuild->is_complete)
                return;
        rebuild->is_complete = is_complete;
        ledger_set_incomplete(rebuild->options.ledger, !is_complete);
        /* No report if it became incomplete again: that only makes new claims wait. */
        if (is_complete)
                rebuild->options.on_changed(rebuild->options.owner);
}

static void on_due(void *owner)
{
        struct rebuild *rebuild = owner;

        rebuild->options.ask(rebuild->options.owner);
        look(rebuild);
        timer_start(rebuild->timer, !rebuild->is_complete ? REBUILD_ASK_MS
                                    : !rebuild->is_finished || !list_is_empty(&rebuild->lost)
                                            ? REBUILD_ASK_ON_MS
                                            : REBUILD_REFRESH_MS);
}

struct rebuild *rebuild_start(const struct rebuild_options *options)
{
        struct rebuild *rebuild = xcalloc(1, sizeof(*rebuild));

        rebuild->options = *options;
        rebuild->boot_id = xstrdup(options->boot_id);
        rebuild->unanswered_ms = uv_now(options->loop);
        rebuild->had_no_record = ledger_n_claims(options->ledger) == 0;
        list_init(&rebuild->lost);
        list_init(&rebuild->releases);
        rebuild->timer = timer_new(options->loop, on_due, rebuild);
        ledger_set_incomplete(options->ledger, true);
        timer_start(rebuild->timer, 0);
        return rebuild;
}

void rebuild_free(struct rebuild *rebuild)
{
        if (!rebuild)
                return;
        while (!list_is_empty(&rebuild->lost))
                lost_free(container_of(rebuild->lost.next, struct lost, link));
        while (!list_is_empty(&rebuild->releases))
                release_free(container_of(rebuild->releases.next, struct release, link));
        forget_list(rebuild);
        timer_free(rebuild->timer);
        free(rebuild->boot_id);
        free(rebuild);
}
