/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plugin path beside DRA: who holds plugin devices, what each side may have, and what the
 * plugin offers.
 *
 * One capacity, two allocation paths that Kubernetes does not reconcile (KEP-5004): this node's
 * ledger is the only arbiter. Holders of both kinds together never exceed the total. Each side is
 * offered what the other does not hold; what is withdrawn is always unheld, and a device that a pod
 * holds is never reported Unhealthy, for kubelet would fail its pod when it restarts.
 */
#pragma once

#include "deviceplugin.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct error;
struct ledger;
struct rpc_pump;
struct rpc_server;
struct sharing;

/* The plugin's part of a total, with `split` TDs reserved to DRA (or -1: every free TD is offered
 * to both): how many it may hold, given what claims hold. Pure. */
unsigned sharing_plugin_limit(unsigned total, int64_t split, unsigned n_claims_held);
/* What claims cannot have, given what plugin devices hold. Pure. */
unsigned sharing_elsewhere(unsigned total, int64_t split, unsigned n_plugin_held);

struct sharing_options {
        uv_loop_t *loop;
        struct rpc_pump *pump;
        struct rpc_server *server;
        struct ledger *ledger; /* of the claims; its elsewhere is set here */
        const char *kubelet_dir;
        const char *state_dir;
        const char *mount_path; /* the directory of the QGS socket */
        enum deviceplugin_inject inject;
        int64_t split;    /* TDs reserved to DRA; -1: none, all are shared */
        bool is_offering; /* false: nothing new for the plugin; what it holds is still counted */
        void (*on_changed)(void *owner); /* what plugin devices hold has changed */
        void *owner;
};

/* Borrows what options points to. */
struct sharing *sharing_new(const struct sharing_options *options);
/* This instance is the node's active one: learn who holds what, then offer. */
void sharing_start(struct sharing *sharing);
/* The total or what claims hold has changed. */
void sharing_update(struct sharing *sharing);
/* For a slow timer. */
void sharing_check(struct sharing *sharing);

/* Whether it is known what plugin devices hold; before that, nothing new may be admitted. */
bool sharing_is_known(const struct sharing *sharing);

void sharing_stop(struct sharing *sharing);
/* After the pump has stopped. The memory goes when the loop has turned. NULL is fine. */
void sharing_free(struct sharing *sharing);
