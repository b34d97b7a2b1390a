/* SPDX-License-Identifier: Apache-2.0 */
/* Any JSON as a KubeVirt CR, with the driver's own policy for paths, on a host where nothing
 * exists. */
#include "base/error.h"
#include "base/json.h"
#include "base/memory.h"
#include "host/qgs_path.h"
#include "kube/kubevirt.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static int check_path(const char *path, struct error *err)
{
        return qgs_path_check(KUBEVIRT_QGS_SOCKET_FIELD, path, "/nonexistent/root", err);
}

static void check_refusal(const struct json *object, const char *refusal)
{
        if (!refusal)
                return;
        assert(strncmp(refusal, "spec", 4) == 0 || !json_is_object(object));
        assert(!strpbrk(refusal, "\n\r\x1b"));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
        _cleanup_(kubevirt_attestation) struct kubevirt_attestation found =
                KUBEVIRT_ATTESTATION_NULL;
        _cleanup_(json) struct json *object = NULL;
        int r;

        if (json_parse((const char *)bytes, n, &object, NULL) < 0)
                return 0;
        r = kubevirt_attestation_parse(object, check_path, &found);
        assert(r == 0 || r == KUBEVIRT_REFUSED);
        assert(!r == (!found.enforced_refusal && !found.qgs_socket_refusal));
        check_refusal(object, found.enforced_refusal);
        check_refusal(object, found.qgs_socket_refusal);
        assert(!found.enforced_refusal || !found.is_enforced);
        assert(!found.qgs_socket == !!found.qgs_socket_refusal);
        if (!found.qgs_socket)
                return 0;
        assert(found.qgs_socket[0] == '/' && strlen(found.qgs_socket) <= QGS_PATH_MAX);
        assert(!strstr(found.qgs_socket, "/../") && !strpbrk(found.qgs_socket, "\n\r\t"));
        return 0;
}
