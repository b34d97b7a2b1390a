/* SPDX-License-Identifier: Apache-2.0 */
/*
 * This instance's pages over HTTP (--listen): /metrics for Prometheus, /healthz and /readyz for
 * kubelet's probes. Nothing is computed before a client asks.
 */
#pragma once

#include <stdbool.h>
#include <uv.h>

struct attestation;
struct config;
struct claims_service;
struct error;
struct kube_api;
struct measuring;
struct node;
struct publisher;
struct quotes;
struct sockets;
struct surroundings;
struct status;

/* Borrowed; all must outlive the status. NULL: that part is off. */
struct status_options {
        uv_loop_t *loop;
        const struct config *config;
        const struct node *node;
        const struct measuring *measuring;
        const struct attestation *attestation;
        const struct quotes *quotes; /* NULL: --qgs=direct */
        const struct claims_service *claims_service;
        const struct sockets *sockets;
        struct surroundings *surroundings;
        const struct publisher *publisher;
        const struct kube_api *api;
};

/* Listen on config's address. 0, or -errno with the address and the reason. */
int status_start(const struct status_options *options, struct status **ret, struct error *err);
/* Call it before freeing anything that options borrows. NULL is fine. */
void status_stop(struct status *status);
