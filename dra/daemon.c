/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon.h"

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/parse.h"
#include "cdi/spec.h"
#include "cdi/store.h"
#include "checkpoint.h"
#include "config.h"
#include "draplugin.h"
#include "host/boot.h"
#include "host/capacity.h"
#include "host/dirwatch.h"
#include "instance.h"
#include "inventory.h"
#include "kube/api.h"
#include "kube/credentials.h"
#include "kube/event.h"
#include "kube/http.h"
#include "ledger.h"
#include "pluginside.h"
#include "prepare.h"
#include "publisher.h"
#include "reconcile.h"
#include "registration.h"
#include "rpc/listener.h"
#include "rpc/pump.h"
#include "rpc/server.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <uv.h>

#define STOP_GRACE_MS            2000
#define REGISTRATION_PATIENCE_MS 60000

enum socket_role { SOCKET_DRA, SOCKET_REGISTRATION, N_SOCKETS };

struct daemon {
        const struct config *config;
        uv_loop_t loop;

        /* What the host says. */
        bool is_capacity_known;
        unsigned total;       /* TDs of both paths */
        int capacity_outcome; /* of the last reading, so that each state is logged once */
        struct error capacity_error;

        /* What we hold and offer. */
        struct ledger *ledger;
        struct checkpoint *checkpoint;
        struct cdi_store *cdi;
        struct prepare *prepare;
        struct reconcile *reconcile;
        struct error cdi_error;

        /* kubelet. */
        struct rpc_pump *pump;
        struct rpc_server *server;
        struct rpc_listener *sockets[N_SOCKETS];
        struct registration registration;
        struct draplugin draplugin;
        struct pluginside *pluginside; /* NULL: the plugin path is off */
        bool is_registered;
        uint64_t listening_since_ms;

        /* API server; all NULL where none is configured. */
        struct kube_credentials credentials;
        struct http *http;
        struct kube_api *api;
        struct kube_events *events;
        struct publisher *publisher;

        struct instance *instance;
        struct dirwatch *watches[3]; /* registry, state, CDI */
        uv_timer_t housekeeping;
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
        return daemon->is_capacity_known &&
               (!daemon->pluginside || pluginside_is_known(daemon->pluginside));
}

static void publish(struct daemon *daemon)
{
        struct inventory inventory = INVENTORY_NULL;

        if (!daemon->publisher)
                return;
        inventory_compute(daemon->ledger, is_total_in_force(daemon), &inventory);
        publisher_set(daemon->publisher, &inventory);
        inventory_deinit(&inventory);
}

static void on_held_changed(void *owner)
{
        struct daemon *daemon = owner;

        if (daemon->pluginside)
                pluginside_update(daemon->pluginside);
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
        static const char *const prefixes[] = { PREPARE_CDI_PREFIX, DEVICEPLUGIN_CDI_PREFIX };
        const char *directory = daemon->config->qgs_directory;
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
                                  .mount = { .host_path = directory,
                                             .container_path = directory } };
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
                (void)cdi_ensure_mount_source(daemon->config->qgs_directory, &error);
        warn_once(&daemon->cdi_error, &error, "VMs cannot be given their devices");
}

/* ---- capacity ---- */

static void put_total_in_force(struct daemon *daemon)
{
        if (!is_total_in_force(daemon))
                return;
        ledger_set_total(daemon->ledger, daemon->total);
        if (daemon->pluginside)
                pluginside_update(daemon->pluginside);
        write_cdi_spec(daemon);
        prepare_retry_waiting(daemon->prepare);
        publish(daemon);
}

/* What plugin devices hold has changed, or is known for the first time. */
static void on_plugin_held_changed(void *owner)
{
        struct daemon *daemon = owner;

        if (ledger_total(daemon->ledger) != daemon->total)
                put_total_in_force(daemon);
        prepare_retry_waiting(daemon->prepare);
        publish(daemon);
}

static void set_total(struct daemon *daemon, uint64_t capacity, const char *source)
{
        unsigned reserve = daemon->config->reserve, total;

        if (capacity > DEVICE_INDEX_MAX)
                capacity = DEVICE_INDEX_MAX;
        total = capacity > reserve ? (unsigned)capacity - reserve : 0;
        if (daemon->is_capacity_known && total == daemon->total)
                return;
        log_info("capacity", log_int("tds", total), log_int("capacity", (int64_t)capacity),
                 log_int("reserve", reserve), log_str("source", source));
        daemon->is_capacity_known = true;
        daemon->total = total;
        put_total_in_force(daemon);
}

static void log_capacity_outcome(struct daemon *daemon, int outcome, uint64_t capacity,
                                 const struct error *error, const char *path)
{
        if (outcome < 0) {
                warn_once(&daemon->capacity_error, error,
                          "the TDX capacity cannot be read, keeping what is known");
                return;
        }
        daemon->capacity_error = (struct error)ERROR_NULL;
        if (outcome == daemon->capacity_outcome)
                return;
        daemon->capacity_outcome = outcome;
        if (outcome == CAPACITY_NO_TDX)
                log_warn("this host offers no TDs: misc.capacity has no tdx line. Load kvm_intel "
                         "with tdx=1 and see dmesg "
                         "for virt/tdx, or give --capacity",
                         log_str("file", path));
        else if (outcome == CAPACITY_NO_FILE)
                log_warn("this host offers no TDs: there is no misc.capacity. Mount the host's "
                         "/sys/fs/cgroup and name the "
                         "file with --misc-capacity, or give --capacity",
                         log_str("below", daemon->config->cgroup_root));
        else if (capacity > DEVICE_INDEX_MAX)
                log_warn("more TDs than can be offered, ignoring the rest",
                         log_int("offered", DEVICE_INDEX_MAX));
}

static void read_capacity(struct daemon *daemon)
{
        const struct config *config = daemon->config;
        struct error error = ERROR_NULL;
        char path[PATH_MAX] = "";
        uint64_t capacity = 0;
        int r;

        if (config->capacity >= 0) {
                set_total(daemon, (uint64_t)config->capacity, "--capacity");
                return;
        }
        r = capacity_read(config->misc_capacity, config->cgroup_root, &capacity, path, &error);
        log_capacity_outcome(daemon, r, capacity, &error, path);
        /* A reading that failed says nothing about the host: what was known stands. */
        if (r >= 0)
                set_total(daemon, r ? 0 : capacity, path);
}

/* ---- kubelet's sockets ---- */

static void on_connection(void *owner, int fd)
{
        struct daemon *daemon = owner;

        rpc_server_adopt(daemon->server, fd);
}

static int listen_on(struct daemon *daemon, enum socket_role role, struct error *err)
{
        struct rpc_listener *listener = daemon->sockets[role];
        __attribute__((cleanup(cleanup_free))) char *directory =
                xstrdup(rpc_listener_path(listener));
        __attribute__((cleanup(cleanup_close))) int directory_fd = -1;
        int r;

        *strrchr(directory, '/') = '\0';
        r = file_open_directory(directory, role == SOCKET_DRA ? 0700 : 0755, &directory_fd, err);
        if (!r)
                r = rpc_listener_listen(listener, err);
        if (!r && role == SOCKET_REGISTRATION)
                daemon->listening_since_ms = uv_now(&daemon->loop);
        return r;
}

/* The registration socket comes last: kubelet dials the other one as soon as it has read about it
 * there. */
static int listen_on_all(struct daemon *daemon, struct error *err)
{
        int r = 0;

        if (!daemon->config->serves_dra)
                return 0;
        for (int role = 0; role < N_SOCKETS && !r; ++role)
                if (!rpc_listener_is_in_place(daemon->sockets[role]))
                        r = listen_on(daemon, (enum socket_role)role, err);
        return r;
}

static void keep_sockets(struct daemon *daemon)
{
        struct error error = ERROR_NULL;
        bool was_in_place[N_SOCKETS];

        if (daemon->is_stopping || !daemon->server || !daemon->config->serves_dra)
                return;
        for (int role = 0; role < N_SOCKETS; ++role)
                was_in_place[role] = rpc_listener_is_in_place(daemon->sockets[role]);
        /* kubelet <= 1.35 forgets to try again after a failed registration (k/k#133725); a new file
         * makes it. */
        if (!daemon->is_registered && was_in_place[SOCKET_REGISTRATION] &&
            uv_now(&daemon->loop) - daemon->listening_since_ms > REGISTRATION_PATIENCE_MS) {
                log_debug("kubelet has not registered us, offering the socket anew");
                (void)listen_on(daemon, SOCKET_REGISTRATION, &error);
        }
        if (was_in_place[SOCKET_DRA] && was_in_place[SOCKET_REGISTRATION])
                return;
        if (listen_on_all(daemon, &error) < 0) {
                log_error("a socket is gone and cannot be put back", log_str("reason", error.text));
                return;
        }
        for (int role = 0; role < N_SOCKETS; ++role)
                if (!was_in_place[role])
                        log_warn("a socket was gone, put back",
                                 log_str("socket", rpc_listener_path(daemon->sockets[role])));
}

static void on_registration_status(void *owner, bool is_registered, const char *reason)
{
        struct daemon *daemon = owner;

        daemon->is_registered = is_registered;
        if (!is_registered) {
                log_error("kubelet refused to register this driver", log_str("reason", reason));
                return;
        }
        log_info("registered with kubelet");
        /* Every start of kubelet deletes the node's slices, and the list may be older than that. */
        if (daemon->publisher)
                publisher_resync(daemon->publisher);
}

/* Its sockets stay behind when it dies. */
static uint64_t kubelet_age_ms(void *owner)
{
        const struct daemon *daemon = owner;
        __attribute__((cleanup(cleanup_free))) char *path =
                xasprintf("%s/device-plugins/kubelet.sock", daemon->config->kubelet_dir);
        struct timespec now;
        struct stat file;
        int64_t age_ms;

        if (!rpc_listener_is_served(path) || stat(path, &file) < 0)
                return 0;
        clock_gettime(CLOCK_REALTIME, &now);
        age_ms = (int64_t)(now.tv_sec - file.st_ctim.tv_sec) * 1000 +
                 (now.tv_nsec - file.st_ctim.tv_nsec) / 1000000;
        return age_ms > 0 ? (uint64_t)age_ms : 0;
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

        log_error("the record of a claim is not readable and was moved aside; the claim stays held "
                  "until kubelet prepares "
                  "or unprepares it",
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

        r = checkpoint_open(&daemon->loop, config->state_dir, config->is_durable,
                            &daemon->checkpoint, err);
        if (!r)
                r = checkpoint_load(daemon->checkpoint, daemon->ledger, on_damaged, daemon, err);
        if (!r)
                r = boot_id_read(NULL, boot_id, err);
        if (r < 0)
                return r;
        if (ledger_n_claims(daemon->ledger))
                log_info("claims held from before",
                         log_int("claims", (int64_t)ledger_n_claims(daemon->ledger)),
                         log_int("tds", ledger_held(daemon->ledger)));
        daemon->is_active = true;
        read_capacity(daemon);
        if (!is_total_in_force(daemon))
                write_cdi_spec(daemon); /* for what is held; a total will come */
        verify_cdi_spec(daemon);
        prepare_activate(daemon->prepare, daemon->checkpoint, boot_id);
        if (daemon->pluginside)
                pluginside_start(daemon->pluginside);
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

static void on_lock(void *owner)
{
        struct daemon *daemon = owner;
        int r;

        if (daemon->is_stopping)
                return;
        log_info("active: this instance now serves the node");
        r = activate(daemon, daemon->err);
        if (!r)
                r = listen_on_all(daemon, daemon->err);
        if (r < 0)
                fail(daemon, r);
}

/* ---- the clock ---- */

static void look_again(void *owner)
{
        struct daemon *daemon = owner;

        if (daemon->is_stopping)
                return;
        for (size_t i = 0; i < array_size(daemon->watches); ++i)
                if (daemon->watches[i])
                        dirwatch_check(daemon->watches[i]);
        if (daemon->is_active || daemon->config->pod_uid)
                keep_sockets(daemon);
        if (!daemon->is_active)
                return;
        verify_cdi_spec(daemon);
        if (daemon->pluginside)
                pluginside_check(daemon->pluginside);
}

static void on_housekeeping(uv_timer_t *timer)
{
        struct daemon *daemon = timer->data;

        look_again(daemon);
        if (daemon->is_active)
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
        daemon->draplugin = (struct draplugin){ .prepare = daemon->prepare };
        daemon->pump = rpc_pump_start(&daemon->loop);
        daemon->server = rpc_server_new(&daemon->loop, daemon->pump);
        rpc_server_add_service(daemon->server, registration_methods, registration_n_methods,
                               &daemon->registration);
        rpc_server_add_service(daemon->server, draplugin_methods, draplugin_n_methods,
                               &daemon->draplugin);
        daemon->sockets[SOCKET_DRA] =
                rpc_listener_new(&daemon->loop, config->dra_socket, on_connection, daemon);
        daemon->sockets[SOCKET_REGISTRATION] =
                rpc_listener_new(&daemon->loop, config->registration_socket, on_connection, daemon);
}

static void set_up_pluginside(struct daemon *daemon)
{
        const struct config *config = daemon->config;
        const struct pluginside_options options = {
                .loop = &daemon->loop,
                .pump = daemon->pump,
                .server = daemon->server,
                .ledger = daemon->ledger,
                .kubelet_dir = config->kubelet_dir,
                .state_dir = config->state_dir,
                .mount_path = config->qgs_directory,
                .inject = config->is_injecting_cdi ? DEVICEPLUGIN_CDI : DEVICEPLUGIN_MOUNTS,
                .split = config->serves_dra ? config->split : 0,
                .on_changed = on_plugin_held_changed,
                .owner = daemon,
        };

        daemon->pluginside = pluginside_new(&options);
}

static void set_up_watches(struct daemon *daemon)
{
        const struct config *config = daemon->config;
        __attribute__((cleanup(cleanup_free))) char *registry =
                xstrdup(config->registration_socket);

        *strrchr(registry, '/') = '\0';
        daemon->watches[0] = dirwatch_new(&daemon->loop, registry, look_again, daemon);
        daemon->watches[1] = dirwatch_new(&daemon->loop, config->state_dir, look_again, daemon);
        daemon->watches[2] = dirwatch_new(&daemon->loop, config->cdi_dir, look_again, daemon);
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
        daemon->housekeeping.data = daemon;
        options = (struct prepare_options){ .loop = &daemon->loop,
                                            .ledger = daemon->ledger,
                                            .cdi = daemon->cdi,
                                            .mount_source = config->qgs_directory,
                                            .api = daemon->api,
                                            .pool = config->node_name,
                                            .wait_ms = config->prepare_wait_ms,
                                            .on_held_changed = on_held_changed,
                                            .owner = daemon };
        daemon->prepare = prepare_new(&options);
        set_up_rpc(daemon);
        if (config->serves_plugin)
                set_up_pluginside(daemon);
        rpc_server_start(daemon->server);
        r = instance_start(&daemon->loop, config->state_dir, on_lock, daemon, &daemon->instance,
                           err);
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
                        r = listen_on_all(daemon, err);
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
        pluginside_free(daemon->pluginside);
}

/* The server has gone, so no request is left; the last writes end now. */
static void finish_when_idle(struct daemon *daemon)
{
        if (daemon->server || !prepare_is_idle(daemon->prepare) ||
            (daemon->checkpoint && !checkpoint_is_idle(daemon->checkpoint)))
                return;
        instance_free(daemon->instance);
        kube_events_free(daemon->events);
        kube_api_free(daemon->api);
        http_free(daemon->http);
        uv_timer_stop(&daemon->housekeeping);
        uv_close((uv_handle_t *)&daemon->housekeeping, NULL);
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
        for (int role = N_SOCKETS - 1; role >= 0; --role) {
                rpc_listener_free(daemon->sockets[role]);
                daemon->sockets[role] = NULL;
        }
        uv_timer_stop(&daemon->housekeeping);
        for (size_t i = 0; i < array_size(daemon->watches); ++i)
                dirwatch_free(daemon->watches[i]);
        for (size_t i = 0; i < array_size(daemon->signals); ++i)
                uv_close((uv_handle_t *)&daemon->signals[i], NULL);
        reconcile_free(daemon->reconcile);
        publisher_free(take_ptr(daemon->publisher));
        prepare_stop(daemon->prepare);
        if (daemon->pluginside)
                pluginside_stop(daemon->pluginside);
        rpc_server_stop(daemon->server, STOP_GRACE_MS, on_server_stopped, daemon);
}

static void tear_down(struct daemon *daemon)
{
        prepare_free(daemon->prepare);
        checkpoint_free(daemon->checkpoint);
        cdi_store_free(daemon->cdi);
        ledger_free(daemon->ledger);
        kube_credentials_deinit(&daemon->credentials);
}

int daemon_run(const struct config *config, struct error *err)
{
        struct daemon *daemon = xcalloc(1, sizeof(*daemon));
        int r;

        daemon->config = config;
        daemon->err = err;
        daemon->capacity_outcome = INT_MIN;
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
