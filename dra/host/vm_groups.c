/* SPDX-License-Identifier: Apache-2.0 */
#include "host/vm_groups.h"

#include "base/memory.h"

#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* setfsgid(2) does not report failure: it always returns the previous value. */
static gid_t set_fsgid(gid_t gid)
{
        return (gid_t)syscall(SYS_setfsgid, gid);
}

static gid_t fsgid(void)
{
        return set_fsgid((gid_t)-1); /* invalid, so it changes nothing */
}

bool vm_groups_take(gid_t extra, struct vm_groups *ret)
{
        struct vm_groups taken = { .fsgid = fsgid(), .dumpable = prctl(PR_GET_DUMPABLE) };

        taken.n_groups = (int)syscall(SYS_getgroups, 0, NULL);
        taken.groups = xcalloc((size_t)taken.n_groups + 1, sizeof(*taken.groups));
        taken.n_groups = (int)syscall(SYS_getgroups, taken.n_groups, taken.groups);
        if (taken.n_groups < 0 ||
            syscall(SYS_setgroups, extra == VM_GROUPS_NONE ? 0 : 1, &extra) < 0) {
                free(taken.groups);
                return false;
        }
        taken.is_taken = true;
        (void)set_fsgid(VM_GROUPS_VM_ID);
        *ret = taken;
        if (fsgid() == VM_GROUPS_VM_ID)
                return true;
        vm_groups_give_back(ret);
        return false;
}

void vm_groups_give_back(struct vm_groups *taken)
{
        if (!taken->is_taken)
                return;
        taken->is_taken = false;
        (void)set_fsgid(taken->fsgid);
        /* CAP_SETGID can undo what it has done. A driver left with a VM's groups would fail in ways
         * that nothing explains. */
        if (syscall(SYS_setgroups, taken->n_groups, taken->groups) < 0 || fsgid() != taken->fsgid)
                abort();
        /* The kernel treats a new fsgid as a change of identity: the process would no longer dump
         * core, nor own its files in /proc. */
        (void)prctl(PR_SET_DUMPABLE, taken->dumpable);
        free(take_ptr(taken->groups));
}
