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

#include "attestation_facts.h"

#include <stdbool.h>
#include <uv.h>

struct attestation;
struct config;
struct kube_api;

#define ATTESTATION_PATIENCE_MS 10000 /* for the settings, before the last known ones must do */

struct attestation_options {
        uv_loop_t *loop;
        const struct config *config;
        struct kube_api *api; /* that has the KubeVirt CR; NULL: none */
        /* For a person who asks what run would go by: nothing is written, QGS is left alone, and an
         * API server that cannot be reached is not waited for. */
        bool only_asks;
        void (*on_changed)(void *owner); /* what attestation_facts() says */
        void *owner;
};

/* The settings last known, or the defaults, are those in force. */
struct attestation *attestation_new(const struct attestation_options *options);
/* Nothing is asked of the API server any more. */
void attestation_stop(struct attestation *attestation);
/* NULL is fine. */
void attestation_free(struct attestation *attestation);

/* What node_set_attestation() takes. Strings are borrowed until the next call or change. */
void attestation_facts(struct attestation *attestation, struct attestation_facts *ret);

/* The settings by themselves, and where they come from. Strings are borrowed until the next call
 * or change. */
struct attestation_settings {
        bool is_known; /* false: the cluster may still tell others */
        bool is_enforced;
        bool is_refused; /* the CR says something that is not followed */
        const char *host_socket, *vm_socket;
        const char *source; /* "the flags", "the values of KubeVirt CR x/y are in force", ... */
};

void attestation_settings(struct attestation *attestation, struct attestation_settings *ret);
