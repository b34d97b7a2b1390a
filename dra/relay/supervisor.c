/* SPDX-License-Identifier: Apache-2.0 */
#include "relay/supervisor.h"

#include "base/backoff.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/timer.h"
#include "relay/channel.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#define WORKER_FD 3
/* A worker that lived so long was not broken from the start. */
#define WELL_AFTER_MS 10000
/* Messages that a worker leaves unread; two for each TD are sent at its start. */
#define UNREAD_MAX 65536
/* How long a worker may take to end once its channel is closed. */
#define STOP_MS 2000

struct process {
        uv_process_t handle;
        struct supervisor *supervisor; /* NULL: freed */
};

struct supervisor {
        struct supervisor_options options;
        struct process *process; /* NULL: none runs */
        struct channel *channel; /* NULL: it is closed */
        struct timer *silence, *restart, *stop;
        struct backoff backoff;
        uint64_t started_ms;
        uint32_t n_pings;
        bool is_asked; /* a ping is unanswered */
        bool is_stopping;
};

static void start(struct supervisor *supervisor);

/* ---- killing ---- */

/* Without CAP_KILL a process may signal only those of its own user. */
static void kill_as_its_user(const struct supervisor *supervisor, pid_t pid)
{
        uid_t own = geteuid();
        int dumpable = prctl(PR_GET_DUMPABLE);

        if (kill(pid, SIGKILL) == 0 || errno != EPERM)
                return;
        if (seteuid(supervisor->options.worker_uid) == 0)
                (void)kill(pid, SIGKILL);
        if (seteuid(own) < 0)
                abort(); /* cannot fail: it is the saved user */
        (void)prctl(PR_SET_DUMPABLE, dumpable);
}

static void kill_process(const struct supervisor *supervisor)
{
        if (supervisor->process)
                kill_as_its_user(supervisor, supervisor->process->handle.pid);
}

void supervisor_kill(struct supervisor *supervisor, const char *why)
{
        log_error("killing the worker", log_str("reason", why));
        kill_process(supervisor);
}

/* ---- its end ---- */

/* Process and channel end in either order; what the channel still has is heard first. */
static void check_lost(struct supervisor *supervisor)
{
        uint64_t lived_ms = uv_now(supervisor->options.loop) - supervisor->started_ms;

        if (supervisor->process || supervisor->channel)
                return;
        timer_stop(supervisor->silence);
        timer_stop(supervisor->stop);
        supervisor->options.on_lost(supervisor->options.owner);
        if (supervisor->is_stopping) {
                supervisor->options.on_stopped(supervisor->options.owner);
                return;
        }
        if (lived_ms >= WELL_AFTER_MS)
                backoff_reset(&supervisor->backoff);
        if (supervisor->backoff.n_failures == 0) {
                (void)backoff_next_ms(&supervisor->backoff, 0, backoff_random());
                start(supervisor);
                return;
        }
        timer_start(supervisor->restart,
                    backoff_next_ms(&supervisor->backoff, 0, backoff_random()));
}

static void on_closed(uv_handle_t *handle)
{
        free(container_of((uv_process_t *)handle, struct process, handle));
}

static void on_exit_status(uv_process_t *handle, int64_t status, int signal)
{
        struct process *process = container_of(handle, struct process, handle);
        struct supervisor *supervisor = process->supervisor;

        uv_close((uv_handle_t *)handle, on_closed);
        if (!supervisor)
                return;
        supervisor->process = NULL;
        if (!supervisor->is_stopping)
                log_warn("the worker has ended; VMs wait for the next one",
                         log_int("status", status), log_int("signal", signal));
        check_lost(supervisor);
}

static void on_channel_end(void *owner, int code)
{
        struct supervisor *supervisor = owner;

        if (code == -EBADMSG)
                log_error("killing the worker: it sent a message that no worker sends");
        channel_free(take_ptr(supervisor->channel));
        if (!supervisor->is_stopping)
                kill_process(supervisor);
        check_lost(supervisor);
}

/* ---- its life ---- */

static void on_channel_message(void *owner, const struct worker_message *message, int fd)
{
        struct supervisor *supervisor = owner;

        if (fd >= 0)
                close(fd); /* no message of a worker has one */
        supervisor->is_asked = false;
        timer_start(supervisor->silence, SUPERVISOR_SILENCE_MS);
        if (channel_n_unsent(supervisor->channel) > UNREAD_MAX)
                supervisor_kill(supervisor, "it does not read");
        else if (message->kind != WORKER_PONG)
                supervisor->options.on_message(supervisor->options.owner, message);
}

static void on_silence(void *owner)
{
        struct supervisor *supervisor = owner;

        if (supervisor->is_asked) {
                supervisor_kill(supervisor, "it does not answer");
                return;
        }
        supervisor->is_asked = true;
        supervisor_send(
                supervisor,
                &(struct worker_message){ .kind = WORKER_PING, .ticket = ++supervisor->n_pings },
                -1);
        timer_start(supervisor->silence, SUPERVISOR_PONG_MS);
}

static int spawn(struct supervisor *supervisor, int fd)
{
        uv_stdio_container_t stdio[WORKER_FD + 1] = {
                [0] = { .flags = UV_IGNORE },
                [1] = { .flags = UV_INHERIT_FD, .data.fd = STDOUT_FILENO },
                [2] = { .flags = UV_INHERIT_FD, .data.fd = STDERR_FILENO },
                [WORKER_FD] = { .flags = UV_INHERIT_FD, .data.fd = fd },
        };
        uv_process_options_t options = { .exit_cb = on_exit_status,
                                         .file = "/proc/self/exe",
                                         .args = supervisor->options.arguments,
                                         .stdio = stdio,
                                         .stdio_count = (int)array_size(stdio) };
        struct process *process = xcalloc(1, sizeof(*process));
        int r;

        process->supervisor = supervisor;
        r = uv_spawn(supervisor->options.loop, &process->handle, &options);
        if (r < 0)
                uv_close((uv_handle_t *)&process->handle, on_closed);
        else
                supervisor->process = process;
        return r;
}

static void start(struct supervisor *supervisor)
{
        int fds[2] = { -1, -1 };
        int r;

        supervisor->started_ms = uv_now(supervisor->options.loop);
        r = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0 ? -errno
                                                                                           : 0;
        if (!r) {
                r = spawn(supervisor, fds[1]);
                close(fds[1]);
                if (r < 0)
                        close(fds[0]);
        }
        if (r < 0) {
                log_error("cannot start the worker", log_str("reason", strerror(-r)));
                timer_start(supervisor->restart,
                            backoff_next_ms(&supervisor->backoff, 0, backoff_random()));
                return;
        }
        supervisor->channel = channel_new(supervisor->options.loop, fds[0], WORKER_SIDE_WORKER,
                                          on_channel_message, on_channel_end, supervisor);
        supervisor->is_asked = false;
        timer_start(supervisor->silence, SUPERVISOR_SILENCE_MS);
        log_info("the worker has started", log_int("pid", supervisor->process->handle.pid));
        supervisor->options.on_started(supervisor->options.owner);
}

static void on_restart(void *owner)
{
        start(owner);
}

static void on_stop_over(void *owner)
{
        kill_process(owner);
}

struct supervisor *supervisor_new(const struct supervisor_options *options)
{
        struct supervisor *supervisor = xcalloc(1, sizeof(*supervisor));

        supervisor->options = *options;
        supervisor->backoff = (struct backoff){ .first_ms = 100, .cap_ms = 5000 };
        supervisor->silence = timer_new(options->loop, on_silence, supervisor);
        supervisor->restart = timer_new(options->loop, on_restart, supervisor);
        supervisor->stop = timer_new(options->loop, on_stop_over, supervisor);
        return supervisor;
}

void supervisor_start(struct supervisor *supervisor)
{
        start(supervisor);
}

void supervisor_stop(struct supervisor *supervisor)
{
        supervisor->is_stopping = true;
        timer_stop(supervisor->restart);
        channel_free(take_ptr(supervisor->channel));
        if (!supervisor->process) {
                supervisor->options.on_stopped(supervisor->options.owner);
                return;
        }
        timer_stop(supervisor->silence);
        timer_start(supervisor->stop, STOP_MS);
}

void supervisor_free(struct supervisor *supervisor)
{
        if (!supervisor)
                return;
        kill_process(supervisor);
        if (supervisor->process)
                supervisor->process->supervisor = NULL;
        channel_free(supervisor->channel);
        timer_free(supervisor->silence);
        timer_free(supervisor->restart);
        timer_free(supervisor->stop);
        free(supervisor);
}

void supervisor_send(struct supervisor *supervisor, const struct worker_message *message,
                     int passed_fd)
{
        if (supervisor->channel)
                channel_send(supervisor->channel, message, passed_fd);
        else if (passed_fd >= 0)
                close(passed_fd);
}
