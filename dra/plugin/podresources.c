/* SPDX-License-Identifier: Apache-2.0 */
#include "plugin/podresources.h"

#include "base/error.h"
#include "base/memory.h"
#include "device.h"
#include "podresources.pb-c.h"
#include "rpc/client.h"

#include <stdbool.h>
#include <string.h>

#define TIMEOUT_MS 5000

struct podresources {
        struct podresources_options options;
        struct rpc_client *client; /* while asking */
        bool should_ask_again;
        bool is_stopping;
};

/* Counts with ids NULL, so that the array is allocated once for the second pass. */
static void count_or_collect(const Podresources__ListPodResourcesResponse *list,
                             const char *resource, const char **ids, size_t *ret_n)
{
        size_t n = 0;

        for (size_t i = 0; i < list->n_pod_resources; ++i) {
                const Podresources__PodResources *pod = list->pod_resources[i];

                for (size_t j = 0; j < pod->n_containers; ++j)
                        for (size_t k = 0; k < pod->containers[j]->n_devices; ++k) {
                                const Podresources__ContainerDevices *devices =
                                        pod->containers[j]->devices[k];

                                if (strcmp(devices->resource_name, resource) != 0)
                                        continue;
                                for (size_t l = 0; l < devices->n_device_ids; ++l, ++n)
                                        if (ids)
                                                ids[n] = devices->device_ids[l];
                        }
        }
        *ret_n = n;
}

const char **podresources_collect(const Podresources__ListPodResourcesResponse *list,
                                  const char *resource, size_t *ret_n)
{
        const char **ids;

        count_or_collect(list, resource, NULL, ret_n);
        ids = xcalloc(*ret_n, sizeof(*ids));
        count_or_collect(list, resource, ids, ret_n);
        return ids;
}

static void add_claim(const Podresources__DynamicResource *claim, const char *driver,
                      struct device_prepared **devices, size_t *n)
{
        for (size_t i = 0; i < claim->n_claim_resources; ++i) {
                const Podresources__ClaimResource *resource = claim->claim_resources[i];

                if (strcmp(resource->driver_name, driver) != 0)
                        continue;
                *devices = xreallocarray(*devices, *n + 1, sizeof(**devices));
                (*devices)[(*n)++] = (struct device_prepared){
                        .namespace_ = claim->claim_namespace,
                        .claim = claim->claim_name,
                        .pool = resource->pool_name,
                        .device = resource->device_name,
                        .cdi = resource->n_cdi_devices ? resource->cdi_devices[0]->name : "",
                };
        }
}

struct device_prepared *podresources_collect_claims(
        const Podresources__ListPodResourcesResponse *list, const char *driver, size_t *ret_n)
{
        struct device_prepared *devices = NULL;

        *ret_n = 0;
        for (size_t i = 0; i < list->n_pod_resources; ++i) {
                const Podresources__PodResources *pod = list->pod_resources[i];

                for (size_t j = 0; j < pod->n_containers; ++j)
                        for (size_t k = 0; k < pod->containers[j]->n_dynamic_resources; ++k)
                                add_claim(pod->containers[j]->dynamic_resources[k], driver,
                                          &devices, ret_n);
        }
        return devices;
}

static void tell_claims(const struct podresources *podresources,
                        const Podresources__ListPodResourcesResponse *list,
                        const struct error *error)
{
        _cleanup_(free) struct device_prepared *devices = NULL;
        const struct podresources_options *options = &podresources->options;
        size_t n = 0;

        if (!options->on_claims)
                return;
        if (list)
                devices = podresources_collect_claims(list, options->driver, &n);
        options->on_claims(options->owner, devices, n, list && list->n_pod_resources, error);
}

static void on_reply(void *owner, const ProtobufCMessage *reply, const struct error *error)
{
        const Podresources__ListPodResourcesResponse *list = (const void *)reply;
        _cleanup_(free) const char **ids = NULL;
        struct podresources *podresources = owner;
        size_t n = 0;

        if (podresources->is_stopping)
                return;
        rpc_client_free(take_ptr(podresources->client));
        if (list)
                ids = podresources_collect(list, podresources->options.resource, &n);
        tell_claims(podresources, list, error);
        podresources->options.on_list(podresources->options.owner, ids, n,
                                      list && list->n_pod_resources, error);
        /* The answer may be older than the event behind the second question. */
        if (podresources->should_ask_again) {
                podresources->should_ask_again = false;
                podresources_ask(podresources);
        }
}

struct podresources *podresources_new(const struct podresources_options *options)
{
        struct podresources *podresources = xcalloc(1, sizeof(*podresources));

        podresources->options = *options;
        return podresources;
}

void podresources_ask(struct podresources *podresources)
{
        Podresources__ListPodResourcesRequest request =
                PODRESOURCES__LIST_POD_RESOURCES_REQUEST__INIT;

        if (podresources->is_stopping)
                return;
        if (podresources->client) {
                podresources->should_ask_again = true;
                return;
        }
        /* One connection per call: a kept one would have to be dropped when kubelet restarts. */
        podresources->client =
                rpc_client_new(podresources->options.pump, podresources->options.socket);
        rpc_client_call(podresources->client, "/v1.PodResourcesLister/List", &request.base,
                        &podresources__list_pod_resources_response__descriptor, TIMEOUT_MS,
                        on_reply, podresources);
}

void podresources_stop(struct podresources *podresources)
{
        if (!podresources)
                return;
        podresources->is_stopping = true;
        rpc_client_free(take_ptr(podresources->client));
}

void podresources_free(struct podresources *podresources)
{
        free(podresources);
}
