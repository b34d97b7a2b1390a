/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One active instance per node, by locks on two files: "lock" in the state directory, and
 * ".tdx.kubevirt.io.lock" in kubelet's registry (kubelet passes over names that begin with a dot).
 * The kernel gives them up with the process, so a killed instance never stands in the way of the
 * next. During a rolling update the new instance listens under socket names of its own and waits
 * here for the old one to leave.
 *
 * Two files, since either directory may be removed, renamed or mounted over while an instance runs:
 * the next instance then finds a new file there, and the other one keeps it waiting until the first
 * has locked the new file too (instance_check()).
 */
#pragma once

#include <uv.h>

struct config;
struct error;
struct instance;

enum instance_outcome {
        INSTANCE_STANDBY = 1 /* another one is active; on_active will be called when we are */
};

/* Try for the locks (the state directory is created 0700 if missing; a registry that is not there
 * is left out). 0: we are the active instance; INSTANCE_STANDBY; or -errno. */
int instance_start(uv_loop_t *loop, const struct config *config, void (*on_active)(void *owner),
                   void *owner, struct instance **ret, struct error *err);

/* For the active instance: whether its locks are still the files that others would find, and if
 * not, lock those. 0: they are ours. -EBUSY: another instance has taken the state directory's
 * meanwhile, and this one must go. Any other -errno: the directory cannot be made or opened now;
 * the old lock is kept, and the next call tries again. */
int instance_check(struct instance *instance, struct error *err);

/* Gives the locks up. NULL is fine. */
void instance_free(struct instance *instance);

/* Remove sockets of instances that live no more, by the names that config's instances use. 0 or
 * -errno. */
int instance_sweep_sockets(const struct config *config, struct error *err);
