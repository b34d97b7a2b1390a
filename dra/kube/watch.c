/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/watch.h"

#include "base/backoff.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/timer.h"
#include "kube/lines.h"

#include <errno.h>
#include <string.h>

/* The biggest objects are slices, which have up to 100 kB: a page must fit in KUBE_REPLY_MAX. */
#define PAGE_LIMIT 16U
/* Beyond it the server's continue tokens go in circles: 4096 TDs are 32 slices. */
#define N_PAGES_MAX    100U
#define WATCH_MIN_S    1800U
#define WATCH_MAX_S    3600U
#define WATCH_GRACE_MS 60000U /* after timeoutSeconds, before we consider the server stuck */

enum state {
        STOPPED,
        LISTING,
        WAITING, /* for the timer, before the next attempt */
        OPENING, /* a WATCH without an answer yet */
        PROVING, /* answered, but it neither brought an event nor lasted short_ms yet */
        STANDING,
        FREED /* for the timer, which frees the watch outside of its callbacks */
};

struct kube_watch {
        uv_loop_t *loop;
        struct kube_api *api;
        char *path;
        char *field_selector; /* NULL: none */
        char *list_kind;
        struct kube_watch_timing timing;
        const struct kube_watch_callbacks *callbacks;
        void *owner;

        enum state state;
        /* Counts stops and resyncs, so that code that ran a callback can tell whether the callback
         * stopped or resynced the watch. */
        unsigned epoch;
        struct kube_call *call;
        struct timer *timer;
        char *resource_version; /* of the last list, event or bookmark; NULL: LIST comes next */
        char *continue_token;
        struct json *items; /* of the pages so far, if there are several */
        unsigned n_pages;
        struct watch_lines lines;
        struct backoff backoff;
        bool was_gone;        /* got a 410 since a watch last lasted */
        uint64_t answered_ms; /* loop time at which the WATCH was answered */

        bool has_trouble;
        enum kube_outcome trouble;
        int trouble_code;
};

static void begin_list(struct kube_watch *watch);
static void begin_watch(struct kube_watch *watch);
static void on_timer(void *owner);

static void arm(struct kube_watch *watch, uint64_t delay_ms)
{
        /* The loop's clock is that of its last turn, and parsing a big list may have taken long. */
        uv_update_time(watch->loop);
        timer_start(watch->timer, delay_ms);
}

static void drop_call(struct kube_watch *watch)
{
        struct kube_call *call = take_ptr(watch->call);

        if (call)
                kube_cancel(call);
}

static void forget_version(struct kube_watch *watch)
{
        free(watch->resource_version);
        watch->resource_version = NULL;
}

static void set_version(struct kube_watch *watch, const char *resource_version)
{
        free(watch->resource_version);
        watch->resource_version = xstrdup(resource_version);
}

static void forget_pages(struct kube_watch *watch)
{
        free(watch->continue_token);
        json_free(watch->items);
        watch->continue_token = NULL;
        watch->items = NULL;
        watch->n_pages = 0;
}

/* Last in its caller: the callback may stop or free the watch. */
static void tell_trouble(struct kube_watch *watch, enum kube_outcome outcome,
                         const struct error *error)
{
        if (watch->has_trouble && watch->trouble == outcome && watch->trouble_code == error->code)
                return;
        watch->has_trouble = true;
        watch->trouble = outcome;
        watch->trouble_code = error->code;
        if (watch->callbacks->on_trouble)
                watch->callbacks->on_trouble(watch->owner, outcome, error);
}

static void wait_for_retry(struct kube_watch *watch, uint64_t retry_after_ms)
{
        watch->state = WAITING;
        arm(watch, backoff_next_ms(&watch->backoff, retry_after_ms, backoff_random()));
}

/* An answered WATCH is over. Only one that lasted makes up for earlier failures: a server may end
 * each in order right after an event, thousands of times a second. Returns whether it lasted. */
static bool note_end(struct kube_watch *watch)
{
        if (watch->state != STANDING ||
            uv_now(watch->loop) - watch->answered_ms < watch->timing.short_ms)
                return false;
        backoff_reset(&watch->backoff);
        watch->was_gone = false;
        return true;
}

/* The call failed and is over: wait, and report it. Last in its caller. */
static void fail(struct kube_watch *watch, enum kube_outcome outcome, const struct error *error,
                 uint64_t retry_after_ms)
{
        /* If the server fails or does not answer, the version is still good. */
        if (outcome != KUBE_TRY_AGAIN)
                forget_version(watch);
        if (outcome == KUBE_NOT_SERVED) {
                watch->state = WAITING;
                arm(watch, watch->timing.not_served_ms);
        } else {
                wait_for_retry(watch, retry_after_ms);
        }
        tell_trouble(watch, outcome, error);
}

/* The version is too old to resume from. That is usual after a long absence, so LIST at once; but
 * wait if the server says it again, so as not to hammer it. Last in its caller. */
static void begin_again(struct kube_watch *watch, const struct error *error)
{
        forget_version(watch);
        if (watch->was_gone) {
                fail(watch, KUBE_GONE, error, 0);
                return;
        }
        watch->was_gone = true;
        begin_list(watch);
}

static char *build_path(const struct kube_watch *watch, const char *query)
{
        struct text path = TEXT_NULL;

        text_addf(&path, "%s?%s", watch->path, query);
        if (watch->field_selector) {
                text_add(&path, "&fieldSelector=");
                kube_encode(&path, watch->field_selector);
        }
        return text_take(&path);
}

static void collect_page(struct kube_watch *watch, const struct json *items)
{
        if (!watch->items)
                watch->items = json_new_array();
        for (const struct json *item = json_first(items); item; item = json_next(item))
                json_append(watch->items, json_copy(item));
}

static void request_page(struct kube_watch *watch);

/* The last page is in; items is it, or with several pages all of them are in watch->items. */
static void deliver_list(struct kube_watch *watch, const struct json *items)
{
        _cleanup_(json) struct json *all = NULL;
        unsigned epoch = watch->epoch;

        if (watch->n_pages > 1 || !json_is_array(items)) {
                collect_page(watch, items);
                all = take_ptr(watch->items);
                items = all;
        }
        forget_pages(watch);
        if (watch->callbacks->on_list)
                watch->callbacks->on_list(watch->owner, items);
        if (watch->epoch == epoch)
                begin_watch(watch);
}

static void on_page(void *owner, const struct kube_reply *reply)
{
        struct kube_watch *watch = owner;
        const struct json *metadata = json_get(reply->object, "metadata");
        const struct json *items = json_get(reply->object, "items");
        const char *version = json_string(json_get(metadata, "resourceVersion"));
        const char *more = json_string(json_get(metadata, "continue"));
        struct error error = ERROR_NULL;

        watch->call = NULL;
        if (reply->outcome == KUBE_GONE) {
                begin_again(watch, &reply->error);
                return;
        }
        if (reply->outcome != KUBE_OK) {
                fail(watch, reply->outcome, &reply->error, reply->retry_after_ms);
                return;
        }
        ++watch->n_pages;
        if (!version || !*version || (items && !json_is_array(items) && !json_is_null(items)))
                error_set(&error, -EBADMSG, "the list at %s has no %s", watch->path,
                          version && *version ? "array of items" : "resourceVersion");
        else if (watch->n_pages > N_PAGES_MAX)
                error_set(&error, -EBADMSG, "the list at %s does not end after %u pages",
                          watch->path, N_PAGES_MAX);
        if (error.code) {
                fail(watch, KUBE_TRY_AGAIN, &error, 0);
                return;
        }
        if (more && *more) {
                collect_page(watch, items);
                free(watch->continue_token);
                watch->continue_token = xstrdup(more);
                request_page(watch);
                return;
        }
        set_version(watch, version);
        deliver_list(watch, items);
}

static void request_page(struct kube_watch *watch)
{
        _cleanup_(text) struct text query = TEXT_NULL;
        _cleanup_(free) char *path = NULL;

        text_addf(&query, "limit=%u", PAGE_LIMIT);
        if (watch->continue_token) {
                text_add(&query, "&continue=");
                kube_encode(&query, watch->continue_token);
        }
        path = build_path(watch, query.bytes);
        watch->call = kube_get(watch->api, path, watch->list_kind, on_page, watch);
}

static void begin_list(struct kube_watch *watch)
{
        forget_version(watch);
        forget_pages(watch);
        timer_stop(watch->timer);
        watch->state = LISTING;
        request_page(watch);
}

/* The watch works. Last in its caller, or followed by a check of the epoch. */
static void prove(struct kube_watch *watch)
{
        watch->state = STANDING;
        arm(watch, watch->timing.silence_ms);
        if (!watch->has_trouble)
                return;
        watch->has_trouble = false;
        if (watch->callbacks->on_recovered)
                watch->callbacks->on_recovered(watch->owner);
}

/* Last in its caller. */
static void on_error_event(struct kube_watch *watch, const struct json *object)
{
        struct error error = ERROR_NULL;
        enum kube_outcome outcome;
        int64_t code = 0;

        drop_call(watch);
        (void)note_end(watch);
        (void)json_int64(json_get(object, "code"), &code);
        outcome = kube_status_classify(code >= 400 && code < 600 ? (int)code : 500, object, &error);
        error_prefix(&error, "watch of %s", watch->path);
        forget_version(watch);
        if (outcome == KUBE_GONE)
                begin_again(watch, &error);
        else
                fail(watch, outcome, &error, 0);
}

/* Not 0: the call that brought the line is no longer ours. */
static int on_event_line(struct kube_watch *watch, const struct watch_line *line)
{
        static const enum kube_watch_type types[] = {
                [WATCH_LINE_ADDED] = KUBE_ADDED,
                [WATCH_LINE_MODIFIED] = KUBE_MODIFIED,
                [WATCH_LINE_DELETED] = KUBE_DELETED,
        };
        unsigned epoch = watch->epoch;

        set_version(watch, line->resource_version);
        /* Only whole lines are a sign of life, white space is not. */
        if (watch->state == STANDING)
                arm(watch, watch->timing.silence_ms);
        else
                prove(watch);
        if (watch->epoch != epoch)
                return 1;
        if (line->type < array_size(types) && watch->callbacks->on_event)
                watch->callbacks->on_event(watch->owner, types[line->type], line->object);
        return watch->epoch != epoch;
}

/* An event is lost, so only a LIST can tell the current state. Last in its caller. */
static void fail_unreadable(struct kube_watch *watch, struct error *error)
{
        drop_call(watch);
        (void)note_end(watch);
        forget_version(watch);
        error_prefix(error, "watch of %s", watch->path);
        fail(watch, KUBE_TRY_AGAIN, error, 0);
}

/* Not 0: as on_event_line(). */
static int on_line(void *owner, const char *bytes, size_t n)
{
        _cleanup_(watch_line) struct watch_line line = WATCH_LINE_NULL;
        struct kube_watch *watch = owner;
        struct error error = ERROR_NULL;

        if (watch_line_parse(bytes, n, &line, &error) < 0) {
                fail_unreadable(watch, &error);
                return 1;
        }
        if (line.type == WATCH_LINE_ERROR) {
                on_error_event(watch, line.object);
                return 1;
        }
        return line.type == WATCH_LINE_OTHER ? 0 : on_event_line(watch, &line);
}

static void on_watch_bytes(void *owner, const char *bytes, size_t n)
{
        struct kube_watch *watch = owner;
        struct error error = ERROR_NULL;

        if (n == 0) {
                watch->state = PROVING;
                watch->answered_ms = uv_now(watch->loop);
                arm(watch, watch->timing.short_ms);
                return;
        }
        if (watch_lines_feed(&watch->lines, bytes, n, on_line, watch, &error) < 0) {
                fail_unreadable(watch, &error);
        }
}

static void on_watch_over(void *owner, const struct kube_reply *reply)
{
        struct kube_watch *watch = owner;
        bool was_standing = watch->state == STANDING;
        bool has_lasted = note_end(watch);

        watch->call = NULL;
        if (reply->outcome == KUBE_GONE)
                begin_again(watch, &reply->error);
        else if (reply->outcome == KUBE_OK && has_lasted)
                begin_watch(watch);
        else if (reply->outcome == KUBE_OK || was_standing)
                wait_for_retry(watch, 0);
        else
                fail(watch, reply->outcome, &reply->error, reply->retry_after_ms);
}

/* Go on from resource_version. */
static void begin_watch(struct kube_watch *watch)
{
        unsigned seconds = WATCH_MIN_S + backoff_random() % (WATCH_MAX_S - WATCH_MIN_S + 1);
        _cleanup_(text) struct text query = TEXT_NULL;
        _cleanup_(free) char *path = NULL;

        watch_lines_reset(&watch->lines);
        text_addf(&query,
                  "watch=1&allowWatchBookmarks=true&timeoutSeconds=%u&resourceVersion=", seconds);
        kube_encode(&query, watch->resource_version);
        path = build_path(watch, query.bytes);
        watch->state = OPENING;
        arm(watch, watch->timing.opening_ms);
        watch->call = kube_stream(watch->api, path, seconds * 1000 + WATCH_GRACE_MS, on_watch_bytes,
                                  on_watch_over, watch);
}

static void dispose(struct kube_watch *watch)
{
        timer_free(watch->timer);
        watch_lines_reset(&watch->lines);
        free(watch->resource_version);
        free(watch->path);
        free(watch->field_selector);
        free(watch->list_kind);
        free(watch);
}

static void on_timer(void *owner)
{
        struct kube_watch *watch = owner;
        struct error error = ERROR_NULL;

        switch (watch->state) {
        case STOPPED:
        case LISTING:
                break;
        case WAITING:
                if (watch->resource_version)
                        begin_watch(watch);
                else
                        begin_list(watch);
                break;
        case OPENING:
                drop_call(watch);
                error_set(&error, -ETIMEDOUT, "watch of %s was not answered within %u s",
                          watch->path, watch->timing.opening_ms / 1000);
                fail(watch, KUBE_TRY_AGAIN, &error, 0);
                break;
        case PROVING:
                prove(watch);
                break;
        case STANDING:
                /* A proxy on the way may have dropped the connection silently. */
                drop_call(watch);
                (void)note_end(watch);
                begin_watch(watch);
                break;
        case FREED:
                dispose(watch);
                break;
        }
}

static uint32_t or_default(uint32_t value, uint32_t standard)
{
        return value ? value : standard;
}

static struct kube_watch_timing complete_timing(const struct kube_watch_timing *given)
{
        return (struct kube_watch_timing){
                .first_ms = or_default(given->first_ms, 500),
                .cap_ms = or_default(given->cap_ms, 30000),
                .not_served_ms = or_default(given->not_served_ms, 300000),
                .short_ms = or_default(given->short_ms, 1000),
                .opening_ms = or_default(given->opening_ms, 30000),
                .silence_ms = or_default(given->silence_ms, 300000),
        };
}

struct kube_watch *kube_watch_new(uv_loop_t *loop, struct kube_api *api,
                                  const struct kube_watch_options *options,
                                  const struct kube_watch_callbacks *callbacks, void *owner)
{
        struct kube_watch *watch = xcalloc(1, sizeof(*watch));

        watch->loop = loop;
        watch->api = api;
        watch->path = xstrdup(options->path);
        watch->field_selector = options->field_selector ? xstrdup(options->field_selector) : NULL;
        watch->list_kind = xstrdup(options->list_kind);
        watch->timing = complete_timing(&options->timing);
        watch->callbacks = callbacks;
        watch->owner = owner;
        watch->backoff.first_ms = watch->timing.first_ms;
        watch->backoff.cap_ms = watch->timing.cap_ms;
        watch->timer = timer_new(loop, on_timer, watch);
        return watch;
}

void kube_watch_start(struct kube_watch *watch)
{
        if (watch->state == STOPPED)
                begin_list(watch);
}

void kube_watch_stop(struct kube_watch *watch)
{
        ++watch->epoch;
        drop_call(watch);
        timer_stop(watch->timer);
        forget_pages(watch);
        backoff_reset(&watch->backoff);
        watch->state = STOPPED;
        watch->has_trouble = false;
        watch->was_gone = false;
}

void kube_watch_resync(struct kube_watch *watch)
{
        if (watch->state == STOPPED)
                return;
        ++watch->epoch;
        drop_call(watch);
        backoff_reset(&watch->backoff);
        begin_list(watch);
}

void kube_watch_free(struct kube_watch *watch)
{
        if (!watch)
                return;
        kube_watch_stop(watch);
        watch->state = FREED;
        timer_start(watch->timer, 0);
}
