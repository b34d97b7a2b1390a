/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Restores claims that kubelet has prepared but that have no record.
 *
 * Records may be missing or damaged at the start (a state directory that was cleaned, a bad disk).
 * kubelet knows what it has prepared (its checkpoint dra_manager_state) and reports it in
 * podresources' dynamic_resources: claim, pool, device and CDI names, but no UID (k8s.io/kubelet
 * podresources/v1, KEP-3695). The API server has the UID for a name. Until kubelet's list has
 * arrived the ledger is incomplete, and admits no new claim.
 *
 * An empty list is trusted only if kubelet has run for REBUILD_SETTLE_MS: a kubelet younger than
 * half a second lists no pods. A list with a pod is trusted at once, but pods appear one by one, so
 * keep asking until REBUILD_PODS_MS after the first pod was seen. If kubelet does not answer for
 * REBUILD_PATIENCE_MS, continue with the records alone.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct device_prepared;
struct error;
struct kube_api;
struct ledger;
struct prepare;
struct rebuild;

#define REBUILD_SETTLE_MS   5000
#define REBUILD_PODS_MS     3000
#define REBUILD_PATIENCE_MS 10000 /* time for a running kubelet to answer */
#define REBUILD_ABSENT_MS   2000  /* the same, while podresources' socket has no listener */
#define REBUILD_ASK_MS      250   /* poll interval while new claims wait */
#define REBUILD_ASK_ON_MS   1000  /* poll interval while more claims may appear */
#define REBUILD_REFRESH_MS  30000 /* poll interval afterwards, for rebuild_lists() */
/* kubelet lists a claim for some milliseconds after we answered its Unprepare, and a list is older
 * than its arrival. A claim released more recently than this is not a lost claim. */
#define REBUILD_RELEASED_MS 10000

/* All pointers are borrowed. */
struct rebuild_options {
        uv_loop_t *loop;
        struct ledger *ledger;
        struct prepare *prepare;
        struct kube_api *api; /* NULL: claims keep the name that kubelet gives */
        const char *pool;
        const char *boot_id;
        /* Ask kubelet for its list. The answer, or an error, comes by rebuild_listed(). */
        void (*ask)(void *owner);
        uint64_t (*kubelet_age_ms)(void *owner); /* 0: kubelet is not running */
        void *kubelet_owner;                     /* passed to kubelet_age_ms */
        /* The ledger is as complete as it can be, or claims were added to it. */
        void (*on_changed)(void *owner);
        void (*on_event)(void *owner, const char *reason, const char *text); /* a warning */
        void *owner;
};

/* Marks the ledger incomplete and asks kubelet. Load the records first. */
struct rebuild *rebuild_start(const struct rebuild_options *options);
/* kubelet's list, borrowed. has_pods: the list has at least one pod. error->code: kubelet did not
 * answer. */
void rebuild_listed(struct rebuild *rebuild, const struct device_prepared *devices, size_t n,
                    bool has_pods, const struct error *error);
/* The claim was unprepared, or released by other means. */
void rebuild_released(struct rebuild *rebuild, const char *namespace_, const char *name);

enum rebuild_answer {
        REBUILD_UNKNOWN, /* no answer from kubelet in the last 60 s */
        REBUILD_LISTED,
        REBUILD_UNLISTED
};

/* Whether kubelet's last list has the claim. REBUILD_UNKNOWN if rebuild is NULL. */
enum rebuild_answer rebuild_lists(const struct rebuild *rebuild, const char *namespace_,
                                  const char *name);

/* NULL is fine. */
void rebuild_free(struct rebuild *rebuild);
