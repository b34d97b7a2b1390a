/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as the record of the last run's settings. What is taken from them is written and read
 * again, and must be the same. */
#include "attestation_record.h"
#include "base/error.h"
#include "base/memory.h"
#include "host/qgs_path.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static int check_path(const char *path, struct error *err)
{
        return qgs_path_check("qgsSocketPath", path, "/nonexistent/root", err);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
        _cleanup_(kubevirt_attestation) struct kubevirt_attestation
                found = KUBEVIRT_ATTESTATION_NULL,
                again = KUBEVIRT_ATTESTATION_NULL;
        _cleanup_(free) char *text = NULL;
        struct error error = ERROR_NULL;
        int r;

        r = attestation_record_parse((const char *)bytes, n, check_path, &found, &error);
        assert(r == 0 || r == ATTESTATION_RECORD_PARTIAL || r == -EBADMSG);
        assert(!r == !error.code && !r == !error.text[0]);
        if (r < 0) {
                assert(!found.qgs_socket);
                return 0;
        }
        assert(!found.enforced_refusal && check_path(found.qgs_socket, NULL) == 0);
        assert(!found.qgs_socket_refusal || !strpbrk(found.qgs_socket_refusal, "\n\r\x1b"));
        text = attestation_record_build(&found);
        assert(strlen(text) <= ATTESTATION_RECORD_MAX);
        r = attestation_record_parse(text, strlen(text), check_path, &again, NULL);
        assert(r == 0 && kubevirt_attestation_equal(&found, &again));
        return 0;
}
