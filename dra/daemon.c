/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon.h"

#include "admin/status.h"
#include "attestation.h"
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/timer.h"
#include "capacity.h"
#include "claims/registration.h"
#include "claims/service.h"
#include "claims/sockets.h"
#include "config.h"
#include "device.h"
#include "host/dirwatch.h"
#include "host/kubelet.h"
#include "host/module.h"
#include "instance.h"
#include "kube/api.h"
#include "kube/credentials.h"
#include "kube/event.h"
#include "kube/http.h"
#include "measuring.h"
#include "node.h"
#include "offer/device_health.h"
#include "offer/inventory.h"
#include "offer/publisher.h"
#include "quotes.h"
#include "rpc/pump.h"
#include "rpc/server.h"
#include "signals.h"
#include "surroundings.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <uv.h>

#define STOP_GRACE_MS 2000
#define SETTLE_MS     20 /* delay between a change in a directory and the look at it */

struct daemon {
        const struct config *config;
        uv_loop_t loop;

        /* Facts of the host. */
        struct capacity total;
        struct measuring measuring;
        struct module module;
        struct attestation *attestation;
        struct quotes *quotes; /* NULL: --qgs=direct */

        struct node *node;
        struct error state_error; /* why there is no state directory; logged last */

        /* kubelet. */
        struct rpc_pump *pump;
        struct rpc_server *server;
        struct kubelet *kubelet;
        struct surroundings *surroundings;
        struct sockets *sockets; /* NULL: the DRA path is off */
        struct registration registration;
        struct claims_service claims_service;
        struct device_health *health;

        /* API server; all NULL if none is configured. */
        struct kube_credentials credentials;
        struct http *http;
        struct kube_api *api;
        struct kube_events *events;
        struct publisher *publisher;

        struct status *status; /* NULL: no --listen */
        struct instance *instance;
        struct dirwatch *watches[4]; /* registry, state, CDI, podresources */
        struct timer *housekeeping;
        struct timer *settling;
        struct timer *ending; /* checks whether all is idle, once the server has stopped */
        struct signals *signals;
        bool is_active; /* we hold the node's lock */
        bool is_stopping;
        struct error *err; /* daemon_run()'s */
        int result;
};

static void stop(struct daemon *daemon);
static void finish_when_idle(void *owner);

/* ---- between the node, the facts and the offers ---- */

static void on_offer(void *owner, const struct inventory *inventory, bool is_schedulable,
                     const char *words)
{
        struct daemon *daemon = owner;

        if (daemon->publisher)
                publisher_set(daemon->publisher, inventory);
        if (inventory->terms.is_known)
                device_health_set(daemon->health, inventory->devices, inventory->n_devices,
                                  is_schedulable, words);
}

static void on_event(void *owner, bool is_warning, const char *reason, const char *text)
{
        struct daemon *daemon = owner;

        if (daemon->events)
                kube_events_post(daemon->events, is_warning, reason, text);
}

static void on_taints_dropped(void *owner)
{
        struct daemon *daemon = owner;

        node_taints_dropped(daemon->node);
}

/* The settings or the verdict on QGS changed, or are known for the first time. */
static void on_attestation_changed(void *owner)
{
        struct daemon *daemon = owner;
        struct attestation_facts facts;

        attestation_facts(daemon->attestation, &facts);
        node_set_attestation(daemon->node, &facts);
}

static bool find_holder(void *owner, const struct relay_td *td, struct tenant *ret)
{
        const struct daemon *daemon = owner;

        /* Without the lock another instance logs it. */
        return daemon->instance && node_find_holder(daemon->node, td, ret);
}

static void on_quote(void *owner, const struct relay_message *message)
{
        struct daemon *daemon = owner;

        quotes_take(daemon->quotes, message);
}

/* Linux 7.2 can update the TDX module at run time, so its version is read again and again. */
static void read_module(struct daemon *daemon)
{
        enum module_news news = module_read(&daemon->module);

        if (news == MODULE_SAME)
                return;
        if (news == MODULE_CHANGED)
                log_info("TDX module", log_str("version", daemon->module.version));
        else
                log_warn("cannot read the TDX module's version any more, no longer publishing it. "
                         "If a module update failed, TDX is lost until the host reboots: see dmesg "
                         "for virt/tdx",
                         log_str("file", daemon->module.file));
        node_set_module_version(daemon->node, daemon->module.version);
}

/* With --capacity the host may run more TDs than we were given, and that is not a misreading. */
static const struct misc_tree *read_running(void *owner, uint64_t *ret_now_ms)
{
        struct daemon *daemon = owner;
        uint64_t limit = daemon->config->capacity < 0 ? daemon->total.n_host : DEVICE_INDEX_MAX;

        *ret_now_ms = uv_now(&daemon->loop);
        return limit ? measuring_read(&daemon->measuring, limit) : NULL;
}

static void read_capacity(struct daemon *daemon)
{
        read_module(daemon);
        if (capacity_read(&daemon->total)) {
                /* First the mounts, then who may have them. */
                attestation_set_devices(daemon->attestation, daemon->total.tds);
                node_set_total(daemon->node, daemon->total.tds);
        }
        node_measure(daemon->node);
}

/* ---- kubelet ---- */

static void on_registration_status(void *owner, bool is_registered, const char *reason)
{
        struct daemon *daemon = owner;

        if (daemon->sockets)
                sockets_set_registered(daemon->sockets, is_registered);
        if (!is_registered) {
                log_error("kubelet refused to register this driver", log_str("reason", reason));
                return;
        }
        log_info("registered with kubelet");
        /* kubelet deletes the node's slices each time it starts, and our list may be older than
         * that. */
        if (daemon->publisher)
                publisher_resync(daemon->publisher);
}

static uint64_t age_of_kubelet_ms(void *owner)
{
        struct daemon *daemon = owner;

        return kubelet_age_ms(daemon->kubelet, uv_now(&daemon->loop));
}

/* ---- becoming the node's active instance ---- */

static void on_node(void *owner, const char *uid, const char *runtime)
{
        struct daemon *daemon = owner;

        kube_events_set_node_uid(daemon->events, uid);
        node_set_runtime(daemon->node, runtime);
}

/* Killed instances leave sockets behind, and kubelet would keep dialling them. */
static void sweep_sockets(struct daemon *daemon)
{
        struct error error = ERROR_NULL;

        if (instance_sweep_sockets(daemon->config, &error) < 0)
                log_warn("cannot clean up stale sockets", log_str("reason", error.text));
}

static void fail(struct daemon *daemon, int result)
{
        daemon->result = result;
        stop(daemon);
}

static int listen_on_all(struct daemon *daemon)
{
        return daemon->sockets ? sockets_listen(daemon->sockets, daemon->err) : 0;
}

static void on_lock(void *owner)
{
        struct daemon *daemon = owner;
        int r;

        if (daemon->is_stopping)
                return;
        log_info("active: this instance now serves the node");
        read_capacity(daemon);
        r = node_activate(daemon->node, daemon->err);
        if (!r) {
                daemon->is_active = true;
                sweep_sockets(daemon);
                r = listen_on_all(daemon);
        }
        if (r < 0)
                fail(daemon, r);
}

/* ---- the clock ---- */

/* Losing the state directory is not fatal, because its contents are in memory: stop only if another
 * instance is active by now. 0 or -EBUSY. */
static int keep_lock(struct daemon *daemon)
{
        struct error error = ERROR_NULL;
        int r;

        if (!daemon->is_active)
                return 0;
        r = instance_check(daemon->instance, &error);
        if (r == -EBUSY) {
                *daemon->err = error;
                return r;
        }
        if (error.code && strcmp(error.text, daemon->state_error.text) != 0)
                log_error("the state directory is gone and cannot be recreated, trying again at "
                          "each poll",
                          log_str("reason", error.text));
        daemon->state_error = error;
        return 0;
}

/* Check the directories and the surroundings. False: this instance stops. */
static bool look_around(struct daemon *daemon)
{
        int r;

        for (size_t i = 0; i < array_size(daemon->watches); ++i)
                if (daemon->watches[i])
                        dirwatch_check(daemon->watches[i]);
        surroundings_look(daemon->surroundings, uv_now(&daemon->loop));
        r = keep_lock(daemon);
        if (r < 0) {
                fail(daemon, r);
                return false;
        }
        if (daemon->sockets && (daemon->is_active || daemon->config->pod_uid))
                sockets_keep(daemon->sockets);
        return !daemon->is_stopping;
}

static void on_settled(void *owner)
{
        struct daemon *daemon = owner;

        if (look_around(daemon))
                node_look(daemon->node);
}

/* Other processes may write to these directories often: look at most once per SETTLE_MS. */
static void on_directory_changed(void *owner)
{
        struct daemon *daemon = owner;

        if (!daemon->is_stopping && !timer_is_running(daemon->settling))
                timer_start(daemon->settling, SETTLE_MS);
}

static void on_housekeeping(void *owner)
{
        struct daemon *daemon = owner;

        if (!look_around(daemon) || !daemon->is_active)
                return;
        node_check(daemon->node);
        read_capacity(daemon);
}

/* ---- start ---- */

static int set_up_kube(struct daemon *daemon, struct error *err)
{
        const struct config *config = daemon->config;
        const struct kube_credentials_options options = { .api_server = config->api_server,
                                                          .ca_file = config->ca_file,
                                                          .token_file = config->token_file,
                                                          .client_cert = config->client_cert,
                                                          .client_key = config->client_key };
        struct publisher_options publisher_options;
        int r;

        r = kube_credentials_resolve(&options, &daemon->credentials, err);
        if (r == KUBE_CREDENTIALS_NONE) {
                log_warn("not running in a pod and no --api-server given: nothing is published, "
                         "and no claim can be prepared");
                return 0;
        }
        if (!r)
                r = http_new(&daemon->loop, &daemon->credentials, &daemon->http, err);
        if (r < 0)
                return r;
        daemon->api = kube_api_new(daemon->http);
        daemon->events = kube_events_new(&daemon->loop, daemon->api, config->node_name);
        publisher_options = (struct publisher_options){ .loop = &daemon->loop,
                                                        .api = daemon->api,
                                                        .node_name = config->node_name,
                                                        .on_node = on_node,
                                                        .on_taints_dropped = on_taints_dropped,
                                                        .on_event = on_event,
                                                        .owner = daemon };
        if (config->serves_dra)
                daemon->publisher = publisher_new(&publisher_options);
        return 0;
}

static void set_up_rpc(struct daemon *daemon)
{
        const struct config *config = daemon->config;

        daemon->registration = (struct registration){ .endpoint = config->dra_socket,
                                                      .on_status = on_registration_status,
                                                      .owner = daemon };
        daemon->pump = rpc_pump_start(&daemon->loop);
        daemon->server = rpc_server_new(&daemon->loop, daemon->pump);
        rpc_server_add_service(daemon->server, registration_methods, registration_n_methods,
                               &daemon->registration);
        rpc_server_add_service(daemon->server, claims_service_methods, claims_service_n_methods,
                               &daemon->claims_service);
        if (config->serves_dra)
                daemon->sockets =
                        sockets_new(&daemon->loop, config, daemon->kubelet, daemon->server);
}

static void set_up_node(struct daemon *daemon)
{
        const struct node_options options = { .loop = &daemon->loop,
                                              .config = daemon->config,
                                              .api = daemon->api,
                                              .pump = daemon->pump,
                                              .server = daemon->server,
                                              .kubelet_age_ms = age_of_kubelet_ms,
                                              .read_running = read_running,
                                              .on_offer = on_offer,
                                              .on_event = on_event,
                                              .owner = daemon };

        daemon->node = node_new(&options);
        daemon->claims_service = (struct claims_service){ .prepare = node_prepare(daemon->node) };
}

static void set_up_attestation(struct daemon *daemon)
{
        const struct config *config = daemon->config;
        const struct attestation_options options = { .loop = &daemon->loop,
                                                     .config = config,
                                                     .api = daemon->api,
                                                     .on_changed = on_attestation_changed,
                                                     .on_quote = on_quote,
                                                     .on_event = on_event,
                                                     .owner = daemon };
        const struct quotes_options quotes_options = {
                .loop = &daemon->loop, .config = config, .find_holder = find_holder, .owner = daemon
        };
        const struct device_health_options device_health_options = { .loop = &daemon->loop,
                                                                     .server = daemon->server,
                                                                     .pool = config->node_name };

        if (config->is_relaying)
                daemon->quotes = quotes_new(&quotes_options);
        daemon->attestation = attestation_new(&options);
        daemon->health = device_health_new(&device_health_options);
        on_attestation_changed(daemon);
}

static int set_up_status(struct daemon *daemon, struct error *err)
{
        const struct status_options options = { .loop = &daemon->loop,
                                                .config = daemon->config,
                                                .node = daemon->node,
                                                .measuring = &daemon->measuring,
                                                .attestation = daemon->attestation,
                                                .quotes = daemon->quotes,
                                                .claims_service = &daemon->claims_service,
                                                .sockets = daemon->sockets,
                                                .surroundings = daemon->surroundings,
                                                .publisher = daemon->publisher,
                                                .api = daemon->api };

        return daemon->config->listen ? status_start(&options, &daemon->status, err) : 0;
}

static void set_up_watches(struct daemon *daemon)
{
        const struct config *config = daemon->config;
        _cleanup_(free) char *registry = file_directory_of(config->registration_socket);

        daemon->watches[0] = dirwatch_new(&daemon->loop, registry, on_directory_changed, daemon);
        daemon->watches[1] =
                dirwatch_new(&daemon->loop, config->state_dir, on_directory_changed, daemon);
        daemon->watches[2] =
                dirwatch_new(&daemon->loop, config->cdi_dir, on_directory_changed, daemon);
        daemon->watches[3] =
                dirwatch_new(&daemon->loop, kubelet_podresources_directory(daemon->kubelet),
                             on_directory_changed, daemon);
}

static void on_stop_signal(void *owner, int number)
{
        struct daemon *daemon = owner;

        if (!daemon->is_stopping)
                log_info("stopping", log_str("signal", strsignal(number)));
        stop(daemon);
}

/* What inotify, watches and timers look at by themselves, all of it now. */
static void on_look_signal(void *owner)
{
        struct daemon *daemon = owner;

        if (daemon->is_stopping)
                return;
        log_info("looking at everything again", log_str("signal", strsignal(SIGHUP)));
        attestation_look(daemon->attestation);
        if (daemon->publisher)
                publisher_resync(daemon->publisher);
        on_housekeeping(daemon);
}

static void set_up_signals(struct daemon *daemon)
{
        const struct signals_options options = { .loop = &daemon->loop,
                                                 .on_stop = on_stop_signal,
                                                 .on_look = on_look_signal,
                                                 .owner = daemon };

        daemon->signals = signals_new(&options);
}

static int set_up(struct daemon *daemon, struct error *err)
{
        const struct config *config = daemon->config;
        int r;

        daemon->surroundings = surroundings_new(config);
        daemon->kubelet = kubelet_new(config->kubelet_dir, config->device_plugin_dir);
        set_up_signals(daemon);
        daemon->housekeeping = timer_new(&daemon->loop, on_housekeeping, daemon);
        daemon->settling = timer_new(&daemon->loop, on_settled, daemon);
        daemon->ending = timer_new(&daemon->loop, finish_when_idle, daemon);
        set_up_rpc(daemon);
        set_up_node(daemon);
        set_up_attestation(daemon);
        r = set_up_status(daemon, err);
        rpc_server_start(daemon->server);
        if (!r)
                r = instance_start(&daemon->loop, config, on_lock, daemon, &daemon->instance, err);
        if (r < 0)
                return r;
        if (r == INSTANCE_STANDBY) {
                log_info(config->pod_uid ? "standing by: another instance serves this node; "
                                           "kubelet's calls wait until it has left"
                                         : "another instance serves this node, waiting for it to "
                                           "leave (with --pod-uid this one could listen already)");
                /* Without a pod UID both instances have the same socket names. */
                if (config->pod_uid)
                        r = listen_on_all(daemon);
        } else {
                on_lock(daemon);
                r = daemon->result;
        }
        if (r < 0)
                return r;
        set_up_watches(daemon);
        timer_start_repeating(daemon->housekeeping, config->poll_interval_ms,
                              config->poll_interval_ms);
        return 0;
}

/* ---- stop: first what kubelet sees, the lock last, but before gRPC's slow end ---- */

static void on_pump_stopped(void *owner)
{
        struct daemon *daemon = owner;

        daemon->pump = NULL;
        node_free(daemon->node);
        attestation_free(daemon->attestation);
        quotes_free(daemon->quotes);
        device_health_free(daemon->health);
}

/* The server has stopped, so no request is left; wait for the last writes. */
static void finish_when_idle(void *owner)
{
        struct daemon *daemon = owner;

        if (daemon->server || !node_is_idle(daemon->node))
                return;
        instance_free(take_ptr(daemon->instance));
        signals_free(daemon->signals);
        kube_events_free(daemon->events);
        kube_api_free(daemon->api);
        http_free(daemon->http);
        timer_free(daemon->housekeeping);
        timer_free(daemon->settling);
        timer_free(daemon->ending);
        rpc_pump_stop(daemon->pump, on_pump_stopped, daemon);
}

static void on_server_stopped(void *owner)
{
        struct daemon *daemon = owner;

        daemon->server = NULL;
        timer_start_repeating(daemon->ending, 0, 5);
}

static void stop(struct daemon *daemon)
{
        if (daemon->is_stopping)
                return;
        daemon->is_stopping = true;
        status_stop(take_ptr(daemon->status));
        sockets_free(take_ptr(daemon->sockets));
        timer_stop(daemon->housekeeping);
        timer_stop(daemon->settling);
        for (size_t i = 0; i < array_size(daemon->watches); ++i)
                dirwatch_free(daemon->watches[i]);
        publisher_free(take_ptr(daemon->publisher));
        node_stop(daemon->node);
        attestation_stop(daemon->attestation);
        device_health_stop(daemon->health);
        rpc_server_stop(daemon->server, STOP_GRACE_MS, on_server_stopped, daemon);
}

int daemon_run(const struct config *config, struct error *err)
{
        struct daemon *daemon = xcalloc(1, sizeof(*daemon));
        int r;

        daemon->config = config;
        daemon->err = err;
        capacity_init(&daemon->total, config);
        daemon->measuring = (struct measuring){ .cgroup_root = config->cgroup_root,
                                                .on_event = on_event,
                                                .owner = daemon };
        daemon->module.file = MODULE_VERSION_FILE;
        r = uv_loop_init(&daemon->loop);
        if (r < 0) {
                free(daemon);
                return error_errno(err, r, "cannot set up the event loop");
        }
        r = set_up_kube(daemon, err);
        if (!r) {
                r = set_up(daemon, err);
                if (r < 0)
                        fail(daemon, r);
                uv_run(&daemon->loop, UV_RUN_DEFAULT);
                r = daemon->result;
                /* Not even a socket can be made there: end, and be started again. */
                if (r == -EROFS)
                        error_prefix(err, "kubelet's directory is on a read-only disk, and no "
                                          "claim can be prepared or unprepared until it is "
                                          "writable; dmesg says why it is not");
        }
        kube_credentials_deinit(&daemon->credentials);
        kubelet_free(daemon->kubelet);
        surroundings_free(daemon->surroundings);
        module_deinit(&daemon->module);
        measuring_deinit(&daemon->measuring);
        uv_loop_close(&daemon->loop);
        free(daemon);
        return r;
}
