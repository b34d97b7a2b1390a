/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The KubeVirt CR's (kubevirt.io/v1) settings for TDX attestation: pure.
 *
 * Source: VEP 107; kubevirt.io/api/core/v1 types.go, TDXAttestationConfiguration. Every object on
 * the way to it, and either field, may be absent or null. The API server fills in the same defaults
 * if the CR has an attestation object, and does not check the path.
 */
#pragma once

#include <stdbool.h>

struct error;
struct json;

#define KUBEVIRT_QGS_SOCKET "/var/run/tdx-qgs/qgs.socket"

#define KUBEVIRT_ATTESTATION_FIELD "spec.configuration.confidentialCompute.tdx.attestation"
#define KUBEVIRT_ENFORCED_FIELD    KUBEVIRT_ATTESTATION_FIELD ".enforced"
#define KUBEVIRT_QGS_SOCKET_FIELD  KUBEVIRT_ATTESTATION_FIELD ".qgsSocketPath"

/* The fields are independent: a refused path does not switch enforcement off, and `enforced: "yes"`
 * does not discard the path. */
struct kubevirt_attestation {
        bool is_enforced; /* place no new TD while QGS does not answer */
        char *qgs_socket; /* owned; absolute, and accepted by kubevirt_check_path. NULL: the CR's
                             path is refused, and there was none before */

        /* Why the CR's value of a field is refused, so that the value above is a previous or
         * default one: the field's path in the CR, the value (quoted, bounded) and the remedy, in
         * one line. Owned; NULL: the value above is the CR's. */
        char *enforced_refusal;
        char *qgs_socket_refusal;
};

/* Empty, and not yet the defaults. */
#define KUBEVIRT_ATTESTATION_NULL \
        {                         \
                0                 \
        }

/* Checks a path of the host, as KUBEVIRT_QGS_SOCKET_FIELD has it: 0, or -errno with a text for the
 * person who wrote the CR. The text is passed on as it is: it names that field, the value and the
 * remedy, as qgs_path_check() does when what is that field. */
typedef int kubevirt_check_path(const char *path, struct error *err);

enum kubevirt_outcome {
        KUBEVIRT_REFUSED = 1 /* at least one field is refused; its refusal says why */
};

/* Read one CR. The defaults stand for what is absent or null; an explicit path is checked even if
 * it is the default one. If an object on the way has another type, both fields are refused. A
 * refused field has no value in *ret, which is the caller's. 0, or KUBEVIRT_REFUSED. */
int kubevirt_attestation_parse(const struct json *cr, kubevirt_check_path *check,
                               struct kubevirt_attestation *ret);

/* Put a CR's values in force. A refused field keeps its value and gets the reason. */
void kubevirt_attestation_follow(struct kubevirt_attestation *in_force,
                                 const struct kubevirt_attestation *cr);

/* VEP 107's: not enforced, KUBEVIRT_QGS_SOCKET. The caller's, as the copy is. */
struct kubevirt_attestation kubevirt_attestation_defaults(void);
struct kubevirt_attestation kubevirt_attestation_copy(
        const struct kubevirt_attestation *attestation);
bool kubevirt_attestation_equal(const struct kubevirt_attestation *a,
                                const struct kubevirt_attestation *b);
void kubevirt_attestation_deinit(struct kubevirt_attestation *attestation);

static inline void cleanup_kubevirt_attestation(struct kubevirt_attestation *attestation)
{
        kubevirt_attestation_deinit(attestation);
}
