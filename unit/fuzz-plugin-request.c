/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as what kubelet sends the plugin's side, taken apart and acted on as the driver does;
 * the first byte chooses: an AllocateRequest, a PreferredAllocationRequest or a
 * ListPodResourcesResponse. The corpus: bytes of unit/golden/ behind a byte of 0, 1 or 2, and
 * requests that make no sense. */
#include "base/error.h"
#include "base/memory.h"
#include "device.h"
#include "deviceplugin.pb-c.h"
#include "ledger.h"
#include "plugin/holdings.h"
#include "plugin/podresources.h"
#include "plugin/request.h"
#include "plugin/sharing.h"
#include "podresources.pb-c.h"

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

#define TOTAL 8U

static bool is_among(char *const *ids, size_t n, const char *id)
{
        for (size_t i = 0; i < n; ++i)
                if (ids[i] == id)
                        return true;
        return false;
}

static size_t n_healthy(struct sharing *sharing)
{
        _cleanup_(free) struct sharing_device *devices = NULL;
        size_t n, n_healthy = 0;

        devices = sharing_offer(sharing, &n);
        for (size_t i = 0; i < n; ++i)
                n_healthy += devices[i].is_healthy;
        return n_healthy;
}

static size_t n_written_down(const struct sharing *sharing)
{
        size_t n = 0;

        for (const char *id = NULL; (id = sharing_next_held(sharing, id));)
                ++n;
        return n;
}

static void allocate(struct sharing *sharing, const Deviceplugin__AllocateRequest *request)
{
        _cleanup_(free) const char **ids = NULL;
        struct error error = ERROR_NULL;
        unsigned index;
        size_t n;

        if (plugin_request_collect(request, TOTAL + 1, &ids, &n, &error) < 0) {
                assert(error.text[0]);
                return;
        }
        assert(n > 0 && n <= TOTAL + 1);
        for (size_t i = 0; i < n; ++i)
                assert(device_parse(ids[i], &index) == 0);
        if (sharing_allocate(sharing, ids, n, 1, &error) < 0) {
                assert(n > TOTAL && sharing_n_held(sharing) == 0);
                return;
        }
        assert(n <= TOTAL && sharing_n_held(sharing) == n);
        assert(sharing_allocate(sharing, ids, n, 2, &error) == 0 && sharing_n_held(sharing) == n);
        assert(n_healthy(sharing) >= n && n_written_down(sharing) == n);
}

static void prefer(const Deviceplugin__PreferredAllocationRequest *request)
{
        for (size_t i = 0; i < request->n_container_requests; ++i) {
                const Deviceplugin__ContainerPreferredAllocationRequest *container =
                        request->container_requests[i];
                _cleanup_(free) char **ids = NULL;
                size_t n;

                ids = plugin_request_prefer(container, &n);
                assert(!n ||
                       (container->allocation_size > 0 && n <= (size_t)container->allocation_size));
                for (size_t j = 0; j < n; ++j)
                        assert(j < container->n_must_include_deviceids
                                       ? ids[j] == container->must_include_deviceids[j]
                                       : is_among(container->available_deviceids,
                                                  container->n_available_deviceids, ids[j]));
        }
}

#define SEEN SHARING_PODS_SETTLE_MS /* after the first list, a kubelet's lists are complete */

static void take_in(struct sharing *sharing, const struct ledger *ledger,
                    const Podresources__ListPodResourcesResponse *list)
{
        _cleanup_(free) const char **ids = NULL;
        size_t n;

        ids = podresources_collect(list, "devices.kubevirt.io/tdx", &n);
        assert(sharing_listed(sharing, ids, n, true, UINT64_MAX, SEEN) == (n > 0));
        assert(sharing_n_held(sharing) <= n && (sharing_n_held(sharing) > 0) == (n > 0));
        assert(ledger_elsewhere(ledger) == sharing_n_held(sharing));
        assert(n_written_down(sharing) == sharing_n_held(sharing));
        assert(n_healthy(sharing) >= sharing_n_held(sharing));
        assert(!sharing_listed(sharing, ids, n, true, UINT64_MAX, SEEN + 1));
        assert(sharing_listed(sharing, NULL, 0, true, UINT64_MAX, SEEN + 2) == (n > 0));
        (void)sharing_expire(sharing, SEEN + 2 + HOLDINGS_LINGER_MS);
        assert(sharing_n_held(sharing) == 0 && ledger_elsewhere(ledger) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
        static const ProtobufCMessageDescriptor *const kinds[] = {
                &deviceplugin__allocate_request__descriptor,
                &deviceplugin__preferred_allocation_request__descriptor,
                &podresources__list_pod_resources_response__descriptor,
        };
        _cleanup_(ledger) struct ledger *ledger = NULL;
        _cleanup_(sharing) struct sharing *sharing = NULL;
        const ProtobufCMessageDescriptor *kind;
        ProtobufCMessage *message;

        if (!n)
                return 0;
        kind = kinds[bytes[0] % array_size(kinds)];
        message = protobuf_c_message_unpack(kind, NULL, n - 1, bytes + 1);
        if (!message)
                return 0;
        ledger = ledger_new();
        ledger_set_total(ledger, TOTAL);
        sharing = sharing_new(ledger, -1, NULL, 0);
        (void)sharing_listed(sharing, NULL, 0, true, UINT64_MAX, 0);
        if (kind == kinds[0])
                allocate(sharing, (const Deviceplugin__AllocateRequest *)message);
        else if (kind == kinds[1])
                prefer((const Deviceplugin__PreferredAllocationRequest *)message);
        else
                take_in(sharing, ledger, (const Podresources__ListPodResourcesResponse *)message);
        protobuf_c_message_free_unpacked(message, NULL);
        return 0;
}
