/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/kubevirt.h"

#include "base/error.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/text.h"

#include <errno.h>
#include <string.h>

#define VALUE_MAX 120U /* bytes of a value in an error's text */

void kubevirt_attestation_deinit(struct kubevirt_attestation *attestation)
{
        free(attestation->qgs_socket);
        *attestation = (struct kubevirt_attestation)KUBEVIRT_ATTESTATION_NULL;
}

struct kubevirt_attestation kubevirt_attestation_defaults(void)
{
        return (struct kubevirt_attestation){ .qgs_socket = xstrdup(KUBEVIRT_QGS_SOCKET) };
}

struct kubevirt_attestation kubevirt_attestation_copy(
        const struct kubevirt_attestation *attestation)
{
        return (struct kubevirt_attestation){
                .is_enforced = attestation->is_enforced,
                .qgs_socket = attestation->qgs_socket ? xstrdup(attestation->qgs_socket) : NULL,
        };
}

bool kubevirt_attestation_equal(const struct kubevirt_attestation *a,
                                const struct kubevirt_attestation *b)
{
        if (a->is_enforced != b->is_enforced || !a->qgs_socket != !b->qgs_socket)
                return false;
        return !a->qgs_socket || strcmp(a->qgs_socket, b->qgs_socket) == 0;
}

static bool is_unset(const struct json *value)
{
        return !value || json_is_null(value);
}

/* field is of another type than it should be. A container is named by its kind: printed, it could
 * be a megabyte. */
static int refuse(const char *field, const struct json *value, const char *what, const char *remedy,
                  struct error *err)
{
        __attribute__((cleanup(cleanup_free))) char *text = NULL;
        bool is_long;

        if (json_is_object(value) || json_is_array(value))
                return error_set(err, -EINVAL, "%s: %s is not %s; %s", field,
                                 json_is_object(value) ? "an object" : "an array", what, remedy);
        /* As JSON, so that a string is quoted and its control characters are escaped. */
        text = json_print(value);
        is_long = strlen(text) > VALUE_MAX;
        if (is_long)
                text[text_utf8_prefix(text, VALUE_MAX)] = '\0';
        return error_set(err, -EINVAL, "%s: %s%s is not %s; %s", field, text, is_long ? "..." : "",
                         what, remedy);
}

/* The attestation object; *ret stays where the CR has none. Outcomes as
 * kubevirt_attestation_parse(). */
static int find_attestation(const struct json *cr, const struct json **ret, struct error *err)
{
        static const char *const levels[] = { "spec", "configuration", "confidentialCompute", "tdx",
                                              "attestation" };
        __attribute__((cleanup(cleanup_text))) struct text field = TEXT_NULL;
        const struct json *value = cr;

        if (!json_is_object(cr))
                return error_set(err, -EINVAL, "the KubeVirt CR is not a JSON object");
        for (size_t i = 0; i < array_size(levels); ++i) {
                text_addf(&field, "%s%s", i ? "." : "", levels[i]);
                value = json_get(value, levels[i]);
                if (is_unset(value))
                        return 0;
                if (!json_is_object(value))
                        return refuse(field.bytes, value, "an object", "correct or remove it", err);
        }
        *ret = value;
        return 0;
}

static int read_enforced(const struct json *value, bool *ret, struct error *err)
{
        if (is_unset(value) || json_bool(value, ret) == 0)
                return 0;
        return refuse(KUBEVIRT_ENFORCED_FIELD, value, "a boolean",
                      "write true or false, without quotes", err);
}

/* *ret is freed where the CR has another path. */
static int read_qgs_socket(const struct json *value, kubevirt_check_path *check, char **ret,
                           struct error *err)
{
        const char *path = json_string(value);

        if (is_unset(value))
                return 0;
        if (!path)
                return refuse(KUBEVIRT_QGS_SOCKET_FIELD, value, "a string",
                              "write a path such as \"" KUBEVIRT_QGS_SOCKET "\", or remove it",
                              err);
        if (check(path, err) < 0) {
                if (err)
                        err->code = -EINVAL;
                return -EINVAL;
        }
        free(*ret);
        *ret = xstrdup(path);
        return 0;
}

int kubevirt_attestation_parse(const struct json *cr, kubevirt_check_path *check,
                               struct kubevirt_attestation *ret, struct error *err)
{
        __attribute__((cleanup(cleanup_kubevirt_attestation))) struct kubevirt_attestation found =
                kubevirt_attestation_defaults();
        const struct json *attestation = NULL;
        int r;

        if ((r = find_attestation(cr, &attestation, err)) < 0 ||
            (r = read_enforced(json_get(attestation, "enforced"), &found.is_enforced, err)) < 0 ||
            (r = read_qgs_socket(json_get(attestation, "qgsSocketPath"), check, &found.qgs_socket,
                                 err)) < 0)
                return r;
        ret->is_enforced = found.is_enforced;
        ret->qgs_socket = take_ptr(found.qgs_socket);
        return 0;
}
