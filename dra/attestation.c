/* SPDX-License-Identifier: Apache-2.0 */
#include "attestation.h"

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/memory.h"
#include "config.h"
#include "host/qgs_path.h"
#include "host/qgs_watch.h"
#include "kube/settings.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define RECORD     "attestation"
#define RECORD_MAX 4096

struct attestation {
        struct attestation_options options;
        bool is_settled;    /* the settings are the cluster's own, or nobody will tell others */
        bool is_remembered; /* the last run has left its settings */
        bool is_in_doubt;   /* the cluster has told something that cannot be followed */
        bool is_enforced;
        char *host_socket, *vm_socket;
        char *host_directory, *seen_directory, *vm_directory;
        struct settings *settings; /* NULL: nobody else has a say */
        enum settings_news news;
        char *news_text; /* NULL: none yet */
        bool is_told;    /* the cluster's own settings are in force */
        char *source;    /* attestation_settings()'s */
        struct qgs_watch *watch;
        uv_timer_t patience;
        struct qgs_verdict_state told; /* logged last */
        char description[640];
};

/* ---- the settings ---- */

static char *directory_of(const char *socket)
{
        return xstrndup(socket, (size_t)(strrchr(socket, '/') - socket));
}

static const char *name_of(const char *socket)
{
        return strrchr(socket, '/') + 1;
}

/* Flags win. What KubeVirt writes into the VM's definition is the path inside its container; on the
 * host QGS may be elsewhere, though under the same name, for it is the directory that is mounted.
 */
static int apply(struct attestation *attestation, bool is_enforced, const char *qgs_socket,
                 struct error *err)
{
        const struct config *config = attestation->options.config;
        const char *vm = config->vm_qgs_socket ? config->vm_qgs_socket : qgs_socket,
                   *host = config->qgs_socket ? config->qgs_socket : qgs_socket;

        if (strcmp(name_of(vm), name_of(host)) != 0)
                return error_set(
                        err, -EINVAL,
                        "the VM's socket %s and the host's %s differ in their file names, "
                        "and only the directory can be mounted elsewhere: let --qgs-socket "
                        "and KubeVirt's qgsSocketPath end in the same name",
                        vm, host);
        if (!config->qgs_socket && config_check_qgs_socket(config, "qgsSocketPath", host, err) < 0)
                return -EINVAL;
        attestation->is_enforced = config->attestation == CONFIG_FROM_KUBEVIRT
                                           ? is_enforced
                                           : config->attestation == CONFIG_ENFORCED;
        if (attestation->host_socket && strcmp(attestation->host_socket, host) == 0 &&
            strcmp(attestation->vm_socket, vm) == 0)
                return 0;
        free(attestation->host_socket);
        free(attestation->vm_socket);
        free(attestation->host_directory);
        free(attestation->seen_directory);
        free(attestation->vm_directory);
        attestation->host_socket = xstrdup(host);
        attestation->vm_socket = xstrdup(vm);
        attestation->host_directory = directory_of(host);
        attestation->seen_directory =
                xasprintf("%s%s", config->host_root, attestation->host_directory);
        attestation->vm_directory = directory_of(vm);
        return 0;
}

static void log_settings(const struct attestation *attestation, const char *source)
{
        log_info("attestation", log_str("enforced", attestation->is_enforced ? "true" : "false"),
                 log_str("socket", attestation->host_socket),
                 log_str("in_vm", attestation->vm_socket), log_str("source", source));
}

/* For a start without the API server. */
static void write_down(const struct attestation *attestation, bool is_enforced,
                       const char *qgs_socket)
{
        const char *state_dir = attestation->options.config->state_dir;
        _cleanup_(json) struct json *record = json_new_object();
        __attribute__((cleanup(cleanup_close))) int fd = -1;
        __attribute__((cleanup(cleanup_free))) char *text = NULL;
        struct error error = ERROR_NULL;

        if (attestation->options.only_asks)
                return;
        json_add_bool(record, "enforced", is_enforced);
        json_add_string(record, "qgsSocketPath", qgs_socket);
        text = json_print(record);
        if (file_open_directory(state_dir, 0700, &fd, &error) < 0 ||
            file_replace(fd, RECORD, text, strlen(text), 0600, FILE_UNSYNCED, &error) < 0)
                log_warn("cannot write down the attestation settings, going on",
                         log_str("reason", error.text));
}

/* NULL: there is no record, or none that can be read. */
static struct json *read_record(const char *state_dir, struct error *err)
{
        __attribute__((cleanup(cleanup_free))) char *path = xasprintf("%s/" RECORD, state_dir);
        __attribute__((cleanup(cleanup_free))) char *bytes = NULL;
        struct json *record = NULL;
        size_t n;

        if (file_read(AT_FDCWD, path, RECORD_MAX, &bytes, &n, err) == 0)
                (void)json_parse(bytes, n, &record, err);
        return record;
}

char *attestation_recorded_socket(const char *state_dir)
{
        _cleanup_(json) struct json *record = read_record(state_dir, NULL);
        const char *socket = json_string(json_get(record, "qgsSocketPath"));

        return socket && qgs_path_check(RECORD, socket, "", NULL) == 0 ? xstrdup(socket) : NULL;
}

static void read_back(struct attestation *attestation)
{
        const char *state_dir = attestation->options.config->state_dir, *socket;
        struct error error = ERROR_NULL;
        _cleanup_(json) struct json *record = read_record(state_dir, &error);
        bool is_enforced;

        if (error.code == -ENOENT)
                return;
        socket = json_string(json_get(record, "qgsSocketPath"));
        if (json_bool(json_get(record, "enforced"), &is_enforced) == 0 && socket &&
            qgs_path_check(RECORD, socket, "", &error) == 0 &&
            apply(attestation, is_enforced, socket, &error) == 0) {
                attestation->is_remembered = true;
                return;
        }
        log_warn("the attestation settings of the last run cannot be read, ignoring them",
                 log_str("directory", state_dir), log_str("reason", error.text));
}

static bool is_fixed(const struct config *config)
{
        return config->attestation != CONFIG_FROM_KUBEVIRT && config->vm_qgs_socket;
}

static void follow_qgs(struct attestation *attestation)
{
        if (!attestation->options.only_asks)
                qgs_watch_set_socket(attestation->watch, attestation->host_socket,
                                     attestation->vm_socket);
}

static int configure(struct attestation *attestation, bool is_enforced, const char *qgs_socket,
                     struct error *err)
{
        bool was_settled = attestation->is_settled, was_enforced = attestation->is_enforced;
        __attribute__((cleanup(cleanup_free))) char *host = xstrdup(attestation->host_socket);
        __attribute__((cleanup(cleanup_free))) char *vm = xstrdup(attestation->vm_socket);
        int r;

        r = apply(attestation, is_enforced, qgs_socket, err);
        attestation->is_settled = true;
        attestation->is_told = !r;
        uv_timer_stop(&attestation->patience);
        if (!r)
                write_down(attestation, is_enforced, qgs_socket);
        if (was_settled && was_enforced == attestation->is_enforced &&
            strcmp(host, attestation->host_socket) == 0 && strcmp(vm, attestation->vm_socket) == 0)
                return r;
        log_settings(attestation, "KubeVirt");
        follow_qgs(attestation);
        attestation->options.on_changed(attestation->options.owner);
        return r;
}

static int check_cr_path(const char *path, struct error *err)
{
        return qgs_path_check(KUBEVIRT_QGS_SOCKET_FIELD, path, "", err);
}

/* Nobody tells, or nothing that can be followed: what was in force in the last run stays. */
static void settle_with_last_known(struct attestation *attestation)
{
        attestation->is_settled = true;
        log_warn("the cluster has not told its attestation settings, going on with the last known "
                 "ones until it does");
        log_settings(attestation, "last known");
        attestation->options.on_changed(attestation->options.owner);
}

static void on_settings(void *owner, const struct kubevirt_attestation *in_force)
{
        struct attestation *attestation = owner;
        struct error error = ERROR_NULL;

        if (!attestation->is_settled && attestation->is_in_doubt) {
                uv_timer_stop(&attestation->patience);
                settle_with_last_known(attestation);
                return;
        }
        if (configure(attestation, in_force->is_enforced, in_force->qgs_socket, &error) < 0)
                log_warn("KubeVirt's QGS socket does not go with this driver's flags, keeping what "
                         "was in force",
                         log_str("reason", error.text));
}

static void on_news(void *owner, enum settings_news news, const char *text)
{
        struct attestation *attestation = owner;

        attestation->is_in_doubt = settings_news_is_warning(news);
        attestation->news = news;
        free(attestation->news_text);
        attestation->news_text = xstrdup(text);
        if (attestation->is_in_doubt)
                log_warn("KubeVirt's settings", log_str("state", settings_news_name(news)),
                         log_str("detail", text));
        else
                log_info("KubeVirt's settings", log_str("state", settings_news_name(news)),
                         log_str("detail", text));
        /* A node that boots need not wait for an API server that is not there. */
        if (news == SETTINGS_UNREACHABLE && !attestation->is_settled &&
            (attestation->is_remembered || attestation->options.only_asks)) {
                uv_timer_stop(&attestation->patience);
                settle_with_last_known(attestation);
        }
}

static void follow_kubevirt(struct attestation *attestation)
{
        const struct settings_options options = {
                .loop = attestation->options.loop,
                .api = attestation->options.api,
                .check_path = check_cr_path,
                .on_changed = on_settings,
                .on_news = on_news,
                .owner = attestation,
        };

        attestation->settings = settings_new(&options);
        settings_start(attestation->settings);
}

static void on_patience_over(uv_timer_t *timer)
{
        settle_with_last_known(timer->data);
}

static const char *describe_source(const struct attestation *attestation)
{
        if (is_fixed(attestation->options.config))
                return "the flags";
        if (attestation->news_text)
                return attestation->news_text;
        return attestation->options.api ? "the API server has not answered"
                                        : "there is no API server to ask for the KubeVirt CR";
}

void attestation_settings(struct attestation *attestation, struct attestation_settings *ret)
{
        const char *source = describe_source(attestation);
        bool is_own = is_fixed(attestation->options.config) || attestation->is_told;

        free(attestation->source);
        attestation->source = xasprintf("%s%s", source,
                                        is_own                       ? ""
                                        : attestation->is_remembered ? "; the last run's settings "
                                                                       "are in force"
                                                                     : "; the defaults are in "
                                                                       "force");
        *ret = (struct attestation_settings){ .is_known = attestation->is_settled,
                                              .is_enforced = attestation->is_enforced,
                                              .is_refused = attestation->news_text &&
                                                            attestation->news == SETTINGS_INVALID,
                                              .host_socket = attestation->host_socket,
                                              .vm_socket = attestation->vm_socket,
                                              .source = attestation->source };
}

/* ---- the verdict ---- */

/* What a QGS that does not answer means, or one that the driver may not ask. */
static const char *consequence(const struct attestation *attestation, enum qgs_state state)
{
        if (state == QGS_NOT_TRIED)
                return attestation->is_enforced
                               ? "QGS was not tried: no new VM is placed here until the driver can"
                               : "QGS was not tried: VMs start, but whether it answers them is not "
                                 "known";
        return attestation->is_enforced
                       ? "QGS does not answer: no new VM is placed here until it does"
                       : "QGS does not answer: VMs start, but cannot attest until it does";
}

static void log_verdict(struct attestation *attestation)
{
        const struct qgs_verdict_state *state = qgs_watch_state(attestation->watch);
        bool is_new_state = state->state != attestation->told.state;

        if (!is_new_state && strcmp(state->reason, attestation->told.reason) == 0 &&
            state->group == attestation->told.group)
                return;
        attestation->told = *state;
        if (state->state == QGS_ANSWERING)
                log_info("QGS answers", log_str("socket", attestation->host_socket));
        else if (state->state != QGS_UNKNOWN)
                log_warn(consequence(attestation, state->state),
                         log_str("qgs", qgs_state_name(state->state)),
                         log_str("reason", state->reason));
}

static void on_verdict(void *owner)
{
        struct attestation *attestation = owner;

        log_verdict(attestation);
        attestation->options.on_changed(attestation->options.owner);
}

/* ---- what it means ---- */

static bool works(const struct qgs_verdict_state *state, enum attestation_means means)
{
        return state->state == QGS_ANSWERING &&
               (means == ATTESTATION_CDI || state->group == QGS_VERDICT_NO_GROUP);
}

/* "QGS answers", or the state with its reason and remedy. */
static const char *describe(struct attestation *attestation, const struct qgs_verdict_state *state)
{
        char *text = attestation->description;
        size_t n = sizeof(attestation->description);

        if (state->state == QGS_ANSWERING)
                snprintf(text, n, "QGS answers");
        else
                snprintf(text, n, "QGS is %s: %s",
                         state->state == QGS_NOT_TRIED ? "not tried" : qgs_state_name(state->state),
                         state->reason);
        return text;
}

void attestation_facts(struct attestation *attestation, struct attestation_facts *ret)
{
        const struct qgs_verdict_state *state = qgs_watch_state(attestation->watch);

        *ret = (struct attestation_facts){
                .is_known = attestation->is_settled && state->state != QGS_UNKNOWN,
                .group = state->group == QGS_VERDICT_NO_GROUP ? 0 : state->group,
                .state = qgs_state_name(state->state),
                .description = describe(attestation, state),
                .host_directory = attestation->host_directory,
                .seen_directory = attestation->seen_directory,
                .vm_directory = attestation->vm_directory,
        };
        for (int means = 0; means < ATTESTATION_N_MEANS; ++means) {
                ret->works[means] = works(state, (enum attestation_means)means);
                ret->is_schedulable[means] = !attestation->is_enforced || ret->works[means];
        }
}

/* ---- life ---- */

struct attestation *attestation_new(const struct attestation_options *options)
{
        struct attestation *attestation = xcalloc(1, sizeof(*attestation));
        const struct qgs_watch_options watch_options = {
                .loop = options->loop,
                .root = options->config->host_root,
                .on_changed = on_verdict,
                .owner = attestation,
        };
        struct error error = ERROR_NULL;

        attestation->options = *options;
        attestation->is_settled = !options->api || is_fixed(options->config);
        attestation->watch = qgs_watch_new(&watch_options);
        uv_timer_init(options->loop, &attestation->patience);
        attestation->patience.data = attestation;
        /* config_check() has seen that the flags go with the default. */
        (void)apply(attestation, false, QGS_PATH_DEFAULT, &error);
        read_back(attestation);
        follow_qgs(attestation);
        if (attestation->is_settled) {
                log_settings(attestation, "flags");
        } else {
                uv_timer_start(&attestation->patience, on_patience_over, ATTESTATION_PATIENCE_MS,
                               0);
                follow_kubevirt(attestation);
        }
        log_verdict(attestation);
        return attestation;
}

static void on_closed(uv_handle_t *handle)
{
        struct attestation *attestation = handle->data;

        free(attestation->host_socket);
        free(attestation->vm_socket);
        free(attestation->host_directory);
        free(attestation->seen_directory);
        free(attestation->vm_directory);
        free(attestation->news_text);
        free(attestation->source);
        free(attestation);
}

void attestation_stop(struct attestation *attestation)
{
        settings_free(take_ptr(attestation->settings));
}

void attestation_free(struct attestation *attestation)
{
        if (!attestation)
                return;
        qgs_watch_free(attestation->watch);
        uv_close((uv_handle_t *)&attestation->patience, on_closed);
}
