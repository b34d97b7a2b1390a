/* SPDX-License-Identifier: Apache-2.0 */
#include "admin/inspect.h"

#include "admin/running.h"
#include "admin/survey.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/socket.h"
#include "base/text.h"
#include "cdi/spec.h"
#include "claims/record.h"
#include "claims/records.h"
#include "config.h"
#include "ledger.h"
#include "plugin/service.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>

#define SPEC_MAX (16 << 20)

static void print_capacity(const struct config *config, const struct survey *survey)
{
        const struct capacity_sight *capacity = &survey->capacity;

        if (capacity->outcome < 0)
                printf("capacity   unknown: %s\n", capacity->reason);
        else
                printf("capacity   %llu TDs (%s), %u reserved%s%s\n",
                       (unsigned long long)capacity->n_host,
                       *capacity->source ? capacity->source : config->cgroup_root, config->reserve,
                       *capacity->reason ? ": " : "", capacity->reason);
}

static void print_instance(const struct config *config)
{
        _cleanup_(free) char *path = xasprintf("%s/lock", config->state_dir);
        _cleanup_(close) int fd = open(path, O_RDONLY | O_CLOEXEC);

        if (fd < 0)
                printf("driver     has never run here (%s: %s)\n", path, strerror(errno));
        else
                printf("driver     %s\n",
                       flock(fd, LOCK_SH | LOCK_NB) == 0 ? "not running" : "running");
}

static void print_certain(const struct ledger_claim *claim)
{
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

static void print_claim(const struct ledger_claim *claim, int r, const struct error *reason)
{
        if (r)
                printf("  uid %s  %s, held as %u TD%s until kubelet mentions it: %s\n", claim->uid,
                       r == CLAIMS_RECORD_NEWER ? "newer" : "damaged", ledger_claim_weight(claim),
                       text_plural(ledger_claim_weight(claim)), reason->text);
        else if (claim->is_uncertain)
                printf("  uid %s  its record was unreadable, held as %u TD%s until kubelet "
                       "mentions "
                       "it\n",
                       claim->uid, ledger_claim_weight(claim),
                       text_plural(ledger_claim_weight(claim)));
        else
                print_certain(claim);
}

static void print_held(const struct survey *survey)
{
        const struct survey_held *held = &survey->held;

        if (held->error.code)
                printf("held       not known: %s\n", held->error.text);
        else
                printf("held       %u TD%s by %u claim%s\n", held->by_claims,
                       text_plural(held->by_claims), held->n_claims, text_plural(held->n_claims));
        printf("left       %u TD%s to offer\n", survey->n_left, text_plural(survey->n_left));
}

static void print_plugin(const struct config *config, const struct survey *survey)
{
        _cleanup_(free) char *foreign =
                xasprintf("%s/" PLUGIN_SERVICE_FOREIGN, config->device_plugin_dir);

        printf("plugin     %u device%s held or lingering, as last recorded\n",
               survey->held.by_plugin, text_plural(survey->held.by_plugin));
        if (socket_is_served(foreign))
                printf("           another plugin serves " PLUGIN_SERVICE_RESOURCE
                       " (%s): ours stays unregistered, and\n"
                       "           TDs that it allocates are counted. Turn it off, or park "
                       "KubeVirt's plugin and run with --serve=dra (see README)\n",
                       foreign);
}

static void print_qgs(const struct survey *survey)
{
        const struct survey_settings *settings = &survey->settings;

        printf("attest     %s%s, socket %s (in the VM %s): %s\n",
               settings->is_enforced ? "enforced" : "not enforced",
               settings->is_refused ? ", refuses a setting" : "",
               settings->host_socket ? settings->host_socket : "none",
               settings->vm_socket ? settings->vm_socket : "none", settings->source);
        printf("QGS        %s%s%s\n", qgs_state_name(survey->qgs.state),
               *survey->qgs.reason     ? ": "
               : settings->host_socket ? " at "
                                       : "",
               *survey->qgs.reason     ? survey->qgs.reason
               : settings->host_socket ? settings->host_socket
                                       : "");
}

static void print_cdi(const struct config *config)
{
        _cleanup_(free) char *path = xasprintf("%s/%s", config->cdi_dir, CDI_SPEC_FILE);
        _cleanup_(free) char *bytes = NULL;
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
        const struct survey_options options = { .on_record = print_claim };
        _cleanup_(survey) struct survey survey;

        printf("node       %s\n", config->node_name ? config->node_name : "(no --node-name)");
        print_instance(config);
        printf("claims     in %s/claims\n", config->state_dir);
        survey_make(config, &options, &survey);
        print_capacity(config, &survey);
        print_held(&survey);
        running_print(config, &survey.capacity);
        print_plugin(config, &survey);
        print_qgs(&survey);
        print_cdi(config);
        return 0;
}
