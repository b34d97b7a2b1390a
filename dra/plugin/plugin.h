/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plugin path beside DRA: the shell around dra/plugin/sharing. It runs the classic device
 * plugin, polls podresources, and records the devices in use in case kubelet cannot be asked after
 * a restart.
 */
#pragma once

#include "plugin/service.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct cdi_mount;
struct error;
struct ledger;
struct plugin_holder;
struct device_prepared;
struct rpc_pump;
struct rpc_server;
struct plugin;

struct plugin_options {
        uv_loop_t *loop;
        struct rpc_pump *pump;
        struct rpc_server *server;
        struct ledger *ledger; /* the claims' ledger; this module sets its elsewhere */
        const char *kubelet_dir;
        const char *device_plugin_dir;
        const char *state_dir;
        const char *cgroup_root; /* mount point of the pods' cgroups: /sys/fs/cgroup */
        enum plugin_service_inject inject;
        int64_t split; /* TDs reserved for DRA; -1: none, all are shared */
        /* Serve plain pods. If false, offer nothing, and stay idle unless devices from a foreign
         * plugin or a previous run may be in use. */
        bool serves;
        /* kubelet is about to give away devices whose indexes ("tdx5") are all below n. 0: the
         * container runtime will find them. A negative errno with the reason refuses the pod. */
        int (*on_allocating)(void *owner, unsigned n, struct error *err);
        void (*on_changed)(void *owner); /* the TDs that plugin devices hold have changed */
        /* kubelet's list has been read: kubelet has these claims prepared with this driver.
         * Arguments as in podresources_options. */
        void (*on_claims)(void *owner, const struct device_prepared *devices, size_t n,
                          bool has_pods, const struct error *error);
        void *owner;
};

/* Plugin devices in use according to the last record. If there are any, keep the endpoint even if
 * the plugin path is off now: without it, kubelet fails the containers of DRA pods as long as a pod
 * holds a device of that name. */
size_t plugin_n_recorded(const char *state_dir);

/* Borrows what options points to. */
struct plugin *plugin_new(const struct plugin_options *options);
/* This instance is the node's active one: learn who holds what, then offer. */
void plugin_start(struct plugin *side);
/* The directory to mount into pods from now on, and its path there. Copied. Call it before the
 * first Allocate. */
void plugin_set_mount(struct plugin *side, const struct cdi_mount *mount);
/* If closed, offer no free device. Held devices stay Healthy. */
void plugin_close(struct plugin *side, bool is_closed);
/* The total or what claims hold has changed. */
void plugin_update(struct plugin *side);
/* Read kubelet's list now, even if the plugin path does not need it, and call on_claims(). */
void plugin_ask(struct plugin *side);
/* The state directory was replaced: write the record into the new one. */
void plugin_write_again(struct plugin *side);
/* Retry failed writes and check kubelet's sockets. Call it from a slow timer. */
void plugin_check(struct plugin *side);

/* Whether the TDs that plugin devices hold are known. Until then admit nothing new. */
bool plugin_is_known(const struct plugin *side);

/* One more than the highest index of a device in use; 0: no device is known to be in use. */
unsigned plugin_n_indexes(const struct plugin *side);
/* Every device in use (as holdings_each()), plugin_n_held() in all: each is a TD. */
size_t plugin_n_held(const struct plugin *side);
void plugin_each_holder(const struct plugin *side,
                        void (*on_holder)(void *owner, const struct plugin_holder *holder),
                        void *owner);

/* For the metrics; the counts are since the start. */
struct plugin_status {
        bool is_served; /* kubelet should know our endpoint: we serve plain pods, or keep the name
                           registered */
        enum plugin_service_standing standing;
        unsigned n_held;       /* TDs */
        uint64_t n_refused;    /* Allocate requests refused because no TD was free */
        uint64_t n_unanswered; /* podresources calls without an answer */
        uint64_t n_lists;      /* device lists sent to kubelet */
};

void plugin_status(const struct plugin *side, struct plugin_status *ret);

void plugin_stop(struct plugin *side);
/* After the pump has stopped. NULL is fine. */
void plugin_free(struct plugin *side);
