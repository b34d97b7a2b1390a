/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asks QGS for PLATFORM_INFO if nothing was heard of it for limits.probe_ms, so that the node knows
 * before a VM asks. It takes turns with the VMs, and one at a time: a QGS that hangs is not given
 * more to hang on.
 */
#pragma once

struct exchanges;
struct probe;
struct serving;

struct probe *probe_new(struct serving *serving, struct exchanges *exchanges);
/* NULL is fine. */
void probe_free(struct probe *probe);

/* Ask as soon as a turn is free, and then by the clock. */
void probe_ask(struct probe *probe);
/* Ask no more; what is under way ends untold. */
void probe_stop(struct probe *probe);
