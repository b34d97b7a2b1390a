/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Takes on a VM's groups while a file is opened.
 *
 * The manifests run the driver as uid 0 with no capability but CAP_SETGID, so a file's group
 * decides for it as it decides for QEMU. Only the calling thread changes: its supplementary groups
 * (setgroups(2) as a plain system call, because glibc's function changes every thread) and the
 * group that counts for files (setfsgid(2)). The user stays.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#define VM_GROUPS_VM_ID 107         /* KubeVirt's qemu: its uid and its own group */
#define VM_GROUPS_NONE  ((gid_t)-1) /* no group besides that */

struct vm_groups {
        bool is_taken;
        gid_t *groups; /* the thread's own */
        int n_groups;
        gid_t fsgid;
        int dumpable;
};
#define VM_GROUPS_NULL         \
        {                      \
                .groups = NULL \
        }

/* Join the groups VM_GROUPS_VM_ID and extra, which may be VM_GROUPS_NONE, and leave all others.
 * False: CAP_SETGID is missing, and nothing has changed. Start no thread before
 * vm_groups_give_back(). */
bool vm_groups_take(gid_t extra, struct vm_groups *ret);
/* Does nothing if they were not taken. */
void vm_groups_give_back(struct vm_groups *taken);
