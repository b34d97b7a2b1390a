/* SPDX-License-Identifier: Apache-2.0 */
#include "health.h"

#include "base/memory.h"
#include "base/parse.h"
#include "base/text.h"
#include "drahealth.pb-c.h"
#include "rpc/streams.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define REPEAT_MS   10000
#define TIMEOUT_S   20
#define MESSAGE_MAX 1024 /* bytes; kubelet cuts what is longer */

/* A device of the pool with what its message points to. */
struct device {
        Drahealth__DeviceHealth health;
        Drahealth__DeviceIdentifier identifier;
        char name[sizeof("tdx4095")];
};

struct health {
        struct health_options options;
        struct rpc_streams streams;
        struct device *devices;
        Drahealth__DeviceHealth **pointers;
        size_t n_devices;
        Drahealth__NodeWatchResourcesResponse response;
        char *message;
        bool is_healthy;
        bool is_set;
        uv_timer_t repeat;
};

static const ProtobufCMessage *snapshot(void *owner)
{
        struct health *health = owner;
        int64_t now = (int64_t)time(NULL);

        for (size_t i = 0; i < health->n_devices; ++i)
                health->devices[i].health.last_updated_time = now;
        drahealth__node_watch_resources_response__init(&health->response);
        health->response.n_devices = health->n_devices;
        health->response.devices = health->pointers;
        return &health->response.base;
}

static void on_repeat(uv_timer_t *repeat)
{
        struct health *health = repeat->data;

        if (rpc_streams_is_empty(&health->streams))
                uv_timer_stop(repeat);
        else
                rpc_streams_push(&health->streams);
}

static void on_watch(void *owner, struct rpc_call *call, const ProtobufCMessage *message)
{
        struct health *health = owner;

        rpc_streams_open(&health->streams, call, 0);
        if (!uv_is_active((uv_handle_t *)&health->repeat))
                uv_timer_start(&health->repeat, on_repeat, REPEAT_MS, REPEAT_MS);
}

static const struct rpc_method methods[] = {
        { "/v1.DRAResourceHealth/NodeWatchResources",
          &drahealth__node_watch_resources_request__descriptor, on_watch },
        { "/v1alpha1.DRAResourceHealth/NodeWatchResources",
          &drahealth__node_watch_resources_request__descriptor, on_watch },
};

static void fill_device(const struct health *health, struct device *device, uint16_t index)
{
        snprintf(device->name, sizeof(device->name), "tdx%u", index % DEVICE_INDEX_MAX);
        drahealth__device_identifier__init(&device->identifier);
        device->identifier.pool_name = (char *)health->options.pool;
        device->identifier.device_name = device->name;
        drahealth__device_health__init(&device->health);
        device->health.device = &device->identifier;
        device->health.health = health->is_healthy ? DRAHEALTH__HEALTH_STATUS__HEALTHY
                                                   : DRAHEALTH__HEALTH_STATUS__UNHEALTHY;
        device->health.health_check_timeout_seconds = TIMEOUT_S;
        device->health.message = health->message;
}

static bool is_same(const struct health *health, const uint16_t *indexes, size_t n, bool is_healthy,
                    const char *message)
{
        char name[sizeof("tdx4095")];

        if (!health->is_set || health->n_devices != n || health->is_healthy != is_healthy ||
            strcmp(health->message, message) != 0)
                return false;
        for (size_t i = 0; i < n; ++i) {
                snprintf(name, sizeof(name), "tdx%u", indexes[i] % DEVICE_INDEX_MAX);
                if (strcmp(health->devices[i].name, name) != 0)
                        return false;
        }
        return true;
}

void health_set(struct health *health, const uint16_t *indexes, size_t n, bool is_healthy,
                const char *message)
{
        if (is_same(health, indexes, n, is_healthy, message))
                return;
        free(health->message);
        health->message =
                xstrndup(message, text_utf8_prefix(message, strnlen(message, MESSAGE_MAX)));
        health->is_healthy = is_healthy;
        health->is_set = true;
        health->n_devices = n;
        health->devices = xreallocarray(health->devices, n, sizeof(*health->devices));
        health->pointers = xreallocarray(health->pointers, n, sizeof(*health->pointers));
        for (size_t i = 0; i < n; ++i) {
                fill_device(health, &health->devices[i], indexes[i]);
                health->pointers[i] = &health->devices[i].health;
        }
        rpc_streams_push(&health->streams);
}

struct health *health_new(const struct health_options *options)
{
        struct health *health = xcalloc(1, sizeof(*health));

        health->options = *options;
        health->streams = (struct rpc_streams){ .message = snapshot, .owner = health };
        rpc_streams_init(&health->streams);
        uv_timer_init(options->loop, &health->repeat);
        health->repeat.data = health;
        rpc_server_add_service(options->server, methods, array_size(methods), health);
        return health;
}

void health_stop(struct health *health)
{
        uv_timer_stop(&health->repeat);
        rpc_streams_close(&health->streams, "the driver is stopping");
}

static void on_closed(uv_handle_t *handle)
{
        struct health *health = handle->data;

        free(health->devices);
        free(health->pointers);
        free(health->message);
        free(health);
}

void health_free(struct health *health)
{
        if (health)
                uv_close((uv_handle_t *)&health->repeat, on_closed);
}
