/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a person must hear about the node, once each time it comes true: more TDs are held than
 * there are, another CDI spec names our devices, the container runtime cannot read our spec. Each
 * is a line in the log, with the remedy; what costs VMs is an Event, too.
 */
#pragma once

#include <stdbool.h>

struct concerns;
struct overcommit_facts;

/* on_event: as struct node_options has it. */
struct concerns *concerns_new(void (*on_event)(void *owner, bool is_warning, const char *reason,
                                               const char *text),
                              void *owner);
void concerns_free(struct concerns *concerns); /* NULL is fine */

void concerns_look_at_held(struct concerns *concerns, const struct overcommit_facts *facts);
/* Reads every spec in the directory: for a slow timer, and when it has changed. */
void concerns_look_at_cdi(struct concerns *concerns, const char *cdi_dir);
/* By the Node object ("containerd://1.7.13"); copied. NULL: not known. */
void concerns_set_runtime(struct concerns *concerns, const char *version);
/* The group that the CDI spec gives VMs from now on; 0: none. It comes and goes with QGS's socket,
 * so that it is told once for a runtime. */
void concerns_look_at_group(struct concerns *concerns, unsigned group);
