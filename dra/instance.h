/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One active instance per node, by locks on two files: "lock" in the state directory, and
 * ".tdx.kubevirt.io.lock" in kubelet's registry (kubelet ignores names that begin with a dot). The
 * kernel releases them when the process ends, so a killed instance never blocks the next one.
 * During a rolling update the new instance listens under different socket names and waits here for
 * the old one to exit.
 *
 * Two files, because either directory may be removed, renamed or mounted over while an instance
 * runs: the next instance then finds a new file there, but the lock in the other directory keeps it
 * waiting until the first instance has locked the new file too (instance_check()).
 */
#pragma once

#include <uv.h>

struct config;
struct error;
struct instance;

enum instance_outcome {
        INSTANCE_STANDBY =
                1 /* another instance is active; on_active is called when we become active */
};

/* Try to take the locks. The state directory is created with mode 0700 if missing; a missing
 * registry is skipped. 0: we are the active instance; INSTANCE_STANDBY; or -errno. */
int instance_start(uv_loop_t *loop, const struct config *config, void (*on_active)(void *owner),
                   void *owner, struct instance **ret, struct error *err);

/* For the active instance: check that its locks are still on the files that others would find, and
 * lock the new files if not. 0: they are ours. -EBUSY: another instance has taken the state
 * directory's lock meanwhile, and this one must exit. Any other -errno: the directory cannot be
 * created or opened; the old lock is kept, and the next call retries. */
int instance_check(struct instance *instance, struct error *err);

/* Releases the locks. NULL is fine. */
void instance_free(struct instance *instance);

/* Remove the sockets of dead instances, by the names that instances with this config use. 0 or
 * -errno. */
int instance_sweep_sockets(const struct config *config, struct error *err);
