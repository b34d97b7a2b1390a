/* SPDX-License-Identifier: Apache-2.0 */
#include "relay/channel.h"

#include "base/list.h"
#include "base/memory.h"
#include "base/poll.h"
#include "base/timer.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <uv.h>

#define AT_ONCE  32 /* messages read before the loop's other work has its turn */
#define AGAIN_MS 10 /* until the kernel may have memory for a message */

struct channel {
        int fd;
        enum worker_side peer;
        struct poll *poll;
        struct timer *again;
        channel_on_message *on_message;
        channel_on_end *on_end;
        void *owner;
        bool wants_room; /* the poll waits for it */
        bool has_ended;
        bool is_receiving; /* a callback may free it; then receive() frees its memory */
        bool is_freed;
        struct list unsent;
        size_t n_unsent;
};

struct unsent {
        struct list member;
        struct worker_message message;
        int fd;
};

static void drop(struct channel *channel, struct unsent *unsent)
{
        list_unlink(&unsent->member);
        --channel->n_unsent;
        if (unsent->fd >= 0)
                close(unsent->fd);
        free(unsent);
}

static void drop_all(struct channel *channel)
{
        struct list *position, *following;

        list_for_each_safe (position, following, &channel->unsent)
                drop(channel, container_of(position, struct unsent, member));
}

static void watch(struct channel *channel, bool wants_room)
{
        if (channel->has_ended || channel->wants_room == wants_room)
                return;
        channel->wants_room = wants_room;
        (void)poll_start(channel->poll, UV_READABLE | (wants_room ? UV_WRITABLE : 0));
}

/* True: it is sent, or the peer is gone, which reading notices. */
static bool try_to_send(struct channel *channel, const struct worker_message *message, int fd)
{
        int r = worker_message_send(channel->fd, message, fd);

        if (!r || r == -EPIPE || r == -ECONNRESET)
                return true;
        watch(channel, r == -EAGAIN);
        if (r != -EAGAIN)
                timer_start(channel->again, AGAIN_MS);
        return false;
}

static void send_unsent(struct channel *channel)
{
        while (!list_is_empty(&channel->unsent)) {
                struct unsent *first = container_of(channel->unsent.next, struct unsent, member);

                if (!try_to_send(channel, &first->message, first->fd))
                        return;
                drop(channel, first);
        }
        watch(channel, false);
}

static void on_again(void *owner)
{
        send_unsent(owner);
}

static void end(struct channel *channel, int code)
{
        channel->has_ended = true;
        poll_stop(channel->poll);
        timer_stop(channel->again);
        drop_all(channel);
        channel->on_end(channel->owner, code);
}

/* 0: there is no more; 1: there may be; or a code for end(). */
static int receive_one(struct channel *channel)
{
        struct worker_message message;
        int fd = -1;
        int r = worker_message_receive(channel->fd, channel->peer, &message, &fd);

        if (r == 0 || r == -EMFILE) {
                channel->on_message(channel->owner, &message, fd);
                return 1;
        }
        return r == -EAGAIN ? 0 : r == 1 ? -ENOTCONN : r;
}

/* False: the channel has ended or is freed. */
static bool receive(struct channel *channel, unsigned n_max)
{
        int r = 1;

        channel->is_receiving = true;
        for (unsigned i = 0; r > 0 && !channel->is_freed && i < n_max; ++i)
                r = receive_one(channel);
        channel->is_receiving = false;
        if (channel->is_freed)
                free(channel);
        else if (r < 0)
                end(channel, r == -ENOTCONN ? 0 : r);
        else
                return true;
        return false;
}

/* With an error, such as the reset that a dying peer leaves, libuv has stopped the poll. What the
 * peer said before is still there. */
static void on_ready(void *owner, int status, int events)
{
        struct channel *channel = owner;

        if (events & UV_WRITABLE)
                send_unsent(channel);
        if (status == 0 && (events & UV_READABLE))
                (void)receive(channel, AT_ONCE);
        else if (status < 0 && receive(channel, UINT_MAX))
                end(channel, status);
}

struct channel *channel_new(uv_loop_t *loop, int fd, enum worker_side peer,
                            channel_on_message *on_message, channel_on_end *on_end, void *owner)
{
        struct channel *channel = xcalloc(1, sizeof(*channel));

        channel->fd = fd;
        channel->peer = peer;
        channel->on_message = on_message;
        channel->on_end = on_end;
        channel->owner = owner;
        list_init(&channel->unsent);
        channel->again = timer_new(loop, on_again, channel);
        channel->poll = poll_new(loop, fd, on_ready, channel);
        if (!channel->poll || poll_start(channel->poll, UV_READABLE) < 0)
                abort(); /* cannot fail: it is a socket, and nothing else polls it */
        return channel;
}

void channel_free(struct channel *channel)
{
        if (!channel)
                return;
        drop_all(channel);
        poll_free(channel->poll);
        timer_free(channel->again);
        close(channel->fd);
        channel->is_freed = true;
        if (!channel->is_receiving)
                free(channel);
}

void channel_send(struct channel *channel, const struct worker_message *message, int passed_fd)
{
        struct unsent *unsent;

        if (channel->has_ended ||
            (list_is_empty(&channel->unsent) && try_to_send(channel, message, passed_fd))) {
                if (passed_fd >= 0)
                        close(passed_fd);
                return;
        }
        unsent = xcalloc(1, sizeof(*unsent));
        unsent->message = *message;
        unsent->fd = passed_fd;
        list_add_tail(&channel->unsent, &unsent->member);
        ++channel->n_unsent;
}

size_t channel_n_unsent(const struct channel *channel)
{
        return channel->n_unsent;
}
