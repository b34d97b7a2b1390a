/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A one-shot or repeating timer. timer_free() takes effect at once although libuv closes the handle
 * later, so an owner can free its memory right after it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct timer;
struct uv_loop_s;

typedef void timer_on_due(void *owner);

/* Not started. on_due may start, stop or free the timer. */
struct timer *timer_new(struct uv_loop_s *loop, timer_on_due *on_due, void *owner);

/* Fire once, delay_ms after the loop's current time (uv_now()); restarts a running timer. */
void timer_start(struct timer *timer, uint64_t delay_ms);
/* Fire after delay_ms, then every interval_ms. */
void timer_start_repeating(struct timer *timer, uint64_t delay_ms, uint64_t interval_ms);
void timer_stop(struct timer *timer);
bool timer_is_running(const struct timer *timer);

/* on_due is not called again. NULL is fine. */
void timer_free(struct timer *timer);
