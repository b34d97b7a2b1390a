/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Claims that kubelet has prepared and of which there is no record: held again.
 *
 * Records may be missing or damaged at the start (a state directory that was cleaned, a bad disk).
 * kubelet knows what it has prepared (its checkpoint dra_manager_state) and says so in
 * podresources' dynamic_resources: claim, pool, device and CDI names, no UID (k8s.io/kubelet
 * podresources/v1, KEP-3695). The API server knows the UID of a name. Until kubelet's list is
 * there, the ledger is incomplete: nothing new fits.
 *
 * A list is believed if a pod is on it or kubelet is REBUILD_SETTLE_MS old: one that is younger
 * than half a second lists no pod at all. Pods come one by one, so lists are read on until the
 * first pod was seen REBUILD_PODS_MS ago. Without an answer for REBUILD_PATIENCE_MS the records
 * must do.
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
#define REBUILD_PATIENCE_MS 10000 /* without an answer of kubelet's */
#define REBUILD_ABSENT_MS   2000  /* while nobody listens on podresources' socket */
#define REBUILD_ASK_MS      250   /* between two questions, while new claims wait */
#define REBUILD_ASK_ON_MS   1000  /* while more claims may come to light */
#define REBUILD_REFRESH_MS  30000 /* later, for rebuild_lists() */
/* kubelet lists a claim for some milliseconds after its Unprepare was answered, and a list is older
 * than its arrival: a claim that was released so recently is not one that was forgotten. */
#define REBUILD_RELEASED_MS 10000

/* Everything is borrowed. */
struct rebuild_options {
        uv_loop_t *loop;
        struct ledger *ledger;
        struct prepare *prepare;
        struct kube_api *api; /* NULL: claims keep the name that kubelet gives */
        const char *pool;
        const char *boot_id;
        /* Ask kubelet for its list: rebuild_listed() is called with the answer, or with an error.
         */
        void (*ask)(void *owner);
        uint64_t (*kubelet_age_ms)(void *owner); /* 0: kubelet is not there */
        void *kubelet_owner;                     /* of kubelet_age_ms */
        /* The ledger is complete as far as can be known, or claims were added to it. */
        void (*on_changed)(void *owner);
        void (*on_event)(void *owner, const char *reason, const char *text); /* a warning */
        void *owner;
};

/* Makes the ledger incomplete, and asks. The records have been loaded. */
struct rebuild *rebuild_start(const struct rebuild_options *options);
/* kubelet's list, borrowed; has_pods: a pod was on it. error->code: it did not answer. */
void rebuild_listed(struct rebuild *rebuild, const struct device_prepared *devices, size_t n,
                    bool has_pods, const struct error *error);
/* The claim was unprepared, or released otherwise. */
void rebuild_released(struct rebuild *rebuild, const char *namespace_, const char *name);

enum rebuild_answer {
        REBUILD_UNKNOWN, /* kubelet has not answered of late */
        REBUILD_LISTED,
        REBUILD_UNLISTED
};

/* Whether kubelet has the claim prepared, by its last list. rebuild NULL: not known. */
enum rebuild_answer rebuild_lists(const struct rebuild *rebuild, const char *namespace_,
                                  const char *name);

/* NULL is fine. */
void rebuild_free(struct rebuild *rebuild);
