/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Turns flags and environment variables into one immutable struct.
 *
 * Every flag has an environment variable: --qgs-socket is DRA_QGS_SOCKET; a flag wins over its
 * variable. The node's name and the pod's UID are also read from NODE_NAME and POD_UID, the usual
 * names for values from the downward API.
 */
#pragma once

#include "base/log.h"
#include "base/memory.h"

#include <stdbool.h>
#include <stdint.h>

struct error;
struct text;

#define DRIVER_NAME "tdx.kubevirt.io"

enum config_attestation { CONFIG_FROM_KUBEVIRT, CONFIG_ENFORCED, CONFIG_OPTIONAL };

struct config {
        char *node_name; /* the pool's name too */
        char *pod_uid;   /* NULL: one instance at a time, with the plain socket names */
        char *kubelet_dir;
        char *device_plugin_dir; /* kubelet's; --root-dir does not move it */
        char *cdi_dir;

        enum config_attestation attestation;
        bool is_relaying;    /* VMs reach QGS through the quote relay, where one runs */
        char *relay_dir;     /* the relay's directory, the same on the host and in the container */
        char *quote_log;     /* a file, or "journal": a line for each request of a VM; NULL: none */
        char *qgs_socket;    /* on the host; NULL: follow the KubeVirt CR */
        char *vm_qgs_socket; /* inside the VM's container; NULL: follow the KubeVirt CR */

        char *misc_capacity; /* NULL: the usual files below cgroup_root */
        char *cgroup_root;
        char *host_root;  /* prefix under which this process sees the host's files; "": not in a
                             container */
        int64_t capacity; /* TDs; -1: read from misc.capacity */
        unsigned reserve; /* TDs that run outside Kubernetes */
        bool is_ignoring_foreign; /* show TDs that run outside Kubernetes, but do not subtract them
                                   */

        bool serves_dra;
        bool serves_plugin;
        int64_t split;         /* TDs reserved for claims; -1: both paths offer every free TD */
        bool is_injecting_cdi; /* the plugin answers with CDI names, not with mounts */

        uint64_t prepare_wait_ms;
        uint64_t reconcile_after_ms; /* how long kubelet has to clean up by itself */
        uint64_t poll_interval_ms;   /* for facts that do not notify */

        char *api_server; /* NULL: the in-cluster convention */
        char *ca_file;
        char *token_file;
        char *client_cert;
        char *client_key;

        char *listen; /* ADDRESS:PORT of the metrics and health pages; NULL: none */

        bool is_durable; /* false: no fsync, for measurements */
        enum log_level log_level;
        enum log_format log_format;

        /* Derived. */
        char *state_dir;  /* <kubelet>/plugins/tdx.kubevirt.io */
        char *dra_socket; /* in state_dir; both names have a hash of the UID if the UID does not fit
                           */
        char *registration_socket; /* in <kubelet>/plugins_registry */
};

#define CONFIG_NULL            \
        {                      \
                .capacity = -1 \
        }

/* Outcomes. */
enum config_outcome {
        CONFIG_HELP = 1 /* --help was asked for */
};

/* Parse the arguments after the subcommand. On failure -EINVAL, err names the flag and what it
 * takes. */
int config_parse(int argc, char **argv, struct config *ret, struct error *err);
/* Further checks, for `run` only: the node's name is given, socket paths fit, VMs may mount the QGS
 * directories. */
int config_check(const struct config *config, struct error *err);
/* Check a QGS socket on this node; what says who named it. VMs may mount its directory, and the
 * directory is neither kubelet's nor that of the CDI specs. */
int config_check_qgs_socket(const struct config *config, const char *what, const char *socket,
                            struct error *err);
/* The part of config_check() that checks --qgs-socket and --vm-qgs-socket. */
int config_check_sockets(const struct config *config, struct error *err);
void config_deinit(struct config *config);
static inline void cleanup_config(struct config *config)
{
        config_deinit(config);
}

/* The flags in groups, each with its meaning, default and variable. */
void config_describe_flags(struct text *text);
