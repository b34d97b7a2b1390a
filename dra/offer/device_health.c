/* SPDX-License-Identifier: Apache-2.0 */
#include "offer/device_health.h"

#include "base/memory.h"
#include "base/text.h"
#include "base/timer.h"
#include "device.h"
#include "drahealth.pb-c.h"
#include "rpc/streams.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define REPEAT_MS 10000
#define SETTLE_MS \
        50 /* gathers changes, which come one device at a time: each message has the whole pool */
#define TIMEOUT_S   20
#define MESSAGE_MAX 1024 /* bytes; kubelet cuts what is longer */

/* A device of the pool, with the storage that its message points to. */
struct device {
        Drahealth__DeviceHealth health;
        Drahealth__DeviceIdentifier identifier;
        char name[DEVICE_NAME_SIZE];
};

struct device_health {
        struct device_health_options options;
        struct rpc_streams streams;
        uint16_t *indexes; /* of the pool's devices, n_devices of them */
        size_t n_devices;
        struct device *devices; /* built from indexes when a peer must be told */
        Drahealth__DeviceHealth **pointers;
        bool is_outdated; /* devices must be rebuilt */
        bool is_soon;     /* the next repeat comes early, to send a change */
        Drahealth__NodeWatchResourcesResponse response;
        char *message;
        bool is_healthy;
        bool is_set;
        struct timer *repeat;
};

static void fill_device(const struct device_health *health, struct device *device, uint16_t index)
{
        device_print(device->name, index);
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

static void fill_devices(struct device_health *health)
{
        size_t n = health->n_devices;

        health->devices = xreallocarray(health->devices, n, sizeof(*health->devices));
        health->pointers = xreallocarray(health->pointers, n, sizeof(*health->pointers));
        for (size_t i = 0; i < n; ++i) {
                fill_device(health, &health->devices[i], health->indexes[i]);
                health->pointers[i] = &health->devices[i].health;
        }
        health->is_outdated = false;
}

static const ProtobufCMessage *snapshot(void *owner)
{
        struct device_health *health = owner;
        int64_t now = (int64_t)time(NULL);

        if (health->is_outdated)
                fill_devices(health);
        for (size_t i = 0; i < health->n_devices; ++i)
                health->devices[i].health.last_updated_time = now;
        drahealth__node_watch_resources_response__init(&health->response);
        health->response.n_devices = health->n_devices;
        health->response.devices = health->pointers;
        return &health->response.base;
}

static void on_repeat(void *owner)
{
        struct device_health *health = owner;

        health->is_soon = false;
        if (rpc_streams_is_empty(&health->streams))
                timer_stop(health->repeat);
        else
                rpc_streams_push(&health->streams);
}

static void on_watch(void *owner, struct rpc_call *call, const ProtobufCMessage *message)
{
        struct device_health *health = owner;

        rpc_streams_open(&health->streams, call, 0);
        if (!timer_is_running(health->repeat))
                timer_start_repeating(health->repeat, REPEAT_MS, REPEAT_MS);
}

static const struct rpc_method methods[] = {
        { "/v1.DRAResourceHealth/NodeWatchResources",
          &drahealth__node_watch_resources_request__descriptor, on_watch },
        { "/v1alpha1.DRAResourceHealth/NodeWatchResources",
          &drahealth__node_watch_resources_request__descriptor, on_watch },
};

static bool is_same_state(const struct device_health *health, bool is_healthy, const char *message)
{
        return health->is_set && health->is_healthy == is_healthy &&
               strcmp(health->message, message) == 0;
}

static bool is_same_pool(const struct device_health *health, const uint16_t *indexes, size_t n)
{
        return health->n_devices == n &&
               (!n || memcmp(health->indexes, indexes, n * sizeof(*indexes)) == 0);
}

/* Every claim may cause a call, so an unchanged pool costs only a comparison, however large it is.
 */
void device_health_set(struct device_health *health, const uint16_t *indexes, size_t n,
                       bool is_healthy, const char *message)
{
        char *known = xstrndup(message, text_utf8_prefix(message, strnlen(message, MESSAGE_MAX)));
        bool has_same_state = is_same_state(health, is_healthy, known);

        if (has_same_state && is_same_pool(health, indexes, n)) {
                free(known);
                return;
        }
        free(health->message);
        health->message = known;
        health->is_healthy = is_healthy;
        health->is_set = true;
        health->indexes = xreallocarray(health->indexes, n, sizeof(*indexes));
        if (n)
                memcpy(health->indexes, indexes, n * sizeof(*indexes));
        health->n_devices = n;
        health->is_outdated = true;
        if (!has_same_state) {
                rpc_streams_push(&health->streams);
        } else if (!health->is_soon && !rpc_streams_is_empty(&health->streams)) {
                health->is_soon = true;
                timer_start_repeating(health->repeat, SETTLE_MS, REPEAT_MS);
        }
}

struct device_health *device_health_new(const struct device_health_options *options)
{
        struct device_health *health = xcalloc(1, sizeof(*health));

        health->options = *options;
        health->streams = (struct rpc_streams){ .message = snapshot, .owner = health };
        rpc_streams_init(&health->streams);
        health->repeat = timer_new(options->loop, on_repeat, health);
        rpc_server_add_service(options->server, methods, array_size(methods), health);
        return health;
}

void device_health_stop(struct device_health *health)
{
        timer_stop(health->repeat);
        rpc_streams_close(&health->streams, "the driver is stopping");
}

void device_health_free(struct device_health *health)
{
        if (!health)
                return;
        timer_free(health->repeat);
        free(health->indexes);
        free(health->devices);
        free(health->pointers);
        free(health->message);
        free(health);
}
