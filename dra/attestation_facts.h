/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What attestation (settings and the verdict on QGS together) means for the node's offers. Filled
 * by attestation_facts(), read by node_set_attestation().
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

/* All strings are borrowed, but for a copy. */
struct attestation_facts {
        bool is_known;                   /* false: offer nothing yet */
        bool works[ATTESTATION_N_MEANS]; /* a VM that starts now will reach QGS */
        /* A VM may be placed here. If nothing enforces attestation that is so before is_known: it
         * does not take a QGS. */
        bool is_schedulable[ATTESTATION_N_MEANS];
        gid_t group;       /* that a VM needs besides its own; 0: none */
        const char *state; /* of QGS in one word: "stale"; or what else keeps VMs from attesting:
                              "path-refused" (the KubeVirt CR's qgsSocketPath), "not-seen"
                              (its directory is not mounted into the driver's pod) */
        const char *description; /* the same in a sentence, with the remedy, by ATTESTATION_CDI */
        const char *host_directory; /* what VMs mount */
        const char *seen_directory; /* the same directory as this process sees it (--host-root);
                                       NULL: it neither sees nor may create it, though the container
                                       runtime, on the host, may well have it */
        const char *vm_directory;   /* where the VM's container has it */

        /* A field of the KubeVirt CR is not followed: its last value stays in force. While the path
         * is refused no VM attests: KubeVirt writes it into the VM's definition all the same. */
        bool refuses_path, refuses_enforced;
        /* Why the cluster's settings are not known, neither from the CR nor from an earlier run, so
         * that the defaults are in force; NULL: they are known, or not needed. */
        const char *doubt;
};

/* A copy that owns its strings, and its end. */
struct attestation_facts attestation_facts_copy(const struct attestation_facts *facts);
void attestation_facts_deinit(struct attestation_facts *facts);
