/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device health that kubelet shows in the status of pods with claims (KEP-4680,
 * DRAResourceHealth v1 and v1alpha1). We send the whole pool on every change and every ten seconds,
 * because kubelet sets a device to Unknown if its health is not repeated within the timeout.
 */
#pragma once

#include "rpc/server.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct device_health;

struct device_health_options {
        uv_loop_t *loop;
        struct rpc_server *server; /* gets the health service */
        const char *pool;
};

/* Borrows what options points to. */
struct device_health *device_health_new(const struct device_health_options *options);

/* indexes of the devices "tdx<index>", which all have the same health; message gives the reason.
 * Both are copied. */
void device_health_set(struct device_health *health, const uint16_t *indexes, size_t n,
                       bool is_healthy, const char *message);

void device_health_stop(struct device_health *health);
/* Call it after the server has stopped. NULL is fine. */
void device_health_free(struct device_health *health);
