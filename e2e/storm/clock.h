/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The storm's time and chance: a virtual clock in milliseconds, its planned events, and random
 * numbers from one seed. libuv's timers run on it, too (clock.c stands in for libuv).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A planned event, in its owner's storage. All zeros: not planned. */
struct event {
        uint64_t due_ms;
        uint64_t number; /* order of planning: of two that are due at once the older one runs first
                          */
        size_t position; /* index in the agenda, from 1; 0: not planned */
        void (*run)(void *owner);
        void *owner;
};

uint64_t clock_now(void);
/* Plan it, or move it if it is planned already. */
void clock_plan(struct event *event, uint64_t delay_ms, void (*run)(void *owner), void *owner);
void clock_cancel(struct event *event);
static inline bool clock_is_planned(const struct event *event)
{
        return event->position != 0;
}
/* Advance the clock to the next event and run it. */
void clock_step(void);
/* Call the close callbacks of closed handles now, as a turn of libuv's loop does. */
void clock_turn(void);
/* While the driver's loop thread is blocked, libuv's timers do not run. */
void clock_block_loop(bool is_blocked);
void clock_deinit(void);

void chance_seed(uint64_t seed);
uint32_t chance(void);
unsigned chance_below(unsigned n);                    /* 0 ... n-1 */
uint64_t chance_between(uint64_t low, uint64_t high); /* both ends included */
bool chance_percent(unsigned percent);
