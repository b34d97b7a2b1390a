/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The attestation settings that this node knew last, as the file <state>/attestation: what a start
 * without the API server goes by.
 *
 *     {"enforced":true,"qgsSocketPath":"/run/tdx-qgs/qgs.socket"}
 *
 * with "qgsSocketPathRefused" beside them, the reason in words, if the path is an earlier one
 * because the KubeVirt CR's own could not be followed. An older driver ignores that field.
 */
#pragma once

#include "kube/kubevirt.h"

#include <stddef.h>

struct error;

#define ATTESTATION_RECORD     "attestation" /* the file's name */
#define ATTESTATION_RECORD_MAX 4096          /* bytes of it that are read */

enum attestation_record_outcome {
        ATTESTATION_RECORD_PARTIAL = 1 /* a field was missing or unusable, and has its default */
};

/* The file's bytes; the caller's. */
char *attestation_record_build(const struct kubevirt_attestation *values);
/* Each field stands for itself here, too. 0; ATTESTATION_RECORD_PARTIAL, with the first reason in
 * err; or -EBADMSG if there is nothing to be had of it. *ret is the caller's then, unless < 0. */
int attestation_record_parse(const char *bytes, size_t n, kubevirt_check_path *check,
                             struct kubevirt_attestation *ret, struct error *err);

/* The same in state_dir, which is created if it is missing. It is not synced: what a crash of the
 * host loses the cluster tells again. */
int attestation_record_save(const char *state_dir, const struct kubevirt_attestation *values,
                            struct error *err);
/* As attestation_record_parse(); -ENOENT: there is no record. */
int attestation_record_load(const char *state_dir, kubevirt_check_path *check,
                            struct kubevirt_attestation *ret, struct error *err);
