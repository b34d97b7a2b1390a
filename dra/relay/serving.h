/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all parts of the worker share: the loop, the limits, and the way to tell the holder.
 *
 * A holder that does not read costs no memory: of what VMs can cause at will (malformed requests),
 * what goes beyond a bound is counted instead of told. Requests at QGS are bounded by themselves:
 * each needs an answer of the holder first.
 */
#pragma once

#include "relay/worker_message.h"

#include <stdbool.h>
#include <stdint.h>

struct channel;
struct uv_loop_s;

typedef void serving_on_changed(void *owner);

struct serving {
        struct uv_loop_s *loop;
        struct worker_limits limits;
        struct channel *channel; /* NULL: the holder is gone */
        bool is_accepting;
        uint32_t most_threads;          /* that WORKER_THREADS has told */
        uint32_t n_lost;                /* outcomes that were not told */
        uint64_t heard_ms;              /* when QGS was last heard of, by the loop's clock */
        serving_on_changed *on_changed; /* counts that WORKER_STATE tells may have changed */
        void *owner;
};

uint64_t serving_now_us(void); /* a monotonic clock, for latencies */

void serving_tell(struct serving *serving, const struct worker_message *message);
void serving_tell_outcome(struct serving *serving, const struct worker_outcome *outcome);
void serving_tell_qgs(struct serving *serving, enum worker_qgs_result result, uint32_t code,
                      bool is_probe);
void serving_changed(struct serving *serving);
