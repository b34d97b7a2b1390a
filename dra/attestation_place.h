/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where QGS's socket is, on the host and in the VM's container: the flags' paths, or the KubeVirt
 * CR's, with what each way of reaching QGS allows. Links of the host are followed, nothing else of
 * it is touched.
 */
#pragma once

#include "kube/kubevirt.h"

#include <stdbool.h>

struct config;

/* All zero before the first attestation_place_set(). Strings are owned. */
struct attestation_place {
        char *host_socket, *vm_socket;
        char *host_directory, *seen_directory,
                *vm_directory; /* seen: by this process (--host-root) */
        char *refusal;  /* why the driver refuses the CR's qgsSocketPath; NULL: it does not */
        bool is_direct; /* VMs mount QGS's own directory, and not the quote relay's */
};

/* Take the flags' paths, or these of the CR. A refused path leaves the one before it in force. If
 * nothing changes, the strings stay where they are: callers have borrowed them. */
void attestation_place_set(struct attestation_place *place, const struct config *config,
                           const struct kubevirt_attestation *values, bool is_direct);
void attestation_place_deinit(struct attestation_place *place);

/* The file to mount in the VM's container if its directory is one that it shares with others, which
 * is not mounted over; NULL: the directory is mounted. Borrowed. */
const char *attestation_place_mounted_file(const struct attestation_place *place);

/* What a CR's qgsSocketPath may be. */
kubevirt_check_path *attestation_place_check(const struct config *config);
