/* SPDX-License-Identifier: Apache-2.0 */
#include "plugin/request.h"

#include "base/error.h"
#include "base/memory.h"
#include "device.h"
#include "deviceplugin.pb-c.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

/* ---- Allocate ---- */

static int check_ids(char *const *ids, size_t n, size_t n_offered, struct error *err)
{
        bool is_named[DEVICE_INDEX_MAX] = { false };
        unsigned index;

        if (n > n_offered)
                return error_set(err, -ENOSPC, "the pod asks for %zu TDs, this node has %zu", n,
                                 n_offered);
        for (size_t i = 0; i < n; ++i) {
                if (device_parse(ids[i], &index) < 0)
                        return error_set(
                                err, -EINVAL,
                                "there is no device \"%.64s\": devices are named tdx0, tdx1, ...",
                                ids[i]);
                if (is_named[index])
                        return error_set(err, -EINVAL, "device %s is named twice", ids[i]);
                is_named[index] = true;
        }
        return 0;
}

int plugin_request_collect(const Deviceplugin__AllocateRequest *request, size_t n_offered,
                           const char ***ret_ids, size_t *ret_n, struct error *err)
{
        _cleanup_(free) char **all = NULL;
        size_t n = 0;
        int r;

        if (!request->n_container_requests ||
            request->n_container_requests > PLUGIN_REQUEST_CONTAINERS_MAX)
                return error_set(err, -EINVAL, "%zu containers in one request",
                                 request->n_container_requests);
        for (size_t i = 0; i < request->n_container_requests; ++i)
                if (!request->container_requests[i]->n_devices_ids)
                        return error_set(err, -EINVAL, "the request names no device");
        for (size_t i = 0; i < request->n_container_requests; ++i) {
                const Deviceplugin__ContainerAllocateRequest *container =
                        request->container_requests[i];

                all = xreallocarray(all, n + container->n_devices_ids, sizeof(*all));
                memcpy(all + n, container->devices_ids, container->n_devices_ids * sizeof(*all));
                n += container->n_devices_ids;
        }
        r = check_ids(all, n, n_offered, err);
        if (r < 0)
                return r;
        *ret_ids = (const char **)take_ptr(all);
        *ret_n = n;
        return 0;
}

/* ---- GetPreferredAllocation ---- */

/* Prefer the highest indexes: the scheduler gives claims the first devices of the slice, so the two
 * paths meet as late as possible. IDs that are not our names are left to kubelet. */
char **plugin_request_prefer(const Deviceplugin__ContainerPreferredAllocationRequest *request,
                             size_t *ret_n)
{
        size_t n_known = request->n_must_include_deviceids + request->n_available_deviceids;
        size_t n_wanted = request->allocation_size > 0 ? (size_t)request->allocation_size : 0;
        char *available[DEVICE_INDEX_MAX] = { NULL };
        char **ids;
        size_t n = 0;
        unsigned index;

        /* allocation_size is unchecked input: allocate no more than the request can fill. */
        if (n_wanted > n_known)
                n_wanted = n_known;
        ids = xcalloc(n_wanted, sizeof(*ids));
        for (size_t i = 0; i < request->n_available_deviceids; ++i)
                if (device_parse(request->available_deviceids[i], &index) == 0)
                        available[index] = request->available_deviceids[i];
        for (size_t i = 0; i < request->n_must_include_deviceids && n < n_wanted; ++i) {
                ids[n++] = request->must_include_deviceids[i];
                if (device_parse(request->must_include_deviceids[i], &index) == 0)
                        available[index] = NULL;
        }
        for (size_t i = DEVICE_INDEX_MAX; i > 0 && n < n_wanted; --i)
                if (available[i - 1])
                        ids[n++] = available[i - 1];
        *ret_n = n;
        return ids;
}
