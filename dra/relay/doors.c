/* SPDX-License-Identifier: Apache-2.0 */
#include "relay/doors.h"

#include "base/list.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/poll.h"
#include "base/timer.h"
#include "relay/serving.h"
#include "relay/turns.h"
#include "relay/vm.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <uv.h>

/* Descriptors that are kept for what is not a VM: the loop, the channel. Connections to QGS come on
 * top: they arrive as messages, and would be closed if they found no room. */
#define KEPT_DESCRIPTORS 64
#define PAUSE_MS         100 /* after a failed accept */

struct doors {
        struct serving *serving;
        struct vms *vms;
        unsigned n_descriptors;
        unsigned n_listeners;
        struct list tds; /* never freed before the end: exchanges go on without a VM */
        struct timer *pause;
        bool is_full;
        bool is_failing; /* accept(2), and the log says so */
        bool is_orphaned;
};

struct td {
        struct list member;
        struct doors *doors;
        struct relay_td id;
        struct turns_td turns;
        unsigned n_connections;
        struct list listeners;
};

struct listener {
        struct list member;
        struct td *td;
        uint32_t id;
        int fd;
        struct poll *poll;
};

static void close_listener(struct listener *listener)
{
        list_unlink(&listener->member);
        --listener->td->doors->n_listeners;
        poll_free(listener->poll);
        close(listener->fd);
        free(listener);
}

/* ---- who comes in ---- */

static bool has_room(const struct doors *doors)
{
        return vms_n(doors->vms) + doors->n_listeners + doors->serving->most_threads +
                       KEPT_DESCRIPTORS <
               doors->n_descriptors;
}

static bool may_accept(const struct td *td)
{
        const struct doors *doors = td->doors;

        return doors->serving->is_accepting && !timer_is_running(doors->pause) &&
               td->n_connections < doors->serving->limits.n_connections && has_room(doors);
}

static void watch_td(struct td *td)
{
        bool may = may_accept(td);
        struct list *position;

        list_for_each (position, &td->listeners) {
                struct listener *listener = container_of(position, struct listener, member);

                if (may && !poll_is_running(listener->poll))
                        (void)poll_start(listener->poll, UV_READABLE);
                else if (!may && poll_is_running(listener->poll))
                        poll_stop(listener->poll);
        }
}

static void watch_all(struct doors *doors)
{
        struct list *position;

        doors->is_full = !has_room(doors);
        list_for_each (position, &doors->tds)
                watch_td(container_of(position, struct td, member));
}

static void count_changed(struct td *td)
{
        if (td->doors->is_full != !has_room(td->doors))
                watch_all(td->doors);
        else
                watch_td(td);
        serving_changed(td->doors->serving);
}

static void on_vm_gone(void *owner)
{
        struct td *td = owner;

        --td->n_connections;
        count_changed(td);
}

static void pause_accepting(struct doors *doors, int code)
{
        if (!doors->is_failing)
                log_warn("cannot accept a VM's connection, retrying every 100 ms",
                         log_str("error", strerror(-code)));
        doors->is_failing = true;
        timer_start(doors->pause, PAUSE_MS);
        watch_all(doors);
}

static void on_pause_over(void *owner)
{
        watch_all(owner);
}

/* 0: accepted; 1: nobody waits; or -errno. */
static int accept_one(struct listener *listener)
{
        struct td *td = listener->td;
        int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd < 0 && (errno == EINTR || errno == ECONNABORTED))
                return 0;
        if (fd < 0)
                return errno == EAGAIN ? 1 : -errno;
        td->doors->is_failing = false;
        ++td->n_connections;
        vms_add(td->doors->vms, &td->id, &td->turns, fd, on_vm_gone, td);
        return 0;
}

static void on_connections(void *owner, int status, int events)
{
        struct listener *listener = owner;
        struct td *td = listener->td;
        struct doors *doors = td->doors;
        int r = status;

        while (!r && may_accept(td))
                r = accept_one(listener);
        if (r < 0)
                pause_accepting(doors, r);
        else if (r > 0 && doors->is_orphaned)
                close_listener(listener);
        else
                count_changed(td);
}

/* ---- the sockets ---- */

static struct td *td_of(struct doors *doors, const struct relay_td *id)
{
        struct list *position;
        struct td *td;

        list_for_each (position, &doors->tds) {
                td = container_of(position, struct td, member);
                if (td->id.device == id->device && td->id.path == id->path)
                        return td;
        }
        td = xcalloc(1, sizeof(*td));
        td->doors = doors;
        td->id = *id;
        turns_td_init(&td->turns);
        list_init(&td->listeners);
        list_add_tail(&doors->tds, &td->member);
        return td;
}

void doors_listen(struct doors *doors, const struct worker_listener *told, int fd)
{
        struct td *td = td_of(doors, &told->td);
        struct listener *listener;

        if (fd < 0) {
                log_error("too few descriptors for a TD's socket, its VM cannot attest: raise "
                          "RLIMIT_NOFILE",
                          log_str("path", relay_path_name(told->td.path)),
                          log_int("device", told->td.device));
                return;
        }
        listener = xcalloc(1, sizeof(*listener));
        listener->td = td;
        listener->id = told->id;
        listener->fd = fd;
        listener->poll = poll_new(doors->serving->loop, fd, on_connections, listener);
        if (!listener->poll)
                abort(); /* cannot fail: it is a socket, and nothing else polls it */
        list_add_tail(&td->listeners, &listener->member);
        ++doors->n_listeners;
        watch_td(td);
}

/* Calls back for each listener, which it may close. */
static void for_each_listener(struct doors *doors, void (*call)(struct listener *, uint32_t),
                              uint32_t id)
{
        struct list *position, *inner, *following;

        list_for_each (position, &doors->tds) {
                struct td *td = container_of(position, struct td, member);

                list_for_each_safe (inner, following, &td->listeners)
                        call(container_of(inner, struct listener, member), id);
        }
}

static void close_if(struct listener *listener, uint32_t id)
{
        if (listener->id == id)
                close_listener(listener);
}

void doors_unlisten(struct doors *doors, uint32_t id)
{
        for_each_listener(doors, close_if, id);
}

void doors_accepting_changed(struct doors *doors)
{
        watch_all(doors);
}

static void let_in_or_close(struct listener *listener, uint32_t id)
{
        if (listener->td->doors->serving->is_accepting)
                on_connections(listener, 0, 0);
        else
                close_listener(listener);
}

void doors_orphan(struct doors *doors)
{
        doors->is_orphaned = true;
        for_each_listener(doors, let_in_or_close, 0);
}

struct doors *doors_new(struct serving *serving, struct vms *vms, unsigned n_descriptors)
{
        struct doors *doors = xcalloc(1, sizeof(*doors));

        doors->serving = serving;
        doors->vms = vms;
        doors->n_descriptors = n_descriptors;
        list_init(&doors->tds);
        doors->pause = timer_new(serving->loop, on_pause_over, doors);
        return doors;
}

static void close_any(struct listener *listener, uint32_t id)
{
        close_listener(listener);
}

void doors_free(struct doors *doors)
{
        struct list *position, *following;

        if (!doors)
                return;
        for_each_listener(doors, close_any, 0);
        list_for_each_safe (position, following, &doors->tds)
                free(container_of(position, struct td, member));
        timer_free(doors->pause);
        free(doors);
}
