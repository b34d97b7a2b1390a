/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which pod has which device, by the device manager's own checkpoint
 * (<kubelet>/device-plugins/kubelet_internal_checkpoint; pkg/kubelet/cm/devicemanager/checkpoint):
 * podresources names pods without their UIDs, but cgroups are named by UID. It is a hint, not the
 * truth: kubelet writes it some milliseconds after Allocate, and its format is internal. Pure.
 */
#pragma once

#include <stddef.h>

struct error;

#define KUBELET_CHECKPOINT_NAME "kubelet_internal_checkpoint"

/* Call on_device for each device of the resource (ID and UID are borrowed for the call). 0, or
 * -EBADMSG with the reason in err if the bytes are not such a checkpoint. */
int kubelet_checkpoint_parse(const char *bytes, size_t n, const char *resource,
                             void (*on_device)(void *owner, const char *id, const char *pod_uid),
                             void *owner, struct error *err);
