/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inventory as ResourceSlices: one pool, named as the node, of slices of at most 64 devices
 * (resource.k8s.io/v1; the bound holds also for devices with taints). What is there is followed by
 * one list+watch; whatever differs from what is wanted, whoever changed it, is put right. kubelet
 * deletes our slices on each of its starts, and when it has not reached us for 30 s.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct inventory;
struct kube_api;
struct publisher;

/* While the API server is away; what is free shall be offered within 15 s of its return. */
#define PUBLISHER_RETRY_MAX_MS 10000

struct publisher_options {
        uv_loop_t *loop;
        struct kube_api *api;
        const char *node_name;
        /* The Node was read: its UID, so that Events can be attached from now on, and its container
         * runtime ("containerd://1.7.13"; NULL: not told). */
        void (*on_node)(void *owner, const char *uid, const char *runtime);
        /* The API server has dropped the taints we wrote: its feature DRADeviceTaints is off. */
        void (*on_taints_dropped)(void *owner);
        /* Something of which the cluster's admin should know, for an Event. */
        void (*on_event)(void *owner, bool is_warning, const char *reason, const char *text);
        void *owner;
};

/* Borrows what options points to. Nothing is sent before publisher_set(). */
struct publisher *publisher_new(const struct publisher_options *options);
/* NULL is fine. */
void publisher_free(struct publisher *publisher);

/* What shall be published from now on; copied. An inventory that is not known changes nothing. */
void publisher_set(struct publisher *publisher, const struct inventory *inventory);

/* For the metrics. */
struct publisher_status {
        bool is_published;   /* what is there is what is wanted, as far as we know */
        size_t n_slices;     /* of this node, at the API server */
        int64_t published_s; /* when it was last so, Unix time; 0: never yet */
};

void publisher_status(const struct publisher *publisher, struct publisher_status *ret);

/* Look again at what is there, now: kubelet has just started, and may have wiped it. */
void publisher_resync(struct publisher *publisher);
