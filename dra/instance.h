/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One active instance per node, by a lock on a file in the state directory. The kernel gives it up
 * with the process, so a killed instance never stands in the way of the next. During a rolling
 * update the new instance listens under socket names of its own and waits here for the old one to
 * leave.
 */
#pragma once

#include <uv.h>

struct config;
struct error;
struct instance;

enum instance_outcome {
        INSTANCE_STANDBY = 1 /* another one is active; on_active will be called when we are */
};

/* Try for the lock in state_dir (created 0700 where missing). 0: it is ours; INSTANCE_STANDBY; or
 * -errno. */
int instance_start(uv_loop_t *loop, const char *state_dir, void (*on_active)(void *owner),
                   void *owner, struct instance **ret, struct error *err);
/* Gives the lock up. The memory goes when the loop has turned. NULL is fine. */
/* Whether the lock is still the one that others would find: somebody may have removed its file. 0;
 * or -EBUSY where another instance has taken a new one meanwhile, and this one must go. */
int instance_check(struct instance *instance, struct error *err);
void instance_free(struct instance *instance);

/* Remove sockets of instances that live no more, by the names that config's instances use. 0 or
 * -errno. */
int instance_sweep_sockets(const struct config *config, struct error *err);
