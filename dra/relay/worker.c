/* SPDX-License-Identifier: Apache-2.0 */
#include "relay/worker.h"

#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "relay/channel.h"
#include "relay/doors.h"
#include "relay/exchange.h"
#include "relay/probe.h"
#include "relay/sandbox.h"
#include "relay/serving.h"
#include "relay/vm.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <uv.h>

#define CHANNEL_FD 3

struct worker {
        struct serving serving;
        struct exchanges *exchanges; /* NULL before WORKER_LIMITS, as the following */
        struct vms *vms;
        struct doors *doors;
        struct probe *probe;
        unsigned n_descriptors;
        struct worker_state told; /* by WORKER_STATE */
        worker_on_over *on_over;  /* NULL: it was called */
        void *owner;
};

static struct worker_state state_of(const struct worker *worker)
{
        return (struct worker_state){ .n_connections = vms_n(worker->vms),
                                      .n_at_qgs = exchanges_n_at_qgs(worker->exchanges),
                                      .n_waiting = exchanges_n_waiting(worker->exchanges),
                                      .n_lost = worker->serving.n_lost };
}

static void tell_state(struct worker *worker, enum worker_message_kind kind, uint32_t ticket)
{
        struct worker_message message;

        memset(&message, 0, sizeof(message));
        message.kind = kind;
        message.ticket = ticket;
        if (worker->exchanges)
                message.state = state_of(worker);
        serving_tell(&worker->serving, &message);
}

/* The owner ends the loop, so this may come from deep below. */
static void end_if_over(struct worker *worker)
{
        worker_on_over *on_over = worker->on_over;

        if (worker->serving.channel || !on_over)
                return;
        if (worker->exchanges && (vms_n(worker->vms) || exchanges_n_at_qgs(worker->exchanges)))
                return;
        worker->on_over = NULL;
        on_over(worker->owner);
}

static void on_changed(void *owner)
{
        struct worker *worker = owner;
        struct worker_state state;

        if (!worker->doors)
                return; /* still being built */
        state = state_of(worker);
        if (!worker->serving.is_accepting && memcmp(&state, &worker->told, sizeof(state)) != 0) {
                worker->told = state;
                tell_state(worker, WORKER_STATE, 0);
        }
        end_if_over(worker);
}

static void start(struct worker *worker, const struct worker_limits *limits)
{
        worker->serving.limits = *limits;
        worker->exchanges = exchanges_new(&worker->serving);
        worker->vms = vms_new(&worker->serving, worker->exchanges);
        worker->doors = doors_new(&worker->serving, worker->vms, worker->n_descriptors);
        worker->probe = probe_new(&worker->serving, worker->exchanges);
        probe_ask(worker->probe);
}

static void set_accepting(struct worker *worker, bool is_accepting)
{
        worker->serving.is_accepting = is_accepting;
        doors_accepting_changed(worker->doors);
        if (is_accepting) {
                probe_ask(worker->probe);
                return;
        }
        probe_stop(worker->probe);
        vms_hurry(worker->vms);
        worker->told = state_of(worker);
        tell_state(worker, WORKER_STATE, 0);
}

static void close_any(int fd)
{
        if (fd >= 0)
                close(fd);
}

/* Once there are limits. */
static void obey(struct worker *worker, const struct worker_message *message, int fd)
{
        switch (message->kind) {
        case WORKER_THREADS:
                if (message->count > worker->serving.most_threads)
                        worker->serving.most_threads = message->count;
                exchanges_set_threads(worker->exchanges, message->count);
                break;
        case WORKER_LISTEN:
                doors_listen(worker->doors, &message->listener, fd);
                break;
        case WORKER_UNLISTEN:
                doors_unlisten(worker->doors, message->listener.id);
                break;
        case WORKER_ACCEPTING:
                set_accepting(worker, message->flag);
                break;
        case WORKER_CONNECTED:
                exchanges_connected(worker->exchanges, message->ticket, fd >= 0 ? fd : -EMFILE);
                break;
        case WORKER_NOT_CONNECTED:
                exchanges_connected(worker->exchanges, message->ticket, message->cause);
                break;
        case WORKER_ASK:
                if (worker->serving.is_accepting)
                        probe_ask(worker->probe);
                break;
        default: /* WORKER_LIMITS again */
                break;
        }
}

static void on_message(void *owner, const struct worker_message *message, int fd)
{
        struct worker *worker = owner;

        if (message->kind == WORKER_PING)
                tell_state(worker, WORKER_PONG, message->ticket);
        else if (worker->exchanges)
                obey(worker, message, fd);
        else if (message->kind == WORKER_LIMITS)
                start(worker, &message->limits);
        else
                close_any(fd);
}

static void on_end(void *owner, int code)
{
        struct worker *worker = owner;

        if (code < 0)
                log_error("the holder sends what is not its protocol",
                          log_str("error", strerror(-code)));
        channel_free(take_ptr(worker->serving.channel));
        if (worker->exchanges) {
                probe_stop(worker->probe);
                exchanges_orphan(worker->exchanges);
                vms_hurry(worker->vms);
                doors_orphan(worker->doors);
        }
        end_if_over(worker);
}

struct worker *worker_new(uv_loop_t *loop, int channel_fd, unsigned n_descriptors,
                          worker_on_over *on_over, void *owner)
{
        struct worker *worker = xcalloc(1, sizeof(*worker));

        worker->n_descriptors = n_descriptors;
        worker->on_over = on_over;
        worker->owner = owner;
        worker->serving = (struct serving){
                .loop = loop, .is_accepting = true, .on_changed = on_changed, .owner = worker
        };
        worker->serving.channel =
                channel_new(loop, channel_fd, WORKER_SIDE_HOLDER, on_message, on_end, worker);
        return worker;
}

void worker_free(struct worker *worker)
{
        if (worker->probe)
                probe_stop(worker->probe);
        vms_free(worker->vms);
        /* Exchanges that were abandoned still have their turns, which the next two own. */
        exchanges_free(worker->exchanges);
        probe_free(worker->probe);
        doors_free(worker->doors);
        channel_free(worker->serving.channel);
        free(worker);
}

/* ---- the process ---- */

static void on_over(void *owner)
{
        uv_stop(owner);
}

/* A signal to the whole process group is the holder's to act on: the worker ends with it. */
static void ignore_signals(void)
{
        struct sigaction ignore = { .sa_handler = SIG_IGN };

        sigaction(SIGHUP, &ignore, NULL);
        sigaction(SIGINT, &ignore, NULL);
        sigaction(SIGTERM, &ignore, NULL);
}

_Noreturn void worker_run(unsigned uid, unsigned gid)
{
        struct error error = ERROR_NULL;
        struct worker *worker;
        unsigned n_descriptors;
        uv_loop_t loop;
        int r;

        ignore_signals();
        sandbox_close_others(CHANNEL_FD);
        r = uv_loop_init(&loop);
        if (r < 0)
                (void)error_errno(&error, r, "cannot make a loop");
        else
                r = sandbox_enter(uid, gid, &n_descriptors, &error);
        if (r < 0) {
                log_error("cannot start the quote relay's worker", log_str("error", error.text));
                _exit(EXIT_FAILURE);
        }
        worker = worker_new(&loop, CHANNEL_FD, n_descriptors, on_over, &loop);
        (void)uv_run(&loop, UV_RUN_DEFAULT);
        worker_free(worker);
        /* Not exit(3): nothing is left to be flushed, and a sanitizer's handlers would make calls
         * that are forbidden here. */
        _exit(EXIT_SUCCESS);
}
