/* SPDX-License-Identifier: Apache-2.0 */
/* What kubelet asks the classic device plugin for, taken apart: pure. Nothing in a request is
 * trusted. */
#pragma once

#include <stddef.h>

struct Deviceplugin__AllocateRequest;
struct Deviceplugin__ContainerPreferredAllocationRequest;
struct error;

#define PLUGIN_REQUEST_CONTAINERS_MAX 64 /* of one request; kubelet asks for one */

/* The IDs for all containers, in the request's order: "tdx<index>", none twice, at least one a
 * container and at most n_offered together. The array is the caller's, the strings are the
 * request's. 0; -EINVAL or -ENOSPC with the reason. */
int plugin_request_collect(const struct Deviceplugin__AllocateRequest *request, size_t n_offered,
                           const char ***ret_ids, size_t *ret_n, struct error *err);

/* The IDs to give to a container, at most as many as it wants: what must be included, then of what
 * else is available "tdx<index>" with the highest index first, each once. The array is the
 * caller's, the strings are the request's. */
char **plugin_request_prefer(
        const struct Deviceplugin__ContainerPreferredAllocationRequest *request, size_t *ret_n);
