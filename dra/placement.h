/* SPDX-License-Identifier: Apache-2.0 */
/*
 * May a new VM be placed on this node, and if not, why? Combines attestation (VEP 107's `enforced`)
 * with the state of the CDI spec and the mount (dra/injection). Posts each change as an Event.
 */
#pragma once

#include "attestation_facts.h"

#include <stdbool.h>

struct injection;

/* Why no new VM may be placed here, as far as the reasons have separate Events. */
enum placement_obstacle {
        PLACEMENT_OPEN,
        PLACEMENT_NO_MOUNT, /* its container could not be created */
        PLACEMENT_PATH_REFUSED,
        PLACEMENT_QGS
};

/* The owner sets the first four members; pointers are borrowed. */
struct placement {
        const struct injection *injection;
        const struct attestation_facts *attestation; /* in force */
        void (*on_event)(void *owner, bool is_warning, const char *reason, const char *text);
        void *owner;

        enum placement_obstacle told; /* what the last Event said */
        bool was_in_doubt;            /* the last Event about the settings said so */
        bool are_taints_dropped;      /* the API server drops our taints */
};

bool placement_is_open(const struct placement *placement, enum attestation_means means);

/* The value of the devices' taint, for ATTESTATION_CDI: "no-mount", or the state of attestation;
 * NULL: none. Like the result of placement_describe(), it is borrowed until the next change. */
const char *placement_taint(const struct placement *placement);
/* The obstacle with its remedy, or the good news ("QGS answers"). */
const char *placement_describe(const struct placement *placement);

/* Call after each change: posts an Event for what is new. */
void placement_tell(struct placement *placement);

/* The API server does not keep taints. True if that is news. It is forgotten once VMs may be placed
 * again, since the server may support taints by then. */
bool placement_set_taints_dropped(struct placement *placement);
