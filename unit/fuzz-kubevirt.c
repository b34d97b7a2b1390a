/* SPDX-License-Identifier: Apache-2.0 */
/* Any JSON as a KubeVirt CR, with the driver's own policy for paths, on a host where nothing
 * exists. */
#include "base/error.h"
#include "base/json.h"
#include "host/qgs_path.h"
#include "kube/kubevirt.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static int check_path(const char *path, struct error *err)
{
        return qgs_path_check(KUBEVIRT_QGS_SOCKET_FIELD, path, "/nonexistent/root", err);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
        __attribute__((cleanup(cleanup_kubevirt_attestation))) struct kubevirt_attestation found =
                KUBEVIRT_ATTESTATION_NULL;
        _cleanup_(json) struct json *object = NULL;
        struct error error = ERROR_NULL;
        int r;

        if (json_parse((const char *)bytes, n, &object, NULL) < 0)
                return 0;
        r = kubevirt_attestation_parse(object, check_path, &found, &error);
        if (r < 0) {
                assert(r == -EINVAL && error.code == r && !found.qgs_socket);
                assert(strncmp(error.text, "spec", 4) == 0 || !json_is_object(object));
                assert(!strpbrk(error.text, "\n\r\x1b"));
                return 0;
        }
        assert(!error.code && !*error.text);
        assert(found.qgs_socket[0] == '/' && strlen(found.qgs_socket) <= QGS_PATH_MAX);
        assert(!strstr(found.qgs_socket, "/../") && !strpbrk(found.qgs_socket, "\n\r\t"));
        return 0;
}
