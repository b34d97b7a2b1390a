/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events (core/v1) about our node, which `kubectl describe node` shows to the cluster's admin.
 *
 * Posting is fire and forget: three tries, then the event is lost. Callers log what they post.
 * Source: k8s.io/api/core/v1 types.go, Event; events about cluster-scoped objects live in the
 * namespace "default".
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct json;
struct kube_api;
struct kube_events;

#define EVENT_MESSAGE_MAX 1024U /* bytes */

struct event {
        const char *node_name;
        const char *node_uid; /* NULL: not known yet */
        bool is_warning;
        const char *reason;  /* "QGSNotAnswering" */
        const char *message; /* any bytes: made UTF-8 and cut to EVENT_MESSAGE_MAX */
        uint64_t time_ns;    /* since 1970; also makes the name unique */
};

/* The object to POST; the caller's. */
struct json *event_build(const struct event *event);

/* api is borrowed and must outlive the poster. */
struct kube_events *kube_events_new(uv_loop_t *loop, struct kube_api *api, const char *node_name);
/* Drops events that are not posted yet. NULL is fine. */
void kube_events_free(struct kube_events *events);

void kube_events_set_node_uid(struct kube_events *events, const char *node_uid);
/* At most 16 events wait, and further ones are dropped, so that trouble never turns into a flood of
 * Events. */
void kube_events_post(struct kube_events *events, bool is_warning, const char *reason,
                      const char *message);
