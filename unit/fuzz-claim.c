/* SPDX-License-Identifier: Apache-2.0 */
/* Any JSON as a ResourceClaim. */
#include "base/error.h"
#include "base/json.h"
#include "base/memory.h"
#include "kube/claim.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
        _cleanup_(claim) struct claim claim = CLAIM_NULL;
        _cleanup_(json) struct json *object = NULL;
        struct error error = ERROR_NULL;

        if (json_parse((const char *)bytes, n, &object, NULL) < 0)
                return 0;
        if (claim_parse(object, "tdx.kubevirt.io", &claim, &error) < 0) {
                assert(error.code < 0 && *error.text && !claim.uid);
                return 0;
        }
        assert(*claim.uid && *claim.namespace_ && *claim.name);
        assert(claim.n_results <= CLAIM_RESULTS_MAX && (claim.is_allocated || !claim.n_results));
        for (size_t i = 0; i < claim.n_results; ++i)
                assert(*claim.results[i].pool && *claim.results[i].device &&
                       !strchr(claim.results[i].request, '/'));
        return 0;
}
