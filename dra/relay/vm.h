/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connections of VMs: each reads a request, has it answered, and may carry the next one.
 *
 * QEMU (target/i386/kvm/tdx-quote-generator.c) connects for each quote, sends at once, waits 30 s
 * and never tries again. So until limits.retry_ms after its request everything that restarts is
 * waited for, and what cannot be given is QGS's own error reply, never a closed connection. A
 * request may be repeated: a quote depends on nothing but its report.
 */
#pragma once

#include "relay/worker_message.h"

#include <stdbool.h>

struct exchanges;
struct serving;
struct turns_td;
struct vms;

typedef void vms_on_gone(void *owner);

struct vms *vms_new(struct serving *serving, struct exchanges *exchanges);
/* NULL is fine. Closes all of them, without a callback. */
void vms_free(struct vms *vms);

/* fd, non-blocking, becomes the callee's. on_gone: the connection is closed; it may come before
 * this returns. */
void vms_add(struct vms *vms, const struct relay_td *td, struct turns_td *turns, int fd,
             vms_on_gone *on_gone, void *owner);
unsigned vms_n(const struct vms *vms);
/* Of those without a request, and of VMs whose request was just answered, none is kept for long. */
void vms_hurry(struct vms *vms);
