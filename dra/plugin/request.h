/* SPDX-License-Identifier: Apache-2.0 */
/* Parses kubelet's requests to the classic device plugin. Pure. Nothing in a request is trusted. */
#pragma once

#include <stddef.h>

struct Deviceplugin__AllocateRequest;
struct Deviceplugin__ContainerPreferredAllocationRequest;
struct error;

#define PLUGIN_REQUEST_CONTAINERS_MAX 64 /* per request; kubelet sends one */

/* The IDs for all containers, in the request's order: "tdx<index>", none twice, at least one per
 * container and at most n_offered together. The array is the caller's, the strings are the
 * request's. 0; -EINVAL or -ENOSPC with the reason. */
int plugin_request_collect(const struct Deviceplugin__AllocateRequest *request, size_t n_offered,
                           const char ***ret_ids, size_t *ret_n, struct error *err);

/* The IDs to give to a container, each once and at most as many as it wants: first those that must
 * be included, then the other available "tdx<index>", the highest index first. The array is the
 * caller's, the strings are the request's. */
char **plugin_request_prefer(
        const struct Deviceplugin__ContainerPreferredAllocationRequest *request, size_t *ret_n);
