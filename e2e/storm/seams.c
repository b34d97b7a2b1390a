/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver's modules reach the world through these. Stands in for kube/api, dra/plugin/service,
 * dra/plugin/podresources and cdi/store, with their timings. The deliberate faults are planted here
 * and in disk.c.
 */
#include "base/backoff.h"
#include "base/error.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/text.h"
#include "cdi/spec.h"
#include "cdi/store.h"
#include "config.h"
#include "device.h"
#include "e2e/storm/world.h"
#include "host/boot.h"
#include "host/podcgroup.h"
#include "kube/api.h"
#include "plugin/podresources.h"
#include "plugin/service.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define TIMEOUT_MS 5000U /* of podresources */

static const char *const *id_names(void)
{
        static char names[N_IDS][sizeof("tdx4095")];
        static const char *pointers[N_IDS];

        for (unsigned i = 0; i < N_IDS && !pointers[N_IDS - 1]; ++i) {
                snprintf(names[i], sizeof(names[i]), "tdx%u", i);
                pointers[i] = names[i];
        }
        return pointers;
}

size_t names_of(uint64_t ids, const char *ret_names[N_IDS])
{
        size_t n = 0;

        for (unsigned i = 0; i < N_IDS; ++i)
                if (ids >> i & 1)
                        ret_names[n++] = id_names()[i];
        return n;
}

/* ---- wrapped functions (-Wl,--wrap): the storm learns of the objects that they make ---- */

struct sharing *__real_sharing_new(struct ledger *ledger, int64_t split,
                                   bool (*is_running)(const char *cgroup), uint64_t now_ms);
struct sharing *__wrap_sharing_new(struct ledger *ledger, int64_t split,
                                   bool (*is_running)(const char *cgroup), uint64_t now_ms);
struct holdings *__real_holdings_new(bool (*is_running)(const char *cgroup));
struct holdings *__wrap_holdings_new(bool (*is_running)(const char *cgroup));
struct ledger *__real_ledger_new(void);
struct ledger *__wrap_ledger_new(void);
uint32_t __wrap_backoff_random(void);

struct sharing *__wrap_sharing_new(struct ledger *ledger, int64_t split,
                                   bool (*is_running)(const char *cgroup), uint64_t now_ms)
{
        struct sharing *sharing = __real_sharing_new(ledger, split, is_running, now_ms);

        driver.sharing = sharing;
        return sharing;
}

struct holdings *__wrap_holdings_new(bool (*is_running)(const char *cgroup))
{
        struct holdings *holdings = __real_holdings_new(is_running);

        driver.holdings = holdings;
        return holdings;
}

struct ledger *__wrap_ledger_new(void)
{
        struct ledger *ledger = __real_ledger_new();

        driver.ledger = ledger;
        return ledger;
}

uint32_t __wrap_backoff_random(void)
{
        return chance();
}

/* ---- host/boot ---- */

int boot_id_read(const char *path, char ret_id[BOOT_ID_SIZE], struct error *err)
{
        snprintf(ret_id, BOOT_ID_SIZE, "boot-%u", host.boot);
        return 0;
}

/* ---- host/podcgroup: named by the pod's UID ---- */

static struct pod *pod_with(const char *uid)
{
        struct list *position;

        list_for_each (position, &pods) {
                struct pod *pod = container_of(position, struct pod, link);

                if (strcmp(pod->uid, uid) == 0)
                        return pod;
        }
        return NULL;
}

char *podcgroup_find(const char *cgroup_root, const char *pod_uid)
{
        struct pod *pod = pod_with(pod_uid);

        if (!pod || !pod->holds || pod->has_odd_cgroup)
                return NULL;
        pod->has_cgroup_known = true;
        return xstrdup(pod_uid);
}

bool podcgroup_is_running(const char *path)
{
        const struct pod *pod = pod_with(path);

        return pod && pod->holds;
}

/* ---- kube/api: a claim can be read ---- */

struct kube_call {
        struct event event;
        char *path;
        kube_on_reply *on_reply;
        void *owner;
};

static void call_free(struct kube_call *call)
{
        clock_cancel(&call->event);
        free(call->path);
        free(call);
}

void kube_cancel(struct kube_call *call)
{
        call_free(call);
}

char *kube_path_claim(const char *namespace_, const char *name)
{
        return xasprintf("%s/%s", namespace_, name);
}

/* Nothing but the answer counts, so it need not be found. */
char *kube_path_node(const char *name)
{
        return xasprintf("nodes/%s", name);
}

static const struct pod *find_claim(const char *path)
{
        const struct list *position;

        list_for_each (position, &pods) {
                const struct pod *pod = container_of(position, struct pod, link);

                if (pod->is_in_api && strcmp(strchr(path, '/') + 1, pod->name) == 0)
                        return pod;
        }
        return NULL;
}

static struct json *claim_object(const struct pod *pod)
{
        _cleanup_(text) struct text text = TEXT_NULL;
        struct json *object = NULL;
        const char *names[N_IDS];
        size_t n = names_of(pod->allocated, names);

        text_addf(&text,
                  "{\"metadata\":{\"namespace\":\"%s\",\"name\":\"%s\",\"uid\":\"%s\"},"
                  "\"status\":{\"allocation\":{\"devices\":{\"results\":[",
                  NAMESPACE, pod->name, pod->uid);
        for (size_t i = 0; i < n; ++i)
                text_addf(&text,
                          "%s{\"request\":\"td\",\"driver\":\"%s\",\"pool\":\"%s\",\"device\":"
                          "\"%s\"}",
                          i ? "," : "", DRIVER_NAME, NODE, names[i]);
        text_addf(&text, "]}},\"reservedFor\":[{\"resource\":\"pods\",\"uid\":\"%s\"}]}}",
                  pod->uid);
        (void)json_parse(text.bytes, text.n, &object, NULL);
        return object;
}

static void on_answer(void *owner)
{
        struct kube_call *call = owner;
        const struct pod *pod = find_claim(call->path);
        _cleanup_(json) struct json *object = NULL;
        struct kube_reply reply = { .outcome = KUBE_OK };
        kube_on_reply *on_reply = call->on_reply;

        if (!cluster.is_up) {
                reply.outcome = KUBE_TRY_AGAIN;
                error_set(&reply.error, -EAGAIN, "GET %s: no answer", call->path);
        } else if (!pod) {
                reply.outcome = KUBE_NOT_FOUND;
                error_set(&reply.error, -ENOENT, "GET %s: not found", call->path);
        } else {
                object = claim_object(pod);
                reply.object = object;
        }
        owner = call->owner;
        call_free(call);
        on_reply(owner, &reply);
}

struct kube_call *kube_get(struct kube_api *api, const char *path, const char *expected_kind,
                           kube_on_reply *on_reply, void *owner)
{
        struct kube_call *call = xcalloc(1, sizeof(*call));
        bool is_hanging = !cluster.is_up && cluster.is_hanging;

        call->path = xstrdup(path);
        call->on_reply = on_reply;
        call->owner = owner;
        clock_plan(&call->event, is_hanging ? KUBE_TIMEOUT_MS : chance_between(1, 15), on_answer,
                   call);
        return call;
}

/* ---- cdi/store ---- */

struct cdi_store {
        char *bytes; /* the content that the file must have */
};

struct cdi_store *cdi_store_new(const char *directory)
{
        return xcalloc(1, sizeof(struct cdi_store));
}

void cdi_store_set_other_way(struct cdi_store *store, const char *directory)
{
}

void cdi_store_free(struct cdi_store *store)
{
        free(store->bytes);
        free(store);
}

void host_remove_spec(void)
{
        free(take_ptr(host.spec));
        host.spec_claims = host.spec_plugins = 0;
}

static uint64_t devices_named(const char *spec, const char *prefix)
{
        uint64_t devices = 0;

        for (unsigned i = 0; i < 64; ++i) {
                _cleanup_(free) char *name = xasprintf("\"%s%u\"", prefix, i);

                if (strstr(spec, name))
                        devices |= UINT64_C(1) << i;
        }
        return devices;
}

/* After a failed write of the spec the driver offers nothing until its next try. */
static void set_spec_refused(bool is_refused)
{
        if (driver.is_spec_refused && !is_refused)
                truth_disturbed();
        driver.is_spec_refused = is_refused;
}

static int write_spec(const struct cdi_store *store, struct error *err)
{
        if (!store->bytes) {
                set_spec_refused(false);
                host_remove_spec();
                set_spec_refused(false);
                return 0;
        }
        if (host.spec && strcmp(host.spec, store->bytes) == 0) {
                set_spec_refused(false);
                return 0;
        }
        set_spec_refused(host.is_spec_stuck);
        if (host.is_spec_stuck)
                return error_set(err, -ENOSPC, "the CDI spec cannot be written");
        host_remove_spec();
        host.spec = xstrdup(store->bytes);
        host.spec_claims = devices_named(host.spec, PREPARE_CDI_PREFIX);
        host.spec_plugins = devices_named(host.spec, PLUGIN_SERVICE_CDI_PREFIX);
        return CDI_STORE_WRITTEN;
}

int cdi_store_set(struct cdi_store *store, const char *bytes, size_t n, struct error *err)
{
        free(store->bytes);
        store->bytes = bytes ? xstrndup(bytes, n) : NULL;
        return write_spec(store, err);
}

int cdi_store_verify(struct cdi_store *store, struct error *err)
{
        return driver.fault == FAULT_NO_SPEC ? 0 : write_spec(store, err);
}

int cdi_ensure_mount_source(const char *path, const char *host_path, struct error *err)
{
        return 0;
}

/* ---- dra/podresources: one question at a time; the list is taken some time before the answer
 * arrives ---- */

struct podresources {
        struct podresources_options options;
        struct event event;
        uint64_t listed;
        struct listed_claim {
                char name[16];
                char device[DEVICE_NAME_SIZE];
        } * claims;
        size_t n_claims;
        unsigned n_waited; /* waits so far for a hanging kubelet */
        bool is_failed;
        bool has_pods;
        bool should_ask_again;
};

/* kubelet lists a claim by name from its Prepare until its pod is gone. */
static void list_claim(struct podresources *podresources, const struct pod *pod)
{
        for (unsigned i = 0; i < N_IDS; ++i)
                if (pod->allocated >> i & 1) {
                        struct listed_claim *claim;

                        podresources->claims =
                                xreallocarray(podresources->claims, podresources->n_claims + 1,
                                              sizeof(*podresources->claims));
                        claim = &podresources->claims[podresources->n_claims++];
                        snprintf(claim->name, sizeof(claim->name), "%s", pod->name);
                        device_print(claim->device, i);
                }
}

static void tell_claims(struct podresources *podresources, bool has_pods, const struct error *error)
{
        _cleanup_(free) struct device_prepared *devices =
                xcalloc(podresources->n_claims, sizeof(*devices));

        for (size_t i = 0; i < podresources->n_claims; ++i)
                devices[i] = (struct device_prepared){
                        .namespace_ = NAMESPACE,
                        .claim = podresources->claims[i].name,
                        .pool = NODE,
                        .device = podresources->claims[i].device,
                        .cdi = "",
                };
        podresources->options.on_claims(podresources->options.owner, devices,
                                        error->code ? 0 : podresources->n_claims, has_pods, error);
}

static void on_told(void *owner)
{
        const struct error refused = { -EAGAIN, "podresources: no answer" };
        const struct error none = ERROR_NULL;
        struct podresources *podresources = owner;
        bool is_failed = podresources->is_failed || !kubelet.is_up;
        const char *names[N_IDS];
        size_t n = names_of(podresources->listed, names);

        tell_claims(podresources, !is_failed && podresources->has_pods,
                    is_failed ? &refused : &none);
        if (is_failed && driver.fault == FAULT_RELEASE_ON_MISSING)
                podresources->options.on_list(podresources->options.owner, NULL, 0, true, &none);
        else if (is_failed)
                podresources->options.on_list(podresources->options.owner, NULL, 0, false,
                                              &refused);
        else
                podresources->options.on_list(podresources->options.owner, names, n,
                                              podresources->has_pods, &none);
        if (podresources->should_ask_again) {
                podresources->should_ask_again = false;
                podresources_ask(podresources);
        }
}

static void on_asked(void *owner)
{
        struct podresources *podresources = owner;
        const struct list *position;

        if (kubelet.is_up && kubelet.is_silent && kubelet.is_hanging &&
            ++podresources->n_waited <= TIMEOUT_MS / 250) {
                clock_plan(&podresources->event, 250, on_asked, podresources);
                return;
        }
        podresources->n_waited = 0;
        podresources->is_failed = !kubelet.is_up || kubelet.is_silent;
        podresources->has_pods = kubelet.is_aware; /* at least the driver's own pod */
        podresources->listed = 0;
        podresources->n_claims = 0;
        list_for_each (position, &pods) {
                const struct pod *pod = container_of(position, struct pod, link);

                if (kubelet.is_aware && pod->is_listed)
                        podresources->listed |= pod->ids;
                if (kubelet.is_aware && pod->is_claim && pod->has_claim_info &&
                    pod->stage == POD_RUNNING)
                        list_claim(podresources, pod);
        }
        clock_plan(&podresources->event, chance_between(0, 10), on_told, podresources);
}

void podresources_ask(struct podresources *podresources)
{
        if (clock_is_planned(&podresources->event))
                podresources->should_ask_again = true;
        else
                clock_plan(&podresources->event, chance_between(1, 10), on_asked, podresources);
}

struct podresources *podresources_new(const struct podresources_options *options)
{
        struct podresources *podresources = xcalloc(1, sizeof(*podresources));

        podresources->options = *options;
        return podresources;
}

void podresources_stop(struct podresources *podresources)
{
        clock_cancel(&podresources->event);
}

void podresources_free(struct podresources *podresources)
{
        free(podresources->claims);
        free(podresources);
}

/* ---- dra/deviceplugin: registers with each kubelet, pushes each list ---- */

struct plugin_service {
        struct plugin_service_options options;
        uint64_t healthy, known;
        bool is_set;
        bool is_registered;
        unsigned incarnation; /* the kubelet's that we know */
        struct event registering;
        struct event push;
        struct event retry;
};

static struct plugin_service *plugin; /* the running driver's */
static struct event socket_news;

static bool is_registered(const struct plugin_service *of)
{
        return of->is_registered && kubelet.is_up && of->incarnation == kubelet.incarnation;
}

static void on_push(void *owner)
{
        struct plugin_service *of = owner;

        if (is_registered(of))
                kubelet_plugin_list(of->healthy);
}

static void push_soon(struct plugin_service *of)
{
        if (is_registered(of) && !clock_is_planned(&of->push))
                clock_plan(&of->push, chance_between(1, 5), on_push, of);
}

static void on_retry(void *owner)
{
        plugin_service_check(owner);
}

static void on_registering(void *owner)
{
        struct plugin_service *of = owner;

        if (!kubelet.is_up || of->incarnation != kubelet.incarnation) {
                clock_plan(&of->retry, chance_between(50, 1000), on_retry, of);
                return;
        }
        of->is_registered = true;
        push_soon(of);
}

void plugin_service_check(struct plugin_service *of)
{
        if (!of->is_set || !kubelet.is_up)
                return;
        if (of->incarnation != kubelet.incarnation) {
                of->incarnation = kubelet.incarnation;
                of->is_registered = false;
                of->options.on_kubelet_started(of->options.owner);
        }
        if (!of->is_registered && !clock_is_planned(&of->registering))
                clock_plan(&of->registering, chance_between(5, 300), on_registering, of);
}

void plugin_service_set(struct plugin_service *of, const struct plugin_service_device *devices,
                        size_t n)
{
        uint64_t healthy = 0, known = 0;
        unsigned index;

        for (size_t i = 0; i < n; ++i) {
                if (device_parse(devices[i].id, &index) < 0 || index >= N_IDS)
                        trace_violation("a device named %s is offered to kubelet", devices[i].id);
                known |= UINT64_C(1) << index;
                healthy |= (uint64_t)devices[i].is_healthy << index;
        }
        if (of->is_set && of->healthy == healthy && of->known == known)
                return;
        of->healthy = healthy;
        of->known = known;
        if (!of->is_set) {
                of->is_set = true;
                plugin_service_check(of);
        }
        push_soon(of);
}

struct plugin_service *plugin_service_new(const struct plugin_service_options *options)
{
        plugin = xcalloc(1, sizeof(*plugin));
        plugin->options = *options;
        return plugin;
}

void plugin_service_set_mount(struct plugin_service *of, const struct cdi_mount *mount)
{
}

uint64_t plugin_service_kubelet_age_ms(struct plugin_service *of)
{
        return kubelet.is_up ? clock_now() - kubelet.started_ms : UINT64_MAX;
}

enum plugin_service_standing plugin_service_standing(const struct plugin_service *of)
{
        return of->is_registered ? PLUGIN_SERVICE_REGISTERED : PLUGIN_SERVICE_UNREGISTERED;
}

/* The storm has no metrics. */
uint64_t plugin_service_n_lists(const struct plugin_service *of)
{
        return 0;
}

void plugin_service_stop(struct plugin_service *of)
{
        clock_cancel(&of->registering);
        clock_cancel(&of->push);
        clock_cancel(&of->retry);
        plugin = NULL;
}

void plugin_service_free(struct plugin_service *of)
{
        free(of);
}

static void on_socket_news(void *unused)
{
        if (plugin)
                plugin_service_check(plugin);
}

void seam_kubelet_socket_changed(void)
{
        clock_plan(&socket_news, chance_between(5, 50), on_socket_news, NULL);
}

int seam_allocate(uint64_t ids, struct error *err)
{
        const char *names[N_IDS];
        size_t n = names_of(ids, names);
        int r;

        if (!plugin || !is_registered(plugin))
                return error_set(err, -ENOTCONN, "the endpoint is not there");
        r = plugin->options.on_allocate(plugin->options.owner, names, n, err);
        return driver.fault == FAULT_NO_CHECK ? 0 : r;
}
