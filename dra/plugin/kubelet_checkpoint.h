/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which pod has which device, by the device manager's own checkpoint
 * (<kubelet>/device-plugins/kubelet_internal_checkpoint; pkg/kubelet/cm/devicemanager/checkpoint):
 * podresources tells pods by name alone, and their cgroups bear their UIDs. It is a help, not the
 * truth: written some milliseconds after Allocate, and kubelet's own affair. Pure.
 */
#pragma once

#include <stddef.h>

struct error;

#define KUBELET_CHECKPOINT_NAME "kubelet_internal_checkpoint"

/* Call on_device for each device of the resource (ID and UID are borrowed for the call). 0, or
 * -EBADMSG with the reason in err where this is no such checkpoint. */
int kubelet_checkpoint_parse(const char *bytes, size_t n, const char *resource,
                             void (*on_device)(void *owner, const char *id, const char *pod_uid),
                             void *owner, struct error *err);
