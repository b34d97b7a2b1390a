/* SPDX-License-Identifier: Apache-2.0 */
/* The relay's worker between a holder, VMs and a QGS that this program plays, all on one thread. No
 * test waits for real time: the clock is this program's. Include unit/suite.h before, or define the
 * assertions that it has. */
#pragma once

#include "base/memory.h"
#include "host/qgs_message.h"
#include "relay/worker.h"
#include "relay/worker_message.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

/* ---- the clock ---- */

static uint64_t passed_ms;

__attribute__((visibility("default"))) int clock_gettime(clockid_t clock, struct timespec *ret)
{
        if (clock != CLOCK_MONOTONIC && clock != CLOCK_MONOTONIC_COARSE)
                return (int)syscall(SYS_clock_gettime, clock, ret);
        *ret = (struct timespec){ .tv_sec = (time_t)(1000 + passed_ms / 1000),
                                  .tv_nsec = (long)(passed_ms % 1000) * 1000000 };
        return 0;
}

/* ---- what there is ---- */

#define EXCHANGES_MAX 1024
#define OUTCOMES_MAX  4096
#define QGS_TOLD_MAX  1024

/* A connection to QGS, in the order in which the worker asked for them. */
struct at_qgs {
        uint32_t ticket;
        int fd;      /* QGS's end; -1: closed, or never connected */
        int kept_fd; /* the holder's own descriptor of the worker's end, until it is released */
        size_t n_got;
        unsigned n_reads; /* in which it came */
        uint64_t since_ms;
        unsigned char got[2 * QGS_QUOTE_REQUEST_SIZE];
        bool is_closed; /* by the worker and the holder */
        bool is_released;
};

static struct {
        uv_loop_t loop;
        struct worker *worker;
        bool is_over;
        int fd; /* the holder's end of the channel */
        bool is_deaf;
        int refuses; /* 0, or the errno of each connect */

        struct at_qgs qgs[EXCHANGES_MAX];
        unsigned n_qgs, n_refused;

        struct worker_outcome outcomes[OUTCOMES_MAX];
        unsigned n_outcomes;
        struct worker_qgs told[QGS_TOLD_MAX];
        unsigned n_told;
        struct worker_state state; /* the last one told, by WORKER_STATE or WORKER_PONG */
        unsigned n_states, n_pongs;
        char directory[64];
} rig = { .fd = -1 };

/* ---- the holder ---- */

static inline void tell(struct worker_message message, int fd)
{
        ck_assert_int_eq(worker_message_send(rig.fd, &message, fd), 0);
}

static inline struct worker_message message_of(uint32_t kind, uint32_t ticket)
{
        struct worker_message message;

        memset(&message, 0, sizeof(message));
        message.kind = kind;
        message.ticket = ticket;
        return message;
}

static inline void rig_connect(uint32_t ticket)
{
        struct at_qgs *made = &rig.qgs[rig.n_qgs];
        struct worker_message answer;
        int pair[2];

        if (rig.refuses) {
                ++rig.n_refused;
                answer = message_of(WORKER_NOT_CONNECTED, ticket);
                answer.cause = -rig.refuses;
                tell(answer, -1);
                return;
        }
        ck_assert_uint_lt(rig.n_qgs, EXCHANGES_MAX);
        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair),
                         0);
        *made = (struct at_qgs){
                .ticket = ticket, .fd = pair[0], .kept_fd = pair[1], .since_ms = passed_ms
        };
        ++rig.n_qgs;
        tell(message_of(WORKER_CONNECTED, ticket), pair[1]);
}

static inline void rig_release(uint32_t ticket)
{
        unsigned n = 0;

        for (unsigned i = 0; i < rig.n_qgs; ++i)
                if (rig.qgs[i].ticket == ticket && rig.qgs[i].kept_fd >= 0) {
                        close(take_fd(&rig.qgs[i].kept_fd));
                        rig.qgs[i].is_released = true;
                        ++n;
                }
        ck_assert_uint_eq(n, 1);
}

static inline void rig_hear(const struct worker_message *message)
{
        switch (message->kind) {
        case WORKER_CONNECT:
                rig_connect(message->ticket);
                break;
        case WORKER_RELEASED:
                rig_release(message->ticket);
                break;
        case WORKER_OUTCOME:
                ck_assert_uint_lt(rig.n_outcomes, OUTCOMES_MAX);
                rig.outcomes[rig.n_outcomes++] = message->outcome;
                break;
        case WORKER_QGS:
                ck_assert_uint_lt(rig.n_told, QGS_TOLD_MAX);
                rig.told[rig.n_told++] = message->qgs;
                break;
        default:
                rig.state = message->state;
                ++*(message->kind == WORKER_PONG ? &rig.n_pongs : &rig.n_states);
                break;
        }
}

static inline void rig_listen_to_worker(void)
{
        struct worker_message message;
        int fd;

        while (rig.fd >= 0 && !rig.is_deaf &&
               worker_message_receive(rig.fd, WORKER_SIDE_WORKER, &message, &fd) == 0)
                rig_hear(&message);
}

/* ---- QGS ---- */

static inline void rig_read_qgs(void)
{
        for (unsigned i = 0; i < rig.n_qgs; ++i) {
                struct at_qgs *at = &rig.qgs[i];
                ssize_t n;

                if (at->fd < 0 || at->is_closed)
                        continue;
                n = recv(at->fd, at->got + at->n_got, sizeof(at->got) - at->n_got, MSG_DONTWAIT);
                if (n > 0) {
                        at->n_got += (size_t)n;
                        ++at->n_reads;
                } else if (n == 0 || errno != EAGAIN) {
                        at->is_closed = true;
                }
        }
}

static inline void qgs_close(unsigned i)
{
        close(take_fd(&rig.qgs[i].fd));
}

/* A reply of this size, filled with this byte beyond its header. */
static inline unsigned char *quote_of(size_t size, unsigned char fill, uint32_t error)
{
        unsigned char *reply = xmalloc(size);

        memset(reply, fill, size);
        memset(reply, 0, QGS_LENGTH_SIZE + QGS_HEADER_SIZE);
        for (unsigned i = 0; i < 4; ++i) {
                reply[3 - i] = (unsigned char)((size - 4) >> 8 * i);
                reply[12 + i] = (unsigned char)((size - 4) >> 8 * i);
                reply[16 + i] = (unsigned char)(error >> 8 * i);
        }
        reply[4] = reply[6] = 1;
        reply[8] = QGS_QUOTE;
        return reply;
}

/* As QGS does: the reply, and then it closes. */
static inline void qgs_reply(unsigned i, size_t size, unsigned char fill)
{
        _cleanup_(free) unsigned char *reply = quote_of(size, fill, 0);

        ck_assert_int_eq(send(rig.qgs[i].fd, reply, size, MSG_NOSIGNAL), size);
        qgs_close(i);
}

/* ---- all of it ---- */

static inline void turn(void)
{
        for (unsigned i = 0; i < 6; ++i) {
                (void)uv_run(&rig.loop, UV_RUN_NOWAIT);
                rig_listen_to_worker();
                rig_read_qgs();
        }
}

static inline void advance(uint64_t ms)
{
        for (uint64_t until_ms = passed_ms + ms; passed_ms < until_ms;) {
                passed_ms += until_ms - passed_ms < 10 ? until_ms - passed_ms : 10;
                turn();
        }
}

static inline void tell_threads(unsigned n)
{
        struct worker_message message = message_of(WORKER_THREADS, 0);

        message.count = n;
        tell(message, -1);
        turn();
}

static inline void tell_accepting(bool is_accepting)
{
        struct worker_message message = message_of(WORKER_ACCEPTING, 0);

        message.flag = is_accepting;
        tell(message, -1);
        turn();
}

static inline void rig_on_over(void *owner)
{
        rig.is_over = true;
}

static inline void rig_start_with(const struct worker_limits *limits, unsigned n_descriptors)
{
        struct worker_message message = message_of(WORKER_LIMITS, 0);
        int pair[2];

        (void)snprintf(rig.directory, sizeof(rig.directory), "/tmp/test-relay-worker.XXXXXX");
        ck_assert_ptr_nonnull(mkdtemp(rig.directory));
        ck_assert_int_eq(uv_loop_init(&rig.loop), 0);
        ck_assert_int_eq(
                socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
        rig.fd = pair[0];
        rig.worker = worker_new(&rig.loop, pair[1], n_descriptors, rig_on_over, NULL);
        message.limits = *limits;
        tell(message, -1);
}

/* With QGS's usual four threads, and the worker's first question to it answered. */
static inline void rig_start(void)
{
        static const struct worker_limits limits = WORKER_LIMITS_DEFAULT;
        static const unsigned char info[68] = { 0, 0, 0, 64, 1, 0, 1, 0, 5, 0, 0, 0, 64 };

        rig_start_with(&limits, 1024);
        tell_threads(4);
        ck_assert_uint_eq(rig.n_qgs, 1);
        ck_assert_int_eq(send(rig.qgs[0].fd, info, sizeof(info), MSG_NOSIGNAL), sizeof(info));
        qgs_close(0);
        turn();
        ck_assert_uint_eq(rig.n_told, 1);
        ck_assert_uint_eq(rig.told[0].result, WORKER_QGS_ANSWERED);
        rig.n_qgs = rig.n_told = 0;
}

static inline void rig_stop(void)
{
        worker_free(rig.worker);
        turn();
        ck_assert_int_eq(uv_loop_close(&rig.loop), 0);
        for (unsigned i = 0; i < rig.n_qgs; ++i) {
                if (rig.qgs[i].fd >= 0)
                        close(rig.qgs[i].fd);
                if (rig.qgs[i].kept_fd >= 0)
                        close(rig.qgs[i].kept_fd);
        }
        if (rig.fd >= 0)
                close(rig.fd);
        (void)rmdir(rig.directory);
        memset(&rig, 0, sizeof(rig));
        rig.fd = -1;
}

/* ---- VMs ---- */

/* A TD's socket: a path that a VM connects to, and a listener that the worker has. */
struct door {
        struct sockaddr_un address;
        int fd;
};

static inline struct door open_door(uint32_t id, uint32_t device, uint32_t path)
{
        struct door door = { .address = { .sun_family = AF_UNIX } };
        struct worker_message message = message_of(WORKER_LISTEN, 0);

        (void)snprintf(door.address.sun_path, sizeof(door.address.sun_path), "%s/%u", rig.directory,
                       id);
        door.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        ck_assert_int_eq(bind(door.fd, (struct sockaddr *)&door.address, sizeof(door.address)), 0);
        ck_assert_int_eq(listen(door.fd, 4096), 0);
        message.listener = (struct worker_listener){ .id = id, .td = { device, path } };
        tell(message, door.fd);
        turn();
        return door;
}

static inline void close_door(struct door *door)
{
        close(door->fd);
        (void)unlink(door->address.sun_path);
}

struct vm {
        int fd;
        size_t n_got;
        unsigned char *got;
        bool has_ended; /* an orderly end came */
        bool is_reset;
};

/* A VM's connect never fails and never blocks. */
static inline struct vm vm_connect(const struct door *door)
{
        struct vm vm = { .fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0) };

        ck_assert_int_eq(
                connect(vm.fd, (const struct sockaddr *)&door->address, sizeof(door->address)), 0);
        return vm;
}

static inline void vm_send(const struct vm *vm, const void *bytes, size_t n)
{
        ck_assert_int_eq(send(vm->fd, bytes, n, MSG_NOSIGNAL), n);
}

/* QEMU's request; the report is filled with this byte. */
static inline const unsigned char *request_of(unsigned char fill)
{
        static unsigned char request[QGS_QUOTE_REQUEST_SIZE];
        static const unsigned char head[QGS_REPORT_OFFSET] = { 0, 0, 4, 0x18, 1,    0, 1, 0,
                                                               0, 0, 0, 0,    0x18, 4, 0, 0,
                                                               0, 0, 0, 0,    0,    4, 0, 0 };

        memset(request, fill, sizeof(request));
        memcpy(request, head, sizeof(head));
        return request;
}

static inline void vm_ask(const struct vm *vm, unsigned char fill)
{
        vm_send(vm, request_of(fill), QGS_QUOTE_REQUEST_SIZE);
}

static inline void vm_read(struct vm *vm)
{
        for (;;) {
                ssize_t n;

                vm->got = xreallocarray(vm->got, vm->n_got + 65536, 1);
                n = recv(vm->fd, vm->got + vm->n_got, 65536, MSG_DONTWAIT);
                if (n > 0) {
                        vm->n_got += (size_t)n;
                        continue;
                }
                vm->has_ended |= n == 0;
                vm->is_reset |= n < 0 && errno != EAGAIN;
                return;
        }
}

static inline void vm_close(struct vm *vm)
{
        if (vm->fd >= 0)
                close(take_fd(&vm->fd));
        free(take_ptr(vm->got));
}

/* The VM got QGS's error reply with this code. */
static inline void assert_refused(struct vm *vm, enum qgs_message_error error)
{
        unsigned char reply[QGS_ERROR_REPLY_SIZE];

        qgs_message_error_reply(error, reply);
        vm_read(vm);
        ck_assert_uint_eq(vm->n_got, sizeof(reply));
        ck_assert_mem_eq(vm->got, reply, sizeof(reply));
        ck_assert(!vm->is_reset);
}
