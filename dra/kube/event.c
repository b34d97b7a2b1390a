/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/event.h"

#include "base/backoff.h"
#include "base/json.h"
#include "base/list.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/timer.h"
#include "kube/api.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define COMPONENT     "dra-driver-tdx"
#define NAMESPACE     "default"
#define N_TRIES       3
#define N_QUEUED_MAX  16
#define NAME_PART_MAX 200 /* bytes of a node name, so that the event's name fits 253 bytes */

static char *fit_message(const char *message)
{
        char *copy = xstrdup(message);
        size_t n = strlen(copy);

        text_make_utf8(copy);
        if (n > EVENT_MESSAGE_MAX)
                copy[text_utf8_prefix(copy, EVENT_MESSAGE_MAX)] = '\0';
        return copy;
}

static char *build_name(const struct event *event)
{
        _cleanup_(free) char *kept = xstrndup(event->node_name, NAME_PART_MAX);

        for (size_t n = strlen(kept); n && (kept[n - 1] == '-' || kept[n - 1] == '.'); --n)
                kept[n - 1] = '\0';
        /* As client-go names them. */
        return xasprintf("%s.%llx", kept, (unsigned long long)event->time_ns);
}

static void format_time(uint64_t time_ns, char *ret, size_t n)
{
        time_t seconds = (time_t)(time_ns / 1000000000);
        struct tm broken_down = { 0 };

        gmtime_r(&seconds, &broken_down);
        strftime(ret, n, "%Y-%m-%dT%H:%M:%SZ", &broken_down);
}

struct json *event_build(const struct event *event)
{
        _cleanup_(free) char *name = build_name(event);
        _cleanup_(free) char *message = fit_message(event->message);
        struct json *object = json_new_object(), *part;
        char time[32];

        format_time(event->time_ns, time, sizeof(time));
        json_add_string(object, "apiVersion", "v1");
        json_add_string(object, "kind", "Event");
        part = json_add_object(object, "metadata");
        json_add_string(part, "name", name);
        json_add_string(part, "namespace", NAMESPACE);
        part = json_add_object(object, "involvedObject");
        json_add_string(part, "apiVersion", "v1");
        json_add_string(part, "kind", "Node");
        json_add_string(part, "name", event->node_name);
        if (event->node_uid)
                json_add_string(part, "uid", event->node_uid);
        json_add_string(object, "reason", event->reason);
        json_add_string(object, "message", message);
        json_add_string(object, "type", event->is_warning ? "Warning" : "Normal");
        part = json_add_object(object, "source");
        json_add_string(part, "component", COMPONENT);
        json_add_string(part, "host", event->node_name);
        json_add_string(object, "reportingComponent", COMPONENT);
        json_add_string(object, "reportingInstance", event->node_name);
        json_add_string(object, "firstTimestamp", time);
        json_add_string(object, "lastTimestamp", time);
        json_add_int(object, "count", 1);
        return object;
}

struct posting {
        struct list link;
        struct json *object;
};

struct kube_events {
        struct kube_api *api;
        char *node_name;
        char *node_uid;
        uint64_t last_ns;
        struct list queue; /* of postings; the first one is under way or waits for retry */
        size_t n_queued;
        struct kube_call *call;
        struct backoff backoff;
        struct timer *retry;
};

static void send_first(struct kube_events *events);

static struct posting *first_of(struct kube_events *events)
{
        return container_of(events->queue.next, struct posting, link);
}

static void drop_first(struct kube_events *events)
{
        struct posting *posting = first_of(events);

        list_unlink(&posting->link);
        --events->n_queued;
        json_free(posting->object);
        free(posting);
        backoff_reset(&events->backoff);
}

static void on_retry(void *owner)
{
        send_first(owner);
}

static void on_posted(void *owner, const struct kube_reply *reply)
{
        struct kube_events *events = owner;
        uint64_t delay_ms;

        events->call = NULL;
        /* ALREADY_EXISTS: the answer to an earlier try was lost, not the event. */
        if (reply->outcome == KUBE_TRY_AGAIN && events->backoff.n_failures + 1 < N_TRIES) {
                delay_ms =
                        backoff_next_ms(&events->backoff, reply->retry_after_ms, backoff_random());
                timer_start(events->retry, delay_ms);
                return;
        }
        drop_first(events);
        if (!list_is_empty(&events->queue))
                send_first(events);
}

static void send_first(struct kube_events *events)
{
        _cleanup_(free) char *path = kube_path_events(NAMESPACE);

        events->call = kube_create(events->api, path, first_of(events)->object, on_posted, events);
}

struct kube_events *kube_events_new(uv_loop_t *loop, struct kube_api *api, const char *node_name)
{
        struct kube_events *events = xcalloc(1, sizeof(*events));

        events->api = api;
        events->node_name = xstrdup(node_name);
        list_init(&events->queue);
        events->backoff = (struct backoff){ .first_ms = 500, .cap_ms = 10000 };
        events->retry = timer_new(loop, on_retry, events);
        return events;
}

void kube_events_free(struct kube_events *events)
{
        if (!events)
                return;
        if (events->call)
                kube_cancel(events->call);
        while (!list_is_empty(&events->queue))
                drop_first(events);
        free(events->node_name);
        free(events->node_uid);
        timer_free(events->retry);
        free(events);
}

void kube_events_set_node_uid(struct kube_events *events, const char *node_uid)
{
        free(events->node_uid);
        events->node_uid = xstrdup(node_uid);
}

/* Strictly growing, because it makes the names unique. */
static uint64_t now_ns(struct kube_events *events)
{
        struct timespec now = { 0 };
        uint64_t ns;

        clock_gettime(CLOCK_REALTIME, &now);
        ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
        events->last_ns = ns > events->last_ns ? ns : events->last_ns + 1;
        return events->last_ns;
}

void kube_events_post(struct kube_events *events, bool is_warning, const char *reason,
                      const char *message)
{
        struct event event = {
                .node_name = events->node_name,
                /* Until the UID is known use the node's name, as kubelet does: `kubectl describe
                   node` finds both. */
                .node_uid = events->node_uid ? events->node_uid : events->node_name,
                .is_warning = is_warning,
                .reason = reason,
                .message = message,
                .time_ns = now_ns(events),
        };
        struct posting *posting;

        if (events->n_queued == N_QUEUED_MAX)
                return;
        posting = xcalloc(1, sizeof(*posting));
        posting->object = event_build(&event);
        list_add_tail(&events->queue, &posting->link);
        if (++events->n_queued == 1)
                send_first(events);
}
