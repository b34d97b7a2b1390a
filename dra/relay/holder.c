/* SPDX-License-Identifier: Apache-2.0 */
#include "relay/holder.h"

#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/socket.h"
#include "base/timer.h"
#include "host/qgs_connect.h"
#include "relay/control.h"
#include "relay/listeners.h"
#include "relay/outcomes.h"
#include "relay/reports.h"
#include "relay/saved.h"
#include "relay/share.h"
#include "relay/succession.h"
#include "relay/supervisor.h"
#include "relay/tickets.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <uv.h>

/* How long an orderly stop waits for the requests at QGS: QEMU gives up after 30 s, and kubelet
 * kills a container 30 s after SIGTERM. */
#define STOP_MS    25000
#define SUMMARY_MS 3600000

enum holder_state {
        HOLDER_STARTING,
        HOLDER_SERVING,
        HOLDER_HANDING_OVER, /* a successor has asked for the sockets */
        HOLDER_SUCCEEDED     /* it serves; this relay ends what it has, and waits for its SIGTERM */
};

struct holder {
        struct holder_options options;
        uv_loop_t loop;
        uv_signal_t term, interrupt;
        uint64_t begin_ns;
        enum holder_state state;
        bool is_stopping;

        struct listeners *listeners;
        struct supervisor *supervisor;
        struct tickets *tickets;
        struct control *control;
        struct succession *succession;
        struct reports *reports;
        bool has_configuration;
        struct relay_configuration configuration;

        struct timer *stop;
        struct share share;
        unsigned n_threads_told;
        uint32_t n_remaining_told;
        struct worker_state worker; /* the last one told */
};

static void stop_if_over(struct holder *holder);

/* ---- what the worker may do ---- */

static void tell(struct holder *holder, const struct worker_message *message)
{
        supervisor_send(holder->supervisor, message, -1);
}

static bool is_accepting(const struct holder *holder)
{
        return holder->state <= HOLDER_SERVING && !holder->is_stopping;
}

static void tell_remaining(struct holder *holder)
{
        struct client *successor = control_successor(holder->control);
        struct relay_message message = { .kind = RELAY_REMAINING,
                                         .count = share_remaining(&holder->share) };

        if (!successor || message.count == holder->n_remaining_told)
                return;
        holder->n_remaining_told = message.count;
        control_send(successor, &message, -1);
}

/* Less for the worker is said before more for the successor. */
static void share_threads(struct holder *holder)
{
        unsigned n;

        holder->share.n_orphans = tickets_count_orphans(holder->tickets);
        holder->share.n_at_qgs = tickets_count(holder->tickets);
        n = share_of_worker(&holder->share);
        if (n != holder->n_threads_told) {
                holder->n_threads_told = n;
                tell(holder, &(struct worker_message){ .kind = WORKER_THREADS, .count = n });
        }
        tell_remaining(holder);
        stop_if_over(holder);
}

static void on_fewer_tickets(void *owner)
{
        share_threads(owner);
}

static void send_listener(struct holder *holder, const struct listener *listener)
{
        struct worker_message message = { .kind = WORKER_LISTEN,
                                          .listener = { .id = listener->id, .td = listener->td } };
        int fd = fcntl(listener->fd, F_DUPFD_CLOEXEC, 0);

        if (fd < 0)
                log_error("VMs of a TD cannot be served", log_str("socket", listener->name),
                          log_int("device", listener->td.device),
                          log_str("reason", strerror(errno)));
        else
                supervisor_send(holder->supervisor, &message, fd);
}

static void on_listener_added(void *owner, const struct listener *listener)
{
        send_listener(owner, listener);
}

static void tell_accepting(struct holder *holder)
{
        holder->share.is_state_known = false;
        tell(holder,
             &(struct worker_message){ .kind = WORKER_ACCEPTING, .flag = is_accepting(holder) });
}

static void on_worker_started(void *owner)
{
        struct holder *holder = owner;
        const struct listener *listener = NULL;

        tell(holder,
             &(struct worker_message){ .kind = WORKER_LIMITS, .limits = holder->options.limits });
        holder->n_threads_told = share_of_worker(&holder->share);
        tell(holder,
             &(struct worker_message){ .kind = WORKER_THREADS, .count = holder->n_threads_told });
        if (!is_accepting(holder))
                tell_accepting(holder);
        while ((listener = listeners_next(holder->listeners, listener)))
                send_listener(holder, listener);
        if (reports_is_qgs_wanted(holder->reports))
                tell(holder, &(struct worker_message){ .kind = WORKER_ASK });
}

static void on_worker_lost(void *owner)
{
        struct holder *holder = owner;

        tickets_orphan_all(holder->tickets);
        holder->worker = (struct worker_state){ 0 };
        /* Its VMs' connections ended with it. */
        holder->share.n_connections = 0;
        holder->share.is_state_known = true;
        share_threads(holder);
}

/* ---- what the worker says ---- */

static int connect_for(struct holder *holder, uint32_t ticket)
{
        int fd, r;

        /* The worker's own count may be a step behind. */
        if (tickets_count(holder->tickets) - tickets_count_orphans(holder->tickets) >=
            holder->n_threads_told)
                return -EBUSY;
        if (!holder->has_configuration)
                return -ENOENT;
        fd = qgs_connect_on_host(holder->options.root, holder->configuration.qgs_socket);
        if (fd < 0)
                return fd;
        r = fcntl(fd, F_DUPFD_CLOEXEC, 0);
        if (r < 0) {
                r = -errno;
                close(fd);
                return r;
        }
        supervisor_send(holder->supervisor,
                        &(struct worker_message){ .kind = WORKER_CONNECTED, .ticket = ticket }, r);
        return tickets_add(holder->tickets, ticket, fd);
}

static void take_connect(struct holder *holder, uint32_t ticket)
{
        int r = connect_for(holder, ticket);

        if (r == -EEXIST) {
                supervisor_kill(holder->supervisor, "it used a ticket twice");
                return;
        }
        if (r < 0)
                tell(holder, &(struct worker_message){
                                     .kind = WORKER_NOT_CONNECTED, .ticket = ticket, .cause = r });
        if (r < 0 && r != -EBUSY && holder->has_configuration)
                reports_take_failed_connect(holder->reports, r);
        share_threads(holder);
}

static void take_state(struct holder *holder, const struct worker_state *state)
{
        holder->worker = *state;
        holder->share.n_connections = state->n_connections;
        holder->share.is_state_known = true;
        share_threads(holder);
}

static void on_worker_message(void *owner, const struct worker_message *message)
{
        struct holder *holder = owner;

        if (message->kind == WORKER_CONNECT) {
                take_connect(holder, message->ticket);
        } else if (message->kind == WORKER_RELEASED) {
                if (tickets_release(holder->tickets, message->ticket) < 0)
                        supervisor_kill(holder->supervisor, "it released a ticket that it had not");
                share_threads(holder);
        } else if (message->kind == WORKER_OUTCOME) {
                reports_take_outcome(holder->reports, &message->outcome);
        } else if (message->kind == WORKER_QGS) {
                reports_take_qgs(holder->reports, &message->qgs);
        } else if (message->kind == WORKER_STATE) {
                take_state(holder, &message->state);
        }
}

/* ---- what the driver says ---- */

static void set_configuration(struct holder *holder,
                              const struct relay_configuration *configuration)
{
        holder->has_configuration = true;
        holder->configuration = *configuration;
        reports_set_qgs(holder->reports, configuration->qgs_socket);
}

static int configure(struct holder *holder, const struct relay_configuration *configuration,
                     struct error *err)
{
        struct error error = ERROR_NULL;
        bool is_new = !holder->has_configuration ||
                      !relay_configuration_is_equal(&holder->configuration, configuration);

        set_configuration(holder, configuration);
        if (is_new) {
                tell(holder, &(struct worker_message){ .kind = WORKER_ASK });
                log_info("configured", log_int("devices", configuration->n_devices),
                         log_str("qgs_socket", configuration->qgs_socket),
                         log_str("vm_name", configuration->vm_name));
                if (saved_write(listeners_directory_fd(holder->listeners), configuration, &error) <
                    0)
                        log_warn("cannot save the configuration; after a restart, VMs wait until "
                                 "the driver has connected",
                                 log_str("reason", error.text));
        }
        return listeners_bind_named(holder->listeners, configuration->n_devices,
                                    configuration->vm_name, err);
}

static void on_configure(void *owner, struct client *client,
                         const struct relay_configuration *configuration)
{
        struct holder *holder = owner;
        struct relay_message message = { .kind = RELAY_CONFIGURED,
                                         .configuration = *configuration };
        struct error error = ERROR_NULL;

        if (configure(holder, configuration, &error) < 0) {
                log_error("not every VM's socket could be bound", log_str("reason", error.text));
                message.kind = RELAY_REFUSED;
                (void)snprintf(message.text, sizeof(message.text), "%s", error.text);
        }
        control_send(client, &message, -1);
}

static void on_ask(void *owner)
{
        struct holder *holder = owner;

        reports_want_qgs(holder->reports);
        tell(holder, &(struct worker_message){ .kind = WORKER_ASK });
}

/* ---- the successor ---- */

static void on_succeed(void *owner, struct client *successor)
{
        struct holder *holder = owner;
        struct relay_message message = { .kind = RELAY_HANDOVER,
                                         .count = listeners_count(holder->listeners),
                                         .has_configuration = holder->has_configuration,
                                         .configuration = holder->configuration };
        const struct listener *listener = NULL;

        log_info("another relay takes over");
        holder->state = HOLDER_HANDING_OVER;
        holder->share.is_handing_over = true;
        holder->n_remaining_told = UINT32_MAX;
        tell_accepting(holder);
        share_threads(holder);
        control_send(successor, &message, -1);
        while ((listener = listeners_next(holder->listeners, listener))) {
                struct relay_message line = { .kind = RELAY_LISTENER,
                                              .listener = { .td = listener->td } };

                (void)snprintf(line.listener.name, sizeof(line.listener.name), "%s",
                               listener->name);
                control_send(successor, &line, listener->fd);
        }
}

static void on_serving(void *owner)
{
        struct holder *holder = owner;

        log_info("the other relay serves; ending what is under way here",
                 log_int("vm_connections", holder->worker.n_connections));
        holder->state = HOLDER_SUCCEEDED;
        control_yield(holder->control);
}

static bool is_served_by_another(const struct holder *holder)
{
        _cleanup_(free) char *path = xasprintf("%s/" RELAY_SOCKET, holder->options.directory);

        return socket_is_served(path);
}

static void on_successor_gone(void *owner)
{
        struct holder *holder = owner;
        struct error error = ERROR_NULL;
        bool has_served = holder->state == HOLDER_SUCCEEDED;

        if (holder->is_stopping)
                return;
        if (has_served && is_served_by_another(holder)) {
                log_info("a third relay has taken over");
                return;
        }
        log_warn("the other relay is gone; accepting VMs again");
        holder->state = HOLDER_SERVING;
        holder->share.is_handing_over = false;
        if (has_served && control_listen(holder->control, &error) < 0)
                log_error("the driver cannot reach this relay", log_str("reason", error.text));
        control_resume(holder->control);
        tell_accepting(holder);
        share_threads(holder);
}

/* ---- the predecessor ---- */

static void on_listener(void *owner, const struct relay_listener *listener, int fd)
{
        struct holder *holder = owner;

        listeners_adopt(holder->listeners, &listener->td, listener->name, fd);
}

static void on_quote(void *owner, const struct relay_quote *quote)
{
        const struct holder *holder = owner;

        reports_take_quote(holder->reports, quote);
}

static void on_snapshot(void *owner, const struct relay_snapshot *snapshot)
{
        const struct holder *holder = owner;

        outcomes_set(reports_outcomes(holder->reports), snapshot);
}

static void on_remaining(void *owner, uint32_t n)
{
        struct holder *holder = owner;

        holder->share.n_inherited = n;
        share_threads(holder);
}

/* Serve: first the VMs, whose sockets are bound, then the driver. */
static void begin(struct holder *holder, const char *how)
{
        struct error error = ERROR_NULL;

        holder->state = HOLDER_SERVING;
        if (holder->has_configuration &&
            listeners_bind_named(holder->listeners, holder->configuration.n_devices,
                                 holder->configuration.vm_name, &error) < 0)
                log_error("not every VM's socket could be bound", log_str("reason", error.text));
        log_info("serving VMs", log_str("sockets", how),
                 log_int("n", listeners_count(holder->listeners)),
                 log_int("ms", (int64_t)((uv_hrtime() - holder->begin_ns) / 1000000)));
        supervisor_start(holder->supervisor);
        if (control_listen(holder->control, &error) < 0)
                log_error("the driver cannot reach this relay", log_str("reason", error.text));
        succession_confirm(holder->succession);
}

static void on_taken(void *owner, const struct relay_configuration *configuration)
{
        struct holder *holder = owner;

        if (configuration)
                set_configuration(holder, configuration);
        begin(holder, "taken over");
}

static void on_alone(void *owner, const char *reason)
{
        struct holder *holder = owner;
        struct relay_configuration configuration;
        struct error error = ERROR_NULL;
        int r;

        if (reason)
                log_warn("the relay that runs does not hand over; binding its sockets again",
                         log_str("reason", reason));
        if (listeners_bind_found(holder->listeners, &error) < 0)
                log_error("not every VM's socket could be bound again",
                          log_str("reason", error.text));
        r = saved_read(listeners_directory_fd(holder->listeners), &configuration, &error);
        if (!r)
                set_configuration(holder, &configuration);
        else if (r != -ENOENT)
                log_warn("cannot read the last configuration; waiting for the driver",
                         log_str("reason", error.text));
        begin(holder, "bound");
}

static const struct succession_handlers succession_handlers = { .on_listener = on_listener,
                                                                .on_taken = on_taken,
                                                                .on_alone = on_alone,
                                                                .on_quote = on_quote,
                                                                .on_snapshot = on_snapshot,
                                                                .on_remaining = on_remaining };

/* ---- the end ---- */

static void on_stopped(void *owner)
{
        struct holder *holder = owner;

        uv_stop(&holder->loop);
}

static void finish(struct holder *holder)
{
        timer_stop(holder->stop);
        supervisor_stop(holder->supervisor);
}

static void stop_if_over(struct holder *holder)
{
        if (holder->is_stopping && timer_is_running(holder->stop) && holder->share.is_state_known &&
            !holder->worker.n_connections && !holder->worker.n_waiting &&
            !tickets_count(holder->tickets))
                finish(holder);
}

static void on_stop_late(void *owner)
{
        struct holder *holder = owner;

        log_warn("stopping although requests of VMs are under way",
                 log_int("vm_connections", holder->worker.n_connections),
                 log_int("at_qgs", tickets_count(holder->tickets)));
        finish(holder);
}

static void on_signal(uv_signal_t *signal, int number)
{
        struct holder *holder = signal->data;

        if (holder->is_stopping)
                return;
        log_info("stopping: ending the requests that are under way", log_int("signal", number));
        holder->is_stopping = true;
        if (holder->state == HOLDER_STARTING) {
                uv_stop(&holder->loop);
                return;
        }
        timer_start(holder->stop, STOP_MS);
        tell_accepting(holder);
}

/* ---- the process ---- */

/* Each VM's socket takes two descriptors while it is handed over. */
static void raise_descriptors(void)
{
        struct rlimit limit = { 0 };

        (void)getrlimit(RLIMIT_NOFILE, &limit); /* cannot fail */
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
                log_warn("cannot raise the limit of descriptors",
                         log_str("reason", strerror(errno)));
}

static void watch_signals(struct holder *holder)
{
        struct sigaction ignore = { .sa_handler = SIG_IGN };

        sigaction(SIGPIPE, &ignore, NULL);
        uv_signal_init(&holder->loop, &holder->term);
        uv_signal_init(&holder->loop, &holder->interrupt);
        holder->term.data = holder->interrupt.data = holder;
        uv_signal_start(&holder->term, on_signal, SIGTERM);
        uv_signal_start(&holder->interrupt, on_signal, SIGINT);
}

static void build(struct holder *holder)
{
        const struct control_options control = { .loop = &holder->loop,
                                                 .directory = holder->options.directory,
                                                 .outcomes = reports_outcomes(holder->reports),
                                                 .on_configure = on_configure,
                                                 .on_ask = on_ask,
                                                 .on_succeed = on_succeed,
                                                 .on_serving = on_serving,
                                                 .on_successor_gone = on_successor_gone,
                                                 .owner = holder };
        const struct supervisor_options supervisor = { .loop = &holder->loop,
                                                       .arguments =
                                                               holder->options.worker_arguments,
                                                       .worker_uid = holder->options.worker_uid,
                                                       .on_started = on_worker_started,
                                                       .on_message = on_worker_message,
                                                       .on_lost = on_worker_lost,
                                                       .on_stopped = on_stopped,
                                                       .owner = holder };

        holder->stop = timer_new(&holder->loop, on_stop_late, holder);
        holder->tickets = tickets_new(&holder->loop, on_fewer_tickets, holder);
        holder->control = control_new(&control);
        reports_set_control(holder->reports, holder->control);
        holder->supervisor = supervisor_new(&supervisor);
        holder->succession = succession_new(&holder->loop, holder->options.directory,
                                            listeners_directory_fd(holder->listeners),
                                            &succession_handlers, holder);
        holder->share.n_threads = holder->options.n_threads;
}

/* Whoever asks again gets the same orderly end: a closed handle leaves the default action behind.
 */
static void block_signals(void)
{
        sigset_t both;

        sigemptyset(&both);
        sigaddset(&both, SIGTERM);
        sigaddset(&both, SIGINT);
        (void)sigprocmask(SIG_BLOCK, &both, NULL);
}

static void tear_down(struct holder *holder)
{
        block_signals();
        succession_free(holder->succession);
        control_free(holder->control);
        supervisor_free(holder->supervisor);
        tickets_free(holder->tickets);
        timer_free(holder->stop);
        reports_free(holder->reports);
        uv_close((uv_handle_t *)&holder->term, NULL);
        uv_close((uv_handle_t *)&holder->interrupt, NULL);
        (void)uv_run(&holder->loop, UV_RUN_DEFAULT);
}

int holder_run(const struct holder_options *options, struct error *err)
{
        struct holder holder = { .options = *options, .begin_ns = uv_hrtime() };
        int r;

        r = listeners_new(options->directory, on_listener_added, &holder, &holder.listeners, err);
        if (r < 0)
                return r;
        uv_loop_init(&holder.loop);
        raise_descriptors();
        watch_signals(&holder);
        holder.reports = reports_new(&holder.loop);
        build(&holder);
        succession_start(holder.succession);
        (void)uv_run(&holder.loop, UV_RUN_DEFAULT);
        tear_down(&holder);
        listeners_free(holder.listeners);
        (void)uv_loop_close(&holder.loop);
        return 0;
}
