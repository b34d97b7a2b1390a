/* SPDX-License-Identifier: Apache-2.0 */
#include "base/timer.h"

#include "base/memory.h"

#include <uv.h>

struct timer {
        uv_timer_t handle;
        timer_on_due *on_due;
        void *owner;
};

struct timer *timer_new(uv_loop_t *loop, timer_on_due *on_due, void *owner)
{
        struct timer *timer = xcalloc(1, sizeof(*timer));

        uv_timer_init(loop, &timer->handle);
        timer->handle.data = timer;
        timer->on_due = on_due;
        timer->owner = owner;
        return timer;
}

static void on_handle_due(uv_timer_t *handle)
{
        struct timer *timer = handle->data;

        timer->on_due(timer->owner);
}

void timer_start(struct timer *timer, uint64_t delay_ms)
{
        uv_timer_start(&timer->handle, on_handle_due, delay_ms, 0);
}

void timer_start_repeating(struct timer *timer, uint64_t delay_ms, uint64_t interval_ms)
{
        uv_timer_start(&timer->handle, on_handle_due, delay_ms, interval_ms);
}

void timer_stop(struct timer *timer)
{
        uv_timer_stop(&timer->handle);
}

bool timer_is_running(const struct timer *timer)
{
        return uv_is_active((const uv_handle_t *)&timer->handle);
}

static void on_closed(uv_handle_t *handle)
{
        free(handle->data);
}

void timer_free(struct timer *timer)
{
        if (timer)
                uv_close((uv_handle_t *)&timer->handle, on_closed);
}
