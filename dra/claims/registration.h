/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kubelet's plugin registration (k8s.io/kubelet pluginregistration v1): kubelet finds our socket in
 * plugins_registry/, calls GetInfo (with a timeout of 1 s) and reports the result by
 * NotifyRegistrationStatus. It may do so at any time, any number of times: after each of its
 * starts, and whenever the socket file is new.
 */
#pragma once

#include "rpc/server.h"

#include <stdbool.h>

struct registration {
        const char *endpoint; /* the DRA socket's absolute path; borrowed */
        void (*on_status)(void *owner, bool is_registered, const char *reason);
        void *owner;
};

/* The methods of the service, for rpc_server_add_service() with a struct registration as owner. */
extern const struct rpc_method registration_methods[];
extern const size_t registration_n_methods;
