/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as the record of allocated plugin devices. */
#include "base/error.h"
#include "plugin/holder.h"
#include "plugin/record.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void on_holder(void *owner, const struct plugin_holder *holder)
{
        size_t *n_told = owner;

        ++*n_told;
        assert(strlen(holder->id) < SIZE_MAX);
        assert(!holder->pod_uid || strlen(holder->pod_uid) < SIZE_MAX);
        assert(!holder->cgroup || strlen(holder->cgroup) < SIZE_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
        struct error error = ERROR_NULL;
        size_t n_told = 0, n_read;

        n_read = plugin_record_parse((const char *)bytes, n, on_holder, &n_told, &error);
        assert(n_read == n_told);
        assert(!error.code || (error.code == -EBADMSG && *error.text));
        return 0;
}
