/* SPDX-License-Identifier: Apache-2.0 */
#include "claims/service.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"
#include "cdi/spec.h"
#include "claims/prepare.h"
#include "claims/record.h"
#include "claims/records.h"
#include "dra.pb-c.h"
#include "ledger.h"

#include <errno.h>
#include <string.h>
#include <uv.h>

/* kubelet puts the text into a pod's Event of at most 1024 bytes, after a prefix. */
#define ERROR_MAX 400

/* Most claims in one request; kubelet sends those of one pod. A larger request would delay all
 * other callers, and take memory: about 20 KiB a claim while it is prepared. */
#define CLAIMS_MAX 512

struct batch;

struct item {
        struct prepare_request request;
        struct batch *batch;
        char *uid;
        Dra__NodePrepareResourceResponse prepared;
        Dra__NodeUnprepareResourceResponse unprepared;
};

/* One call of kubelet's. */
struct batch {
        struct claims_service *plugin;
        struct rpc_call *call;
        bool is_prepare;
        uint64_t began_ns;
        size_t n_pending; /* unanswered items, plus one while the batch is being started */
        size_t n_items;
        struct item items[];
};

/* ---- building the answers ---- */

static char *error_text(const struct error *error)
{
        char *text = xstrndup(error->text, ERROR_MAX);

        text_make_utf8(text);
        return text;
}

static Dra__Device *build_device(const struct ledger_device *held)
{
        Dra__Device *device = xmalloc(sizeof(*device));

        dra__device__init(device);
        device->n_request_names = 1;
        device->request_names = xcalloc(1, sizeof(char *));
        device->request_names[0] = xstrdup(held->request);
        device->pool_name = xstrdup(held->pool);
        device->device_name = xstrdup(held->device);
        if (held->slot != LEDGER_NO_SLOT) {
                device->n_cdi_device_ids = 1;
                device->cdi_device_ids = xcalloc(1, sizeof(char *));
                device->cdi_device_ids[0] = cdi_device_id(PREPARE_CDI_PREFIX, held->slot);
        }
        return device;
}

static void fill_devices(Dra__NodePrepareResourceResponse *response,
                         const struct ledger_claim *claim)
{
        response->n_devices = claim->n_devices;
        response->devices = xcalloc(claim->n_devices, sizeof(*response->devices));
        for (size_t i = 0; i < claim->n_devices; ++i)
                response->devices[i] = build_device(&claim->devices[i]);
}

static void send_prepared(struct batch *batch)
{
        Dra__NodePrepareResourcesResponse response = DRA__NODE_PREPARE_RESOURCES_RESPONSE__INIT;
        Dra__NodePrepareResourcesResponse__ClaimsEntry *entries =
                xcalloc(batch->n_items, sizeof(*entries));
        _cleanup_(free) Dra__NodePrepareResourcesResponse__ClaimsEntry **pointers =
                xcalloc(batch->n_items, sizeof(*pointers));

        for (size_t i = 0; i < batch->n_items; ++i) {
                dra__node_prepare_resources_response__claims_entry__init(&entries[i]);
                entries[i].key = batch->items[i].uid;
                entries[i].value = &batch->items[i].prepared;
                pointers[i] = &entries[i];
        }
        response.n_claims = batch->n_items;
        response.claims = pointers;
        rpc_call_reply(batch->call, &response.base);
        free(entries);
}

static void send_unprepared(struct batch *batch)
{
        Dra__NodeUnprepareResourcesResponse response = DRA__NODE_UNPREPARE_RESOURCES_RESPONSE__INIT;
        Dra__NodeUnprepareResourcesResponse__ClaimsEntry *entries =
                xcalloc(batch->n_items, sizeof(*entries));
        _cleanup_(free) Dra__NodeUnprepareResourcesResponse__ClaimsEntry **pointers =
                xcalloc(batch->n_items, sizeof(*pointers));

        for (size_t i = 0; i < batch->n_items; ++i) {
                dra__node_unprepare_resources_response__claims_entry__init(&entries[i]);
                entries[i].key = batch->items[i].uid;
                entries[i].value = &batch->items[i].unprepared;
                pointers[i] = &entries[i];
        }
        response.n_claims = batch->n_items;
        response.claims = pointers;
        rpc_call_reply(batch->call, &response.base);
        free(entries);
}

/* ---- the batch ---- */

static void free_device(Dra__Device *device)
{
        for (size_t i = 0; i < device->n_request_names; ++i)
                free(device->request_names[i]);
        for (size_t i = 0; i < device->n_cdi_device_ids; ++i)
                free(device->cdi_device_ids[i]);
        free(device->request_names);
        free(device->cdi_device_ids);
        free(device->pool_name);
        free(device->device_name);
        free(device);
}

/* An unset string of protobuf-c is a shared constant, and must not be freed. */
static void free_string(char *string)
{
        if (string != protobuf_c_empty_string)
                free(string);
}

static void batch_free(struct batch *batch)
{
        for (size_t i = 0; i < batch->n_items; ++i) {
                struct item *item = &batch->items[i];

                for (size_t j = 0; j < item->prepared.n_devices; ++j)
                        free_device(item->prepared.devices[j]);
                free(item->prepared.devices);
                free_string(item->prepared.error);
                free_string(item->unprepared.error);
                free(item->uid);
        }
        free(batch);
}

static void batch_end_one(struct batch *batch)
{
        if (--batch->n_pending)
                return;
        if (batch->is_prepare)
                send_prepared(batch);
        else
                send_unprepared(batch);
        batch_free(batch);
}

/* kubelet has given up. Granted claims stay held: kubelet will name them again. */
static void on_gone(void *owner)
{
        struct batch *batch = owner;

        for (size_t i = 0; i < batch->n_items; ++i)
                prepare_cancel(&batch->items[i].request);
        rpc_call_fail(batch->call, RPC_UNAVAILABLE, "the caller has gone");
        batch_free(batch);
}

static void count_answer(struct claims_answers *answers, const struct error *error)
{
        if (error->code)
                ++answers->n_errors;
        else
                ++answers->n_well;
}

static void count(const struct batch *batch, const struct error *error)
{
        struct claims_service *plugin = batch->plugin;

        if (!batch->is_prepare) {
                count_answer(&plugin->unprepares, error);
                return;
        }
        count_answer(&plugin->prepares, error);
        plugin->n_refused += error->code == -ENOSPC;
        histogram_observe(&plugin->durations, (double)(uv_hrtime() - batch->began_ns) / 1e9);
}

static void on_done(void *owner, const struct ledger_claim *claim, const struct error *error)
{
        struct item *item = owner;

        count(item->batch, error);

        if (!item->batch->is_prepare) {
                if (error->code)
                        item->unprepared.error = error_text(error);
        } else if (claim) {
                fill_devices(&item->prepared, claim);
        } else {
                item->prepared.error = error_text(error);
        }
        batch_end_one(item->batch);
}

static struct batch *batch_new(struct claims_service *plugin, struct rpc_call *call,
                               bool is_prepare, Dra__Claim *const *claims, size_t n_claims)
{
        struct batch *batch = xcalloc(1, sizeof(*batch) + n_claims * sizeof(batch->items[0]));

        batch->plugin = plugin;
        batch->call = call;
        batch->began_ns = uv_hrtime();
        batch->is_prepare = is_prepare;
        batch->n_items = n_claims;
        batch->n_pending = n_claims + 1;
        for (size_t i = 0; i < n_claims; ++i) {
                struct item *item = &batch->items[i];

                item->request.on_done = on_done;
                item->request.owner = item;
                item->batch = batch;
                item->uid = xstrdup(claims[i]->uid);
                /* kubelet's protobuf rejects a whole answer in which one string is not UTF-8. */
                text_make_utf8(item->uid);
                dra__node_prepare_resource_response__init(&item->prepared);
                dra__node_unprepare_resource_response__init(&item->unprepared);
        }
        return batch;
}

/* kubelet's strings end up in file names and URLs, so check them like any outside input. */
static int check_claim(const Dra__Claim *claim, struct error *error)
{
        if (!text_is_uid(claim->uid))
                return error_set(error, -EINVAL, "\"%.64s\" is not a claim UID", claim->uid);
        if (!text_is_dns_label(claim->namespace_))
                return error_set(error, -EINVAL, "\"%.64s\" is not a namespace name",
                                 claim->namespace_);
        if (!text_is_dns_subdomain(claim->name))
                return error_set(error, -EINVAL, "\"%.64s\" is not a claim name", claim->name);
        return 0;
}

static void start_batch(struct claims_service *plugin, struct rpc_call *call, bool is_prepare,
                        Dra__Claim *const *claims, size_t n_claims)
{
        uint64_t patience_ms = rpc_call_remaining_ms(call);
        struct batch *batch;

        if (n_claims > CLAIMS_MAX) {
                rpc_call_fail(call, RPC_INVALID_ARGUMENT, "too many claims in one request");
                return;
        }
        batch = batch_new(plugin, call, is_prepare, claims, n_claims);
        for (size_t i = 0; i < n_claims; ++i) {
                const struct prepare_claim_id id = { claims[i]->namespace_, claims[i]->name,
                                                     claims[i]->uid };
                struct item *item = &batch->items[i];
                struct error error = ERROR_NULL;

                if (check_claim(claims[i], &error) < 0)
                        on_done(item, NULL, &error);
                else if (is_prepare)
                        prepare_claim(plugin->prepare, &item->request, &id, patience_ms);
                else
                        prepare_release(plugin->prepare, &item->request, &id);
        }
        /* Every claim was answered at once. The batch ends here, so do not register on_gone. */
        if (batch->n_pending == 1) {
                batch_end_one(batch);
                return;
        }
        --batch->n_pending;
        rpc_call_on_gone(call, on_gone, batch);
}

/* Both API versions have the same messages on the wire, so they share these handlers. */
static void on_prepare(void *owner, struct rpc_call *call, const ProtobufCMessage *message)
{
        const Dra__NodePrepareResourcesRequest *request = (const void *)message;

        start_batch(owner, call, true, request->claims, request->n_claims);
}

static void on_unprepare(void *owner, struct rpc_call *call, const ProtobufCMessage *message)
{
        const Dra__NodeUnprepareResourcesRequest *request = (const void *)message;

        start_batch(owner, call, false, request->claims, request->n_claims);
}

const struct rpc_method claims_service_methods[] = {
        { "/k8s.io.kubelet.pkg.apis.dra.v1.DRAPlugin/NodePrepareResources",
          &dra__node_prepare_resources_request__descriptor, on_prepare },
        { "/k8s.io.kubelet.pkg.apis.dra.v1.DRAPlugin/NodeUnprepareResources",
          &dra__node_unprepare_resources_request__descriptor, on_unprepare },
        { "/k8s.io.kubelet.pkg.apis.dra.v1beta1.DRAPlugin/NodePrepareResources",
          &dra__node_prepare_resources_request__descriptor, on_prepare },
        { "/k8s.io.kubelet.pkg.apis.dra.v1beta1.DRAPlugin/NodeUnprepareResources",
          &dra__node_unprepare_resources_request__descriptor, on_unprepare },
};

const size_t claims_service_n_methods = array_size(claims_service_methods);
