/* SPDX-License-Identifier: Apache-2.0 */
#include "admin/survey.h"

#include "attestation.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/timer.h"
#include "claims/recordfile.h"
#include "config.h"
#include "device.h"
#include "host/measure.h"
#include "host/misc_tree.h"
#include "host/qgs_probe.h"
#include "kube/api.h"
#include "kube/credentials.h"
#include "kube/http.h"
#include "ledger.h"
#include "plugin/plugin.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

/* ---- asking the API server ---- */

struct asking {
        const struct config *config;
        struct survey *survey;
        uv_loop_t loop;
        struct timer *patience;
        struct kube_credentials credentials;
        struct http *http;
        struct kube_api *api; /* NULL: no API server to ask */
        struct kube_call *node_call;
        struct attestation *attestation; /* NULL: the flags are invalid */
        bool is_node_told, is_patience_over;
};

static void say(struct asking *asking, bool is_ok, const char *text)
{
        struct survey_api *api = &asking->survey->api;

        api->is_ok = is_ok;
        snprintf(api->text, sizeof(api->text), "%s", text);
}

static void on_node(void *owner, const struct kube_reply *reply)
{
        struct asking *asking = owner;
        char text[ERROR_TEXT_SIZE];

        asking->is_node_told = true;
        snprintf(text, sizeof(text), "%.200s knows node %.200s", asking->credentials.url,
                 asking->config->node_name);
        say(asking, reply->outcome == KUBE_OK,
            reply->outcome == KUBE_OK ? text : reply->error.text);
}

static void find_api(struct asking *asking)
{
        const struct config *config = asking->config;
        const struct kube_credentials_options options = { .api_server = config->api_server,
                                                          .ca_file = config->ca_file,
                                                          .token_file = config->token_file,
                                                          .client_cert = config->client_cert,
                                                          .client_key = config->client_key };
        struct error error = ERROR_NULL;
        int r;

        r = kube_credentials_resolve(&options, &asking->credentials, &error);
        if (!r)
                r = http_new(&asking->loop, &asking->credentials, &asking->http, &error);
        if (!r)
                asking->api = kube_api_new(asking->http);
        else if (r == KUBE_CREDENTIALS_NONE)
                say(asking, false, "not running in a pod and no --api-server given");
        else
                say(asking, false, error.text);
}

static void ask_for_node(struct asking *asking)
{
        _cleanup_(free) char *path = NULL;

        asking->is_node_told = !asking->api || !asking->config->node_name;
        if (asking->api && asking->is_node_told)
                say(asking, false, "not asked: give --node-name");
        if (asking->is_node_told)
                return;
        path = kube_path_node(asking->config->node_name);
        asking->node_call = kube_get(asking->api, path, "Node", on_node, asking);
}

static void on_changed(void *owner)
{
        (void)owner; /* waking the loop is enough: ask() looks */
}

static void on_patience_over(void *owner)
{
        struct asking *asking = owner;

        asking->is_patience_over = true;
}

static void take_settings(struct asking *asking)
{
        struct survey_settings *ret = &asking->survey->settings;
        struct attestation_settings settings;

        attestation_settings(asking->attestation, &settings);
        ret->is_enforced = settings.is_enforced;
        ret->is_refused = settings.is_refused;
        ret->host_socket = xstrdup(settings.host_socket);
        ret->vm_socket = xstrdup(settings.vm_socket);
        snprintf(ret->source, sizeof(ret->source), "%s", settings.source);
}

/* run refuses to start with invalid socket flags, so report them instead of the settings. */
static bool are_sockets_fit(struct asking *asking)
{
        struct survey_settings *settings = &asking->survey->settings;
        struct error error = ERROR_NULL;

        if (config_check_sockets(asking->config, &error) == 0)
                return true;
        settings->is_refused = true;
        settings->is_enforced = asking->config->attestation == CONFIG_ENFORCED;
        snprintf(settings->source, sizeof(settings->source), "%s", error.text);
        return false;
}

static bool is_over(const struct asking *asking)
{
        struct attestation_settings settings = { .is_known = true };

        if (asking->attestation)
                attestation_settings(asking->attestation, &settings);
        return asking->is_patience_over || (asking->is_node_told && settings.is_known);
}

/* Returns once the settings and the node are known, or when the patience is over. */
static void ask(struct asking *asking, bool asks_for_node)
{
        const struct attestation_options options = { .loop = &asking->loop,
                                                     .config = asking->config,
                                                     .api = asking->api,
                                                     .only_asks = true,
                                                     .on_changed = on_changed,
                                                     .owner = asking };

        if (are_sockets_fit(asking))
                asking->attestation = attestation_new(&options);
        asking->is_node_told = true;
        if (asks_for_node)
                ask_for_node(asking);
        timer_start(asking->patience, SURVEY_PATIENCE_MS);
        while (!is_over(asking))
                uv_run(&asking->loop, UV_RUN_ONCE);
        if (!asking->is_node_told) {
                kube_cancel(asking->node_call);
                say(asking, false, "no answer");
        }
        if (!asking->attestation)
                return;
        take_settings(asking);
        attestation_stop(asking->attestation);
        attestation_free(asking->attestation);
}

static void ask_api(const struct config *config, bool asks_for_node, struct survey *ret)
{
        struct asking asking = { .config = config,
                                 .survey = ret,
                                 .credentials = KUBE_CREDENTIALS_NULL };

        if (uv_loop_init(&asking.loop) < 0)
                abort(); /* out of descriptors: nothing below would work either */
        /* The survey's texts repeat what these modules would log. */
        log_setup(LOG_ERROR, config->log_format);
        asking.patience = timer_new(&asking.loop, on_patience_over, &asking);
        find_api(&asking);
        ask(&asking, asks_for_node);
        timer_free(asking.patience);
        kube_api_free(asking.api);
        http_free(asking.http);
        uv_run(&asking.loop, UV_RUN_DEFAULT);
        uv_loop_close(&asking.loop);
        kube_credentials_deinit(&asking.credentials);
        log_setup(config->log_level, config->log_format);
}

/* ---- TDs in use ---- */

struct counting {
        struct survey_held *held;
        struct ledger *ledger;
        const struct survey_options *options;
};

static void on_found(void *owner, struct ledger_claim *claim, int r, struct error *reason)
{
        const struct counting *counting = owner;

        ++counting->held->n_claims;
        counting->held->by_claims += ledger_claim_weight(claim);
        if (counting->options->on_record)
                counting->options->on_record(claim, r, reason);
        ledger_restore(counting->ledger, claim);
}

/* If the directory is missing, no driver on this node has ever held a claim. */
static void count_held(const struct config *config, const struct survey_options *options,
                       struct ledger *ledger, struct survey_held *ret)
{
        _cleanup_(free) char *path = xasprintf("%s/claims", config->state_dir);
        _cleanup_(close) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        struct counting counting = { ret, ledger, options };

        *ret = (struct survey_held){ .by_plugin = (unsigned)plugin_n_recorded(config->state_dir) };
        if (fd >= 0)
                (void)recordfile_scan(fd, path, on_found, &counting, &ret->error);
        else if (errno != ENOENT)
                error_errno(&ret->error, -errno, "cannot read directory %s", path);
}

/* The holders that may run TDs: each claim, and all plugin devices together, because their pods are
 * not known here. */
static struct measure_holder *find_holders(const struct ledger *ledger, unsigned by_plugin,
                                           size_t *ret_n)
{
        struct measure_holder *holders = xcalloc(ledger_n_claims(ledger) + 1, sizeof(*holders));
        size_t n = 0;

        holders[n++] = (struct measure_holder){ .tds = by_plugin };
        for (const struct ledger_claim *claim = ledger_next(ledger, NULL); claim;
             claim = ledger_next(ledger, claim))
                holders[n++] = (struct measure_holder){
                        .tds = ledger_claim_weight(claim),
                        .pod_uids = (const char *const *)claim->pod_uids,
                        .n_pods = claim->n_pods,
                };
        *ret_n = n;
        return holders;
}

/* As in run's first reading: TDs that the host runs without a holder are not offered. */
static void count_foreign(const struct config *config, const struct capacity_sight *capacity,
                          const struct ledger *ledger, struct survey_held *held)
{
        _cleanup_(misc_tree) struct misc_tree tree = MISC_TREE_NULL;
        _cleanup_(free) struct measure_holder *holders = NULL;
        _cleanup_(free) unsigned *foreign_at = NULL;
        struct measure measure = MEASURE_NULL;
        struct measure_found found;
        uint64_t limit = DEVICE_INDEX_MAX;
        size_t n;

        if (config->capacity < 0 && capacity->n_host)
                limit = capacity->n_host;
        if (config->is_ignoring_foreign || capacity->outcome < 0 ||
            misc_tree_read(config->cgroup_root, limit, &tree, NULL))
                return;
        holders = find_holders(ledger, held->by_plugin, &n);
        measure_attribute(&tree, holders, n, &found, &foreign_at);
        (void)measure_take(&measure, &found, 0);
        held->withheld = measure_withheld(&measure, config->reserve);
}

static unsigned left(const struct survey *survey)
{
        const struct survey_held *held = &survey->held;
        unsigned n = survey->capacity.n_offered,
                 n_taken = held->by_claims + held->by_plugin + held->withheld;

        return survey->capacity.outcome < 0 || held->error.code || n_taken >= n ? 0 : n - n_taken;
}

/* ---- the survey ---- */

static void judge_qgs(const struct config *config, struct survey *survey)
{
        const struct qgs_place place = { .root = config->host_root,
                                         .socket = survey->settings.host_socket,
                                         .vm_socket = survey->settings.vm_socket };

        qgs_judge_vm_once(&place, &survey->qgs);
}

void survey_make(const struct config *config, const struct survey_options *options,
                 struct survey *ret)
{
        _cleanup_(ledger) struct ledger *ledger = ledger_new();

        *ret = (struct survey){ 0 };
        ask_api(config, options->asks_for_node, ret);
        if (ret->settings.host_socket)
                judge_qgs(config, ret);
        capacity_look(config, KVM_TDX_FILE, &ret->capacity);
        count_held(config, options, ledger, &ret->held);
        count_foreign(config, &ret->capacity, ledger, &ret->held);
        ret->n_left = left(ret);
}

/* The output is complete: say why the command does not end. */
static void finish_with_qgs(void)
{
        uint64_t ms = qgs_judge_pending_ms();

        if (ms)
                fprintf(stderr,
                        "waiting up to %llu s for QGS to answer or to close the connection: QGS up "
                        "to 1.25 may crash if it is closed before\n",
                        (unsigned long long)((ms + 999) / 1000));
        qgs_judge_finish();
}

void survey_deinit(struct survey *survey)
{
        fflush(stdout);
        finish_with_qgs();
        free(survey->settings.host_socket);
        free(survey->settings.vm_socket);
        *survey = (struct survey){ 0 };
}
