/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as kubelet's checkpoint of devices. */
#include "base/error.h"
#include "plugin/kubelet_checkpoint.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void on_device(void *owner, const char *id, const char *pod_uid)
{
        size_t *n_told = owner;

        *n_told += strlen(id) + strlen(pod_uid) + 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
        struct error error = ERROR_NULL;
        size_t n_told = 0;
        int r;

        r = kubelet_checkpoint_parse((const char *)bytes, n, "devices.kubevirt.io/tdx", on_device,
                                     &n_told, &error);
        assert(r == 0 || (r == -EBADMSG && *error.text && !n_told));
        return 0;
}
