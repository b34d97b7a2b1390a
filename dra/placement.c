/* SPDX-License-Identifier: Apache-2.0 */
#include "placement.h"

#include "base/error.h"
#include "base/log.h"
#include "injection.h"

#include <stddef.h>

static enum placement_obstacle obstacle(const struct placement *placement,
                                        enum attestation_means means)
{
        const struct attestation_facts *attestation = placement->attestation;

        /* Before attestation: without a mount no VM starts, whether attestation is enforced or not.
         */
        if (injection_obstacle(placement->injection, means))
                return PLACEMENT_NO_MOUNT;
        if (attestation->is_schedulable[means])
                return PLACEMENT_OPEN;
        return attestation->refuses_path ? PLACEMENT_PATH_REFUSED : PLACEMENT_QGS;
}

bool placement_is_open(const struct placement *placement, enum attestation_means means)
{
        return obstacle(placement, means) == PLACEMENT_OPEN;
}

const char *placement_taint(const struct placement *placement)
{
        switch (obstacle(placement, ATTESTATION_CDI)) {
        case PLACEMENT_OPEN:
                return NULL;
        case PLACEMENT_NO_MOUNT:
                return "no-mount";
        case PLACEMENT_PATH_REFUSED:
        case PLACEMENT_QGS:
                break;
        }
        return placement->attestation->state;
}

const char *placement_describe(const struct placement *placement)
{
        const struct error *error = injection_obstacle(placement->injection, ATTESTATION_CDI);

        return error ? error->text : placement->attestation->description;
}

static void tell_doubt(struct placement *placement)
{
        const char *doubt = placement->attestation->doubt;

        if (!doubt == !placement->was_in_doubt)
                return;
        placement->was_in_doubt = doubt;
        placement->on_event(placement->owner, doubt,
                            doubt ? "TDXSettingsUnknown" : "TDXSettingsKnown",
                            doubt ? doubt : "KubeVirt's attestation settings are known");
}

/* A change between two states of QGS posts no Event: the log, the slice and the health stream show
 * it. */
static void tell_obstacle(struct placement *placement)
{
        enum placement_obstacle now = obstacle(placement, ATTESTATION_CDI);

        /* Before the first verdict QGS's state is unknown rather than bad: post no Event yet. */
        if (now == placement->told || !placement->attestation->is_known)
                return;
        placement->told = now;
        if (now == PLACEMENT_OPEN)
                placement->are_taints_dropped = false;
        placement->on_event(placement->owner, now != PLACEMENT_OPEN,
                            now == PLACEMENT_OPEN ? "TDXSchedulable" : "TDXNotSchedulable",
                            placement_describe(placement));
}

void placement_tell(struct placement *placement)
{
        tell_doubt(placement);
        tell_obstacle(placement);
}

bool placement_set_taints_dropped(struct placement *placement)
{
        if (placement->are_taints_dropped)
                return false;
        log_warn("this API server keeps no device taints (its feature DRADeviceTaints is off): "
                 "while VMs may not be placed here, the slices list no device instead");
        placement->are_taints_dropped = true;
        return true;
}
