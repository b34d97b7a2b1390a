/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kubelet's DRA plugin service (k8s.io/kubelet pkg/apis/dra/v1 and v1beta1; KEP-4381): a call
 * carries a batch of claims and gets one answer per claim. A claim that fails never fails its
 * batch: kubelet treats an error of the whole call as an error of every claim.
 */
#pragma once

#include "base/histogram.h"
#include "rpc/server.h"

#include <stdint.h>

struct prepare;

struct claims_answers {
        uint64_t n_well, n_errors;
};

struct claims_service {
        struct prepare *prepare; /* borrowed */

        /* Answers since the start, one per claim. */
        struct claims_answers prepares, unprepares;
        uint64_t n_refused; /* Prepares refused because no TD was free */
        struct histogram durations;
};

/* The methods of both API versions, for rpc_server_add_service() with a struct claims_service as
 * owner. */
extern const struct rpc_method claims_service_methods[];
extern const size_t claims_service_n_methods;
