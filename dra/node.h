/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The node's promise: never more holders than TDs across both paths, and an offer that says so.
 *
 * Owns the ledger, the claims' records, the CDI spec, the prepare engine, reconcile and the plugin
 * path. Facts come in by node_set_...(), at any time and in any order; the offer goes out by
 * on_offer(). The node calls neither libuv nor gRPC itself (it passes loop, pump and server on to
 * the modules that need them), so e2e/storm runs it unchanged.
 *
 * If the CDI spec cannot be written, or the directory that VMs mount cannot be created, a VM could
 * not start here: free devices then get the taint "no-mount", the plugin's become Unhealthy, and an
 * Event is posted. node_check() retries.
 *
 * Before node_activate() the node writes nothing and offers nothing, and holds the requests it
 * gets: an instance that waits for its predecessor to exit accepts calls, but must not write.
 */
#pragma once

#include "plugin/plugin.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct attestation_facts;
struct config;
struct error;
struct inventory;
struct kube_api;
struct misc_tree;
struct node;
struct prepare;
struct relay_td;
struct rpc_pump;
struct rpc_server;
struct tenant;
struct uv_loop_s;

/* All pointers are borrowed and outlive the node. */
struct node_options {
        struct uv_loop_s *loop;
        const struct config *config;
        struct kube_api *api; /* NULL: no API server is configured */
        struct rpc_pump *pump;
        struct rpc_server *server; /* the plugin's service is added to it */

        /* Milliseconds since kubelet started; 0: it is not running. */
        uint64_t (*kubelet_age_ms)(void *owner);
        /* Where the host's TDs run now, borrowed for the call, and the loop's time. NULL: not
         * known, or unchanged. Never keep a reading: compared with what is held later it would be
         * wrong. */
        const struct misc_tree *(*read_running)(void *owner, uint64_t *ret_now_ms);
        /* The offer of the DRA path; called after each change of a fact. is_schedulable: a VM may
         * be placed on free devices; words gives the reason. All borrowed for the call. */
        void (*on_offer)(void *owner, const struct inventory *inventory, bool is_schedulable,
                         const char *words);
        /* Post an Event on the Node object; reason is a constant in CamelCase. */
        void (*on_event)(void *owner, bool is_warning, const char *reason, const char *text);
        void *owner;
};

struct node *node_new(const struct node_options *options);

/* ---- facts; each call may lead to on_offer() ---- */

/* TDs this node may run, on both paths together. */
void node_set_total(struct node *node, unsigned tds);
/* Copied. Call this before the first request arrives. */
void node_set_attestation(struct node *node, const struct attestation_facts *facts);
/* A semantic version, copied; NULL: not known. */
void node_set_module_version(struct node *node, const char *version);
/* The node's container runtime, from its Node object ("containerd://1.7.13"); copied. */
void node_set_runtime(struct node *node, const char *version);
/* The API server drops our taints: withdraw free devices instead, until VMs may be placed here
 * again. */
void node_taints_dropped(struct node *node);

/* ---- life ---- */

/* This instance holds the node's lock: load what is held, then serve, starting with the requests
 * held so far. Call it once. 0, or -errno with the reason: the set of held TDs is then unknown. */
int node_activate(struct node *node, struct error *err);
/* A directory that the node writes to or listens in may have changed. */
void node_look(struct node *node);
/* For a slow timer: does node_look(), and retries what failed before. */
void node_check(struct node *node);
/* For the same timer, after node_set_total(): calls read_running(), and withholds TDs that others
 * use. The node also calls it itself, once it knows what is held. */
void node_measure(struct node *node);

/* Reject requests that have not reached the disk; in-flight writes complete. No callback comes
 * after this. */
void node_stop(struct node *node);
/* After node_stop(): all requests and writes have ended. */
bool node_is_idle(const struct node *node);
/* Requires node_is_idle() and a stopped pump. The plugin's memory is freed when the loop has
 * turned. NULL is fine. */
void node_free(struct node *node);

/* ---- what others need of it ---- */

/* For kubelet's DRA service. The node keeps ownership. */
struct prepare *node_prepare(struct node *node);

/* Who holds the TD of that path and index now; false: this instance is not active. Nothing is
 * known of a TD that no claim or pod holds. */
bool node_find_holder(const struct node *node, const struct relay_td *td, struct tenant *ret);

struct node_status {
        bool is_active;
        bool is_total_known; /* the total is known and in force */
        unsigned total;      /* TDs */
        unsigned n_held;     /* TDs that claims hold */
        bool is_measured;    /* the next three are known */
        unsigned n_running;  /* TDs that run on the host, ours and others' */
        unsigned n_foreign;  /* TDs that no claim and no pod holds */
        unsigned n_leaked;   /* key IDs that stay charged after their VM has gone */
        unsigned n_usable;   /* TDs of the total after the last two are deducted */
        size_t n_claims;
        size_t n_waiting;                    /* claims that wait for a TD */
        const char *record_trouble;          /* why held claims are missing on disk; NULL: none are.
                                                Borrowed until the next call of any function here */
        bool is_attestation_known;           /* the next two are known; for ATTESTATION_CDI */
        bool is_attesting;                   /* QGS answers a VM */
        const char *attestation_state;       /* of QGS, one word; static */
        bool is_schedulable;                 /* VMs may be placed here */
        bool refuses_path, refuses_enforced; /* refused fields of the KubeVirt CR */
        struct plugin_status plugin;
};

void node_status(const struct node *node, struct node_status *ret);
