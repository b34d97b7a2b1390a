/* SPDX-License-Identifier: Apache-2.0 */
/*
 * List and watch of one collection, with retries for as long as necessary.
 *
 * LIST (in pages), then WATCH from the list's resourceVersion. A watch that ends is resumed where
 * it ended; if that is impossible (410), it starts over with a LIST. While the API server is away
 * the last known state stands, and only the trouble is reported, once.
 *
 * Source: kubernetes.io/docs "Kubernetes API Concepts". Loop thread only; callbacks come from the
 * loop only, and inside them every function here may be called.
 */
#pragma once

#include "kube/api.h"

#include <stdint.h>
#include <uv.h>

struct error;
struct json;
struct kube_watch;

enum kube_watch_type {
        KUBE_ADDED,
        KUBE_MODIFIED,
        KUBE_DELETED /* object is its last state */
};

/* Objects are borrowed for the duration of the call. Those in a list carry neither kind nor
 * apiVersion. Any callback may be NULL. */
struct kube_watch_callbacks {
        /* The complete collection, replacing the known one: an array, possibly empty. */
        void (*on_list)(void *owner, const struct json *items);
        void (*on_event)(void *owner, enum kube_watch_type type, const struct json *object);
        /* The collection cannot be followed, for another reason than the last one; retries
         * continue. A broken watch is trouble only if it cannot be resumed. */
        void (*on_trouble)(void *owner, enum kube_outcome outcome, const struct error *error);
        /* After on_trouble: the watch stands again (on_list, if one was needed, came before). */
        void (*on_recovered)(void *owner);
};

/* Zero selects the default given here; tests use short ones. */
struct kube_watch_timing {
        uint32_t first_ms;      /* after the first failure: 500 */
        uint32_t cap_ms;        /* at most, between retries: 30000 */
        uint32_t not_served_ms; /* between tries of a collection the server does not have: 300000 */
        uint32_t short_ms;      /* a watch that ends before counts as failed: 1000 */
        uint32_t opening_ms;    /* for a WATCH to be answered: 30000 */
        uint32_t silence_ms;    /* a WATCH without even a bookmark is renewed: 300000 */
};

/* Copied by kube_watch_new(), strings included. */
struct kube_watch_options {
        const char *path;           /* of the collection, encoded: KUBE_PATH_SLICES */
        const char *field_selector; /* not encoded; NULL: everything */
        const char *list_kind;      /* "ResourceSliceList" */
        struct kube_watch_timing timing;
};

/* callbacks is borrowed for the watch's life. */
struct kube_watch *kube_watch_new(uv_loop_t *loop, struct kube_api *api,
                                  const struct kube_watch_options *options,
                                  const struct kube_watch_callbacks *callbacks, void *owner);

/* Begin with a LIST, now. Once more after kube_watch_stop() is fine. */
void kube_watch_start(struct kube_watch *watch);
/* No callback runs again. */
void kube_watch_stop(struct kube_watch *watch);
/* Cancel the current call and LIST at once; no-op if the watch is stopped. */
void kube_watch_resync(struct kube_watch *watch);
/* Stop and free. Callbacks may call it, so the memory is freed by the next turn of the loop. NULL
 * is fine. */
void kube_watch_free(struct kube_watch *watch);
