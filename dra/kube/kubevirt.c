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
        free(attestation->enforced_refusal);
        free(attestation->qgs_socket_refusal);
        *attestation = (struct kubevirt_attestation)KUBEVIRT_ATTESTATION_NULL;
}

struct kubevirt_attestation kubevirt_attestation_defaults(void)
{
        return (struct kubevirt_attestation){ .qgs_socket = xstrdup(KUBEVIRT_QGS_SOCKET) };
}

static char *copy(const char *string)
{
        return string ? xstrdup(string) : NULL;
}

struct kubevirt_attestation kubevirt_attestation_copy(
        const struct kubevirt_attestation *attestation)
{
        return (struct kubevirt_attestation){
                .is_enforced = attestation->is_enforced,
                .qgs_socket = copy(attestation->qgs_socket),
                .enforced_refusal = copy(attestation->enforced_refusal),
                .qgs_socket_refusal = copy(attestation->qgs_socket_refusal),
        };
}

bool kubevirt_attestation_equal(const struct kubevirt_attestation *a,
                                const struct kubevirt_attestation *b)
{
        return a->is_enforced == b->is_enforced && text_is_same(a->qgs_socket, b->qgs_socket) &&
               text_is_same(a->enforced_refusal, b->enforced_refusal) &&
               text_is_same(a->qgs_socket_refusal, b->qgs_socket_refusal);
}

void kubevirt_attestation_follow(struct kubevirt_attestation *in_force,
                                 const struct kubevirt_attestation *cr)
{
        if (!cr->enforced_refusal)
                in_force->is_enforced = cr->is_enforced;
        if (!cr->qgs_socket_refusal)
                text_replace(&in_force->qgs_socket, cr->qgs_socket);
        text_replace(&in_force->enforced_refusal, cr->enforced_refusal);
        text_replace(&in_force->qgs_socket_refusal, cr->qgs_socket_refusal);
}

static bool is_unset(const struct json *value)
{
        return !value || json_is_null(value);
}

/* Refuse a field of the wrong type. An object or array is not printed, because it could be a
 * megabyte. */
static int refuse(const char *field, const struct json *value, const char *what, const char *remedy,
                  struct error *err)
{
        _cleanup_(free) char *text = NULL;
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

/* The attestation object; *ret is untouched if the CR has none. 0, or -EINVAL naming the field. */
static int find_attestation(const struct json *cr, const struct json **ret, struct error *err)
{
        static const char *const levels[] = { "spec", "configuration", "confidentialCompute", "tdx",
                                              "attestation" };
        _cleanup_(text) struct text field = TEXT_NULL;
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

static int check_qgs_socket(const struct json *value, kubevirt_check_path *check, struct error *err)
{
        const char *path = json_string(value);

        if (is_unset(value))
                return 0;
        if (!path)
                return refuse(KUBEVIRT_QGS_SOCKET_FIELD, value, "a string",
                              "write a path such as \"" KUBEVIRT_QGS_SOCKET "\", or remove it",
                              err);
        return check(path, err);
}

int kubevirt_attestation_parse(const struct json *cr, kubevirt_check_path *check,
                               struct kubevirt_attestation *ret)
{
        struct kubevirt_attestation found = KUBEVIRT_ATTESTATION_NULL;
        const struct json *attestation = NULL, *path;
        struct error error = ERROR_NULL;

        if (find_attestation(cr, &attestation, &error) < 0) {
                found.enforced_refusal = xstrdup(error.text);
                found.qgs_socket_refusal = xstrdup(error.text);
                *ret = found;
                return KUBEVIRT_REFUSED;
        }
        if (read_enforced(json_get(attestation, "enforced"), &found.is_enforced, &error) < 0)
                found.enforced_refusal = xstrdup(error.text);
        path = json_get(attestation, "qgsSocketPath");
        if (check_qgs_socket(path, check, &error) < 0)
                found.qgs_socket_refusal = xstrdup(error.text);
        else
                found.qgs_socket =
                        xstrdup(is_unset(path) ? KUBEVIRT_QGS_SOCKET : json_string(path));
        *ret = found;
        return found.enforced_refusal || found.qgs_socket_refusal ? KUBEVIRT_REFUSED : 0;
}
