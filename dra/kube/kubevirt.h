/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the KubeVirt CR (kubevirt.io/v1) says of TDX attestation: pure.
 *
 * Source: VEP 107; kubevirt.io/api/core/v1 types.go, TDXAttestationConfiguration. Every object on
 * the way to it, and either field, may be absent or null. The API server fills in the same defaults
 * where the CR has an attestation object, and checks nothing of the path.
 */
#pragma once

#include <stdbool.h>

struct error;
struct json;

#define KUBEVIRT_QGS_SOCKET "/var/run/tdx-qgs/qgs.socket"

#define KUBEVIRT_ATTESTATION_FIELD "spec.configuration.confidentialCompute.tdx.attestation"
#define KUBEVIRT_ENFORCED_FIELD    KUBEVIRT_ATTESTATION_FIELD ".enforced"
#define KUBEVIRT_QGS_SOCKET_FIELD  KUBEVIRT_ATTESTATION_FIELD ".qgsSocketPath"

/* Each field stands for itself: a path that cannot be followed does not switch enforcement off, and
 * `enforced: "yes"` does not lose the path. */
struct kubevirt_attestation {
        bool is_enforced; /* no new TD where QGS is not there */
        char *qgs_socket; /* owned; absolute, and whatever else kubevirt_check_path asks for. NULL:
                             the CR's is refused, and there is no other yet */

        /* Why the CR's value of a field is not followed, so that the one above is an earlier or the
         * default one: the field by its path in the CR, the value (quoted, bounded) and what to do,
         * in one line. Owned; NULL: the value above is the CR's. */
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
        KUBEVIRT_REFUSED = 1 /* at least one field is refused, and says why */
};

/* Read one CR. The defaults stand for what is absent or null; an explicit path is checked even if
 * it is the default one. An object on the way that is of another type refuses both fields. A
 * refused field has no value in *ret, which is the caller's. 0, or KUBEVIRT_REFUSED. */
int kubevirt_attestation_parse(const struct json *cr, kubevirt_check_path *check,
                               struct kubevirt_attestation *ret);

/* Put in force what a CR says: a field that is refused keeps its value and gets the reason. */
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
