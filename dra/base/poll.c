/* SPDX-License-Identifier: Apache-2.0 */
#include "base/poll.h"

#include "base/memory.h"

#include <uv.h>

struct poll {
        uv_poll_t handle;
        poll_on_ready *on_ready;
        void *owner;
};

struct poll *poll_new(uv_loop_t *loop, int fd, poll_on_ready *on_ready, void *owner)
{
        struct poll *poll = xcalloc(1, sizeof(*poll));

        if (uv_poll_init(loop, &poll->handle, fd) < 0) {
                free(poll);
                return NULL;
        }
        poll->handle.data = poll;
        poll->on_ready = on_ready;
        poll->owner = owner;
        return poll;
}

static void on_handle_ready(uv_poll_t *handle, int status, int events)
{
        struct poll *poll = handle->data;

        poll->on_ready(poll->owner, status, events);
}

int poll_start(struct poll *poll, int events)
{
        return uv_poll_start(&poll->handle, events, on_handle_ready);
}

void poll_stop(struct poll *poll)
{
        (void)uv_poll_stop(&poll->handle);
}

bool poll_is_running(const struct poll *poll)
{
        return uv_is_active((const uv_handle_t *)&poll->handle);
}

static void on_closed(uv_handle_t *handle)
{
        free(handle->data);
}

void poll_free(struct poll *poll)
{
        if (poll)
                uv_close((uv_handle_t *)&poll->handle, on_closed);
}
