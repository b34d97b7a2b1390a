/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The last known attestation settings, in the file <state>/attestation: a start without the API
 * server uses them.
 *
 *     {"enforced":true,"qgsSocketPath":"/run/tdx-qgs/qgs.socket"}
 *
 * plus "qgsSocketPathRefused", the reason as text, if the path is an earlier one
 * because the driver refused the KubeVirt CR's. An older driver ignores that field.
 */
#pragma once

#include "kube/kubevirt.h"

#include <stdbool.h>
#include <stddef.h>

struct error;

#define ATTESTATION_RECORD     "attestation" /* file name */
#define ATTESTATION_RECORD_MAX 4096          /* bytes */

enum attestation_record_outcome {
        ATTESTATION_RECORD_PARTIAL = 1 /* a field was missing or unusable and has its default */
};

/* Returns the file's bytes; the caller's. */
char *attestation_record_build(const struct kubevirt_attestation *values);
/* An unusable field does not invalidate the others. 0; ATTESTATION_RECORD_PARTIAL with the first
 * reason in err; or -EBADMSG if nothing can be read from the record. *ret is the caller's unless
 * the result is < 0. */
int attestation_record_parse(const char *bytes, size_t n, kubevirt_check_path *check,
                             struct kubevirt_attestation *ret, struct error *err);

/* Build the record and write it in state_dir, which is created if missing. Not synced: if a crash
 * of the host loses it, the cluster provides the settings again. */
int attestation_record_save(const char *state_dir, const struct kubevirt_attestation *values,
                            struct error *err);
/* Read and parse the record: results of attestation_record_parse(); -ENOENT: there is no record;
 * any other -errno: it cannot be read. */
int attestation_record_load(const char *state_dir, kubevirt_check_path *check,
                            struct kubevirt_attestation *ret, struct error *err);

/* The settings to use until the cluster's are known: those of the last run, or the defaults, with a
 * warning if the record is damaged. Whether they are the last run's, whole. *ret is the caller's.
 */
bool attestation_record_last(const char *state_dir, kubevirt_check_path *check,
                             struct kubevirt_attestation *ret);
