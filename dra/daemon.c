/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon.h"

#include "admin/status.h"
#include "attestation.h"
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "capacity.h"
#include "cdi/spec.h"
#include "cdi/store.h"
#include "claims/prepare.h"
#include "claims/reconcile.h"
#include "claims/records.h"
#include "claims/registration.h"
#include "claims/service.h"
#include "claims/sockets.h"
#include "config.h"
#include "host/boot.h"
#include "host/dirwatch.h"
#include "host/module.h"
#include "host/socketage.h"
#include "instance.h"
#include "kube/api.h"
#include "kube/credentials.h"
#include "kube/event.h"
#include "kube/http.h"
#include "ledger.h"
#include "offer/device_health.h"
#include "offer/inventory.h"
#include "offer/publisher.h"
#include "plugin/plugin.h"
#include "rpc/listener.h"
#include "rpc/pump.h"
#include "rpc/server.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <uv.h>

#define STOP_GRACE_MS 2000
#define SETTLE_MS     20 /* from a change in a directory to the look at it */

struct daemon {
        const struct config *config;
        uv_loop_t loop;

        /* What the host says. */
        struct capacity total;
        char *module_version; /* NULL: not known */
        struct attestation *attestation;
        bool was_schedulable;

        /* What we hold and offer. */
        struct ledger *ledger;
        struct records *records;
        struct cdi_store *cdi;
        struct prepare *prepare;
        struct reconcile *reconcile;
        struct error cdi_error;
        struct error state_error; /* why there is no state directory */

        /* kubelet. */
        struct rpc_pump *pump;
        struct rpc_server *server;
        struct socket_age kubelet_age;
        struct sockets *sockets; /* NULL: the DRA path is off */
        struct registration registration;
        struct claims_service claims_service;
        struct device_health *health;
        struct plugin *plugin;

        /* API server; all NULL where none is configured. */
        struct kube_credentials credentials;
        struct http *http;
        struct kube_api *api;
        struct kube_events *events;
        struct publisher *publisher;
        bool are_taints_dropped; /* by this server, which serves DRA without them */

        struct status *status; /* NULL: nobody listens */
        struct instance *instance;
        struct dirwatch *watches[3]; /* registry, state, CDI */
        uv_timer_t housekeeping;
        uv_timer_t settling;
        uv_signal_t signals[2];
        bool is_active; /* we hold the node's lock */
        bool is_stopping;
        struct error *err; /* daemon_run()'s */
        int result;
};

static void stop(struct daemon *daemon);

/* ---- offers ---- */

/* Before it is known what plugin devices hold nothing is offered, and nothing admitted. */
static bool is_total_in_force(const struct daemon *daemon)
{
        return daemon->total.is_known && plugin_is_known(daemon->plugin);
}

/* The one place where facts become offers: whatever has changed, it is called. */
static void publish(struct daemon *daemon)
{
        struct attestation *attestation = daemon->attestation;
        bool is_schedulable = attestation_is_schedulable(attestation, ATTESTATION_CDI);
        const struct inventory_terms terms = {
                .is_known = is_total_in_force(daemon) && attestation_is_known(attestation),
                .is_attesting = attestation_works(attestation, ATTESTATION_CDI),
                .taint = is_schedulable ? NULL : qgs_state_name(attestation_state(attestation)),
                .is_withdrawing = daemon->are_taints_dropped,
                .module_version = daemon->module_version,
        };
        struct inventory inventory = INVENTORY_NULL;

        if (!daemon->config->serves_dra || daemon->is_stopping)
                return;
        inventory_compute(daemon->ledger, &terms, &inventory);
        if (daemon->publisher)
                publisher_set(daemon->publisher, &inventory);
        if (terms.is_known)
                device_health_set(daemon->health, inventory.devices, inventory.n_devices,
                                  is_schedulable,
                                  attestation_describe(attestation, ATTESTATION_CDI));
        inventory_deinit(&inventory);
}

static void on_taints_dropped(void *owner)
{
        struct daemon *daemon = owner;

        if (daemon->are_taints_dropped)
                return;
        log_warn(
                "this API server keeps no device taints (its feature DRADeviceTaints is off): free "
                "devices are withdrawn instead");
        daemon->are_taints_dropped = true;
        publish(daemon);
}

static void on_held_changed(void *owner)
{
        struct daemon *daemon = owner;

        plugin_update(daemon->plugin);
        publish(daemon);
}

static void warn_once(struct error *known, const struct error *now, const char *message)
{
        if (strcmp(known->text, now->text) == 0)
                return;
        *known = *now;
        if (now->code)
                log_error(message, log_str("reason", now->text));
}

/* A device for every TD there is, and for every one that is still held from when there were more.
 */
static void write_cdi_spec(struct daemon *daemon)
{
        static const char *const prefixes[] = { PREPARE_CDI_PREFIX, PLUGIN_SERVICE_CDI_PREFIX };
        __attribute__((cleanup(cleanup_free))) char *bytes = NULL;
        unsigned n_devices = ledger_total(daemon->ledger);
        struct error error = ERROR_NULL;
        struct cdi_spec spec;
        size_t n;

        for (const struct ledger_claim *claim = ledger_next(daemon->ledger, NULL); claim;
             claim = ledger_next(daemon->ledger, claim))
                for (size_t i = 0; i < claim->n_devices; ++i)
                        if (claim->devices[i].slot != LEDGER_NO_SLOT &&
                            claim->devices[i].slot >= n_devices)
                                n_devices = claim->devices[i].slot + 1;
        spec = (struct cdi_spec){ .prefixes = prefixes,
                                  .n_prefixes = daemon->config->is_injecting_cdi ? 2 : 1,
                                  .n_devices = n_devices,
                                  .mount = { attestation_host_directory(daemon->attestation),
                                             attestation_vm_directory(daemon->attestation) },
                                  .group = attestation_group(daemon->attestation) };
        bytes = cdi_spec_build(&spec, &n);
        (void)cdi_store_set(daemon->cdi, bytes, n, &error);
        warn_once(&daemon->cdi_error, &error, "VMs cannot be given their devices");
}

static void verify_cdi_spec(struct daemon *daemon)
{
        struct error error = ERROR_NULL;

        if (cdi_store_verify(daemon->cdi, &error) == CDI_STORE_WRITTEN)
                log_warn("the CDI spec was missing or changed, restored",
                         log_str("directory", daemon->config->cdi_dir));
        if (!error.code)
                (void)cdi_ensure_mount_source(attestation_seen_directory(daemon->attestation),
                                              &error);
        warn_once(&daemon->cdi_error, &error, "VMs cannot be given their devices");
}

/* ---- attestation ---- */

static enum attestation_means plugin_means(const struct daemon *daemon)
{
        return daemon->config->is_injecting_cdi ? ATTESTATION_CDI : ATTESTATION_MOUNTS;
}

static void tell_schedulability(struct daemon *daemon)
{
        struct attestation *attestation = daemon->attestation;
        bool is_schedulable = attestation_is_schedulable(attestation, ATTESTATION_CDI);

        if (is_schedulable == daemon->was_schedulable || !attestation_is_known(attestation))
                return;
        daemon->was_schedulable = is_schedulable;
        if (is_schedulable)
                daemon->are_taints_dropped =
                        false; /* the server may have learnt about them since */
        if (daemon->events)
                kube_events_post(daemon->events, !is_schedulable,
                                 is_schedulable ? "TDXSchedulable" : "TDXNotSchedulable",
                                 attestation_describe(attestation, ATTESTATION_CDI));
}

/* The settings or the verdict on QGS have changed, or are known for the first time. */
static void on_attestation_changed(void *owner)
{
        struct daemon *daemon = owner;
        struct attestation *attestation = daemon->attestation;
        const char *host_directory = attestation_host_directory(attestation);

        if (daemon->is_stopping)
                return;
        prepare_set_mount_source(daemon->prepare, attestation_seen_directory(attestation));
        plugin_set_mount(daemon->plugin, host_directory, attestation_vm_directory(attestation));
        plugin_close(daemon->plugin,
                     !attestation_is_known(attestation) ||
                             !attestation_is_schedulable(attestation, plugin_means(daemon)));
        if (!daemon->is_active)
                return;
        write_cdi_spec(daemon);
        verify_cdi_spec(daemon);
        tell_schedulability(daemon);
        publish(daemon);
}

/* ---- capacity ---- */

static void put_total_in_force(struct daemon *daemon)
{
        if (!is_total_in_force(daemon))
                return;
        ledger_set_total(daemon->ledger, daemon->total.tds);
        plugin_update(daemon->plugin);
        write_cdi_spec(daemon);
        prepare_retry_waiting(daemon->prepare);
        publish(daemon);
}

/* What plugin devices hold has changed, or is known for the first time. */
static void on_plugin_held_changed(void *owner)
{
        struct daemon *daemon = owner;

        if (!ledger_is_total_known(daemon->ledger) ||
            ledger_total(daemon->ledger) != daemon->total.tds)
                put_total_in_force(daemon);
        prepare_retry_waiting(daemon->prepare);
        publish(daemon);
}

static void read_capacity(struct daemon *daemon)
{
        if (capacity_read(&daemon->total))
                put_total_in_force(daemon);
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
        /* Every start of kubelet deletes the node's slices, and the list may be older than that. */
        if (daemon->publisher)
                publisher_resync(daemon->publisher);
}

/* 0: it is not there; its sockets stay behind when it dies. */
static uint64_t kubelet_age_ms(void *owner)
{
        struct daemon *daemon = owner;
        __attribute__((cleanup(cleanup_free))) char *path =
                xasprintf("%s/pod-resources/kubelet.sock", daemon->config->kubelet_dir);

        return rpc_listener_is_served(path)
                       ? socket_age_ms(&daemon->kubelet_age, path, uv_now(&daemon->loop))
                       : 0;
}

/* ---- becoming the node's active instance ---- */

static void on_node_uid(void *owner, const char *uid)
{
        struct daemon *daemon = owner;

        kube_events_set_node_uid(daemon->events, uid);
}

static void on_damaged(void *owner, const char *uid, const struct error *reason)
{
        struct daemon *daemon = owner;

        log_error("the record of a claim is not readable; the claim stays held until kubelet "
                  "prepares "
                  "or unprepares it, or until the next reboot",
                  log_str("uid", uid), log_str("reason", reason->text));
        if (daemon->events)
                kube_events_post(daemon->events, true, "TDXCheckpointDamaged", reason->text);
}

/* Sockets that killed instances left behind; kubelet would keep dialling them. */
static void sweep_sockets(struct daemon *daemon)
{
        struct error error = ERROR_NULL;

        if (instance_sweep_sockets(daemon->config, &error) < 0)
                log_warn("old sockets cannot be looked for", log_str("reason", error.text));
}

static int activate(struct daemon *daemon, struct error *err)
{
        const struct config *config = daemon->config;
        char boot_id[BOOT_ID_SIZE];
        int r;

        r = records_open(&daemon->loop, config->state_dir, config->is_durable, &daemon->records,
                         err);
        if (!r)
                r = records_load(daemon->records, daemon->ledger, on_damaged, daemon, err);
        if (!r)
                r = boot_id_read(NULL, boot_id, err);
        if (r < 0)
                return r;
        if (ledger_n_claims(daemon->ledger))
                log_info("claims held from before",
                         log_int("claims", (int64_t)ledger_n_claims(daemon->ledger)),
                         log_int("tds", ledger_held(daemon->ledger)));
        daemon->is_active = true;
        daemon->was_schedulable = true;
        on_attestation_changed(daemon);
        plugin_start(daemon->plugin);
        read_capacity(daemon);
        prepare_activate(daemon->prepare, daemon->records, boot_id);
        sweep_sockets(daemon);
        if (daemon->api)
                daemon->reconcile =
                        reconcile_start(&daemon->loop, daemon->api, daemon->ledger, daemon->prepare,
                                        boot_id, RECONCILE_AFTER_MS, kubelet_age_ms, daemon);
        publish(daemon);
        return 0;
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
        r = activate(daemon, daemon->err);
        if (!r)
                r = listen_on_all(daemon);
        if (r < 0)
                fail(daemon, r);
}

/* ---- the clock ---- */

/* Whoever takes our state directory away does not take what it said: that is in memory still. Only
 * another instance that is active by now ends this one. */
static int keep_state(struct daemon *daemon)
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
        warn_once(&daemon->state_error, &error,
                  "the state directory is gone and cannot be made again, trying at each poll");
        prepare_keep_records(daemon->prepare);
        return 0;
}

static void look_around(struct daemon *daemon)
{
        int r;

        for (size_t i = 0; i < array_size(daemon->watches); ++i)
                if (daemon->watches[i])
                        dirwatch_check(daemon->watches[i]);
        r = keep_state(daemon);
        if (r < 0) {
                fail(daemon, r);
                return;
        }
        if (daemon->sockets && (daemon->is_active || daemon->config->pod_uid))
                sockets_keep(daemon->sockets);
        if (daemon->is_active)
                plugin_check(daemon->plugin);
}

static void on_settled(uv_timer_t *timer)
{
        struct daemon *daemon = timer->data;

        look_around(daemon);
        /* A spec that cannot be written is left to the clock: each attempt changes the directory.
         */
        if (daemon->is_active && !daemon->is_stopping && !daemon->cdi_error.code)
                verify_cdi_spec(daemon);
}

/* However busy somebody else is in a directory, it costs one look in so many milliseconds. */
static void on_directory_changed(void *owner)
{
        struct daemon *daemon = owner;

        if (!daemon->is_stopping && !uv_is_active((uv_handle_t *)&daemon->settling))
                uv_timer_start(&daemon->settling, on_settled, SETTLE_MS, 0);
}

static void on_housekeeping(uv_timer_t *timer)
{
        struct daemon *daemon = timer->data;

        look_around(daemon);
        if (!daemon->is_active || daemon->is_stopping)
                return;
        verify_cdi_spec(daemon);
        prepare_retry_removals(daemon->prepare);
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
                log_warn("no API server: this is no pod, and --api-server is not given. Nothing is "
                         "published, and no claim "
                         "can be prepared");
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
                                                        .on_node_uid = on_node_uid,
                                                        .on_taints_dropped = on_taints_dropped,
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
        daemon->claims_service = (struct claims_service){ .prepare = daemon->prepare };
        daemon->pump = rpc_pump_start(&daemon->loop);
        daemon->server = rpc_server_new(&daemon->loop, daemon->pump);
        rpc_server_add_service(daemon->server, registration_methods, registration_n_methods,
                               &daemon->registration);
        rpc_server_add_service(daemon->server, claims_service_methods, claims_service_n_methods,
                               &daemon->claims_service);
        if (config->serves_dra)
                daemon->sockets = sockets_new(&daemon->loop, config, daemon->server);
}

static void set_up_pluginside(struct daemon *daemon)
{
        const struct config *config = daemon->config;
        const struct plugin_options options = {
                .loop = &daemon->loop,
                .pump = daemon->pump,
                .server = daemon->server,
                .ledger = daemon->ledger,
                .kubelet_dir = config->kubelet_dir,
                .state_dir = config->state_dir,
                .cgroup_root = config->cgroup_root,
                .inject = config->is_injecting_cdi ? PLUGIN_SERVICE_CDI : PLUGIN_SERVICE_MOUNTS,
                .split = config->serves_dra ? config->split : 0,
                .serves = config->serves_plugin,
                .on_changed = on_plugin_held_changed,
                .owner = daemon,
        };

        daemon->plugin = plugin_new(&options);
}

static void set_up_attestation(struct daemon *daemon)
{
        const struct config *config = daemon->config;
        const struct attestation_options options = { .loop = &daemon->loop,
                                                     .config = config,
                                                     .api = daemon->api,
                                                     .on_changed = on_attestation_changed,
                                                     .owner = daemon };
        const struct device_health_options device_health_options = { .loop = &daemon->loop,
                                                                     .server = daemon->server,
                                                                     .pool = config->node_name };

        daemon->module_version = module_version(MODULE_VERSION_FILE);
        daemon->attestation = attestation_new(&options);
        daemon->health = device_health_new(&device_health_options);
        on_attestation_changed(daemon);
}

static int set_up_status(struct daemon *daemon, struct error *err)
{
        const struct status_options options = { .loop = &daemon->loop,
                                                .config = daemon->config,
                                                .is_active = &daemon->is_active,
                                                .ledger = daemon->ledger,
                                                .prepare = daemon->prepare,
                                                .claims_service = &daemon->claims_service,
                                                .attestation = daemon->attestation,
                                                .sockets = daemon->sockets,
                                                .plugin = daemon->plugin,
                                                .publisher = daemon->publisher,
                                                .api = daemon->api };

        return daemon->config->listen ? status_start(&options, &daemon->status, err) : 0;
}

static void set_up_watches(struct daemon *daemon)
{
        const struct config *config = daemon->config;
        __attribute__((cleanup(cleanup_free))) char *registry =
                xstrdup(config->registration_socket);

        *strrchr(registry, '/') = '\0';
        daemon->watches[0] = dirwatch_new(&daemon->loop, registry, on_directory_changed, daemon);
        daemon->watches[1] =
                dirwatch_new(&daemon->loop, config->state_dir, on_directory_changed, daemon);
        daemon->watches[2] =
                dirwatch_new(&daemon->loop, config->cdi_dir, on_directory_changed, daemon);
}

static void on_signal(uv_signal_t *signal, int number)
{
        struct daemon *daemon = signal->data;

        log_info("stopping", log_str("signal", strsignal(number)));
        stop(daemon);
}

static int set_up(struct daemon *daemon, struct error *err)
{
        static const int numbers[] = { SIGTERM, SIGINT };
        const struct config *config = daemon->config;
        struct prepare_options options;
        int r;

        daemon->ledger = ledger_new();
        daemon->cdi = cdi_store_new(config->cdi_dir);
        for (size_t i = 0; i < array_size(numbers); ++i) {
                uv_signal_init(&daemon->loop, &daemon->signals[i]);
                daemon->signals[i].data = daemon;
                uv_signal_start(&daemon->signals[i], on_signal, numbers[i]);
        }
        uv_timer_init(&daemon->loop, &daemon->housekeeping);
        uv_timer_init(&daemon->loop, &daemon->settling);
        daemon->housekeeping.data = daemon;
        daemon->settling.data = daemon;
        options = (struct prepare_options){ .loop = &daemon->loop,
                                            .ledger = daemon->ledger,
                                            .cdi = daemon->cdi,
                                            .api = daemon->api,
                                            .pool = config->node_name,
                                            .wait_ms = config->prepare_wait_ms,
                                            .on_held_changed = on_held_changed,
                                            .owner = daemon };
        daemon->prepare = prepare_new(&options);
        set_up_rpc(daemon);
        set_up_pluginside(daemon);
        set_up_attestation(daemon);
        r = set_up_status(daemon, err);
        rpc_server_start(daemon->server);
        if (!r)
                r = instance_start(&daemon->loop, config, on_lock, daemon, &daemon->instance, err);
        if (r < 0)
                return r;
        if (r == INSTANCE_STANDBY) {
                log_info(config->pod_uid ? "standing by: another instance serves this node; calls "
                                           "are held until it has left"
                                         : "another instance serves this node, waiting for it to "
                                           "leave (with --pod-uid both "
                                           "could listen meanwhile)");
                /* Without a pod UID the socket names are the other's, too. */
                if (config->pod_uid)
                        r = listen_on_all(daemon);
        } else {
                on_lock(daemon);
                r = daemon->result;
        }
        if (r < 0)
                return r;
        set_up_watches(daemon);
        uv_timer_start(&daemon->housekeeping, on_housekeeping, config->poll_interval_ms,
                       config->poll_interval_ms);
        return 0;
}

/* ---- stop: what kubelet sees goes first, the lock last but before gRPC's slow end ---- */

static void on_pump_stopped(void *owner)
{
        struct daemon *daemon = owner;

        daemon->pump = NULL;
        plugin_free(daemon->plugin);
        attestation_free(daemon->attestation);
        device_health_free(daemon->health);
}

/* The server has gone, so no request is left; the last writes end now. */
static void finish_when_idle(struct daemon *daemon)
{
        if (daemon->server || !prepare_is_idle(daemon->prepare) ||
            (daemon->records && !records_is_idle(daemon->records)))
                return;
        instance_free(daemon->instance);
        kube_events_free(daemon->events);
        kube_api_free(daemon->api);
        http_free(daemon->http);
        uv_timer_stop(&daemon->housekeeping);
        uv_close((uv_handle_t *)&daemon->housekeeping, NULL);
        uv_close((uv_handle_t *)&daemon->settling, NULL);
        rpc_pump_stop(daemon->pump, on_pump_stopped, daemon);
}

static void on_idle_check(uv_timer_t *timer)
{
        finish_when_idle(timer->data);
}

static void on_server_stopped(void *owner)
{
        struct daemon *daemon = owner;

        daemon->server = NULL;
        uv_timer_start(&daemon->housekeeping, on_idle_check, 0, 5);
}

static void stop(struct daemon *daemon)
{
        if (daemon->is_stopping)
                return;
        daemon->is_stopping = true;
        status_stop(take_ptr(daemon->status));
        sockets_free(take_ptr(daemon->sockets));
        uv_timer_stop(&daemon->housekeeping);
        uv_timer_stop(&daemon->settling);
        for (size_t i = 0; i < array_size(daemon->watches); ++i)
                dirwatch_free(daemon->watches[i]);
        for (size_t i = 0; i < array_size(daemon->signals); ++i)
                uv_close((uv_handle_t *)&daemon->signals[i], NULL);
        reconcile_free(daemon->reconcile);
        publisher_free(take_ptr(daemon->publisher));
        prepare_stop(daemon->prepare);
        attestation_stop(daemon->attestation);
        device_health_stop(daemon->health);
        plugin_stop(daemon->plugin);
        rpc_server_stop(daemon->server, STOP_GRACE_MS, on_server_stopped, daemon);
}

static void tear_down(struct daemon *daemon)
{
        prepare_free(daemon->prepare);
        records_free(daemon->records);
        cdi_store_free(daemon->cdi);
        ledger_free(daemon->ledger);
        kube_credentials_deinit(&daemon->credentials);
        free(daemon->module_version);
}

int daemon_run(const struct config *config, struct error *err)
{
        struct daemon *daemon = xcalloc(1, sizeof(*daemon));
        int r;

        daemon->config = config;
        daemon->err = err;
        capacity_init(&daemon->total, config);
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
        }
        tear_down(daemon);
        uv_loop_close(&daemon->loop);
        free(daemon);
        return r;
}
