/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VEP 107's decision: may a VM be placed here, and will it attest?
 *
 * Combines the settings (the KubeVirt CR's, unless a flag overrides them) with the verdict on QGS.
 * Enforced: nothing new is schedulable while QGS does not answer a VM. Not enforced: always
 * schedulable, at the cost of attestation only. The mount is there in either case, so that a VM
 * started before QGS can attest once QGS is up.
 */
#pragma once

#include "attestation_facts.h"

#include <stdbool.h>
#include <uv.h>

struct attestation;
struct config;
struct kube_api;
struct relay_message;

/* How long to wait for the cluster's settings before the last known ones are used. */
#define ATTESTATION_PATIENCE_MS 10000

struct attestation_options {
        uv_loop_t *loop;
        const struct config *config;
        struct kube_api *api; /* to read the KubeVirt CR from; NULL: none */
        /* For the survey of `inspect`, which shows the settings that run would use: write nothing,
         * leave QGS alone, and do not wait for an API server that is unreachable. */
        bool only_asks;
        void (*on_changed)(void *owner); /* the result of attestation_facts() has changed */
        /* What the quote relay says of VMs' requests: RELAY_QUOTE or RELAY_SNAPSHOT. NULL is fine.
         */
        void (*on_quote)(void *owner, const struct relay_message *message);
        void (*on_event)(void *owner, bool is_warning, const char *reason, const char *text);
        void *owner;
};

/* Starts with the last known settings, or with the defaults. */
struct attestation *attestation_new(const struct attestation_options *options);
/* Read the cluster's settings again now. */
void attestation_look(struct attestation *attestation);
/* Stops asking the API server. */
void attestation_stop(struct attestation *attestation);
/* NULL is fine. */
void attestation_free(struct attestation *attestation);

/* TDs with indexes below n have a mount. */
void attestation_set_devices(struct attestation *attestation, unsigned n);

/* A quote relay is connected at this moment. */
bool attestation_is_relay_connected(const struct attestation *attestation);

/* Fills the argument of node_set_attestation(). Strings are borrowed until the next call or change.
 */
void attestation_facts(struct attestation *attestation, struct attestation_facts *ret);

/* The settings alone, and where they come from. Strings are borrowed until the next call or change.
 */
struct attestation_settings {
        bool is_known; /* false: the cluster may still report others */
        bool is_enforced;
        bool is_refused; /* the driver does not follow a field of the CR */
        const char *host_socket, *vm_socket;
        const char *source; /* "the flags", "the values of KubeVirt CR x/y are in force", ... */
};

void attestation_settings(struct attestation *attestation, struct attestation_settings *ret);
