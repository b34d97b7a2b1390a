/* SPDX-License-Identifier: Apache-2.0 */
#include "relay/exchange.h"

#include "base/list.h"
#include "base/memory.h"
#include "base/poll.h"
#include "base/timer.h"
#include "relay/serving.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <uv.h>

struct exchanges {
        struct serving *serving;
        struct turns turns;
        struct list all;
        uint32_t last_ticket;
        bool is_orphaned;
};

struct exchange {
        struct list member;
        struct exchanges *exchanges;
        struct turn turn;
        uint32_t ticket; /* once it has its turn */
        int fd;          /* -1: not connected yet */
        struct poll *poll;
        struct timer *timer;
        bool is_silent; /* for silence_ms */
        exchange_read *read;
        exchange_on_done *on_done; /* NULL: nobody waits for it */
        exchange_on_silence *on_silence;
        void *owner;
        uint32_t silence_ms;
        struct frame_reply reply;
        size_t n_request;
        unsigned char request[QGS_QUOTE_REQUEST_SIZE];
};

/* ---- its end ---- */

static void tell_ticket(struct exchange *exchange, enum worker_message_kind kind)
{
        struct worker_message message;

        memset(&message, 0, sizeof(message));
        message.kind = kind;
        message.ticket = exchange->ticket;
        serving_tell(exchange->exchanges->serving, &message);
}

static void free_exchange(struct exchange *exchange)
{
        turns_leave(&exchange->exchanges->turns, &exchange->turn);
        list_unlink(&exchange->member);
        poll_free(exchange->poll);
        timer_free(exchange->timer);
        if (exchange->fd >= 0)
                close(exchange->fd);
        frame_reply_deinit(&exchange->reply);
        free(exchange);
}

/* The owner may start another one in its callback, and ask for the counts: so this one is over
 * before. */
static void finish(struct exchange *exchange, enum exchange_result result, int code, size_t size)
{
        struct exchanges *exchanges = exchange->exchanges;
        exchange_on_done *on_done = exchange->on_done;
        void *owner = exchange->owner;
        struct frame_reply reply = exchange->reply;

        exchange->reply = (struct frame_reply)FRAME_REPLY_NULL;
        if (exchange->fd >= 0)
                tell_ticket(exchange, WORKER_RELEASED);
        free_exchange(exchange);
        if (on_done)
                on_done(owner, result, code, result == EXCHANGE_REPLIED ? &reply : NULL, size);
        frame_reply_deinit(&reply);
        exchanges_go_on(exchanges);
}

/* The owner hears it now; QGS has until its own end. */
static void let_go(struct exchange *exchange, enum exchange_result result)
{
        exchange_on_done *on_done = exchange->on_done;

        exchange->on_done = NULL;
        exchange->read = NULL;
        if (on_done)
                on_done(exchange->owner, result, 0, NULL, 0);
}

/* ---- with QGS ---- */

static void on_timeout(void *owner)
{
        struct exchange *exchange = owner;
        uint32_t server_ms = exchange->exchanges->serving->limits.server_ms;

        if (exchange->is_silent) {
                finish(exchange, EXCHANGE_SILENT, 0, 0);
                return;
        }
        exchange->is_silent = true;
        timer_start(exchange->timer, server_ms - exchange->silence_ms);
        if (exchange->on_done)
                exchange->on_silence(exchange->owner);
}

/* What has come, into the reply or, if it is none or nobody reads it, into nothing. */
static ssize_t receive(struct exchange *exchange)
{
        unsigned char waste[4096], *room = waste;
        size_t n_room = sizeof(waste);
        ssize_t n;

        if (exchange->read)
                room = frame_reply_room(&exchange->reply, &n_room);
        do
                n = recv(exchange->fd, room, n_room, MSG_DONTWAIT);
        while (n < 0 && errno == EINTR);
        if (n > 0 && exchange->read)
                frame_reply_add(&exchange->reply, (size_t)n);
        return n;
}

/* True: it is over, and freed. */
static bool take_reply(struct exchange *exchange)
{
        uint32_t code = 0;
        size_t size = 0;
        int r;

        if (!exchange->read)
                return false;
        r = exchange->read(exchange->reply.bytes, exchange->reply.n, &size, &code);
        if (r == 0)
                finish(exchange, EXCHANGE_REPLIED, (int)code, size);
        else if (r < 0)
                let_go(exchange, EXCHANGE_GARBLED);
        return r == 0;
}

/* libuv has stopped the poll if the connection has an error, as a reset is one: then there is no
 * other time to read. */
static void on_readable(void *owner, int status, int events)
{
        struct exchange *exchange = owner;

        for (;;) {
                ssize_t n = receive(exchange);

                if (n < 0 && errno == EAGAIN && status == 0)
                        return;
                if (n <= 0) {
                        finish(exchange, exchange->is_silent ? EXCHANGE_SILENT : EXCHANGE_CLOSED, 0,
                               0);
                        return;
                }
                if (take_reply(exchange))
                        return;
        }
}

static struct exchange *with_ticket(struct exchanges *exchanges, uint32_t ticket)
{
        struct list *position;

        list_for_each (position, &exchanges->all) {
                struct exchange *exchange = container_of(position, struct exchange, member);

                if (exchange->turn.is_running && exchange->fd < 0 && exchange->ticket == ticket)
                        return exchange;
        }
        return NULL;
}

void exchanges_connected(struct exchanges *exchanges, uint32_t ticket, int fd)
{
        struct exchange *exchange = with_ticket(exchanges, ticket);
        ssize_t n;

        if (!exchange) {
                if (fd >= 0)
                        close(fd);
                return;
        }
        if (fd < 0) {
                finish(exchange, EXCHANGE_NOT_CONNECTED, fd, 0);
                return;
        }
        exchange->fd = fd;
        n = send(fd, exchange->request, exchange->n_request, MSG_NOSIGNAL | MSG_DONTWAIT);
        /* A new connection has room for a request. */
        if (n != (ssize_t)exchange->n_request) {
                finish(exchange, EXCHANGE_CLOSED, 0, 0);
                return;
        }
        exchange->timer = timer_new(exchanges->serving->loop, on_timeout, exchange);
        exchange->poll = poll_new(exchanges->serving->loop, fd, on_readable, exchange);
        if (!exchange->poll || poll_start(exchange->poll, UV_READABLE) < 0)
                abort(); /* cannot fail: it is a socket, and nothing else polls it */
        timer_start(exchange->timer, exchange->silence_ms);
}

/* ---- turns ---- */

void exchanges_go_on(struct exchanges *exchanges)
{
        struct turn *turn;

        while ((turn = turns_next(&exchanges->turns))) {
                struct exchange *exchange = container_of(turn, struct exchange, turn);

                exchange->ticket = ++exchanges->last_ticket;
                tell_ticket(exchange, WORKER_CONNECT);
        }
        serving_changed(exchanges->serving);
}

void exchanges_set_threads(struct exchanges *exchanges, unsigned n_threads)
{
        exchanges->turns.n_threads = n_threads;
        exchanges_go_on(exchanges);
}

unsigned exchanges_n_waiting(const struct exchanges *exchanges)
{
        return exchanges->turns.n_waiting;
}

unsigned exchanges_n_at_qgs(const struct exchanges *exchanges)
{
        return exchanges->turns.n_running;
}

struct exchange *exchange_start(struct exchanges *exchanges, struct turns_td *td,
                                const struct exchange_plan *plan)
{
        struct exchange *exchange;

        if (exchanges->is_orphaned)
                return NULL;
        exchange = xcalloc(1, sizeof(*exchange));
        exchange->exchanges = exchanges;
        exchange->fd = -1;
        exchange->read = plan->read;
        exchange->on_done = plan->on_done;
        exchange->on_silence = plan->on_silence;
        exchange->owner = plan->owner;
        exchange->silence_ms = plan->silence_ms;
        exchange->n_request = plan->n_request;
        memcpy(exchange->request, plan->request, plan->n_request);
        list_add_tail(&exchanges->all, &exchange->member);
        turn_init(&exchange->turn);
        turns_wait(&exchanges->turns, td, &exchange->turn);
        exchanges_go_on(exchanges);
        return exchange;
}

bool exchange_has_turn(const struct exchange *exchange)
{
        return exchange->turn.is_running;
}

void exchange_abandon(struct exchange *exchange)
{
        if (!exchange)
                return;
        exchange->on_done = NULL;
        if (!exchange->turn.is_running)
                free_exchange(exchange);
}

/* ---- all of them ---- */

struct exchanges *exchanges_new(struct serving *serving)
{
        struct exchanges *exchanges = xcalloc(1, sizeof(*exchanges));

        exchanges->serving = serving;
        list_init(&exchanges->all);
        turns_init(&exchanges->turns, 0, serving->limits.n_requests);
        return exchanges;
}

void exchanges_free(struct exchanges *exchanges)
{
        struct list *position, *following;

        if (!exchanges)
                return;
        list_for_each_safe (position, following, &exchanges->all)
                free_exchange(container_of(position, struct exchange, member));
        free(exchanges);
}

void exchanges_orphan(struct exchanges *exchanges)
{
        struct list *position;

        exchanges->is_orphaned = true;
        /* Each callback may abandon any other one, so begin from the start. */
        for (position = exchanges->all.next; position != &exchanges->all;) {
                struct exchange *exchange = container_of(position, struct exchange, member);

                position = position->next;
                if (exchange->fd < 0) {
                        finish(exchange, EXCHANGE_NOT_CONNECTED, -ENOTCONN, 0);
                        position = exchanges->all.next;
                }
        }
}
