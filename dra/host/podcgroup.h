/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a pod's containers have really ended, by its cgroup. kubelet forgets a pod that is
 * deleted by force at once, while its containers live on for seconds. After an orderly deletion the
 * containers' cgroups are gone before the scheduler hears of it. Process IDs would not do: cgroup
 * v1 does not show those of other PID namespaces.
 */
#pragma once

#include <stdbool.h>

/* The cgroup of the pod with this UID, below cgroup_root ("/sys/fs/cgroup"), where kubelet's
 * default names put it (pkg/kubelet/cm: kubepods, by quality of service, for both cgroup drivers;
 * v2, v1 and hybrid), with a container in it. The caller's; NULL: there is none. */
char *podcgroup_find(const char *cgroup_root, const char *pod_uid);

/* Whether a container is in it: runtimes remove a container's cgroup when its last process has
 * gone. True also if that cannot be found out. */
bool podcgroup_is_running(const char *path);
