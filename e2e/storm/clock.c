/* SPDX-License-Identifier: Apache-2.0 */
#include "e2e/storm/clock.h"

#include "base/list.h"
#include "base/memory.h"

#include <uv.h>

/* ---- chance: xorshift64* of Marsaglia and Vigna ---- */

static uint64_t state;

void chance_seed(uint64_t seed)
{
        /* splitmix64's step: neighbouring seeds give unrelated states, and none is zero. */
        seed += 0x9e3779b97f4a7c15U;
        seed = (seed ^ (seed >> 30)) * 0xbf58476d1ce4e5b9U;
        seed = (seed ^ (seed >> 27)) * 0x94d049bb133111ebU;
        state = (seed ^ (seed >> 31)) | 1;
}

uint32_t chance(void)
{
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        return (uint32_t)((state * 0x2545f4914f6cdd1dU) >> 32);
}

unsigned chance_below(unsigned n)
{
        return n ? (unsigned)(((uint64_t)chance() * n) >> 32) : 0;
}

uint64_t chance_between(uint64_t low, uint64_t high)
{
        return low + chance_below((unsigned)(high - low) + 1);
}

bool chance_percent(unsigned percent)
{
        return chance_below(100) < percent;
}

#define BLOCKED_MS 100U /* a timer of a blocked loop is late by multiples of this */

/* ---- the agenda: a binary heap, the next event on top ---- */

static struct {
        struct event **events; /* indexed from 1 */
        size_t n;
        size_t n_allocated;
        uint64_t now_ms;
        uint64_t n_planned;
} agenda;

uint64_t clock_now(void)
{
        return agenda.now_ms;
}

static bool is_before(const struct event *a, const struct event *b)
{
        return a->due_ms != b->due_ms ? a->due_ms < b->due_ms : a->number < b->number;
}

static void put(struct event *event, size_t position)
{
        agenda.events[position] = event;
        event->position = position;
}

static void sift_up(struct event *event, size_t position)
{
        for (; position > 1 && is_before(event, agenda.events[position / 2]); position /= 2)
                put(agenda.events[position / 2], position);
        put(event, position);
}

static void sift_down(struct event *event, size_t position)
{
        for (size_t child = 2 * position; child <= agenda.n; child = 2 * position) {
                if (child < agenda.n && is_before(agenda.events[child + 1], agenda.events[child]))
                        ++child;
                if (!is_before(agenda.events[child], event))
                        break;
                put(agenda.events[child], position);
                position = child;
        }
        put(event, position);
}

void clock_cancel(struct event *event)
{
        size_t position = event->position;
        struct event *last;

        if (!position)
                return;
        event->position = 0;
        last = agenda.events[agenda.n--];
        if (last == event)
                return;
        sift_down(last, position);
        sift_up(last, last->position);
}

void clock_plan(struct event *event, uint64_t delay_ms, void (*run)(void *owner), void *owner)
{
        clock_cancel(event);
        if (agenda.n + 2 > agenda.n_allocated) {
                agenda.n_allocated = agenda.n_allocated ? 2 * agenda.n_allocated : 64;
                agenda.events =
                        xreallocarray(agenda.events, agenda.n_allocated, sizeof(struct event *));
        }
        event->due_ms = agenda.now_ms + delay_ms;
        event->number = ++agenda.n_planned;
        event->run = run;
        event->owner = owner;
        sift_up(event, ++agenda.n);
}

void clock_step(void)
{
        struct event *next;

        if (!agenda.n)
                return;
        next = agenda.events[1];
        agenda.now_ms = next->due_ms;
        clock_cancel(next);
        next->run(next->owner);
        clock_turn();
}

void clock_deinit(void)
{
        free(agenda.events);
}

/* ---- the part of libuv that the driver's modules use ---- */

struct closing {
        struct closing *next;
        uv_handle_t *handle;
        uv_close_cb on_closed;
};

static struct closing *closings;

static struct event *event_of(const uv_timer_t *timer)
{
        return timer->u.reserved[0];
}

static bool is_loop_blocked;

void clock_block_loop(bool is_blocked)
{
        is_loop_blocked = is_blocked;
}

static void on_due(void *owner)
{
        uv_timer_t *timer = owner;

        if (is_loop_blocked) {
                clock_plan(event_of(timer), BLOCKED_MS, on_due, timer);
                return;
        }
        timer->timer_cb(timer);
}

int uv_timer_init(uv_loop_t *loop, uv_timer_t *timer)
{
        timer->loop = loop;
        timer->u.reserved[0] = xcalloc(1, sizeof(struct event));
        return 0;
}

int uv_timer_start(uv_timer_t *timer, uv_timer_cb cb, uint64_t timeout, uint64_t repeat)
{
        timer->timer_cb = cb;
        clock_plan(event_of(timer), timeout, on_due, timer);
        return 0;
}

int uv_timer_stop(uv_timer_t *timer)
{
        clock_cancel(event_of(timer));
        return 0;
}

int uv_is_active(const uv_handle_t *handle)
{
        return clock_is_planned(event_of((const uv_timer_t *)handle));
}

uint64_t uv_now(const uv_loop_t *loop)
{
        return agenda.now_ms;
}

void uv_close(uv_handle_t *handle, uv_close_cb close_cb)
{
        struct closing *closing = xcalloc(1, sizeof(*closing));
        struct event *event = event_of((uv_timer_t *)handle);

        clock_cancel(event);
        free(event);
        *closing = (struct closing){ closings, handle, close_cb };
        closings = closing;
}

void clock_turn(void)
{
        while (closings) {
                struct closing *closing = closings;

                closings = closing->next;
                closing->on_closed(closing->handle);
                free(closing);
        }
}
