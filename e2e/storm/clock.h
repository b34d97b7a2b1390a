/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The storm's time and chance: a virtual clock in milliseconds, what is to happen on it, and random
 * numbers from one seed. libuv's timers run on it, too (clock.c stands in for libuv).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Something that is to happen, in its owner's storage; zero: nothing is planned. */
struct event {
        uint64_t due_ms;
        uint64_t number; /* of two that are due at once the older one goes first */
        size_t position; /* in the agenda, from 1; 0: not planned */
        void (*run)(void *owner);
        void *owner;
};

uint64_t clock_now(void);
/* Plan it, or plan it anew. */
void clock_plan(struct event *event, uint64_t delay_ms, void (*run)(void *owner), void *owner);
void clock_cancel(struct event *event);
static inline bool clock_is_planned(const struct event *event)
{
        return event->position != 0;
}
/* Go on to what is due next and run it. */
void clock_step(void);
/* Handles that were closed are told so now, as a turn of libuv's loop does. */
void clock_turn(void);
void clock_deinit(void);

void chance_seed(uint64_t seed);
uint32_t chance(void);
unsigned chance_below(unsigned n);                    /* 0 ... n-1 */
uint64_t chance_between(uint64_t low, uint64_t high); /* both may come */
bool chance_percent(unsigned percent);
