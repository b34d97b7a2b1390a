/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What attestation (the settings and the verdict on QGS together) means for the node's offers.
 * Filled by attestation_facts(), read by node_set_attestation().
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

/* How a VM gets the QGS directory. */
enum attestation_means {
        ATTESTATION_CDI,    /* the edits of a CDI device, which can add a group */
        ATTESTATION_MOUNTS, /* a device plugin's mount, which cannot */
        ATTESTATION_N_MEANS
};

/* All strings are borrowed, except in a copy. */
struct attestation_facts {
        bool is_known;                   /* false: offer nothing yet */
        bool works[ATTESTATION_N_MEANS]; /* a VM that starts now will reach QGS */
        /* A VM may be placed here. Without enforcement this is true even before is_known, since
         * placing a VM does not require QGS. */
        bool is_schedulable[ATTESTATION_N_MEANS];
        gid_t group;             /* the extra group that a VM needs; 0: none */
        const char *state;       /* QGS's state in one word ("stale"), or what else keeps VMs from
                                    attesting: "path-refused" (the KubeVirt CR's qgsSocketPath),
                                    "not-seen" (its directory is not mounted into the driver's pod) */
        const char *description; /* state as a sentence with the remedy, for ATTESTATION_CDI */
        const char *host_directory; /* the directory that VMs mount; if is_relayed, the one with a
                                       directory of each TD (host/relay_message.h) */
        const char *seen_directory; /* the same directory as this process sees it (--host-root);
                                       NULL: it cannot see or create it, though the container
                                       runtime, on the host, may well have it; or is_relayed */
        const char *vm_directory;   /* the path of that mount in the VM's container */
        bool is_relayed;            /* VMs reach QGS through the quote relay */
        const char *mounted_file;   /* the one file of the TD's directory that is mounted, because
                                       the VM shares vm_directory with others, as vm_directory/file;
                                       NULL: the directory is mounted */

        /* The driver does not follow this field of the KubeVirt CR: its last value stays in force.
         * While the path is refused no VM attests, because KubeVirt still writes the refused path
         * into the VM's definition. */
        bool refuses_path, refuses_enforced;
        /* Why the cluster's settings are unknown, both from the CR and from an earlier run, so that
         * the defaults are in force. NULL: they are known, or not needed. */
        const char *doubt;
};

/* The copy owns its strings; free them with attestation_facts_deinit(). */
struct attestation_facts attestation_facts_copy(const struct attestation_facts *facts);
void attestation_facts_deinit(struct attestation_facts *facts);
