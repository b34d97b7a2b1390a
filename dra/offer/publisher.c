/* SPDX-License-Identifier: Apache-2.0 */
#include "offer/publisher.h"

#include "base/backoff.h"
#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/parse.h"
#include "base/timer.h"
#include "config.h"
#include "device.h"
#include "kube/api.h"
#include "kube/http.h"
#include "kube/slice.h"
#include "kube/watch.h"
#include "offer/contention.h"
#include "offer/inventory.h"
#include "offer/sliceplan.h"
#include "offer/wanted.h"

#include <assert.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* A slice at the API server, as far as we know. */
struct observed {
        struct slice slice;
        struct json *object;
        unsigned index; /* of the wanted slice with that name; UINT_MAX: none has it */
        bool has_wanted_contents;
};

struct publisher {
        struct publisher_options options;
        struct kube_watch *watch;
        struct inventory wanted;
        char *node_uid;        /* NULL: must be read */
        bool is_node_doubtful; /* read the Node again once the current request is answered */
        struct observed *observed;
        size_t n_observed;
        bool is_listed; /* observed is complete; false until the first list, and after a write with
                           unknown outcome */
        bool was_complete;
        bool has_news;       /* what we want has changed since it was complete */
        int64_t completed_s; /* Unix time */
        struct contention contention;

        struct kube_call *call;     /* the one request in flight; NULL: none */
        struct sliceplan_step step; /* what call does */
        char *deleting_uid;         /* of the slice that call deletes */
        struct json *sent;          /* the slice that call writes */
        struct backoff backoff;
        struct timer *pause;
        enum kube_outcome trouble; /* logged last; KUBE_OK: none since the last success */
};

static void work(struct publisher *publisher);

/* ---- the wanted slices ---- */

static unsigned n_wanted(const struct publisher *publisher)
{
        return wanted_n_slices(&publisher->wanted);
}

static struct json *build(const struct publisher *publisher, unsigned index, int64_t generation,
                          int64_t count, const char *resource_version)
{
        return wanted_slice(&publisher->wanted,
                            &(struct wanted_slice){ .node_name = publisher->options.node_name,
                                                    .node_uid = publisher->node_uid,
                                                    .index = index,
                                                    .generation = generation,
                                                    .count = count,
                                                    .resource_version = resource_version });
}

/* The index of the slice that we give that name; UINT_MAX: none. */
static unsigned index_of(const struct publisher *publisher, const char *name)
{
        const char *dash = strrchr(name, '-');
        _cleanup_(free) char *wanted = NULL;
        uint64_t index;

        if (!dash || parse_u64(dash + 1, strlen(dash + 1), &index) < 0 ||
            index >= DEVICE_INDEX_MAX / WANTED_SLICE_DEVICES)
                return UINT_MAX;
        wanted = slice_name(publisher->options.node_name, DRIVER_NAME, (unsigned)index);
        return strcmp(wanted, name) == 0 ? (unsigned)index : UINT_MAX;
}

/* ---- the observed slices ---- */

static void observed_deinit(struct observed *observed)
{
        slice_deinit(&observed->slice);
        json_free(observed->object);
}

static void forget(struct publisher *publisher, size_t at)
{
        observed_deinit(&publisher->observed[at]);
        publisher->observed[at] = publisher->observed[--publisher->n_observed];
}

static void forget_all(struct publisher *publisher)
{
        while (publisher->n_observed)
                forget(publisher, publisher->n_observed - 1);
}

/* By UID, because we reuse a slice's name after deleting it. */
static bool forget_uid(struct publisher *publisher, const char *uid)
{
        for (size_t i = 0; i < publisher->n_observed; ++i)
                if (publisher->observed[i].slice.uid &&
                    strcmp(publisher->observed[i].slice.uid, uid) == 0) {
                        forget(publisher, i);
                        return true;
                }
        return false;
}

/* Someone else deleted our slices. If it was the garbage collector, the Node was recreated, and
 * slices owned by the old Node would be deleted again: read the Node's UID again. */
static void doubt_node(struct publisher *publisher)
{
        if (publisher->call)
                publisher->is_node_doubtful = true;
        else
                free(take_ptr(publisher->node_uid));
}

static size_t find(const struct publisher *publisher, const char *name)
{
        size_t at = 0;

        while (at < publisher->n_observed && strcmp(publisher->observed[at].slice.name, name) != 0)
                ++at;
        return at;
}

static void compare_with_wanted(const struct publisher *publisher, struct observed *observed)
{
        _cleanup_(json) struct json *wanted = NULL;

        observed->has_wanted_contents = false;
        if (observed->index >= n_wanted(publisher) || !publisher->node_uid)
                return;
        /* Edited by another client: none of ours has such a count or generation. */
        if (observed->slice.count <= observed->index || observed->slice.generation < 1 ||
            observed->slice.count > DEVICE_INDEX_MAX)
                return;
        /* The plan checks generation and count, so build the wanted slice with the observed ones.
         */
        wanted = build(publisher, observed->index, observed->slice.generation,
                       observed->slice.count, NULL);
        observed->has_wanted_contents = !slice_differs(wanted, observed->object);
}

/* The scheduler would use its devices, so it is removed like any unwanted slice with our driver and
 * node. */
static void tell_odd(const struct publisher *publisher, const struct slice *slice,
                     const struct error *error)
{
        _cleanup_(free) char *text =
                xasprintf("ResourceSlice %s names this driver and this node but is malformed (%s): "
                          "the driver removes it. Find out what wrote it",
                          slice->name, error->text);

        log_warn("a ResourceSlice of this node cannot be read, removing it",
                 log_str("slice", slice->name), log_str("reason", error->text));
        publisher->options.on_event(publisher->options.owner, true, "TDXForeignSlice", text);
}

/* Store a slice that the server sent, unless we have a newer version: a watch lags behind the
 * answers to our writes. */
static void observe(struct publisher *publisher, const struct json *object)
{
        _cleanup_(slice) struct slice slice = SLICE_NULL;
        struct error error = ERROR_NULL;
        struct observed *observed;
        size_t at;
        int r;

        r = slice_parse(object, &slice, &error);
        if (r < 0) {
                log_warn("a ResourceSlice cannot be read, ignoring it",
                         log_str("reason", error.text));
                return;
        }
        if (!slice.driver || strcmp(slice.driver, DRIVER_NAME) != 0 || !slice.node_name ||
            strcmp(slice.node_name, publisher->options.node_name) != 0)
                return; /* not ours, although the server's selector let it through */
        at = find(publisher, slice.name);
        if (at < publisher->n_observed) {
                if (slice_is_older(slice.resource_version,
                                   publisher->observed[at].slice.resource_version))
                        return;
                observed_deinit(&publisher->observed[at]);
        } else {
                publisher->observed = xreallocarray(publisher->observed, ++publisher->n_observed,
                                                    sizeof(*publisher->observed));
        }
        if (r == SLICE_ODD)
                tell_odd(publisher, &slice, &error);
        observed = &publisher->observed[at];
        observed->slice = slice;
        slice = (struct slice)SLICE_NULL;
        observed->object = json_copy(object);
        observed->index = r == SLICE_ODD ? UINT_MAX : index_of(publisher, observed->slice.name);
        compare_with_wanted(publisher, observed);
}

static void on_list(void *owner, const struct json *items)
{
        struct publisher *publisher = owner;

        forget_all(publisher);
        for (const struct json *item = json_first(items); item; item = json_next(item))
                observe(publisher, item);
        publisher->is_listed = true;
        work(publisher);
}

static void on_event(void *owner, enum kube_watch_type type, const struct json *object)
{
        const char *uid = json_string(json_get(json_get(object, "metadata"), "uid"));
        struct publisher *publisher = owner;

        contention_see(&publisher->contention, object, HTTP_USER_AGENT);
        if (type != KUBE_DELETED)
                observe(publisher, object);
        else if (uid && forget_uid(publisher, uid))
                doubt_node(publisher);
        work(publisher);
}

/* ---- trouble ---- */

static void log_trouble(struct publisher *publisher, enum kube_outcome outcome,
                        const struct error *error)
{
        if (publisher->trouble == outcome)
                return;
        publisher->trouble = outcome;
        if (outcome == KUBE_NOT_SERVED)
                log_error("this cluster does not serve resource.k8s.io/v1 (needs Kubernetes 1.34 "
                          "or later): nothing is published",
                          log_str("reason", error->text));
        else
                log_warn("cannot publish, trying again", log_str("reason", error->text));
}

static void on_watch_trouble(void *owner, enum kube_outcome outcome, const struct error *error)
{
        log_trouble(owner, outcome, error);
}

static void on_watch_recovered(void *owner)
{
        struct publisher *publisher = owner;

        publisher->trouble = KUBE_OK;
        log_info("the API server answers again");
}

static const struct kube_watch_callbacks callbacks = { .on_list = on_list,
                                                       .on_event = on_event,
                                                       .on_trouble = on_watch_trouble,
                                                       .on_recovered = on_watch_recovered };

static void on_pause_over(void *owner)
{
        work(owner);
}

static void try_later(struct publisher *publisher, const struct kube_reply *reply)
{
        uint64_t ms = backoff_next_ms(&publisher->backoff, reply->retry_after_ms, backoff_random());

        log_trouble(publisher, reply->outcome, &reply->error);
        timer_start(publisher->pause, ms);
}

static void tell_contention(struct publisher *publisher)
{
        _cleanup_(free) char *text = contention_describe(&publisher->contention);

        log_warn("the slices are contended", log_str("detail", text));
        publisher->options.on_event(publisher->options.owner, true, "TDXSlicesContended", text);
}

/* The slices were all there, and are not any more, though we want the same. True: wait first. */
static bool yield_to_others(struct publisher *publisher)
{
        uint64_t delay_ms;
        bool is_news;

        delay_ms = contention_undone(&publisher->contention, uv_now(publisher->options.loop),
                                     &is_news);
        if (is_news)
                tell_contention(publisher);
        if (delay_ms)
                timer_start(publisher->pause, delay_ms);
        return delay_ms;
}

/* ---- writing ---- */

static void look_again(struct publisher *publisher)
{
        publisher->is_listed = false;
        kube_watch_resync(publisher->watch);
}

/* A server silently drops the fields of features that are off. */
static void look_for_dropped_taints(struct publisher *publisher, const struct json *answered)
{
        _cleanup_(free) char *field = slice_dropped_field(publisher->sent, answered);

        if (field && strstr(field, ".taints"))
                publisher->options.on_taints_dropped(publisher->options.owner);
}

static void on_written(void *owner, const struct kube_reply *reply)
{
        struct publisher *publisher = owner;

        publisher->call = NULL;
        switch (reply->outcome) {
        case KUBE_OK:
                if (publisher->step.verb == SLICEPLAN_DELETE) {
                        (void)forget_uid(publisher, publisher->deleting_uid);
                } else {
                        observe(publisher, reply->object);
                        look_for_dropped_taints(publisher, reply->object);
                }
                if (publisher->step.verb != SLICEPLAN_DELETE &&
                    slice_differs(publisher->sent, reply->object))
                        /* The server, or an admission webhook, changed what we wrote: do not write
                         * in a tight loop. */
                        timer_start(publisher->pause,
                                    backoff_next_ms(&publisher->backoff, 0, backoff_random()));
                else
                        backoff_reset(&publisher->backoff);
                publisher->trouble = KUBE_OK;
                work(publisher);
                return;
        case KUBE_NOT_FOUND:
        case KUBE_ALREADY_EXISTS:
        case KUBE_CONFLICT:
        case KUBE_GONE:
                /* Another client wrote. List again, but not in a tight loop against it. */
                timer_start(publisher->pause,
                            backoff_next_ms(&publisher->backoff, 0, backoff_random()));
                look_again(publisher);
                return;
        case KUBE_NOT_SERVED:
        case KUBE_FORBIDDEN:
        case KUBE_INVALID:
        case KUBE_TRY_AGAIN:
                /* A write without a usable answer may have taken effect. */
                look_again(publisher);
                try_later(publisher, reply);
                return;
        }
}

static void write_slice(struct publisher *publisher)
{
        const struct sliceplan_step *step = &publisher->step;
        const struct slice *slice =
                step->verb == SLICEPLAN_UPDATE ? &publisher->observed[step->observed].slice : NULL;
        struct json *object = build(publisher, step->index, step->generation, n_wanted(publisher),
                                    slice ? slice->resource_version : NULL);
        _cleanup_(free) char *path = slice ? kube_path_slice(slice->name) : NULL;

        json_free(publisher->sent);
        publisher->sent = object;
        if (slice)
                publisher->call =
                        kube_replace(publisher->options.api, path, object, on_written, publisher);
        else
                publisher->call = kube_create(publisher->options.api, KUBE_PATH_SLICES, object,
                                              on_written, publisher);
}

/* Preconditions: delete only the slice that we saw, not one that has taken its name since. */
static void delete_slice(struct publisher *publisher)
{
        const struct slice *slice = &publisher->observed[publisher->step.observed].slice;
        _cleanup_(free) char *path = kube_path_slice(slice->name);
        _cleanup_(json) struct json *options = json_new_object();
        struct json *preconditions;

        json_add_string(options, "apiVersion", "v1");
        json_add_string(options, "kind", "DeleteOptions");
        preconditions = json_add_object(options, "preconditions");
        free(publisher->deleting_uid);
        publisher->deleting_uid = xstrdup(slice->uid ? slice->uid : "");
        json_add_string(preconditions, "uid", publisher->deleting_uid);
        if (slice->resource_version)
                json_add_string(preconditions, "resourceVersion", slice->resource_version);
        publisher->call = kube_delete(publisher->options.api, path, options, on_written, publisher);
}

static void plan(struct publisher *publisher)
{
        _cleanup_(free) struct sliceplan_slice *slices =
                xcalloc(publisher->n_observed, sizeof(*slices));

        for (size_t i = 0; i < publisher->n_observed; ++i) {
                const struct observed *observed = &publisher->observed[i];

                slices[i] = (struct sliceplan_slice){ .index = observed->index,
                                                      .generation = observed->slice.generation,
                                                      .count = observed->slice.count,
                                                      .has_wanted_contents =
                                                              observed->has_wanted_contents };
        }
        publisher->step = sliceplan_next(slices, publisher->n_observed, n_wanted(publisher));
}

static void note_completion(struct publisher *publisher, bool is_complete)
{
        if (is_complete && !publisher->was_complete)
                log_info("published",
                         log_int("devices", (int64_t)inventory_n_listed(&publisher->wanted)),
                         log_int("slices", n_wanted(publisher)),
                         log_int("generation", publisher->observed[0].slice.generation));
        publisher->was_complete = is_complete;
        if (!is_complete)
                return;
        publisher->has_news = false;
        publisher->completed_s = (int64_t)time(NULL);
}

static void on_node(void *owner, const struct kube_reply *reply)
{
        struct publisher *publisher = owner;
        const char *uid;

        publisher->call = NULL;
        uid = reply->outcome == KUBE_OK
                      ? json_string(json_get(json_get(reply->object, "metadata"), "uid"))
                      : NULL;
        if (!uid) {
                try_later(publisher, reply);
                return;
        }
        backoff_reset(&publisher->backoff);
        free(publisher->node_uid);
        publisher->node_uid = xstrdup(uid);
        publisher->options.on_node(
                publisher->options.owner, uid,
                json_string(json_get(json_get(json_get(reply->object, "status"), "nodeInfo"),
                                     "containerRuntimeVersion")));
        for (size_t i = 0; i < publisher->n_observed; ++i)
                compare_with_wanted(publisher, &publisher->observed[i]);
        work(publisher);
}

/* The one place that decides what to do next; every change ends up here. */
static void work(struct publisher *publisher)
{
        bool is_complete, is_undone;

        if (!publisher->wanted.terms.is_known || publisher->call ||
            timer_is_running(publisher->pause))
                return;
        if (publisher->is_node_doubtful)
                free(take_ptr(publisher->node_uid));
        publisher->is_node_doubtful = false;
        if (!publisher->node_uid) {
                _cleanup_(free) char *path = kube_path_node(publisher->options.node_name);

                publisher->call =
                        kube_get(publisher->options.api, path, "Node", on_node, publisher);
                return;
        }
        if (!publisher->is_listed)
                return;
        plan(publisher);
        is_complete = publisher->step.verb == SLICEPLAN_NOTHING;
        is_undone = publisher->was_complete && !is_complete && !publisher->has_news;
        note_completion(publisher, is_complete);
        if (is_undone && yield_to_others(publisher))
                return;
        if (publisher->step.verb == SLICEPLAN_DELETE)
                delete_slice(publisher);
        else if (publisher->step.verb != SLICEPLAN_NOTHING)
                write_slice(publisher);
}

/* ---- the publisher ---- */

struct publisher *publisher_new(const struct publisher_options *options)
{
        _cleanup_(free) char *selector = kube_slices_selector(DRIVER_NAME, options->node_name);
        const struct kube_watch_options watch_options = {
                .path = KUBE_PATH_SLICES,
                .field_selector = selector,
                .list_kind = "ResourceSliceList",
                .timing = { .cap_ms = PUBLISHER_RETRY_MAX_MS }
        };
        struct publisher *publisher = xcalloc(1, sizeof(*publisher));

        publisher->options = *options;
        publisher->backoff = (struct backoff){ .first_ms = 200, .cap_ms = PUBLISHER_RETRY_MAX_MS };
        publisher->watch =
                kube_watch_new(options->loop, options->api, &watch_options, &callbacks, publisher);
        publisher->pause = timer_new(options->loop, on_pause_over, publisher);
        return publisher;
}

void publisher_free(struct publisher *publisher)
{
        if (!publisher)
                return;
        kube_watch_free(publisher->watch);
        if (publisher->call)
                kube_cancel(publisher->call);
        forget_all(publisher);
        timer_free(publisher->pause);
        inventory_deinit(&publisher->wanted);
        free(publisher->observed);
        free(publisher->node_uid);
        json_free(publisher->sent);
        free(publisher->deleting_uid);
        contention_deinit(&publisher->contention);
        free(publisher);
}

/* Whether a slice has the same devices in both inventories: most changes affect one slice of many.
 */
static bool is_same_slice(const struct inventory *a, const struct inventory *b, unsigned index)
{
        size_t first = (size_t)index * WANTED_SLICE_DEVICES;
        size_t n_a = a->n_devices > first ? a->n_devices - first : 0;
        size_t n_b = b->n_devices > first ? b->n_devices - first : 0;

        n_a = n_a < WANTED_SLICE_DEVICES ? n_a : WANTED_SLICE_DEVICES;
        n_b = n_b < WANTED_SLICE_DEVICES ? n_b : WANTED_SLICE_DEVICES;
        return n_a == n_b && (!n_a || memcmp(a->devices + first, b->devices + first,
                                             n_a * sizeof(*a->devices)) == 0);
}

void publisher_set(struct publisher *publisher, const struct inventory *inventory)
{
        bool is_first = !publisher->wanted.terms.is_known;
        struct inventory before = publisher->wanted;

        if (!inventory->terms.is_known || inventory_equal(inventory, &before))
                return;
        inventory_copy(inventory, &publisher->wanted);
        publisher->has_news = true;
        for (size_t i = 0; i < publisher->n_observed; ++i) {
                struct observed *observed = &publisher->observed[i];

                if (!inventory_same_terms(&before, inventory) ||
                    !is_same_slice(&before, inventory, observed->index))
                        compare_with_wanted(publisher, observed);
        }
        inventory_deinit(&before);
        if (is_first)
                kube_watch_start(publisher->watch);
        work(publisher);
}

void publisher_status(const struct publisher *publisher, struct publisher_status *ret)
{
        *ret = (struct publisher_status){ .is_published = publisher->is_listed &&
                                                          publisher->was_complete &&
                                                          publisher->trouble == KUBE_OK,
                                          .n_slices = publisher->n_observed,
                                          .published_s = publisher->completed_s };
}

void publisher_resync(struct publisher *publisher)
{
        if (!publisher->wanted.terms.is_known)
                return;
        publisher->has_news = true; /* what kubelet deletes is no fight */
        look_again(publisher);
}
