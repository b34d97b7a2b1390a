/* SPDX-License-Identifier: Apache-2.0 */
#include "admin/inspect.h"

#include "admin/running.h"

#include "attestation.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "cdi/spec.h"
#include "claims/records.h"
#include "config.h"
#include "host/misc.h"
#include "host/qgs_path.h"
#include "host/qgs_probe.h"
#include "ledger.h"
#include "plugin/plugin.h"
#include "plugin/service.h"
#include "rpc/listener.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>

#define RECORD_MAX (1 << 20)
#define SPEC_MAX   (16 << 20)

static void print_capacity(const struct config *config)
{
        struct error error = ERROR_NULL;
        char path[PATH_MAX] = "";
        uint64_t capacity;
        int r;

        if (config->capacity >= 0) {
                printf("capacity   %lld TDs (--capacity), %u reserved\n",
                       (long long)config->capacity, config->reserve);
                return;
        }
        r = misc_read(config->misc_capacity, config->cgroup_root, &capacity, path, &error);
        if (r < 0)
                printf("capacity   unknown: %s\n", error.text);
        else if (r == MISC_NO_TDX)
                printf("capacity   0 TDs: %s has no tdx line\n", path);
        else if (r == MISC_NO_FILE)
                printf("capacity   0 TDs: no misc.capacity below %s\n", config->cgroup_root);
        else
                printf("capacity   %llu TDs (%s), %u reserved\n", (unsigned long long)capacity,
                       path, config->reserve);
}

static void print_instance(const struct config *config)
{
        __attribute__((cleanup(cleanup_free))) char *path = xasprintf("%s/lock", config->state_dir);
        __attribute__((cleanup(cleanup_close))) int fd = open(path, O_RDONLY | O_CLOEXEC);

        if (fd < 0)
                printf("driver     has never run here (%s: %s)\n", path, strerror(errno));
        else
                printf("driver     %s\n",
                       flock(fd, LOCK_SH | LOCK_NB) == 0 ? "not running" : "running");
}

static void print_claim(const struct ledger_claim *claim)
{
        if (claim->is_uncertain) {
                printf("  uid %s  its record was unreadable, counted as %u TDs until kubelet "
                       "speaks "
                       "of it\n",
                       claim->uid, claim->uncertain_tds);
                return;
        }
        printf("  %s/%s  uid %s ", claim->namespace_, claim->name, claim->uid);
        for (size_t i = 0; i < claim->n_devices; ++i) {
                const struct ledger_device *device = &claim->devices[i];

                if (device->is_admin_access)
                        printf(" %s (adminAccess)", device->device);
                else
                        printf(" %s as " CDI_KIND "=dra-tdx%u", device->device, device->slot);
        }
        puts("");
}

/* Prints one record; TDs it holds. */
static unsigned print_record(int directory_fd, const char *uid)
{
        _cleanup_(ledger_claim) struct ledger_claim *claim = NULL;
        __attribute__((cleanup(cleanup_free))) char *bytes = NULL;
        struct error error = ERROR_NULL;
        size_t n;
        int r;

        r = file_read(directory_fd, uid, RECORD_MAX, &bytes, &n, &error);
        if (!r)
                r = records_decode(bytes, n, &claim, &error);
        if (r) {
                printf("  uid %s  unreadable, counted as one TD: %s\n", uid,
                       r == RECORDS_NEWER ? "written by a newer version" : error.text);
                return 1;
        }
        print_claim(claim);
        return ledger_claim_weight(claim);
}

static void print_claims(const struct config *config)
{
        __attribute__((cleanup(cleanup_free))) char *path =
                xasprintf("%s/claims", config->state_dir);
        unsigned n_claims = 0, n_held = 0;
        const struct dirent *entry;
        DIR *directory = opendir(path);

        if (!directory) {
                printf("claims     none: %s: %s\n", path, strerror(errno));
                return;
        }
        printf("claims     in %s\n", path);
        while ((entry = readdir(directory))) {
                if (!records_uid_is_valid(entry->d_name))
                        continue;
                n_held += print_record(dirfd(directory), entry->d_name);
                ++n_claims;
        }
        closedir(directory);
        printf("held       %u TDs by %u claims\n", n_held, n_claims);
}

static void print_plugin(const struct config *config)
{
        __attribute__((cleanup(cleanup_free))) char *foreign =
                xasprintf("%s/device-plugins/" PLUGIN_SERVICE_FOREIGN, config->kubelet_dir);

        printf("plugin     %zu devices held or lingering, as last written down\n",
               plugin_n_recorded(config->state_dir));
        if (rpc_listener_is_served(foreign))
                printf("           another plugin serves " PLUGIN_SERVICE_RESOURCE
                       " (%s): ours stands back, and what\n"
                       "           it hands out is counted. Turn it off, or park KubeVirt's own "
                       "and "
                       "run with --serve=dra (see README)\n",
                       foreign);
}

static void print_qgs(const struct config *config)
{
        __attribute__((cleanup(cleanup_free))) char *recorded =
                attestation_recorded_socket(config->state_dir);
        const char *socket = config->qgs_socket ? config->qgs_socket
                             : recorded         ? recorded
                                                : QGS_PATH_DEFAULT;
        struct qgs_verdict_state state;

        qgs_judge_once(config->host_root, socket, &state);
        printf("QGS        %s%s%s\n", qgs_state_name(state.state), *state.reason ? ": " : " at ",
               *state.reason ? state.reason : socket);
}

static void print_cdi(const struct config *config)
{
        __attribute__((cleanup(cleanup_free))) char *path =
                xasprintf("%s/%s", config->cdi_dir, CDI_SPEC_FILE);
        __attribute__((cleanup(cleanup_free))) char *bytes = NULL;
        _cleanup_(json) struct json *spec = NULL;
        struct error error = ERROR_NULL;
        size_t n;

        if (file_read(AT_FDCWD, path, SPEC_MAX, &bytes, &n, &error) < 0 ||
            json_parse(bytes, n, &spec, &error) < 0)
                printf("CDI spec   %s\n", error.text);
        else
                printf("CDI spec   %s, %zu devices\n", path, json_count(json_get(spec, "devices")));
}

int inspect_run(const struct config *config)
{
        printf("node       %s\n", config->node_name ? config->node_name : "(no --node-name)");
        print_instance(config);
        print_capacity(config);
        running_print(config);
        print_claims(config);
        print_plugin(config);
        print_qgs(config);
        print_cdi(config);
        return 0;
}
