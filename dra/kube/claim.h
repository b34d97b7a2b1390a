/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of a ResourceClaim (resource.k8s.io/v1) that the driver needs: pure.
 *
 * Source: k8s.io/api/resource/v1 types.go, ResourceClaim, AllocationResult and
 * DeviceRequestAllocationResult, ResourceClaimConsumerReference.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct error;
struct json;

/* AllocationResultsMaxSize of resource.k8s.io/v1. */
#define CLAIM_RESULTS_MAX 32U
/* ResourceClaimReservedForMaxSize. */
#define CLAIM_PODS_MAX 256U

struct claim_result {
        char *request; /* as containers refer to it: without "/<subrequest>" */
        char *pool;
        char *device;
        bool is_admin_access; /* consumes nothing */
};

struct claim {
        char *uid;
        char *namespace_;
        char *name;
        bool is_allocated;
        size_t n_results; /* only those of the given driver, in the claim's order */
        struct claim_result *results;
        size_t n_pods; /* pods that the claim is reserved for; unreadable entries are left out */
        char **pod_uids;
};

#define CLAIM_NULL \
        {          \
                0  \
        }

/* 0, or -EBADMSG naming the field that is missing, of the wrong type or too long
 * ("status.allocation.devices.results[3].device: not a string"). */
int claim_parse(const struct json *object, const char *driver, struct claim *ret,
                struct error *err);
void claim_deinit(struct claim *claim);

static inline void cleanup_claim(struct claim *claim)
{
        claim_deinit(claim);
}
