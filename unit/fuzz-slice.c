/* SPDX-License-Identifier: Apache-2.0 */
/* Any JSON as a ResourceSlice, and any two as what is wanted and what is there. */
#include "base/error.h"
#include "base/json.h"
#include "base/memory.h"
#include "kube/slice.h"

#include <assert.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
        _cleanup_(slice) struct slice slice = SLICE_NULL;
        _cleanup_(free) char *same = NULL, *dropped = NULL;
        _cleanup_(json) struct json *object = NULL;
        struct error error = ERROR_NULL;
        int r;

        if (json_parse((const char *)bytes, n, &object, NULL) < 0)
                return 0;
        r = slice_parse(object, &slice, &error);
        if (r < 0)
                assert(error.code < 0 && *error.text && !slice.name);
        else if (r == SLICE_ODD)
                assert(error.code < 0 && *error.text && *slice.name && *slice.driver);
        else
                assert(*slice.name && *slice.pool && slice.n_devices <= SLICE_DEVICES_MAX);
        same = slice_dropped_field(object, object);
        assert(!same);
        dropped = slice_dropped_field(json_get(object, "wanted"), json_get(object, "observed"));
        /* What the server dropped is a difference, where it is in what we compare. */
        (void)slice_differs(json_get(object, "wanted"), json_get(object, "observed"));
        (void)slice_differs(object, json_get(object, "observed"));
        return 0;
}
