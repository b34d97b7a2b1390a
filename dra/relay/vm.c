/* SPDX-License-Identifier: Apache-2.0 */
#include "relay/vm.h"

#include "base/backoff.h"
#include "base/list.h"
#include "base/memory.h"
#include "base/poll.h"
#include "base/timer.h"
#include "relay/exchange.h"
#include "relay/serving.h"

#include <errno.h>
#include <poll.h>
#include <sha2.h>
#include <string.h>
#include <sys/socket.h>
#include <uv.h>

#define RETRY_FIRST_MS 20
#define RETRY_CAP_MS   500
/* For a VM to take its last reply and to close; what it still sends is thrown away. Closing with
 * unread bytes would be a reset. */
#define END_MS 1000

struct vms {
        struct serving *serving;
        struct exchanges *exchanges;
        struct list all;
        unsigned n;
};

enum vm_state {
        VM_READING, /* a request */
        VM_ASKING,  /* QGS: waiting for a turn, for the reply, or for another attempt */
        VM_WRITING, /* the reply */
        VM_ENDING   /* we have written our last byte */
};

struct vm {
        struct list member;
        struct vms *vms;
        struct relay_td td;
        struct turns_td *turns;
        vms_on_gone *on_gone;
        void *owner;
        int fd;
        struct poll *poll;
        int events; /* that the poll waits for */
        struct timer *timer;
        enum vm_state state;
        struct frame_request request;

        /* While asking. */
        struct exchange *exchange; /* NULL: between two attempts */
        struct timer *retry;
        struct backoff backoff;
        bool is_last_chance; /* limits.retry_ms is over */
        uint64_t asked_us;
        uint8_t digest[RELAY_DIGEST_SIZE];

        /* While writing. */
        unsigned char *reply; /* owned, or error_reply */
        size_t n_reply, n_written;
        bool is_last;
        struct worker_outcome outcome; /* to be told when it is written */
        unsigned char error_reply[QGS_ERROR_REPLY_SIZE];
};

/* ---- its end ---- */

static void watch(struct vm *vm, int events)
{
        if (vm->events == events)
                return;
        vm->events = events;
        (void)poll_start(vm->poll, events);
}

static void free_vm(struct vm *vm)
{
        exchange_abandon(vm->exchange);
        list_unlink(&vm->member);
        --vm->vms->n;
        poll_free(vm->poll);
        timer_free(vm->timer);
        timer_free(vm->retry);
        close(vm->fd);
        if (vm->reply != vm->error_reply)
                free(vm->reply);
        free(vm);
}

static void end(struct vm *vm)
{
        struct serving *serving = vm->vms->serving;
        vms_on_gone *on_gone = vm->on_gone;
        void *owner = vm->owner;

        free_vm(vm);
        on_gone(owner);
        serving_changed(serving);
}

static void tell(struct vm *vm, enum relay_outcome outcome)
{
        vm->outcome.td = vm->td;
        vm->outcome.outcome = outcome;
        if (vm->asked_us) {
                vm->outcome.us = serving_now_us() - vm->asked_us;
                vm->outcome.has_digest = true;
                memcpy(vm->outcome.digest, vm->digest, RELAY_DIGEST_SIZE);
        }
        serving_tell_outcome(vm->vms->serving, &vm->outcome);
}

/* The VM has closed. */
static void leave(struct vm *vm)
{
        vm->outcome = (struct worker_outcome){ .cause = 0 };
        if (vm->state == VM_READING && vm->request.n)
                tell(vm, RELAY_MALFORMED);
        else if (vm->state == VM_ASKING || vm->state == VM_WRITING)
                tell(vm, RELAY_LEFT);
        end(vm);
}

static void drain(struct vm *vm)
{
        char waste[4096];
        ssize_t n = recv(vm->fd, waste, sizeof(waste), MSG_DONTWAIT);

        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
                end(vm);
}

/* ---- the reply ---- */

static void read_next(struct vm *vm)
{
        const struct serving *serving = vm->vms->serving;
        const struct worker_limits *limits = &serving->limits;

        vm->state = VM_READING;
        vm->request.n = 0;
        vm->asked_us = 0;
        vm->outcome = (struct worker_outcome){ .cause = 0 };
        watch(vm, UV_READABLE | UV_DISCONNECT);
        timer_start(vm->timer, serving->is_accepting ? limits->idle_ms : limits->half_ms);
}

static void say_goodbye(struct vm *vm)
{
        (void)shutdown(vm->fd, SHUT_WR);
        vm->state = VM_ENDING;
        watch(vm, UV_READABLE);
        timer_start(vm->timer, END_MS);
}

static void write_reply(struct vm *vm)
{
        while (vm->n_written < vm->n_reply) {
                ssize_t n = send(vm->fd, vm->reply + vm->n_written, vm->n_reply - vm->n_written,
                                 MSG_NOSIGNAL | MSG_DONTWAIT);

                if (n < 0 && errno == EAGAIN) {
                        watch(vm, UV_WRITABLE);
                        return;
                }
                if (n < 0 && errno != EINTR) {
                        leave(vm);
                        return;
                }
                vm->n_written += n > 0 ? (size_t)n : 0;
        }
        tell(vm, vm->outcome.outcome);
        if (vm->reply != vm->error_reply)
                free(vm->reply);
        vm->reply = NULL;
        if (vm->is_last || !vm->vms->serving->is_accepting)
                say_goodbye(vm);
        else
                read_next(vm);
}

static void start_writing(struct vm *vm, unsigned char *reply, size_t n,
                          const struct worker_outcome *outcome)
{
        vm->state = VM_WRITING;
        vm->reply = reply;
        vm->n_reply = n;
        vm->n_written = 0;
        vm->outcome = *outcome;
        timer_start(vm->timer, vm->vms->serving->limits.idle_ms);
        write_reply(vm);
}

/* QGS's own error reply, then an orderly end: what else the VM has sent cannot be trusted, or its
 * time is over. */
static void refuse(struct vm *vm, enum qgs_message_error error,
                   const struct worker_outcome *outcome)
{
        vm->is_last = true;
        qgs_message_error_reply(error, vm->error_reply);
        start_writing(vm, vm->error_reply, sizeof(vm->error_reply), outcome);
}

static void give_up(struct vm *vm, int cause)
{
        exchange_abandon(take_ptr(vm->exchange));
        timer_stop(vm->retry);
        refuse(vm, QGS_ERROR_UNEXPECTED,
               &(struct worker_outcome){ .outcome = RELAY_GAVE_UP, .cause = cause });
}

/* ---- QGS ---- */

static void try_again(struct vm *vm, int cause)
{
        uint64_t passed_ms = (serving_now_us() - vm->asked_us) / 1000;
        uint64_t delay_ms = backoff_next_ms(&vm->backoff, 0, backoff_random());

        vm->outcome.cause = cause;
        if (passed_ms + delay_ms >= vm->vms->serving->limits.retry_ms)
                give_up(vm, cause);
        else
                timer_start(vm->retry, delay_ms);
}

static void on_replied(struct vm *vm, uint32_t code, struct frame_reply *reply, size_t size)
{
        struct worker_outcome outcome = { .outcome = code ? RELAY_QGS_ERROR : RELAY_DELIVERED,
                                          .code = code };
        unsigned char *bytes = take_ptr(reply->bytes);

        start_writing(vm, bytes, size, &outcome);
}

static void on_exchange_done(void *owner, enum exchange_result result, int code,
                             struct frame_reply *reply, size_t size)
{
        struct vm *vm = owner;
        struct serving *serving = vm->vms->serving;

        vm->exchange = NULL;
        switch (result) {
        case EXCHANGE_REPLIED:
                on_replied(vm, (uint32_t)code, reply, size);
                break;
        case EXCHANGE_NOT_CONNECTED:
                if (code == -ENOTCONN)
                        give_up(vm, code);
                else
                        try_again(vm, code);
                break;
        case EXCHANGE_CLOSED:
                serving_tell_qgs(serving, WORKER_QGS_CLOSED, 0, false);
                try_again(vm, -ECONNRESET);
                break;
        case EXCHANGE_GARBLED:
                serving_tell_qgs(serving, WORKER_QGS_GARBLED, 0, false);
                give_up(vm, -EBADMSG);
                break;
        case EXCHANGE_SILENT: /* told when it began */
                try_again(vm, -ETIMEDOUT);
                break;
        }
}

static void on_exchange_silence(void *owner)
{
        struct vm *vm = owner;

        serving_tell_qgs(vm->vms->serving, WORKER_QGS_SILENT, 0, false);
}

static void attempt(void *owner)
{
        struct vm *vm = owner;
        const struct exchange_plan plan = { .request = vm->request.bytes,
                                            .n_request = vm->request.n,
                                            .silence_ms = vm->vms->serving->limits.probe_ms,
                                            .read = qgs_message_read_quote_reply,
                                            .on_done = on_exchange_done,
                                            .on_silence = on_exchange_silence,
                                            .owner = vm };

        vm->exchange = exchange_start(vm->vms->exchanges, vm->turns, &plan);
        if (!vm->exchange)
                give_up(vm, -ENOTCONN);
}

static void take_digest(struct vm *vm)
{
        SHA2_CTX sha;

        SHA256Init(&sha);
        SHA256Update(&sha, vm->request.bytes + QGS_REPORT_OFFSET + QGS_REPORT_DATA_OFFSET,
                     QGS_REPORT_DATA_SIZE);
        SHA256Final(vm->digest, &sha);
}

static void start_asking(struct vm *vm)
{
        vm->state = VM_ASKING;
        vm->asked_us = serving_now_us();
        vm->is_last_chance = false;
        vm->backoff = (struct backoff){ .first_ms = RETRY_FIRST_MS, .cap_ms = RETRY_CAP_MS };
        vm->outcome = (struct worker_outcome){ .cause = -EBUSY };
        take_digest(vm);
        timer_start(vm->timer, vm->vms->serving->limits.retry_ms);
        attempt(vm);
}

/* What is at QGS may still be answered while QEMU waits; other attempts would come too late. */
static void on_asked_long(struct vm *vm)
{
        const struct worker_limits *limits = &vm->vms->serving->limits;
        bool is_at_qgs = vm->exchange && exchange_has_turn(vm->exchange);

        if (vm->is_last_chance || !is_at_qgs) {
                give_up(vm, is_at_qgs ? -ETIMEDOUT : vm->outcome.cause);
                return;
        }
        vm->is_last_chance = true;
        timer_start(vm->timer, limits->answer_ms - limits->retry_ms);
}

/* ---- the request ---- */

static void read_request(struct vm *vm)
{
        enum qgs_message_error error;
        size_t n_room;
        unsigned char *room = frame_request_room(&vm->request, &n_room);
        ssize_t n = recv(vm->fd, room, n_room, MSG_DONTWAIT);
        int r;

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return;
        if (n <= 0) {
                leave(vm);
                return;
        }
        if (!vm->request.n)
                timer_start(vm->timer, vm->vms->serving->limits.half_ms);
        r = frame_request_add(&vm->request, (size_t)n, &error);
        if (r == 0)
                start_asking(vm);
        else if (r < 0)
                refuse(vm, error,
                       &(struct worker_outcome){ .outcome = r == -EPROTONOSUPPORT
                                                                    ? RELAY_REFUSED_TYPE
                                                                    : RELAY_MALFORMED });
}

/* It has closed, sent more than a request, or closed its half: only the first one matters now. The
 * others would be told again and again, so the poll then waits for what never comes over such a
 * socket; a close is told always. */
static void look_whether_it_left(struct vm *vm)
{
        struct pollfd look = { .fd = vm->fd };

        if (poll(&look, 1, 0) > 0 && (look.revents & (POLLHUP | POLLERR)))
                leave(vm);
        else
                watch(vm, UV_PRIORITIZED);
}

static void on_ready(void *owner, int status, int events)
{
        struct vm *vm = owner;

        if (status < 0) {
                leave(vm);
                return;
        }
        switch (vm->state) {
        case VM_READING:
                read_request(vm);
                break;
        case VM_ASKING:
                look_whether_it_left(vm);
                break;
        case VM_WRITING:
                write_reply(vm);
                break;
        case VM_ENDING:
                drain(vm);
                break;
        }
}

static void on_timeout(void *owner)
{
        struct vm *vm = owner;

        switch (vm->state) {
        case VM_READING:
                if (vm->request.n)
                        refuse(vm, QGS_ERROR_SIZE,
                               &(struct worker_outcome){ .outcome = RELAY_MALFORMED });
                else
                        say_goodbye(vm);
                break;
        case VM_ASKING:
                on_asked_long(vm);
                break;
        case VM_WRITING:
                leave(vm);
                break;
        case VM_ENDING:
                end(vm);
                break;
        }
}

/* ---- all of them ---- */

struct vms *vms_new(struct serving *serving, struct exchanges *exchanges)
{
        struct vms *vms = xcalloc(1, sizeof(*vms));

        vms->serving = serving;
        vms->exchanges = exchanges;
        list_init(&vms->all);
        return vms;
}

void vms_free(struct vms *vms)
{
        struct list *position, *following;

        if (!vms)
                return;
        list_for_each_safe (position, following, &vms->all)
                free_vm(container_of(position, struct vm, member));
        free(vms);
}

void vms_add(struct vms *vms, const struct relay_td *td, struct turns_td *turns, int fd,
             vms_on_gone *on_gone, void *owner)
{
        struct vm *vm = xcalloc(1, sizeof(*vm));

        vm->vms = vms;
        vm->td = *td;
        vm->turns = turns;
        vm->on_gone = on_gone;
        vm->owner = owner;
        vm->fd = fd;
        list_add_tail(&vms->all, &vm->member);
        ++vms->n;
        vm->timer = timer_new(vms->serving->loop, on_timeout, vm);
        vm->retry = timer_new(vms->serving->loop, attempt, vm);
        vm->poll = poll_new(vms->serving->loop, fd, on_ready, vm);
        if (!vm->poll)
                abort(); /* cannot fail: it is a socket, and nothing else polls it */
        read_next(vm);
        read_request(vm); /* QEMU sends at once */
}

unsigned vms_n(const struct vms *vms)
{
        return vms->n;
}

void vms_hurry(struct vms *vms)
{
        struct list *position;

        list_for_each (position, &vms->all) {
                struct vm *vm = container_of(position, struct vm, member);

                if (vm->state == VM_READING && !vm->request.n)
                        timer_start(vm->timer, vms->serving->limits.half_ms);
        }
}
