/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "base/address.h"
#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/options.h"
#include "base/parse.h"
#include "base/table.h"
#include "base/text.h"
#include "device.h"
#include "host/kubelet.h"
#include "host/qgs_path.h"
#include "host/relay_message.h"
#include "rpc/listener.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <string.h>

/* kubelet gives up on a Prepare after 45 s; leave 5 s to read and record the claim. */
#define PREPARE_WAIT_MAX_MS 40000

static int parse_capacity(const struct option *option, const char *value, void *field,
                          struct error *err)
{
        uint64_t n;

        if (parse_u64(value, strlen(value), &n) < 0 || n > DEVICE_INDEX_MAX)
                return option_invalid(option, value, "a number of TDs from 0 to 4096", err);
        *(int64_t *)field = (int64_t)n;
        return 0;
}

static int parse_reserve(const struct option *option, const char *value, void *field,
                         struct error *err)
{
        int64_t n = 0;
        int r;

        r = parse_capacity(option, value, &n, err);
        if (!r)
                *(unsigned *)field = (unsigned)n;
        return r;
}

static int parse_foreign(const struct option *option, const char *value, void *field,
                         struct error *err)
{
        bool is_ignoring = strcmp(value, "ignore") == 0;

        if (!is_ignoring && strcmp(value, "count") != 0)
                return option_invalid(option, value, "count or ignore", err);
        *(bool *)field = is_ignoring;
        return 0;
}

static int parse_prepare_wait(const struct option *option, const char *value, void *field,
                              struct error *err)
{
        uint64_t ms;

        if (parse_duration_ms(value, &ms) < 0 || ms > PREPARE_WAIT_MAX_MS)
                return option_invalid(option, value,
                                      "a duration from 0 to 40s (kubelet gives up after 45s)", err);
        *(uint64_t *)field = ms;
        return 0;
}

static int parse_poll_interval(const struct option *option, const char *value, void *field,
                               struct error *err)
{
        uint64_t ms;

        if (parse_duration_ms(value, &ms) < 0 || ms < 100 || ms > 30000)
                return option_invalid(option, value, "a duration from 100ms to 30s", err);
        *(uint64_t *)field = ms;
        return 0;
}

static int parse_reconcile_after(const struct option *option, const char *value, void *field,
                                 struct error *err)
{
        uint64_t ms;

        if (parse_duration_ms(value, &ms) < 0 || ms < 1000 || ms > 3600000)
                return option_invalid(option, value, "a duration from 1s to 1h", err);
        *(uint64_t *)field = ms;
        return 0;
}

static int parse_yes_no(const struct option *option, const char *value, void *field,
                        struct error *err)
{
        bool is_yes = strcmp(value, "yes") == 0;

        if (!is_yes && strcmp(value, "no") != 0)
                return option_invalid(option, value, "yes or no", err);
        *(bool *)field = is_yes;
        return 0;
}

static int parse_serve(const struct option *option, const char *value, void *config_field,
                       struct error *err)
{
        struct config *config = config_field;
        bool is_both = strcmp(value, "both") == 0, is_dra = strcmp(value, "dra") == 0;

        if (!is_both && !is_dra && strcmp(value, "plugin") != 0)
                return option_invalid(option, value, "one of dra, plugin, both", err);
        config->serves_dra = is_both || is_dra;
        config->serves_plugin = !is_dra;
        return 0;
}

static int parse_share(const struct option *option, const char *value, void *field,
                       struct error *err)
{
        uint64_t split;

        if (strcmp(value, "dynamic") == 0) {
                *(int64_t *)field = -1;
                return 0;
        }
        if (strncmp(value, "split=", 6) != 0 ||
            parse_u64(value + 6, strlen(value + 6), &split) < 0 || split > DEVICE_INDEX_MAX)
                return option_invalid(option, value,
                                      "dynamic, or split=K with K TDs reserved to DRA", err);
        *(int64_t *)field = (int64_t)split;
        return 0;
}

static int parse_inject(const struct option *option, const char *value, void *field,
                        struct error *err)
{
        bool is_cdi = strcmp(value, "cdi") == 0;

        if (!is_cdi && strcmp(value, "mounts") != 0)
                return option_invalid(option, value, "mounts or cdi", err);
        *(bool *)field = is_cdi;
        return 0;
}

static int parse_attestation(const struct option *option, const char *value, void *field,
                             struct error *err)
{
        static const char *const names[] = { [CONFIG_FROM_KUBEVIRT] = "from-kubevirt",
                                             [CONFIG_ENFORCED] = "enforced",
                                             [CONFIG_OPTIONAL] = "optional" };

        for (size_t i = 0; i < array_size(names); ++i)
                if (strcmp(value, names[i]) == 0) {
                        *(enum config_attestation *)field = (enum config_attestation)i;
                        return 0;
                }
        return option_invalid(option, value, "one of from-kubevirt, enforced, optional", err);
}

static int parse_qgs(const struct option *option, const char *value, void *field, struct error *err)
{
        bool is_relaying = strcmp(value, "relay") == 0;

        if (!is_relaying && strcmp(value, "direct") != 0)
                return option_invalid(option, value, "direct or relay", err);
        *(bool *)field = is_relaying;
        return 0;
}

static int parse_listen(const struct option *option, const char *value, void *field,
                        struct error *err)
{
        struct sockaddr_storage parsed = { 0 };
        int r = address_parse(value, &parsed, err);

        if (r < 0) {
                error_prefix(err, "--%s", option->name);
                return r;
        }
        return option_parse_string(option, value, field, err);
}

#define field(name) offsetof(struct config, name)

/* In the order of --help. An entry without a name is the heading of the entries below it. */
/* clang-format off */
static const struct option rows[] = {
        { .meaning = "This node" },
        { "node-name", "NAME", NULL, "name of this node's Node object; also NODE_NAME", option_parse_string, field(node_name) },
        { "pod-uid", "UID", NULL, "UID of the driver's pod: gives each instance its own sockets during a rolling update; also POD_UID", option_parse_string, field(pod_uid) },
        { "kubelet-dir", "DIR", KUBELET_DIRECTORY, "kubelet's root directory, its --root-dir", option_parse_string, field(kubelet_dir) },
        { "device-plugin-dir", "DIR", KUBELET_DEVICE_PLUGIN_DIRECTORY, "kubelet's device plugin directory; --root-dir does not move it", option_parse_string, field(device_plugin_dir) },
        { "cdi-dir", "DIR", "/var/run/cdi", "directory that the container runtime reads CDI specs from", option_parse_string, field(cdi_dir) },
        { "host-root", "DIR", NULL, "prefix under which the driver sees the host's files when it runs in a container (/var/run is DIR/var/run); QGS is looked up below it", option_parse_string, field(host_root) },

        { .meaning = "How many TDs" },
        { "cgroup-root", "DIR", "/sys/fs/cgroup", "cgroup mount point; misc.capacity and the pods' cgroups are looked up below it", option_parse_string, field(cgroup_root) },
        { "misc-capacity", "FILE", NULL, "read the tdx line from FILE instead", option_parse_string, field(misc_capacity) },
        { "capacity", "N", NULL, "number of TDs that this host can run; misc.capacity is not read", parse_capacity, field(capacity) },
        { "foreign", "count|ignore", "count", "TDs that run outside Kubernetes (libvirt, Kata, leaked key IDs): count subtracts them from the offer, ignore only shows them; needs the host's cgroups", parse_foreign, field(is_ignoring_foreign) },
        { "reserve", "K", "0", "keep K TDs back for VMs outside Kubernetes", parse_reserve, field(reserve) },

        { .meaning = "Who gets them" },
        { "serve", "PATHS", "both", "dra (claims), plugin (plain pods that ask for devices.kubevirt.io/tdx), or both", parse_serve, 0 },
        { "share", "POLICY", "dynamic", "dynamic: both paths offer every free TD; split=K: K TDs are for claims, the others for plain pods", parse_share, field(split) },
        { "prepare-wait", "TIME", "30s", "how long a claim waits for a TD that is still held", parse_prepare_wait, field(prepare_wait_ms) },
        { "plugin-inject", "WHAT", "mounts", "how the device plugin hands over the QGS socket: mounts, or cdi (names of CDI devices)", parse_inject, field(is_injecting_cdi) },

        { .meaning = "Attestation" },
        { "attestation", "POLICY", "from-kubevirt", "enforced: place no new VM here while QGS does not answer; optional: always place VMs; from-kubevirt: do what the KubeVirt CR says", parse_attestation, field(attestation) },
        { "qgs", "direct|relay", "direct", "how a VM reaches QGS: direct, by QGS's own socket; relay, by a socket of its own that tdx-quote-relay keeps through every restart of QGS (if no relay runs, direct)", parse_qgs, field(is_relaying) },
        { "relay-dir", "DIR", RELAY_DIRECTORY, "tdx-quote-relay's directory", option_parse_string, field(relay_dir) },
        { "quote-log", "FILE|journal", NULL, "with the relay: write a line of JSON for each request of a VM (time, node, device, namespace, pod, outcome, latency, SHA-256 of the report data)", option_parse_string, field(quote_log) },
        { "qgs-socket", "PATH", NULL, "socket of the Quote Generation Service (QGS) on the host; default: the KubeVirt CR's, or " QGS_PATH_DEFAULT ". The driver asks QGS for PLATFORM_INFO every 8 s, which starts a socket-activated QGS", option_parse_string, field(qgs_socket) },
        { "vm-qgs-socket", "PATH", NULL, "path of that socket in the VM's container, where QEMU connects to it; default: as for --qgs-socket", option_parse_string, field(vm_qgs_socket) },

        { .meaning = "API server (a pod needs none of these)" },
        { "api-server", "URL", NULL, "URL of the Kubernetes API server; default: the pod's service account and environment", option_parse_string, field(api_server) },
        { "ca-file", "FILE", NULL, "certificate authority of the API server", option_parse_string, field(ca_file) },
        { "token-file", "FILE", NULL, "bearer token; read again when the file changes", option_parse_string, field(token_file) },
        { "client-cert", "FILE", NULL, "client certificate (PEM); needs --client-key", option_parse_string, field(client_cert) },
        { "client-key", "FILE", NULL, "private key of the client certificate (PEM)", option_parse_string, field(client_key) },

        { .meaning = "Operation" },
        { "reconcile-after", "TIME", "60s", "how long a claim must be missing from the API server before the driver takes its TD back; after a start kubelet has that long to clean up first", parse_reconcile_after, field(reconcile_after_ms) },
        { "poll-interval", "TIME", "30s", "how often the driver reads misc.capacity and checks its own files", parse_poll_interval, field(poll_interval_ms) },
        { "listen", "ADDR:PORT", NULL, "serve /metrics, /healthz and /readyz on this address (:8080, 127.0.0.1:8080, [::1]:8080); default: off", parse_listen, field(listen) },
        { "log-level", "LEVEL", "info", "error, warn, info or debug", option_parse_log_level, field(log_level) },
        { "log-format", "FORMAT", "text", "text or json", option_parse_log_format, field(log_format) },
        { "durable", "yes|no", "yes", "no: skip fsync, for measurements only", parse_yes_no, field(is_durable) },
};
/* clang-format on */

static const struct options options = { rows, array_size(rows) };

/* Kubernetes' usual names for what the downward API gives. */
static void set_from_downward_api(struct config *config)
{
        static const struct {
                const char *variable;
                size_t offset;
        } downward[] = { { "NODE_NAME", field(node_name) }, { "POD_UID", field(pod_uid) } };

        for (size_t i = 0; i < array_size(downward); ++i) {
                char **string = (void *)((char *)config + downward[i].offset);
                const char *value = getenv(downward[i].variable);

                if (value && *value)
                        *string = xstrdup(value);
        }
}

static void derive_sockets(struct config *config, const char *instance)
{
        const char *dash = *instance ? "-" : "";

        free(config->dra_socket);
        free(config->registration_socket);
        config->dra_socket = xasprintf("%s/dra%s%s.sock", config->state_dir, dash, instance);
        config->registration_socket = xasprintf("%s/plugins_registry/" DRIVER_NAME "%s%s-reg.sock",
                                                config->kubelet_dir, dash, instance);
}

/* Where kubelet finds us. With a pod UID each instance has its own sockets, so that its successor
 * can stand by while it still serves (k8s.io/dynamic-resource-allocation/kubeletplugin,
 * RollingUpdate). A UID has 36 bytes, too many below MicroK8s' long kubelet directory: use a hash
 * of it then, as Kubernetes' own helper does. */
static void derive_paths(struct config *config)
{
        _cleanup_(free) char *hash = NULL;

        if (!config->host_root)
                config->host_root = xstrdup("");
        config->state_dir = xasprintf("%s/plugins/" DRIVER_NAME, config->kubelet_dir);
        derive_sockets(config, config->pod_uid ? config->pod_uid : "");
        if (!config->pod_uid || (rpc_listener_check_path(config->dra_socket, NULL) == 0 &&
                                 rpc_listener_check_path(config->registration_socket, NULL) == 0))
                return;
        hash = xasprintf("%016" PRIx64, table_hash(config->pod_uid));
        derive_sockets(config, hash);
}

int config_parse(int argc, char **argv, struct config *ret, struct error *err)
{
        _cleanup_(config) struct config config = CONFIG_NULL;
        int r;

        set_from_downward_api(&config);
        r = options_set_from_environment(&options, &config, err);
        if (!r)
                r = options_set_from_arguments(&options, argc, argv, &config, err);
        if (r)
                return r == OPTIONS_HELP ? CONFIG_HELP : r;
        derive_paths(&config);
        *ret = config;
        config = (struct config)CONFIG_NULL;
        return 0;
}

static int check_absolute(const char *flag, const char *path, struct error *err)
{
        if (path[0] != '/')
                return error_set(err, -EINVAL, "--%s: %s is not an absolute path", flag, path);
        return 0;
}

/* host/qgs_path.c refuses the usual locations; this refuses those that the node's flags name. */
static int check_outside(const char *what, const char *flag, const char *directory,
                         const char *qgs_directory, struct error *err)
{
        if (!qgs_path_is_within(qgs_directory, directory))
                return 0;
        return error_set(err, -EINVAL,
                         "%s: %s lies in --%s, which no VM may see: give QGS a separate directory, "
                         "like its default " QGS_PATH_DEFAULT,
                         what, qgs_directory, flag);
}

int config_check_qgs_socket(const struct config *config, const char *what, const char *socket,
                            struct error *err)
{
        _cleanup_(free) char *directory = NULL, *seen = NULL;
        int r;

        r = qgs_path_check(what, socket, config->host_root, err);
        if (r < 0)
                return r;
        seen = qgs_path_seen(config->host_root, socket);
        if (strlen(seen) > QGS_PATH_MAX)
                return error_set(
                        err, -EINVAL,
                        "%s: \"%s\" is too long for a socket path once --host-root %s is prepended",
                        what, socket, config->host_root);
        directory = file_directory_of(socket);
        r = check_outside(what, "kubelet-dir", config->kubelet_dir, directory, err);
        if (!r)
                r = check_outside(what, "device-plugin-dir", config->device_plugin_dir, directory,
                                  err);
        return r ? r : check_outside(what, "cdi-dir", config->cdi_dir, directory, err);
}

/* The VM mounts the directory, so the file keeps its name. */
static int check_names(const struct config *config, struct error *err)
{
        const char *vm = config->vm_qgs_socket ? config->vm_qgs_socket : QGS_PATH_DEFAULT;

        if (!config->qgs_socket || strcmp(strrchr(config->qgs_socket, '/'), strrchr(vm, '/')) == 0)
                return 0;
        return error_set(err, -EINVAL,
                         "--qgs-socket: %s and the VM's %s differ in their file names, but a VM "
                         "mounts the directory and cannot rename the file: set --vm-qgs-socket to "
                         "the path that the VM uses, with the same file name",
                         config->qgs_socket, vm);
}

/* The relay connects to QGS wherever it is, and VMs see the relay's directories alone. */
static int check_relayed_sockets(const struct config *config, struct error *err)
{
        int r = 0;

        if (config->relay_dir[0] != '/')
                return error_set(err, -EINVAL, "--relay-dir: %s is not an absolute path",
                                 config->relay_dir);
        if (config->qgs_socket)
                r = qgs_path_check_form("--qgs-socket", config->qgs_socket, err);
        if (!r && config->vm_qgs_socket)
                r = qgs_path_check_form("--vm-qgs-socket", config->vm_qgs_socket, err);
        return r;
}

int config_check_sockets(const struct config *config, struct error *err)
{
        int r = 0;

        if (config->is_relaying)
                return check_relayed_sockets(config, err);
        if (config->qgs_socket)
                r = config_check_qgs_socket(config, "--qgs-socket", config->qgs_socket, err);
        if (!r && config->vm_qgs_socket)
                r = qgs_path_check("--vm-qgs-socket", config->vm_qgs_socket, "", err);
        return r ? r : check_names(config, err);
}

int config_check(const struct config *config, struct error *err)
{
        int r;

        if (!config->node_name)
                return error_set(err, -EINVAL,
                                 "the node's name is not known: set --node-name, or NODE_NAME from "
                                 "the downward API");
        if (!text_is_dns_subdomain(config->node_name))
                return error_set(err, -EINVAL, "--node-name: \"%.253s\" is not a valid Node name",
                                 config->node_name);
        if (config->pod_uid &&
            strspn(config->pod_uid, "0123456789abcdefABCDEF-") != strlen(config->pod_uid))
                return error_set(err, -EINVAL, "--pod-uid: \"%.128s\" is not a UID",
                                 config->pod_uid);
        r = check_absolute("kubelet-dir", config->kubelet_dir, err);
        if (!r)
                r = check_absolute("device-plugin-dir", config->device_plugin_dir, err);
        if (!r)
                r = check_absolute("cdi-dir", config->cdi_dir, err);
        if (!r)
                r = rpc_listener_check_path(config->dra_socket, err);
        if (!r)
                r = rpc_listener_check_path(config->registration_socket, err);
        return r ? r : config_check_sockets(config, err);
}

void config_deinit(struct config *config)
{
        free(config->node_name);
        free(config->pod_uid);
        free(config->kubelet_dir);
        free(config->device_plugin_dir);
        free(config->cdi_dir);
        free(config->relay_dir);
        free(config->quote_log);
        free(config->qgs_socket);
        free(config->vm_qgs_socket);
        free(config->misc_capacity);
        free(config->cgroup_root);
        free(config->host_root);
        free(config->api_server);
        free(config->ca_file);
        free(config->token_file);
        free(config->client_cert);
        free(config->client_key);
        free(config->listen);
        free(config->state_dir);
        free(config->dra_socket);
        free(config->registration_socket);
        *config = (struct config)CONFIG_NULL;
}

void config_describe_flags(struct text *text)
{
        options_describe(&options, text);
}
