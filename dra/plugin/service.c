/* SPDX-License-Identifier: Apache-2.0 */
#include "plugin/service.h"

#include "base/backoff.h"
#include "base/brake.h"
#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/socket.h"
#include "base/timer.h"
#include "cdi/spec.h"
#include "device.h"
#include "deviceplugin.pb-c.h"
#include "host/dirwatch.h"
#include "host/kubelet.h"
#include "host/socketage.h"
#include "plugin/request.h"
#include "rpc/client.h"
#include "rpc/listener.h"
#include "rpc/streams.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define ENDPOINT            "dra-driver-tdx" /* and ".sock", or "-2.sock" and so on */
#define REFUSALS_OF_A_NAME  2                /* before we try another name */
#define REGISTER_TIMEOUT_MS 15000 /* kubelet dials back for up to 10 s before it answers */
#define STREAM_TIMEOUT_MS   10000 /* from Register's answer to ListAndWatch */
#define LISTEN_DELAY_MS     100   /* at most, from kubelet's socket file to its listener */

struct plugin_service {
        struct plugin_service_options options;
        struct rpc_listener *listener;
        struct dirwatch *watch;
        const char *directory;      /* kubelet's, of device plugins */
        const char *kubelet_socket; /* in it */
        char *foreign_socket;
        struct cdi_mount mount; /* its strings are owned */
        char **ids;
        Deviceplugin__Device *devices;
        Deviceplugin__Device **pointers;
        size_t n_devices;
        bool is_set;
        struct rpc_streams streams; /* each marked with n_requests of its registration */
        Deviceplugin__ListAndWatchResponse list;
        struct socket_identity kubelet; /* the one that we registered with last */
        struct rpc_client *registrar;   /* while a Register call is outstanding */
        bool is_registered; /* kubelet has answered Register, even if it has not asked for our list
                               yet */
        bool is_ignored;    /* kubelet did not ask for our list, and the log says so */
        bool is_request_current; /* nothing has changed since kubelet was asked to register us */
        unsigned n_requests;     /* Register calls so far */
        unsigned n_names;        /* socket names used so far */
        unsigned n_refusals;     /* of the current name, in a row */
        uint64_t registered_ms;
        bool is_stopping;
        enum plugin_service_standing standing;
        uint64_t n_lists;
        struct backoff backoff;
        struct timer *retry;
};

/* ---- the offer ---- */

static void free_devices(struct plugin_service *plugin)
{
        for (size_t i = 0; i < plugin->n_devices; ++i)
                free(plugin->ids[i]);
        free(plugin->ids);
        free(plugin->devices);
        free(plugin->pointers);
        plugin->n_devices = 0;
}

static char *health(bool is_healthy)
{
        return is_healthy ? (char *)"Healthy" : (char *)"Unhealthy";
}

static void copy_devices(struct plugin_service *plugin, const struct plugin_service_device *devices,
                         size_t n)
{
        plugin->ids = xcalloc(n, sizeof(*plugin->ids));
        plugin->devices = xcalloc(n, sizeof(*plugin->devices));
        plugin->pointers = xcalloc(n, sizeof(*plugin->pointers));
        plugin->n_devices = n;
        for (size_t i = 0; i < n; ++i) {
                plugin->ids[i] = xstrdup(devices[i].id);
                deviceplugin__device__init(&plugin->devices[i]);
                plugin->devices[i].id = plugin->ids[i];
                plugin->devices[i].health = health(devices[i].is_healthy);
                plugin->pointers[i] = &plugin->devices[i];
        }
}

static bool is_same_list(const struct plugin_service *plugin,
                         const struct plugin_service_device *devices, size_t n)
{
        if (!plugin->is_set || plugin->n_devices != n)
                return false;
        for (size_t i = 0; i < n; ++i)
                if (strcmp(plugin->ids[i], devices[i].id) != 0 ||
                    strcmp(plugin->devices[i].health, health(devices[i].is_healthy)) != 0)
                        return false;
        return true;
}

/* ---- ListAndWatch ---- */

static const ProtobufCMessage *current_list(void *owner)
{
        struct plugin_service *plugin = owner;

        ++plugin->n_lists;
        deviceplugin__list_and_watch_response__init(&plugin->list);
        plugin->list.n_devices = plugin->n_devices;
        plugin->list.devices = plugin->pointers;
        return &plugin->list.base;
}

static void register_soon(struct plugin_service *plugin);
static void tell_standing(struct plugin_service *plugin, const char *reason);

/* kubelet has closed the stream of our last registration, so it no longer knows us. That may arrive
 * before its answer to Register. The end of an older stream means nothing: some kubelets close it
 * when we register again. */
static void on_stream_gone(void *owner, unsigned n_requests)
{
        struct plugin_service *plugin = owner;

        if (plugin->is_stopping || n_requests != plugin->n_requests)
                return;
        plugin->is_registered = false;
        plugin->is_request_current = false;
        tell_standing(plugin, "it has closed its stream of the device list");
        register_soon(plugin);
}

static void on_list_and_watch(void *owner, struct rpc_call *call, const ProtobufCMessage *message)
{
        struct plugin_service *plugin = owner;

        rpc_streams_open(&plugin->streams, call, plugin->n_requests);
        tell_standing(plugin, "");
}

void plugin_service_set(struct plugin_service *plugin, const struct plugin_service_device *devices,
                        size_t n)
{
        if (is_same_list(plugin, devices, n))
                return;
        free_devices(plugin);
        copy_devices(plugin, devices, n);
        /* Registering only now: kubelet asks for the list at once. */
        if (!plugin->is_set) {
                plugin->is_set = true;
                plugin_service_check(plugin);
        }
        /* In kubelet the last list of a resource wins. Beside a foreign plugin that must not be
         * ours. */
        if (plugin->standing == PLUGIN_SERVICE_STANDS_BACK)
                return;
        rpc_streams_push(&plugin->streams);
}

/* ---- the other methods ---- */

static void on_get_options(void *owner, struct rpc_call *call, const ProtobufCMessage *message)
{
        Deviceplugin__DevicePluginOptions options = DEVICEPLUGIN__DEVICE_PLUGIN_OPTIONS__INIT;

        /* Never set pre_start_required: kubelet would fail containers of pods that DRA serves. */
        options.get_preferred_allocation_available = true;
        rpc_call_reply(call, &options.base);
}

static void on_pre_start(void *owner, struct rpc_call *call, const ProtobufCMessage *message)
{
        Deviceplugin__PreStartContainerResponse response =
                DEVICEPLUGIN__PRE_START_CONTAINER_RESPONSE__INIT;

        rpc_call_reply(call, &response.base);
}

static void on_prefer(void *owner, struct rpc_call *call, const ProtobufCMessage *message)
{
        const Deviceplugin__PreferredAllocationRequest *request = (const void *)message;
        Deviceplugin__PreferredAllocationResponse response =
                DEVICEPLUGIN__PREFERRED_ALLOCATION_RESPONSE__INIT;
        Deviceplugin__ContainerPreferredAllocationResponse
                containers[PLUGIN_REQUEST_CONTAINERS_MAX],
                *pointers[PLUGIN_REQUEST_CONTAINERS_MAX];
        size_t n = request->n_container_requests;

        if (n > PLUGIN_REQUEST_CONTAINERS_MAX) {
                rpc_call_fail(call, RPC_INVALID_ARGUMENT, "too many containers in one request");
                return;
        }
        for (size_t i = 0; i < n; ++i) {
                Deviceplugin__ContainerPreferredAllocationRequest *container =
                        request->container_requests[i];

                deviceplugin__container_preferred_allocation_response__init(&containers[i]);
                containers[i].deviceids =
                        plugin_request_prefer(container, &containers[i].n_deviceids);
                pointers[i] = &containers[i];
        }
        response.n_container_responses = n;
        response.container_responses = pointers;
        rpc_call_reply(call, &response.base);
        for (size_t i = 0; i < n; ++i)
                free(containers[i].deviceids);
}

/* ---- Allocate ---- */

/* Allocates for all containers of the request or for none. */
static int allocate_all(struct plugin_service *plugin, const Deviceplugin__AllocateRequest *request,
                        struct error *err)
{
        _cleanup_(free) const char **ids = NULL;
        size_t n;
        int r;

        r = plugin_request_collect(request, plugin->n_devices, &ids, &n, err);
        return r < 0 ? r : plugin->options.on_allocate(plugin->options.owner, ids, n, err);
}

struct injection {
        Deviceplugin__ContainerAllocateResponse response;
        Deviceplugin__Mount mount, *mount_pointer;
        Deviceplugin__CDIDevice *cdi, **cdi_pointers;
};

/* A container with several TDs is one VM: the first TD's socket serves it. */
static void inject_mount(const struct plugin_service *plugin, struct injection *injection,
                         const Deviceplugin__ContainerAllocateRequest *request)
{
        unsigned index = 0;

        if (request->n_devices_ids)
                (void)device_parse(request->devices_ids[0], &index); /* already checked */
        deviceplugin__mount__init(&injection->mount);
        injection->mount.host_path =
                cdi_mount_source(&plugin->mount, PLUGIN_SERVICE_DIRECTORY, index);
        injection->mount.container_path = (char *)plugin->mount.container_path;
        injection->mount.read_only = true;
        injection->mount_pointer = &injection->mount;
        injection->response.n_mounts = 1;
        injection->response.mounts = &injection->mount_pointer;
}

static void inject_cdi(struct injection *injection,
                       const Deviceplugin__ContainerAllocateRequest *request)
{
        size_t n = request->n_devices_ids;
        unsigned index = 0;

        injection->cdi = xcalloc(n, sizeof(*injection->cdi));
        injection->cdi_pointers = xcalloc(n, sizeof(*injection->cdi_pointers));
        for (size_t i = 0; i < n; ++i) {
                deviceplugin__cdidevice__init(&injection->cdi[i]);
                (void)device_parse(request->devices_ids[i], &index); /* already checked */
                injection->cdi[i].name = cdi_device_id(PLUGIN_SERVICE_CDI_PREFIX, index);
                injection->cdi_pointers[i] = &injection->cdi[i];
        }
        injection->response.n_cdi_devices = n;
        injection->response.cdi_devices = injection->cdi_pointers;
}

static void injection_deinit(struct injection *injection)
{
        for (size_t i = 0; i < injection->response.n_cdi_devices; ++i)
                free(injection->cdi[i].name);
        if (injection->response.n_mounts)
                free(injection->mount.host_path);
        free(injection->cdi);
        free(injection->cdi_pointers);
}

static void forget_mount(struct plugin_service *plugin)
{
        free((char *)plugin->mount.host_path);
        free((char *)plugin->mount.container_path);
        free((char *)plugin->mount.file);
}

void plugin_service_set_mount(struct plugin_service *plugin, const struct cdi_mount *mount)
{
        forget_mount(plugin);
        plugin->mount = *mount;
        plugin->mount.host_path = xstrdup(mount->host_path);
        plugin->mount.container_path = xstrdup(mount->container_path);
        plugin->mount.file = mount->file ? xstrdup(mount->file) : NULL;
}

static void on_allocate(void *owner, struct rpc_call *call, const ProtobufCMessage *message)
{
        const Deviceplugin__AllocateRequest *request = (const void *)message;
        Deviceplugin__ContainerAllocateResponse *pointers[PLUGIN_REQUEST_CONTAINERS_MAX];
        Deviceplugin__AllocateResponse response = DEVICEPLUGIN__ALLOCATE_RESPONSE__INIT;
        struct injection injections[PLUGIN_REQUEST_CONTAINERS_MAX] = { 0 };
        struct plugin_service *plugin = owner;
        struct error error = ERROR_NULL;

        if (allocate_all(plugin, request, &error) < 0) {
                log_warn_braked("pod refused", log_str("resource", PLUGIN_SERVICE_RESOURCE),
                                log_str("reason", error.text));
                rpc_call_fail(call, RPC_FAILED_PRECONDITION, error.text);
                return;
        }
        for (size_t i = 0; i < request->n_container_requests; ++i) {
                deviceplugin__container_allocate_response__init(&injections[i].response);
                if (plugin->options.inject == PLUGIN_SERVICE_CDI)
                        inject_cdi(&injections[i], request->container_requests[i]);
                else
                        inject_mount(plugin, &injections[i], request->container_requests[i]);
                pointers[i] = &injections[i].response;
        }
        response.n_container_responses = request->n_container_requests;
        response.container_responses = pointers;
        rpc_call_reply(call, &response.base);
        for (size_t i = 0; i < request->n_container_requests; ++i)
                injection_deinit(&injections[i]);
}

static const struct rpc_method methods[] = {
        { "/v1beta1.DevicePlugin/GetDevicePluginOptions", &deviceplugin__empty__descriptor,
          on_get_options },
        { "/v1beta1.DevicePlugin/ListAndWatch", &deviceplugin__empty__descriptor,
          on_list_and_watch },
        { "/v1beta1.DevicePlugin/GetPreferredAllocation",
          &deviceplugin__preferred_allocation_request__descriptor, on_prefer },
        { "/v1beta1.DevicePlugin/Allocate", &deviceplugin__allocate_request__descriptor,
          on_allocate },
        { "/v1beta1.DevicePlugin/PreStartContainer",
          &deviceplugin__pre_start_container_request__descriptor, on_pre_start },
};

/* ---- registration ---- */

static void set_standing(struct plugin_service *plugin, enum plugin_service_standing standing,
                         const char *reason)
{
        if (plugin->standing == standing)
                return;
        plugin->standing = standing;
        plugin->options.on_standing(plugin->options.owner, standing, reason);
}

static bool has_stream(const struct plugin_service *plugin)
{
        return plugin->n_requests &&
               rpc_streams_newest_mark(&plugin->streams) == plugin->n_requests;
}

enum plugin_service_standing plugin_service_standing(const struct plugin_service *plugin)
{
        if (plugin->standing == PLUGIN_SERVICE_STANDS_BACK)
                return PLUGIN_SERVICE_STANDS_BACK;
        return plugin->is_registered && has_stream(plugin) ? PLUGIN_SERVICE_REGISTERED
                                                           : PLUGIN_SERVICE_UNREGISTERED;
}

static void tell_standing(struct plugin_service *plugin, const char *reason)
{
        enum plugin_service_standing standing = plugin_service_standing(plugin);

        if (standing == PLUGIN_SERVICE_REGISTERED)
                plugin->is_ignored = false;
        set_standing(plugin, standing, reason);
}

static void on_retry(void *owner)
{
        plugin_service_check(owner);
}

static void register_soon(struct plugin_service *plugin)
{
        uint64_t ms = backoff_next_ms(&plugin->backoff, 0, backoff_random());

        timer_start(plugin->retry, ms);
}

static void on_connection(void *owner, int fd);

/* kubelet >= 1.37 keeps one connection per socket name. If we register again before it has seen the
 * last connection end, it refuses and never drops that connection, so the name stays unusable until
 * kubelet restarts (devicemanager: PluginConnected, deregisterClient). */
static void take_another_name(struct plugin_service *plugin)
{
        _cleanup_(free) char *path = plugin->n_names
                                             ? xasprintf("%s/" ENDPOINT "-%u.sock",
                                                         plugin->directory, plugin->n_names + 1)
                                             : xasprintf("%s/" ENDPOINT ".sock", plugin->directory);

        ++plugin->n_names;
        plugin->n_refusals = 0;
        rpc_listener_free(plugin->listener);
        plugin->listener = rpc_listener_new(plugin->options.loop, path, on_connection, plugin);
}

static void on_registered(void *owner, const ProtobufCMessage *reply, const struct error *error)
{
        struct plugin_service *plugin = owner;

        if (plugin->is_stopping)
                return;
        rpc_client_free(take_ptr(plugin->registrar));
        if (reply) {
                /* The stream may have ended, or kubelet restarted, during the call. */
                plugin->is_registered = plugin->is_request_current;
                plugin->registered_ms = uv_now(plugin->options.loop);
                plugin->n_refusals = 0;
                tell_standing(plugin, "");
                if (!plugin->is_registered) /* something changed while kubelet was answering */
                        register_soon(plugin);
                return;
        }
        log_warn_braked("kubelet did not register the device plugin; trying again",
                        log_str("reason", error->text));
        if (error->code == -EREMOTEIO && ++plugin->n_refusals == REFUSALS_OF_A_NAME)
                take_another_name(plugin);
        register_soon(plugin);
}

static void register_now(struct plugin_service *plugin)
{
        Deviceplugin__DevicePluginOptions options = DEVICEPLUGIN__DEVICE_PLUGIN_OPTIONS__INIT;
        Deviceplugin__RegisterRequest request = DEVICEPLUGIN__REGISTER_REQUEST__INIT;

        options.get_preferred_allocation_available = true;
        request.version = (char *)"v1beta1";
        request.endpoint = strrchr(rpc_listener_path(plugin->listener), '/') + 1;
        request.resource_name = (char *)PLUGIN_SERVICE_RESOURCE;
        request.options = &options;
        plugin->is_request_current = true;
        ++plugin->n_requests;
        plugin->registrar = rpc_client_new(plugin->options.pump, plugin->kubelet_socket);
        rpc_client_call(plugin->registrar, "/v1beta1.Registration/Register", &request.base,
                        &deviceplugin__empty__descriptor, REGISTER_TIMEOUT_MS, on_registered,
                        plugin);
}

static bool listen_if_gone(struct plugin_service *plugin)
{
        struct error error = ERROR_NULL;

        if (rpc_listener_is_in_place(plugin->listener))
                return true;
        /* kubelet's connection outlives the socket file. Register again only without its stream. */
        if (rpc_streams_newest_mark(&plugin->streams) != plugin->n_requests) {
                plugin->is_registered = false;
                plugin->is_request_current = false;
        }
        if (rpc_listener_listen(plugin->listener, &error) == 0)
                return true;
        if (error.code != -ENOENT) /* kubelet will make the directory */
                log_warn_braked("the device plugin cannot listen; trying again",
                                log_str("reason", error.text));
        return false;
}

static void note_ignored(struct plugin_service *plugin)
{
        plugin->is_registered = false;
        if (!plugin->is_ignored)
                log_warn("kubelet registered the device plugin but does not ask for its list of "
                         "devices, registering again; see kubelet's log");
        plugin->is_ignored = true;
}

void plugin_service_check(struct plugin_service *plugin)
{
        struct socket_identity kubelet;

        if (plugin->is_stopping)
                return;
        dirwatch_check(plugin->watch);
        if (socket_is_served(plugin->foreign_socket)) {
                set_standing(plugin, PLUGIN_SERVICE_STANDS_BACK, plugin->foreign_socket);
                return;
        }
        if (plugin->standing == PLUGIN_SERVICE_STANDS_BACK) {
                plugin->is_registered = false;
                set_standing(plugin, PLUGIN_SERVICE_UNREGISTERED, "the foreign plugin has gone");
                /* Our old connection would be in the way of the next registration. */
                rpc_streams_close(&plugin->streams, "the device plugin registers again");
                register_soon(plugin);
                return;
        }
        if (!plugin->is_set)
                return;
        if (!socket_identify(plugin->kubelet_socket, &kubelet))
                return; /* kubelet is down; the watch tells when it is back */
        if (!socket_identity_equal(&kubelet, &plugin->kubelet)) {
                plugin->kubelet = kubelet;
                plugin->is_registered = false;
                plugin->is_request_current = false;
                tell_standing(plugin, "it has restarted");
                backoff_reset(&plugin->backoff);
                plugin->options.on_kubelet_started(plugin->options.owner);
        }
        if (plugin->is_registered &&
            uv_now(plugin->options.loop) - plugin->registered_ms > STREAM_TIMEOUT_MS) {
                /* kubelet opened no stream, for whatever reason: register again. */
                if (!has_stream(plugin))
                        note_ignored(plugin);
                /* Only a registration that has lasted resets the backoff: do not ask a kubelet in a
                 * tight loop that accepts and drops us at once. */
                backoff_reset(&plugin->backoff);
        }
        if (listen_if_gone(plugin) && !plugin->is_registered && !plugin->registrar)
                register_now(plugin);
}

/* kubelet's socket file exists before kubelet listens on it, so check again a little later. */
static void on_directory_changed(void *owner)
{
        struct plugin_service *plugin = owner;

        plugin_service_check(plugin);
        if (!plugin->is_stopping && !timer_is_running(plugin->retry))
                timer_start(plugin->retry, LISTEN_DELAY_MS);
}

static void on_connection(void *owner, int fd)
{
        struct plugin_service *plugin = owner;

        rpc_server_adopt(plugin->options.server, fd);
}

uint64_t plugin_service_kubelet_age_ms(struct plugin_service *plugin)
{
        struct kubelet *kubelet = plugin->options.kubelet;

        return kubelet_has_device_manager(kubelet)
                       ? kubelet_age_ms(kubelet, uv_now(plugin->options.loop))
                       : UINT64_MAX;
}

/* ---- the plugin ---- */

struct plugin_service *plugin_service_new(const struct plugin_service_options *options)
{
        struct plugin_service *plugin = xcalloc(1, sizeof(*plugin));

        plugin->options = *options;
        plugin->directory = kubelet_device_plugin_directory(options->kubelet);
        plugin->kubelet_socket = kubelet_device_manager_socket(options->kubelet);
        plugin->foreign_socket = xasprintf("%s/" PLUGIN_SERVICE_FOREIGN, plugin->directory);
        plugin->backoff = (struct backoff){ .first_ms = 50, .cap_ms = 10000 };
        plugin->streams = (struct rpc_streams){ .message = current_list,
                                                .on_gone = on_stream_gone,
                                                .owner = plugin };
        rpc_streams_init(&plugin->streams);
        plugin->retry = timer_new(options->loop, on_retry, plugin);
        take_another_name(plugin);
        plugin->watch =
                dirwatch_new(options->loop, plugin->directory, on_directory_changed, plugin);
        rpc_server_add_service(options->server, methods, array_size(methods), plugin);
        return plugin;
}

uint64_t plugin_service_n_lists(const struct plugin_service *plugin)
{
        return plugin->n_lists;
}

void plugin_service_stop(struct plugin_service *plugin)
{
        if (!plugin)
                return;
        plugin->is_stopping = true;
        timer_stop(plugin->retry);
        rpc_streams_close(&plugin->streams, "the driver is stopping");
        rpc_client_free(take_ptr(plugin->registrar));
        rpc_listener_free(take_ptr(plugin->listener));
        dirwatch_free(take_ptr(plugin->watch));
}

void plugin_service_free(struct plugin_service *plugin)
{
        if (!plugin)
                return;
        timer_free(plugin->retry);
        free_devices(plugin);
        free(plugin->foreign_socket);
        forget_mount(plugin);
        free(plugin);
}
