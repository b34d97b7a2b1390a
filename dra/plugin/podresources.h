/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who holds plugin devices, according to kubelet's podresources API (k8s.io/kubelet podresources
 * v1, List; KEP-606). Asking also heals kubelet: List makes it forget devices of pods that have
 * gone (its UpdateAllocatedDevices).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

struct Podresources__ListPodResourcesResponse;
struct device_prepared;
struct error;
struct podresources;
struct rpc_pump;

struct podresources_options {
        struct rpc_pump *pump;
        const char *socket;   /* <kubelet>/pod-resources/kubelet.sock */
        const char *resource; /* devices of this name only, whichever plugin they come from */
        /* ids: the devices listed, borrowed, possibly repeated; NULL with the reason in error if
         * there was no answer. has_pods: a pod was listed, with devices or without. */
        void (*on_list)(void *owner, const char *const *ids, size_t n_ids, bool has_pods,
                        const struct error *error);
        const char *driver; /* claims' devices of this DRA driver only */
        /* The same list's claims, before on_list(): devices is borrowed, possibly with repetitions.
         */
        void (*on_claims)(void *owner, const struct device_prepared *devices, size_t n,
                          bool has_pods, const struct error *error);
        void *owner;
};

/* Borrows what options points to. */
struct podresources *podresources_new(const struct podresources_options *options);
/* Ask now. If a call is outstanding, ask once more after it. */
void podresources_ask(struct podresources *podresources);
/* No callback runs after this. NULL is fine. */
void podresources_stop(struct podresources *podresources);
/* Call it after podresources_stop() and after the pump has stopped. NULL is fine. */
void podresources_free(struct podresources *podresources);

/* The IDs of the resource in the order of the list, possibly repeated: pure. The array is the
 * caller's, the strings are the list's. */
const char **podresources_collect(const struct Podresources__ListPodResourcesResponse *list,
                                  const char *resource, size_t *ret_n);
/* The claims' devices of the driver in the order of the list, possibly repeated: pure. Ownership as
 * above. */
struct device_prepared *podresources_collect_claims(
        const struct Podresources__ListPodResourcesResponse *list, const char *driver,
        size_t *ret_n);
