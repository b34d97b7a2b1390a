/* SPDX-License-Identifier: Apache-2.0 */
#include "claims/allocation.h"

#include "base/error.h"
#include "base/memory.h"
#include "config.h"
#include "device.h"
#include "kube/claim.h"
#include "ledger.h"

#include <errno.h>
#include <string.h>

int allocation_check(const struct claim *claim, const char *uid, const char *pool,
                     struct error *error)
{
        unsigned index;

        if (!claim->uid || strcmp(claim->uid, uid) != 0)
                return error_set(error, -ESTALE,
                                 "the claim was deleted and created again (its UID is now %.64s); "
                                 "delete the pod",
                                 claim->uid ? claim->uid : "none");
        if (!claim->is_allocated)
                return error_set(error, -EAGAIN,
                                 "the claim is not allocated; the scheduler has to do that first");
        if (!claim->n_results)
                return error_set(error, -EINVAL,
                                 "the claim's allocation has no device of driver " DRIVER_NAME);
        for (size_t i = 0; i < claim->n_results; ++i) {
                const struct claim_result *result = &claim->results[i];

                if (strcmp(result->pool, pool) != 0)
                        return error_set(error, -EINVAL,
                                         "device %.63s is of pool %.253s, this node's pool is %s",
                                         result->device, result->pool, pool);
                if (device_parse(result->device, &index) < 0)
                        return error_set(error, -EINVAL,
                                         "there is no device %.63s in pool %s: devices are named "
                                         "tdx0 to tdx%u",
                                         result->device, pool, DEVICE_INDEX_MAX - 1);
        }
        return 0;
}

/* One device is enough, even if its name is not one of ours: a claim with any device in the pool
 * may still have a container here. */
bool allocation_is_here(const struct claim *claim, const char *pool)
{
        for (size_t i = 0; i < claim->n_results; ++i)
                if (strcmp(claim->results[i].pool, pool) == 0)
                        return true;
        return false;
}

struct ledger_claim *allocation_to_ledger(const struct claim *claim, const char *uid,
                                          const char *namespace_, const char *name,
                                          const char *boot_id)
{
        struct ledger_claim *held = ledger_claim_new(uid, namespace_, name, claim->n_results);

        held->boot_id = xstrdup(boot_id);
        for (size_t i = 0; i < claim->n_results; ++i) {
                const struct claim_result *result = &claim->results[i];
                struct ledger_device *device = &held->devices[i];

                device->request = xstrdup(result->request);
                device->pool = xstrdup(result->pool);
                device->device = xstrdup(result->device);
                device->is_admin_access = result->is_admin_access;
                /* The ledger picks the slot when the claim is held: the scheduler's choice of
                 * device may clash with a grant that this node still has. */
                device->slot = LEDGER_NO_SLOT;
        }
        held->pod_uids = xcalloc(claim->n_pods, sizeof(*held->pod_uids));
        while (held->n_pods < claim->n_pods) {
                held->pod_uids[held->n_pods] = xstrdup(claim->pod_uids[held->n_pods]);
                ++held->n_pods;
        }
        return held;
}
