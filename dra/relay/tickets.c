/* SPDX-License-Identifier: Apache-2.0 */
#include "relay/tickets.h"

#include "base/list.h"
#include "base/memory.h"
#include "base/poll.h"
#include "base/timer.h"
#include "host/qgs_probe.h"

#include <errno.h>
#include <stddef.h>
#include <sys/socket.h>
#include <uv.h>

struct connected {
        struct list member;
        struct tickets *tickets;
        uint32_t ticket;
        int fd;
        struct poll *poll; /* of an orphan; otherwise NULL */
        struct timer *timeout;
};

struct tickets {
        uv_loop_t *loop;
        void (*on_fewer)(void *owner);
        void *owner;
        struct list connected; /* the worker's: a handful, --qgs-threads */
        struct list orphans;
        unsigned n_connected, n_orphans;
};

struct tickets *tickets_new(uv_loop_t *loop, void (*on_fewer)(void *owner), void *owner)
{
        struct tickets *tickets = xcalloc(1, sizeof(*tickets));

        tickets->loop = loop;
        tickets->on_fewer = on_fewer;
        tickets->owner = owner;
        list_init(&tickets->connected);
        list_init(&tickets->orphans);
        return tickets;
}

static void drop(struct connected *connected)
{
        list_unlink(&connected->member);
        if (connected->poll)
                --connected->tickets->n_orphans;
        else
                --connected->tickets->n_connected;
        poll_free(connected->poll);
        timer_free(connected->timeout);
        close(connected->fd);
        free(connected);
}

static void drop_all(struct list *list)
{
        while (!list_is_empty(list))
                drop(container_of(list->next, struct connected, member));
}

void tickets_free(struct tickets *tickets)
{
        if (!tickets)
                return;
        drop_all(&tickets->connected);
        drop_all(&tickets->orphans);
        free(tickets);
}

static struct connected *find(const struct tickets *tickets, uint32_t ticket)
{
        const struct list *position;

        list_for_each (position, &tickets->connected) {
                struct connected *connected = container_of(position, struct connected, member);

                if (connected->ticket == ticket)
                        return connected;
        }
        return NULL;
}

int tickets_add(struct tickets *tickets, uint32_t ticket, int fd)
{
        struct connected *connected;

        if (find(tickets, ticket)) {
                close(fd);
                return -EEXIST;
        }
        connected = xcalloc(1, sizeof(*connected));
        connected->tickets = tickets;
        connected->ticket = ticket;
        connected->fd = fd;
        list_add_tail(&tickets->connected, &connected->member);
        ++tickets->n_connected;
        return 0;
}

int tickets_release(struct tickets *tickets, uint32_t ticket)
{
        struct connected *connected = find(tickets, ticket);

        if (!connected)
                return -ENOENT;
        drop(connected);
        return 0;
}

/* ---- orphans ---- */

static void end_orphan(struct connected *connected)
{
        struct tickets *tickets = connected->tickets;

        drop(connected);
        tickets->on_fewer(tickets->owner);
}

static void on_timeout(void *owner)
{
        end_orphan(owner);
}

/* Its reply interests nobody any more, only that QGS has closed. */
static void on_ready(void *owner, int status, int events)
{
        struct connected *connected = owner;
        char unread[4096];
        ssize_t n = recv(connected->fd, unread, sizeof(unread), MSG_DONTWAIT);

        if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR) && status == 0))
                return;
        end_orphan(connected);
}

static void orphan(struct tickets *tickets, struct connected *connected)
{
        list_unlink(&connected->member);
        --tickets->n_connected;
        connected->poll = poll_new(tickets->loop, connected->fd, on_ready, connected);
        if (!connected->poll || poll_start(connected->poll, UV_READABLE) < 0)
                abort(); /* cannot fail: it is a socket, and nothing else polls it */
        connected->timeout = timer_new(tickets->loop, on_timeout, connected);
        timer_start(connected->timeout, QGS_PROBE_SERVER_TIMEOUT_MS);
        list_add_tail(&tickets->orphans, &connected->member);
        ++tickets->n_orphans;
}

void tickets_orphan_all(struct tickets *tickets)
{
        while (!list_is_empty(&tickets->connected))
                orphan(tickets, container_of(tickets->connected.next, struct connected, member));
}

unsigned tickets_count(const struct tickets *tickets)
{
        return tickets->n_connected + tickets->n_orphans;
}

unsigned tickets_count_orphans(const struct tickets *tickets)
{
        return tickets->n_orphans;
}
