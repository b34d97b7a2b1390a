/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Flags and environment turned into one immutable struct.
 *
 * Every flag has an environment variable: --qgs-socket is DRA_QGS_SOCKET; a flag wins over its
 * variable. The node's name and the pod's UID are also taken from NODE_NAME and POD_UID, as the
 * downward API usually gives them.
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
        char *device_plugin_dir; /* kubelet's, too, and not below its --root-dir */
        char *cdi_dir;

        enum config_attestation attestation;
        char *qgs_socket;    /* on the host; NULL: as the cluster says */
        char *vm_qgs_socket; /* inside the VM's container; NULL: as the cluster says */

        char *misc_capacity; /* NULL: the known places below cgroup_root */
        char *cgroup_root;
        char *host_root;  /* where this process sees the host's files; "": it is on the host */
        int64_t capacity; /* TDs; -1: read from misc.capacity */
        unsigned reserve; /* TDs that run outside Kubernetes */
        bool is_ignoring_foreign; /* what others run is shown, and offered all the same */

        bool serves_dra;
        bool serves_plugin;
        int64_t split;         /* TDs reserved to DRA; -1: every free TD is offered to both sides */
        bool is_injecting_cdi; /* the plugin answers with CDI names, not with mounts */

        uint64_t prepare_wait_ms;
        uint64_t reconcile_after_ms; /* kubelet's own time to clean up */
        uint64_t poll_interval_ms;   /* of the facts that do not notify */

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
        char *state_dir;           /* <kubelet>/plugins/tdx.kubevirt.io */
        char *dra_socket;          /* in state_dir; the UID in the names of these two is a hash if
                                    * they were too long otherwise */
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
/* What only `run` needs beyond that: the node's name, socket paths that fit, QGS directories fit
 * to be mounted. */
int config_check(const struct config *config, struct error *err);
/* Of a QGS socket on this node, wherever it was named: its directory may be mounted, and is not
 * kubelet's or the CDI specs'. */
int config_check_qgs_socket(const struct config *config, const char *what, const char *socket,
                            struct error *err);
/* Of the flags --qgs-socket and --vm-qgs-socket: part of config_check(). */
int config_check_sockets(const struct config *config, struct error *err);
void config_deinit(struct config *config);
static inline void cleanup_config(struct config *config)
{
        config_deinit(config);
}

#define CONFIG_HELP_INDENT 26  /* columns: where the meanings start */
#define CONFIG_HELP_WIDTH  100 /* columns of a line, at most */

/* The flags in groups, each with its meaning, default and variable. */
void config_describe_flags(struct text *text);
