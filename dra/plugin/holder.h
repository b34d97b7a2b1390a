/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A plugin device in use, and the pod that has it. The strings are borrowed. */
struct plugin_holder {
        const char *id;      /* kubelet's, "tdx5" */
        const char *pod_uid; /* NULL: not known */
        const char *cgroup;  /* the pod's, as podcgroup_find() tells it; NULL: not known */
};
