/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VEP 107's decision: may a VM be placed here, and will it attest?
 *
 * Settings (the KubeVirt CR's, where no flag overrides them) and the verdict on QGS come together
 * here. Enforced: nothing new is schedulable while QGS does not answer a VM. Not enforced: always
 * schedulable, and it costs nothing but attestation. The mount is there in any case, so that a VM
 * that was started before QGS attests once QGS comes.
 */
#pragma once

#include "host/qgs_verdict.h"

#include <stdbool.h>
#include <uv.h>

struct attestation;
struct config;
struct kube_api;

#define ATTESTATION_PATIENCE_MS 10000 /* for the settings, before the last known ones must do */

struct attestation_options {
        uv_loop_t *loop;
        const struct config *config;
        struct kube_api *api;            /* that has the KubeVirt CR; NULL: none */
        void (*on_changed)(void *owner); /* anything that a function below returns */
        void *owner;
};

/* The cluster's QGS socket, as a driver on this node knew it last; the caller's. NULL: none did. */
char *attestation_recorded_socket(const char *state_dir);

/* The settings last known, or the defaults, are those in force. */
struct attestation *attestation_new(const struct attestation_options *options);
/* Nothing is asked of the API server any more. */
void attestation_stop(struct attestation *attestation);
/* The memory goes when the loop has turned. NULL is fine. */
void attestation_free(struct attestation *attestation);

/* Settings and verdict are known: before that nothing may be offered. */
bool attestation_is_known(const struct attestation *attestation);
bool attestation_is_enforced(const struct attestation *attestation);
const char *attestation_socket(const struct attestation *attestation); /* on the host */
/* What is mounted; where this process sees it (--host-root), NULL if it neither sees nor can make
 * it (the container runtime, on the host, may well have it); and where the VM's container has it.
 */
const char *attestation_host_directory(const struct attestation *attestation);
const char *attestation_seen_directory(const struct attestation *attestation);
const char *attestation_vm_directory(const struct attestation *attestation);

/* A field of the KubeVirt CR is not followed: its last value stays in force. While the path is
 * refused no VM attests, for KubeVirt writes it into the VM's definition all the same. */
bool attestation_refuses_path(const struct attestation *attestation);
bool attestation_refuses_enforced(const struct attestation *attestation);
/* Why the cluster's settings are not known, neither from the CR nor from an earlier run, so that
 * the defaults are in force; borrowed until anything changes. NULL: they are known, or not needed.
 */
const char *attestation_doubt(const struct attestation *attestation);

enum attestation_means {
        ATTESTATION_CDI,   /* the edits of a CDI device, which can give a group */
        ATTESTATION_MOUNTS /* a device plugin's mount, which cannot */
};

/* Whether a VM that is started now will attest. */
bool attestation_works(const struct attestation *attestation, enum attestation_means means);
/* Whether it may be placed here. */
bool attestation_is_schedulable(const struct attestation *attestation,
                                enum attestation_means means);
/* The group a VM needs besides its own; 0: none. */
gid_t attestation_group(const struct attestation *attestation);

/* In one word what keeps VMs from attesting: a state of QGS ("stale"), "path-refused" (the CR's
 * qgsSocketPath), or "not-seen" (its directory is not mounted into the driver's pod). Static. */
const char *attestation_obstacle(const struct attestation *attestation);
/* "QGS answers", or the obstacle with its reason and remedy; borrowed until the next call. */
const char *attestation_describe(struct attestation *attestation, enum attestation_means means);
