/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The listening sockets of TDs, and who may come in: limits.n_connections for each TD, and as many
 * in all as there are descriptors. Whoever may not waits in the backlog. None is refused.
 */
#pragma once

#include "relay/worker_message.h"

#include <stdbool.h>

struct doors;
struct serving;
struct vms;

/* n_descriptors: this process's RLIMIT_NOFILE. */
struct doors *doors_new(struct serving *serving, struct vms *vms, unsigned n_descriptors);
/* NULL is fine. After vms_free(). */
void doors_free(struct doors *doors);

/* fd becomes the callee's. */
void doors_listen(struct doors *doors, const struct worker_listener *listener, int fd);
void doors_unlisten(struct doors *doors, uint32_t id);
/* serving->is_accepting has changed. */
void doors_accepting_changed(struct doors *doors);
/* The holder is gone. Where we accepted, those in the backlog come in, and then the socket is
 * closed: its next holder has bound another one. Otherwise a successor has it. */
void doors_orphan(struct doors *doors);
