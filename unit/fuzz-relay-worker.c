/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker between VMs, a QGS and a holder that do what the bytes say, in any order. Whatever
 * happens: QGS gets whole requests, each in one write, no more at a time than it has threads, and
 * none of its connections ends before its time; every request has an outcome; and when all are gone
 * the worker is over.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#define require(condition)                   \
        do {                                 \
                if (!(condition)) {          \
                        assert(!#condition); \
                        abort();             \
                }                            \
        } while (0)
#define ck_assert(condition)      require(condition)
#define ck_assert_int_eq(a, b)    require((int64_t)(a) == (int64_t)(b))
#define ck_assert_uint_eq(a, b)   require((uint64_t)(a) == (uint64_t)(b))
#define ck_assert_uint_lt(a, b)   require((uint64_t)(a) < (uint64_t)(b))
#define ck_assert_ptr_nonnull(a)  require((a) != NULL)
#define ck_assert_mem_eq(a, b, n) require(memcmp(a, b, n) == 0)

#include "unit/relay-rig.h"

#include "base/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

#define N_DOORS   3
#define VMS_MAX   40
#define STEPS_MAX 200
#define TIME_MAX  120000

static struct {
        const uint8_t *bytes;
        size_t n;
        struct door doors[N_DOORS];
        struct vm vms[VMS_MAX];
        unsigned n_vms;
        bool has_spoken[EXCHANGES_MAX]; /* QGS, on this connection */
        unsigned most_threads;
        bool is_accepting;
        uint64_t start_ms;
} story;

static unsigned next_byte(void)
{
        if (!story.n)
                return 0;
        --story.n;
        return *story.bytes++;
}

/* As many of the following bytes as the next one says. */
static size_t next_bytes(const uint8_t **ret)
{
        size_t n = next_byte();

        n = n < story.n ? n : story.n;
        *ret = story.bytes;
        story.bytes += n;
        story.n -= n;
        return n;
}

/* ---- the players ---- */

static struct vm *any_vm(void)
{
        struct vm *vm = story.n_vms ? &story.vms[next_byte() % story.n_vms] : NULL;

        return vm && vm->fd >= 0 ? vm : NULL;
}

static void let_vm_connect(void)
{
        if (story.n_vms < VMS_MAX)
                story.vms[story.n_vms++] = vm_connect(&story.doors[next_byte() % N_DOORS]);
}

/* It may be closed, or full. */
static void vm_write(const void *bytes, size_t n)
{
        struct vm *vm = any_vm();

        if (vm)
                (void)send(vm->fd, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void let_vm_say_anything(void)
{
        const uint8_t *bytes;
        size_t n = next_bytes(&bytes);

        vm_write(bytes, n);
}

static void let_vm_ask(size_t n)
{
        vm_write(request_of((unsigned char)next_byte()),
                 n < QGS_QUOTE_REQUEST_SIZE ? n : QGS_QUOTE_REQUEST_SIZE);
}

static void let_vm_leave(bool by_half)
{
        struct vm *vm = any_vm();

        if (vm && by_half)
                (void)shutdown(vm->fd, SHUT_WR);
        else if (vm)
                vm_close(vm);
}

static void let_qgs(unsigned what)
{
        unsigned i = rig.n_qgs ? next_byte() % rig.n_qgs : 0;
        const uint8_t *bytes = NULL;
        size_t n = what == 1 ? next_bytes(&bytes) : 0;

        if (i >= rig.n_qgs || rig.qgs[i].fd < 0)
                return;
        story.has_spoken[i] = true;
        if (what == 1) {
                (void)send(rig.qgs[i].fd, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT);
                return;
        }
        if (what == 0) {
                _cleanup_(free) unsigned char *reply = quote_of(5034, 1, next_byte());

                (void)send(rig.qgs[i].fd, reply, 5034, MSG_NOSIGNAL | MSG_DONTWAIT);
        }
        qgs_close(i);
}

static void let_holder(unsigned what)
{
        static const int causes[] = { 0, ENOENT, ECONNREFUSED, EACCES, EAGAIN };
        unsigned n = next_byte();

        if (rig.fd < 0)
                return;
        switch (what) {
        case 0:
                rig.refuses = causes[n % array_size(causes)];
                break;
        case 1:
                n %= 6;
                story.most_threads = n > story.most_threads ? n : story.most_threads;
                tell_threads(n);
                break;
        case 2:
                story.is_accepting = n % 2;
                tell_accepting(story.is_accepting);
                break;
        case 3:
                tell(message_of(n % 2 ? WORKER_ASK : WORKER_PING, n), -1);
                break;
        default:
                rig.is_deaf = n % 2;
                break;
        }
}

static void step(void)
{
        unsigned what = next_byte() % 16;

        if (what < 2)
                let_vm_connect();
        else if (what == 2)
                let_vm_say_anything();
        else if (what < 5)
                let_vm_ask(QGS_QUOTE_REQUEST_SIZE);
        else if (what == 5)
                let_vm_ask(next_byte() * 5);
        else if (what < 8)
                let_vm_leave(what == 7);
        else if (what < 11)
                let_qgs(what - 8);
        else if (what < 13)
                let_holder(next_byte() % 5);
        else if (what == 13 && passed_ms - story.start_ms < TIME_MAX)
                advance(next_byte() * 50U);
        else
                turn();
}

/* ---- the promises ---- */

static void check(void)
{
        unsigned n_at_qgs = 0;

        for (unsigned i = 0; i < rig.n_qgs; ++i) {
                const struct at_qgs *at = &rig.qgs[i];
                bool is_whole = at->n_got == QGS_QUOTE_REQUEST_SIZE ||
                                at->n_got == QGS_PLATFORM_INFO_REQUEST_SIZE;

                n_at_qgs += !at->is_released;
                require(!at->n_got || (is_whole && at->n_reads == 1));
                require(!at->is_released || story.has_spoken[i] || at->fd < 0 ||
                        passed_ms - at->since_ms >= 35000);
        }
        require(n_at_qgs <= story.most_threads);
}

/* All go, the holder last. */
static void end(void)
{
        if (rig.is_deaf)
                rig.is_deaf = false;
        for (unsigned i = 0; i < story.n_vms; ++i)
                vm_close(&story.vms[i]);
        advance(100);
        check();
        for (unsigned i = 0; i < rig.n_qgs; ++i)
                if (rig.qgs[i].fd >= 0)
                        qgs_close(i);
        advance(2000);
        for (unsigned i = 0; i < rig.n_qgs; ++i)
                if (rig.qgs[i].fd >= 0)
                        qgs_close(i);
        if (story.is_accepting) { /* otherwise they are left to a successor */
                tell(message_of(WORKER_PING, 0), -1);
                turn();
                require(rig.state.n_connections == 0 && rig.state.n_waiting <= 1);
        }
        close(take_fd(&rig.fd));
        turn();
        for (unsigned i = 0; i < rig.n_qgs; ++i)
                if (rig.qgs[i].fd >= 0)
                        qgs_close(i);
        turn();
        require(rig.is_over);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
        static const struct worker_limits limits = WORKER_LIMITS_DEFAULT;

        log_setup(LOG_ERROR, LOG_TEXT);
        memset(&story, 0, sizeof(story));
        story.bytes = bytes;
        story.n = n;
        story.is_accepting = true;
        story.start_ms = passed_ms;
        rig_start_with(&limits, 1024);
        story.most_threads = 4;
        tell_threads(4);
        for (unsigned i = 0; i < N_DOORS; ++i)
                story.doors[i] = open_door(i, i / 2, i % 2);
        for (unsigned i = 0; i < STEPS_MAX && story.n; ++i) {
                step();
                check();
        }
        end();
        for (unsigned i = 0; i < N_DOORS; ++i)
                close_door(&story.doors[i]);
        rig_stop();
        return 0;
}
