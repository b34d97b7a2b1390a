/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/claim.h"

#include "base/error.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/text.h"

#include <errno.h>
#include <string.h>

static void result_deinit(struct claim_result *result)
{
        free(result->request);
        free(result->pool);
        free(result->device);
}

void claim_deinit(struct claim *claim)
{
        free(claim->uid);
        free(claim->namespace_);
        free(claim->name);
        for (size_t i = 0; i < claim->n_results; ++i)
                result_deinit(&claim->results[i]);
        free(claim->results);
        for (size_t i = 0; i < claim->n_pods; ++i)
                free(claim->pod_uids[i]);
        free(claim->pod_uids);
        *claim = (struct claim)CLAIM_NULL;
}

/* The API server omits an unset field or writes null. */
static bool is_unset(const struct json *value)
{
        return !value || json_is_null(value);
}

static int read_metadata(const struct json *metadata, const char *key, char **ret,
                         struct error *err)
{
        const char *value = json_string(json_get(metadata, key));

        if (!value || !*value)
                return error_set(err, -EBADMSG, "metadata.%s: %s", key,
                                 value ? "empty" : "not a string");
        *ret = xstrdup(value);
        return 0;
}

#define RESULT "status.allocation.devices.results[%zu]"

/* Borrowed; NULL with the reason in err. */
static const char *result_string(const struct json *object, size_t index, const char *key,
                                 struct error *err)
{
        const char *value = json_string(json_get(object, key));

        if (value && *value)
                return value;
        error_set(err, -EBADMSG, RESULT ".%s: %s", index, key, value ? "empty" : "not a string");
        return NULL;
}

/* Check every result, even other drivers': a malformed one means that we do not understand this
 * claim. */
static int read_result(const struct json *object, size_t index, const char *driver,
                       struct claim *claim, struct error *err)
{
        const char *of_driver, *request, *pool, *device;
        const struct json *admin_access = json_get(object, "adminAccess");
        struct claim_result *result;
        bool is_admin_access = false;

        if (!json_is_object(object))
                return error_set(err, -EBADMSG, RESULT ": not an object", index);
        if (!(of_driver = result_string(object, index, "driver", err)) ||
            !(request = result_string(object, index, "request", err)) ||
            !(pool = result_string(object, index, "pool", err)) ||
            !(device = result_string(object, index, "device", err)))
                return -EBADMSG;
        if (!is_unset(admin_access) && json_bool(admin_access, &is_admin_access) < 0)
                return error_set(err, -EBADMSG, RESULT ".adminAccess: not a boolean", index);
        if (strcmp(of_driver, driver) != 0)
                return 0;
        result = &claim->results[claim->n_results++];
        result->request = xstrndup(request, strcspn(request, "/"));
        /* The name goes into the answer to kubelet, whose strings must be UTF-8, and into the
         * record. */
        if (!text_is_dns_label(result->request))
                return error_set(err, -EBADMSG, RESULT ".request: not a DNS label", index);
        result->pool = xstrdup(pool);
        result->device = xstrdup(device);
        result->is_admin_access = is_admin_access;
        return 0;
}

static int read_results(const struct json *results, const char *driver, struct claim *claim,
                        struct error *err)
{
        size_t n = json_count(results), i = 0;

        if (!json_is_array(results))
                return error_set(err, -EBADMSG, "status.allocation.devices.results: not an array");
        if (n > CLAIM_RESULTS_MAX)
                return error_set(err, -EBADMSG,
                                 "status.allocation.devices.results: %zu results, the API's limit "
                                 "is %u",
                                 n, CLAIM_RESULTS_MAX);
        claim->results = xcalloc(n, sizeof(*claim->results));
        for (const struct json *object = json_first(results); object; object = json_next(object)) {
                int r = read_result(object, i++, driver, claim, err);

                if (r < 0)
                        return r;
        }
        return 0;
}

static int read_allocation(const struct json *status, const char *driver, struct claim *claim,
                           struct error *err)
{
        const struct json *allocation, *devices, *results;

        if (is_unset(status))
                return 0;
        if (!json_is_object(status))
                return error_set(err, -EBADMSG, "status: not an object");
        allocation = json_get(status, "allocation");
        if (is_unset(allocation))
                return 0;
        if (!json_is_object(allocation))
                return error_set(err, -EBADMSG, "status.allocation: not an object");
        claim->is_allocated = true;
        devices = json_get(allocation, "devices");
        if (is_unset(devices))
                return 0;
        if (!json_is_object(devices))
                return error_set(err, -EBADMSG, "status.allocation.devices: not an object");
        results = json_get(devices, "results");
        return is_unset(results) ? 0 : read_results(results, driver, claim, err);
}

/* The pods only help to attribute running TDs, so a malformed list does not make the claim
 * unusable. */
static void read_pods(const struct json *reserved_for, struct claim *claim)
{
        size_t n = json_is_array(reserved_for) ? json_count(reserved_for) : 0;

        if (!n || n > CLAIM_PODS_MAX)
                return;
        claim->pod_uids = xcalloc(n, sizeof(*claim->pod_uids));
        for (const struct json *consumer = json_first(reserved_for); consumer;
             consumer = json_next(consumer)) {
                const char *resource = json_string(json_get(consumer, "resource"));
                const char *uid = json_string(json_get(consumer, "uid"));

                if (resource && strcmp(resource, "pods") == 0 && uid && text_is_dns_label(uid))
                        claim->pod_uids[claim->n_pods++] = xstrdup(uid);
        }
}

int claim_parse(const struct json *object, const char *driver, struct claim *ret, struct error *err)
{
        _cleanup_(claim) struct claim claim = CLAIM_NULL;
        const struct json *metadata = json_get(object, "metadata");
        int r;

        if (!json_is_object(metadata))
                return error_set(err, -EBADMSG, "a claim without metadata");
        if ((r = read_metadata(metadata, "uid", &claim.uid, err)) < 0 ||
            (r = read_metadata(metadata, "namespace", &claim.namespace_, err)) < 0 ||
            (r = read_metadata(metadata, "name", &claim.name, err)) < 0 ||
            (r = read_allocation(json_get(object, "status"), driver, &claim, err)) < 0)
                return r;
        read_pods(json_get(json_get(object, "status"), "reservedFor"), &claim);
        *ret = claim;
        claim = (struct claim)CLAIM_NULL;
        return 0;
}
