/* SPDX-License-Identifier: Apache-2.0 */
#include "admin/check.h"

#include "base/error.h"
#include "base/memory.h"
#include "config.h"
#include "host/misc.h"
#include "host/qgs_path.h"
#include "host/qgs_probe.h"
#include "kube/api.h"
#include "kube/credentials.h"
#include "kube/http.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <uv.h>

static bool report(bool is_ok, const char *item, const char *text)
{
        printf("%-5s %-12s %s\n", is_ok ? "ok" : "FAIL", item, text);
        return is_ok;
}

static bool check_config(const struct config *config)
{
        struct error error = ERROR_NULL;
        bool is_ok = config_check(config, &error) == 0;

        return report(is_ok, "flags",
                      is_ok ? "node name, socket paths and QGS directory are fit" : error.text);
}

static bool check_capacity(const struct config *config)
{
        struct error error = ERROR_NULL;
        char path[PATH_MAX] = "";
        char text[PATH_MAX + 64];
        uint64_t capacity = 0;
        int r = 0;

        if (config->capacity >= 0)
                capacity = (uint64_t)config->capacity;
        else
                r = misc_read(config->misc_capacity, config->cgroup_root, &capacity, path, &error);
        if (r < 0)
                return report(false, "capacity", error.text);
        if (r == MISC_NO_TDX)
                snprintf(text, sizeof(text), "%s has no tdx line: load kvm_intel with tdx=1", path);
        else if (r == MISC_NO_FILE)
                snprintf(text, sizeof(text), "no misc.capacity below %s: see --misc-capacity",
                         config->cgroup_root);
        else
                snprintf(text, sizeof(text), "%llu TDs (%s)", (unsigned long long)capacity,
                         *path ? path : "--capacity");
        return report(!r, "capacity", text);
}

/* The directory, or the nearest one above it that exists, takes new files. */
static bool check_writable(const char *item, const char *path)
{
        __attribute__((cleanup(cleanup_free))) char *nearest = xstrdup(path);
        char text[PATH_MAX + 64];
        bool is_ok;

        while (access(nearest, F_OK) < 0 && errno == ENOENT && strrchr(nearest, '/') > nearest)
                *strrchr(nearest, '/') = '\0';
        is_ok = access(nearest, W_OK | X_OK) == 0;
        snprintf(text, sizeof(text), "%s: %s", nearest, is_ok ? "writable" : strerror(errno));
        return report(is_ok, item, text);
}

static bool check_qgs(const struct config *config)
{
        const char *socket = config->qgs_socket ? config->qgs_socket : QGS_PATH_DEFAULT;
        char text[PATH_MAX + 512];
        struct qgs_verdict_state state;

        qgs_judge_once(config->host_root, socket, &state);
        if (state.state == QGS_ANSWERING)
                snprintf(text, sizeof(text), "%s answers", socket);
        else
                snprintf(text, sizeof(text), "%s: %s", qgs_state_name(state.state), state.reason);
        /* Not a failure unless it is enforced: VMs run without attestation until QGS comes. */
        return report(state.state == QGS_ANSWERING || config->attestation != CONFIG_ENFORCED, "QGS",
                      text);
}

struct probe {
        struct http *http;
        bool is_ok;
        struct error error;
};

static void on_node(void *owner, const struct kube_reply *reply)
{
        struct probe *probe = owner;

        probe->is_ok = reply->outcome == KUBE_OK;
        probe->error = reply->error;
        http_free(probe->http);
}

static bool check_api(const struct config *config)
{
        const struct kube_credentials_options options = { .api_server = config->api_server,
                                                          .ca_file = config->ca_file,
                                                          .token_file = config->token_file,
                                                          .client_cert = config->client_cert,
                                                          .client_key = config->client_key };
        __attribute__((cleanup(cleanup_kube_credentials))) struct kube_credentials credentials =
                KUBE_CREDENTIALS_NULL;
        __attribute__((cleanup(cleanup_free))) char *path = NULL;
        struct probe probe = { 0 };
        struct kube_api *api;
        char text[ERROR_TEXT_SIZE];
        uv_loop_t loop;
        int r;

        r = kube_credentials_resolve(&options, &credentials, &probe.error);
        if (r == KUBE_CREDENTIALS_NONE)
                return report(false, "API server", "none: give --api-server, or run in a pod");
        if (r < 0)
                return report(false, "API server", probe.error.text);
        if (!config->node_name)
                return report(false, "API server", "not asked: the node's name is not known");
        if (uv_loop_init(&loop) < 0)
                return report(false, "API server", "not asked: cannot set up an event loop");
        r = http_new(&loop, &credentials, &probe.http, &probe.error);
        if (!r) {
                api = kube_api_new(probe.http);
                path = kube_path_node(config->node_name);
                (void)kube_get(api, path, "Node", on_node, &probe);
                uv_run(&loop, UV_RUN_DEFAULT);
                kube_api_free(api);
        }
        uv_loop_close(&loop);
        snprintf(text, sizeof(text), "%.200s knows node %.200s", credentials.url,
                 config->node_name);
        return report(probe.is_ok, "API server", probe.is_ok ? text : probe.error.text);
}

int check_run(const struct config *config)
{
        bool is_ok = check_config(config);

        is_ok &= check_capacity(config);
        is_ok &= check_writable("state", config->state_dir);
        is_ok &= check_writable("CDI", config->cdi_dir);
        is_ok &= check_qgs(config);
        is_ok &= check_api(config);
        return is_ok ? 0 : 1;
}
