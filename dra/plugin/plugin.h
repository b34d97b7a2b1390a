/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plugin path beside DRA: the shell around dra/plugin/sharing. It runs the classic device
 * plugin, asks podresources when that is due, and writes down what is held, for the case that
 * kubelet cannot be asked after a restart.
 */
#pragma once

#include "plugin/service.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct error;
struct ledger;
struct rpc_pump;
struct rpc_server;
struct pluginside;

struct pluginside_options {
        uv_loop_t *loop;
        struct rpc_pump *pump;
        struct rpc_server *server;
        struct ledger *ledger; /* of the claims; its elsewhere is set here */
        const char *kubelet_dir;
        const char *state_dir;
        const char *cgroup_root; /* where the pods' cgroups are: /sys/fs/cgroup */
        enum deviceplugin_inject inject;
        int64_t split; /* TDs reserved to DRA; -1: none, all are shared */
        /* Plain pods are ours to serve. Otherwise nothing is offered, and until another's or an
         * earlier run's devices may be in use nothing is done at all. */
        bool serves;
        void (*on_changed)(void *owner); /* what plugin devices hold has changed */
        void *owner;
};

/* Plugin devices that were in use when this node's driver wrote them down last. If any, its
 * endpoint is kept, also where the plugin path is off now: without one, kubelet fails the
 * containers of DRA pods as long as a pod holds a device of that name. */
size_t pluginside_n_recorded(const char *state_dir);

/* Borrows what options points to. */
struct pluginside *pluginside_new(const struct pluginside_options *options);
/* This instance is the node's active one: learn who holds what, then offer. */
void pluginside_start(struct pluginside *side);
/* What pods are given from now on: a directory, and where they have it. Copied. To be called before
 * the first pod comes. */
void pluginside_set_mount(struct pluginside *side, const char *host_path,
                          const char *container_path);
/* Closed: nothing new is offered. What is held stays Healthy. */
void pluginside_close(struct pluginside *side, bool is_closed);
/* The total or what claims hold has changed. */
void pluginside_update(struct pluginside *side);
/* For a slow timer. */
void pluginside_check(struct pluginside *side);

/* Whether it is known what plugin devices hold, if any are in use; before that, nothing new may be
 * admitted. */
bool pluginside_is_known(const struct pluginside *side);

/* For the metrics; the counts are since the start. */
struct pluginside_status {
        bool is_served; /* kubelet is to know our endpoint: plain pods are ours, or the name is kept
                         */
        enum deviceplugin_standing standing;
        unsigned n_held;       /* TDs */
        uint64_t n_refused;    /* requests of pods, because no TD was free */
        uint64_t n_unanswered; /* questions to podresources */
        uint64_t n_lists;      /* sent to kubelet */
};

void pluginside_status(const struct pluginside *side, struct pluginside_status *ret);

void pluginside_stop(struct pluginside *side);
/* After the pump has stopped. The memory goes when the loop has turned. NULL is fine. */
void pluginside_free(struct pluginside *side);
