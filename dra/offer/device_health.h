/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What kubelet shows in a pod's status of the devices that its claims got (KEP-4680,
 * DRAResourceHealth v1 and v1alpha1): the whole pool at once, on every change, and every ten
 * seconds, since what is not repeated within its timeout decays to Unknown.
 */
#pragma once

#include "rpc/server.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct device_health;

struct device_health_options {
        uv_loop_t *loop;
        struct rpc_server *server; /* the service is added to it */
        const char *pool;
};

/* Borrows what options points to. */
struct device_health *device_health_new(const struct device_health_options *options);

/* indexes of "tdx<index>", all with one state: message says why in words. Both copied. */
void device_health_set(struct device_health *health, const uint16_t *indexes, size_t n,
                       bool is_healthy, const char *message);

void device_health_stop(struct device_health *health);
/* After the server has stopped. NULL is fine. */
void device_health_free(struct device_health *health);
