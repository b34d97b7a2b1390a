/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The holder's own descriptors of the worker's connections to QGS, by ticket.
 *
 * QGS up to 1.25 uses freed memory after a connection was closed before its reply
 * (host/qgs_probe.h). So if the worker dies, the connections stay open here, orphaned, until QGS
 * has replied and closed or has had its time. Until then each occupies one of QGS's threads.
 */
#pragma once

#include <stdint.h>

struct tickets;
struct uv_loop_s;

/* on_fewer: orphans have ended. */
struct tickets *tickets_new(struct uv_loop_s *loop, void (*on_fewer)(void *owner), void *owner);
/* Closes all. NULL is fine. */
void tickets_free(struct tickets *tickets);

/* fd becomes theirs in any case. 0, or -EEXIST: the worker has that ticket. */
int tickets_add(struct tickets *tickets, uint32_t ticket, int fd);
/* 0, or -ENOENT: the worker has no such ticket. */
int tickets_release(struct tickets *tickets, uint32_t ticket);
/* The worker is gone. */
void tickets_orphan_all(struct tickets *tickets);

unsigned tickets_count(const struct tickets *tickets); /* with the orphans */
unsigned tickets_count_orphans(const struct tickets *tickets);
