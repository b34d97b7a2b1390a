/* SPDX-License-Identifier: Apache-2.0 */
/*
 * May a new VM be placed on this node, and if not, why: attestation (VEP 107's `enforced`) and what
 * containers are given (dra/injection) together. Tells each change as an Event.
 */
#pragma once

#include "attestation_facts.h"

#include <stdbool.h>

struct injection;

/* Why no new VM may be placed here, as far as an Event of its own is due. */
enum placement_obstacle {
        PLACEMENT_OPEN,
        PLACEMENT_NO_MOUNT, /* its container could not be created */
        PLACEMENT_PATH_REFUSED,
        PLACEMENT_QGS
};

/* The first four are the owner's to set, and borrowed. */
struct placement {
        const struct injection *injection;
        const struct attestation_facts *attestation; /* in force */
        void (*on_event)(void *owner, bool is_warning, const char *reason, const char *text);
        void *owner;

        enum placement_obstacle told; /* by the last Event */
        bool was_in_doubt;            /* by the last Event of the settings */
        bool are_taints_dropped;      /* by the API server */
};

bool placement_is_open(const struct placement *placement, enum attestation_means means);

/* The value of the devices' taint, by ATTESTATION_CDI: "no-mount", or the state of attestation;
 * NULL: none. Borrowed until the next change, as is what placement_describe() returns. */
const char *placement_taint(const struct placement *placement);
/* The reason and the remedy, or how well it is. */
const char *placement_describe(const struct placement *placement);

/* After a change: post what is news. */
void placement_tell(struct placement *placement);

/* The API server does not keep taints. Whether that is news; it is forgotten when VMs may be placed
 * again, for the server may have learnt about taints since. */
bool placement_set_taints_dropped(struct placement *placement);
