/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Publishes the inventory as ResourceSlices: one pool, named after the node, with slices of at most
 * 64 devices (resource.k8s.io/v1: the limit for devices with taints). One list+watch follows the
 * slices at the API server; the publisher corrects any difference from the wanted ones, including
 * changes by others. kubelet deletes our slices each time it starts, and when it has not reached us
 * for 30 s.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct inventory;
struct kube_api;
struct publisher;

/* Longest wait between retries: free devices must be offered within 15 s of the API server's
 * return. */
#define PUBLISHER_RETRY_MAX_MS 10000

struct publisher_options {
        uv_loop_t *loop;
        struct kube_api *api;
        const char *node_name;
        /* The Node was read: its UID, to which Events can be attached from now on, and its
         * container runtime ("containerd://1.7.13"; NULL: not stated). */
        void (*on_node)(void *owner, const char *uid, const char *runtime);
        /* The API server dropped the taints that we wrote: its feature DRADeviceTaints is off. */
        void (*on_taints_dropped)(void *owner);
        /* The cluster's admin should know this: post it as an Event. */
        void (*on_event)(void *owner, bool is_warning, const char *reason, const char *text);
        void *owner;
};

/* Borrows what options points to. Nothing is sent before publisher_set(). */
struct publisher *publisher_new(const struct publisher_options *options);
/* NULL is fine. */
void publisher_free(struct publisher *publisher);

/* Publish this inventory from now on; copied. An inventory that is not known changes nothing. */
void publisher_set(struct publisher *publisher, const struct inventory *inventory);

/* For the metrics. */
struct publisher_status {
        bool is_published;   /* the slices last seen are the wanted ones */
        size_t n_slices;     /* this node's slices at the API server */
        int64_t published_s; /* Unix time when is_published was last true; 0: never yet */
};

void publisher_status(const struct publisher *publisher, struct publisher_status *ret);

/* List the slices again now: kubelet has just started, and may have deleted them. */
void publisher_resync(struct publisher *publisher);
