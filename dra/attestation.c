/* SPDX-License-Identifier: Apache-2.0 */
#include "attestation.h"

#include "attestation_place.h"
#include "attestation_record.h"
#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/timer.h"
#include "config.h"
#include "host/qgs_path.h"
#include "host/qgs_watch.h"
#include "kube/settings.h"
#include "relaying.h"

#include <stdio.h>
#include <string.h>

struct attestation {
        struct attestation_options options;
        bool is_settled;    /* the settings are the cluster's, or waiting for them has ended */
        bool is_remembered; /* this run or an earlier one has read the cluster's settings */
        bool is_enforced;
        bool is_enforced_refused;
        bool is_one_cr;     /* exactly one CR exists, and its settings are used */
        bool are_crs_known; /* the API server's last answer about CRs decides the settings */
        bool has_delivered; /* a VM got a quote since QGS began to answer */
        bool is_busy; /* applying, or being made: what the relay changes is taken in after that */
        struct attestation_place place;
        char *doubt;          /* why the cluster's settings cannot be read; NULL: they can */
        char *warned_vm_path; /* the CR's path that the log has already warned about: it differs
                                 from --vm-qgs-socket */
        struct kubevirt_attestation written; /* content of the record; qgs_socket NULL: none */
        struct settings *settings;           /* NULL: the flags, or the defaults, decide alone */
        enum settings_news news;
        char *news_text;                  /* NULL: no news yet */
        char *source;                     /* lent out by attestation_settings() */
        struct kubevirt_attestation last; /* applied last */
        struct relaying *relaying;
        struct qgs_watch *watch;
        struct timer *patience;
        struct qgs_verdict_state told; /* the last verdict logged */
        char description[ERROR_TEXT_SIZE + 128];
};

/* ---- the settings ---- */

/* Apply each setting independently: a refused path leaves the previous path in force, and does not
 * affect whether attestation is enforced. */
static void apply(struct attestation *attestation, const struct kubevirt_attestation *values)
{
        const struct config *config = attestation->options.config;

        if (values != &attestation->last) {
                kubevirt_attestation_deinit(&attestation->last);
                attestation->last = kubevirt_attestation_copy(values);
        }
        attestation->is_enforced = config->attestation == CONFIG_FROM_KUBEVIRT
                                           ? values->is_enforced
                                           : config->attestation == CONFIG_ENFORCED;
        attestation->is_enforced_refused =
                config->attestation == CONFIG_FROM_KUBEVIRT && values->enforced_refusal;
        attestation_place_set(&attestation->place, config, values,
                              relaying_mode(attestation->relaying) != RELAYING_RELAY);
}

static void log_settings(const struct attestation *attestation, const char *source)
{
        log_info("attestation", log_str("enforced", attestation->is_enforced ? "true" : "false"),
                 log_str("socket", attestation->place.host_socket),
                 log_str("in_vm", attestation->place.vm_socket), log_str("source", source));
}

/* Save the settings for a start without the API server. */
static void write_down(struct attestation *attestation, const struct kubevirt_attestation *values)
{
        struct error error = ERROR_NULL;

        if (attestation->options.only_asks ||
            (attestation->written.qgs_socket &&
             kubevirt_attestation_equal(&attestation->written, values)))
                return;
        kubevirt_attestation_deinit(&attestation->written);
        if (attestation_record_save(attestation->options.config->state_dir, values, &error) < 0)
                log_warn("cannot save the attestation settings; continuing without the record",
                         log_str("reason", error.text));
        else
                attestation->written = kubevirt_attestation_copy(values);
}

static bool is_fixed(const struct config *config)
{
        return config->attestation != CONFIG_FROM_KUBEVIRT && config->vm_qgs_socket;
}

static void log_refusal(const struct attestation *attestation)
{
        if (attestation->place.refusal)
                log_warn(attestation->is_enforced
                                 ? "KubeVirt's qgsSocketPath is refused: no new VM is placed here "
                                   "until it is corrected"
                                 : "KubeVirt's qgsSocketPath is refused: VMs start, but cannot "
                                   "attest until it is corrected",
                         log_str("reason", attestation->place.refusal),
                         log_str("socket", attestation->place.host_socket));
}

/* KubeVirt writes the CR's path into the VM's definition, regardless of our flag. */
static void warn_of_vm_path(struct attestation *attestation,
                            const struct kubevirt_attestation *values)
{
        const char *flag = attestation->options.config->vm_qgs_socket;

        if (!flag || values->qgs_socket_refusal || qgs_path_is_same(flag, values->qgs_socket) ||
            (attestation->warned_vm_path &&
             strcmp(attestation->warned_vm_path, values->qgs_socket) == 0))
                return;
        text_replace(&attestation->warned_vm_path, values->qgs_socket);
        log_warn("--vm-qgs-socket is not KubeVirt's qgsSocketPath: VMs look for QGS where the CR "
                 "says, and will not find it there; leave the flag out, or correct the CR",
                 log_str("flag", flag), log_str("qgsSocketPath", values->qgs_socket));
}

static void log_verdict(struct attestation *attestation);

static void follow_qgs(struct attestation *attestation)
{
        bool was_busy = attestation->is_busy;

        attestation->is_busy = true;
        relaying_set_sockets(attestation->relaying, attestation->place.host_socket,
                             attestation->place.vm_socket);
        attestation->is_busy = was_busy;
        if (attestation->options.only_asks)
                return;
        if (attestation->place.is_direct)
                qgs_watch_set_socket(attestation->watch, attestation->place.host_socket,
                                     attestation->place.vm_socket);
        else
                qgs_watch_set_relayed_socket(attestation->watch, attestation->place.host_socket);
}

/* Apply the cluster's settings, and report them if they changed. */
static void put_in_force(struct attestation *attestation, const char *source)
{
        const struct kubevirt_attestation *values = settings_in_force(attestation->settings);
        bool was_settled = attestation->is_settled, was_enforced = attestation->is_enforced,
             was_refused = attestation->is_enforced_refused;
        _cleanup_(free) char *host = xstrdup(attestation->place.host_socket);
        _cleanup_(free) char *vm = xstrdup(attestation->place.vm_socket);
        _cleanup_(free) char *refusal = take_ptr(attestation->place.refusal);
        bool is_refusal_new, is_same_path;

        apply(attestation, values);
        attestation->is_settled = true;
        timer_stop(attestation->patience);
        is_refusal_new = !text_is_same(refusal, attestation->place.refusal);
        is_same_path = strcmp(host, attestation->place.host_socket) == 0 &&
                       strcmp(vm, attestation->place.vm_socket) == 0;
        if (was_settled && was_enforced == attestation->is_enforced && is_same_path &&
            !is_refusal_new && was_refused == attestation->is_enforced_refused)
                return;
        log_settings(attestation, source);
        if (!was_settled || is_refusal_new || was_enforced != attestation->is_enforced)
                log_refusal(attestation);
        follow_qgs(attestation);
        log_verdict(attestation);
        attestation->options.on_changed(attestation->options.owner);
}

/* The cluster is unreachable, or its settings are unusable: use those of the last run, or the
 * defaults. */
static void settle_with_last_known(struct attestation *attestation)
{
        log_warn(attestation->is_remembered
                         ? "no usable attestation settings from the cluster; using the last "
                           "known ones until it has some"
                         : "no usable attestation settings from the cluster, and no earlier ones "
                           "are known; using the defaults until it has some");
        put_in_force(attestation, attestation->is_remembered ? "last known" : "defaults");
}

/* The CRs are known, and at most one applies. */
static void follow_cluster(struct attestation *attestation)
{
        const struct kubevirt_attestation *values = settings_in_force(attestation->settings);
        bool was_remembered = attestation->is_remembered;

        text_replace(&attestation->doubt, NULL);
        if (attestation->is_one_cr)
                warn_of_vm_path(attestation, values);
        attestation->is_remembered = true;
        put_in_force(attestation, "KubeVirt");
        write_down(attestation, values);
        if (!was_remembered)
                attestation->options.on_changed(attestation->options.owner);
}

static void on_settings(void *owner, const struct kubevirt_attestation *in_force)
{
        struct attestation *attestation = owner;

        if (attestation->are_crs_known)
                follow_cluster(attestation);
        else if (!attestation->is_settled) /* at the start: forbidden, or several CRs */
                settle_with_last_known(attestation);
}

static void on_news(void *owner, enum settings_news news, const char *text)
{
        struct attestation *attestation = owner;

        attestation->news = news;
        text_replace(&attestation->news_text, text);
        if (settings_news_is_warning(news))
                log_warn("KubeVirt's settings", log_str("state", settings_news_name(news)),
                         log_str("detail", text));
        else
                log_info("KubeVirt's settings", log_str("state", settings_news_name(news)),
                         log_str("detail", text));
        switch (news) {
        case SETTINGS_NOT_SERVED:
        case SETTINGS_NO_CR:
        case SETTINGS_ONE_CR:
        case SETTINGS_INVALID:
                attestation->are_crs_known = true;
                attestation->is_one_cr = news == SETTINGS_ONE_CR || news == SETTINGS_INVALID;
                follow_cluster(attestation);
                return;
        case SETTINGS_SEVERAL:
                /* Several CRs may contradict each other, and a wrong choice could drop `enforced`:
                 * keep what is in force until a person has removed all but one. */
                attestation->are_crs_known = false;
                text_replace(&attestation->doubt, text);
                return;
        case SETTINGS_FORBIDDEN:
        case SETTINGS_UNREACHABLE:
                text_replace(&attestation->doubt, text);
                break;
        case SETTINGS_READABLE:
                text_replace(&attestation->doubt, NULL);
                break;
        }
        /* If the API server cannot be reached, do not wait out the patience: a booting node should
         * not be held up. */
        if (news == SETTINGS_UNREACHABLE && !attestation->is_settled &&
            (attestation->is_remembered || attestation->options.only_asks))
                settle_with_last_known(attestation);
}

static void follow_kubevirt(struct attestation *attestation,
                            const struct kubevirt_attestation *last)
{
        const struct settings_options options = {
                .loop = attestation->options.loop,
                .api = attestation->options.api,
                .check_path = attestation_place_check(attestation->options.config),
                .last_known = last,
                .on_changed = on_settings,
                .on_news = on_news,
                .owner = attestation,
        };

        attestation->settings = settings_new(&options);
        settings_start(attestation->settings);
}

static void on_patience_over(void *owner)
{
        settle_with_last_known(owner);
}

/* Why neither the CR nor an earlier run provides the cluster's settings; NULL if one does. */
static const char *describe_doubt(const struct attestation *attestation)
{
        if (!attestation->settings || !attestation->is_settled || attestation->is_remembered)
                return NULL;
        return attestation->doubt ? attestation->doubt
                                  : "the API server has not answered: the default values are in "
                                    "force until it does";
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
        bool is_own = is_fixed(attestation->options.config) || attestation->are_crs_known;

        free(attestation->source);
        attestation->source = xasprintf("%s%s", source,
                                        is_own                       ? ""
                                        : attestation->is_remembered ? "; the last run's settings "
                                                                       "are in force"
                                                                     : "; the defaults are in "
                                                                       "force");
        *ret = (struct attestation_settings){ .is_known = attestation->is_settled,
                                              .is_enforced = attestation->is_enforced,
                                              .is_refused = attestation->place.refusal ||
                                                            attestation->is_enforced_refused,
                                              .host_socket = attestation->place.host_socket,
                                              .vm_socket = attestation->place.vm_socket,
                                              .source = attestation->source };
}

/* ---- the verdict ---- */

/* QGS seems absent, but its directory is not visible to this process, so it may well be running. */
static bool is_out_of_sight(const struct attestation *attestation)
{
        return attestation->place.is_direct &&
               qgs_watch_state(attestation->watch)->state == QGS_ABSENT &&
               !qgs_path_is_visible(attestation->options.config->host_root,
                                    attestation->place.seen_directory);
}

static void describe_sight(const struct attestation *attestation, char *text, size_t n)
{
        const char *directory = attestation->place.host_directory;

        snprintf(text, n,
                 "this driver cannot see the host's %s: mount %s at %s%s in its pod, writable, "
                 "or let KubeVirt's qgsSocketPath or --qgs-socket name a directory below /run",
                 directory, directory, attestation->options.config->host_root, directory);
}

/* The consequence of a QGS that does not answer, or that the driver cannot try. */
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
        char sight[sizeof(attestation->description)];

        if (!is_new_state && strcmp(state->reason, attestation->told.reason) == 0 &&
            state->group == attestation->told.group)
                return;
        attestation->told = *state;
        attestation->has_delivered &= state->state == QGS_ANSWERING;
        describe_sight(attestation, sight, sizeof(sight));
        if (state->state == QGS_ANSWERING)
                log_info("QGS answers", log_str("socket", attestation->place.host_socket));
        else if (state->state != QGS_UNKNOWN)
                log_warn(consequence(attestation, state->state),
                         log_str("qgs", qgs_state_name(state->state)),
                         log_str("reason", is_out_of_sight(attestation) ? sight : state->reason));
}

static void on_verdict(void *owner)
{
        struct attestation *attestation = owner;

        log_verdict(attestation);
        attestation->options.on_changed(attestation->options.owner);
}

/* The relay has bound its sockets, or VMs do without it, or it is away or back. */
static void on_relaying(void *owner)
{
        struct attestation *attestation = owner;

        if (attestation->is_busy)
                return;
        apply(attestation, &attestation->last);
        follow_qgs(attestation);
        log_verdict(attestation);
        attestation->options.on_changed(attestation->options.owner);
}

/* A probe proves that QGS answers; only a quote proves that VMs attest. */
static void note_delivered(struct attestation *attestation)
{
        if (attestation->has_delivered || attestation->told.state != QGS_ANSWERING)
                return;
        attestation->has_delivered = true;
        log_info("VMs attest: a quote was delivered",
                 log_str("socket", attestation->place.host_socket));
        attestation->options.on_changed(attestation->options.owner);
}

static void on_relay_message(void *owner, const struct relay_message *message)
{
        struct attestation *attestation = owner;
        const struct relay_qgs *qgs = &message->qgs;

        if (message->kind == RELAY_QGS && !attestation->place.is_direct)
                qgs_watch_hear(attestation->watch, qgs->is_absent, qgs->result, qgs->failure);
        else if (message->kind != RELAY_QGS && attestation->options.on_quote)
                attestation->options.on_quote(attestation->options.owner, message);
        if (message->kind == RELAY_QUOTE && message->quote.outcome == RELAY_DELIVERED)
                note_delivered(attestation);
}

static void on_relay_event(void *owner, bool is_warning, const char *reason, const char *text)
{
        struct attestation *attestation = owner;

        attestation->options.on_event(attestation->options.owner, is_warning, reason, text);
}

static struct relaying *new_relaying(struct attestation *attestation)
{
        const struct relaying_options options = { .loop = attestation->options.loop,
                                                  .config = attestation->options.config,
                                                  .only_asks = attestation->options.only_asks,
                                                  .on_changed = on_relaying,
                                                  .on_message = on_relay_message,
                                                  .on_event = on_relay_event,
                                                  .owner = attestation };

        return relaying_new(&options);
}

void attestation_set_devices(struct attestation *attestation, unsigned n)
{
        relaying_set_devices(attestation->relaying, n);
}

bool attestation_is_relay_connected(const struct attestation *attestation)
{
        return relaying_is_connected(attestation->relaying);
}

/* ---- what it means ---- */

/* A device plugin's answer cannot add a group, so with plain mounts QGS works only if its socket
 * needs none. */
static bool works(const struct attestation *attestation, const struct qgs_verdict_state *state,
                  enum attestation_means means)
{
        return !attestation->place.refusal && !relaying_trouble(attestation->relaying) &&
               state->state == QGS_ANSWERING &&
               (means == ATTESTATION_CDI || state->group == QGS_VERDICT_NO_GROUP);
}

/* What keeps VMs from attesting, in one word. */
/* A refused path comes first: QGS may answer on the old one, yet VMs look for it on the refused
 * one. */
static const char *obstacle(const struct attestation *attestation,
                            const struct qgs_verdict_state *state)
{
        if (attestation->place.refusal)
                return "path-refused";
        if (relaying_trouble(attestation->relaying))
                return "no-relay";
        return is_out_of_sight(attestation) ? "not-seen" : qgs_state_name(state->state);
}

/* "QGS answers", or the obstacle with its reason and remedy. */
static const char *describe(struct attestation *attestation, const struct qgs_verdict_state *state)
{
        char *text = attestation->description;
        size_t n = sizeof(attestation->description);

        if (attestation->place.refusal)
                snprintf(text, n, "%s", attestation->place.refusal);
        else if (relaying_trouble(attestation->relaying))
                snprintf(text, n, "%s", relaying_trouble(attestation->relaying));
        else if (is_out_of_sight(attestation))
                describe_sight(attestation, text, n);
        else if (state->state == QGS_ANSWERING)
                snprintf(text, n, "QGS answers%s",
                         attestation->has_delivered ? ", and VMs attest" : "");
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
                .is_known = attestation->is_settled && state->state != QGS_UNKNOWN &&
                            relaying_mode(attestation->relaying) != RELAYING_UNDECIDED,
                .group = state->group == QGS_VERDICT_NO_GROUP ? 0 : state->group,
                .state = obstacle(attestation, state),
                .description = describe(attestation, state),
                .host_directory = attestation->place.host_directory,
                .vm_directory = attestation->place.vm_directory,
                .refuses_path = attestation->place.refusal,
                .refuses_enforced = attestation->is_enforced_refused,
                .doubt = describe_doubt(attestation),
        };
        ret->is_relayed = !attestation->place.is_direct;
        if (ret->is_relayed) {
                ret->host_directory = relaying_directory(attestation->relaying);
                ret->mounted_file = attestation_place_mounted_file(&attestation->place);
        } else if (qgs_path_is_visible(attestation->options.config->host_root,
                                       attestation->place.seen_directory)) {
                ret->seen_directory = attestation->place.seen_directory;
        }
        for (int means = 0; means < ATTESTATION_N_MEANS; ++means) {
                ret->works[means] = works(attestation, state, (enum attestation_means)means);
                ret->is_schedulable[means] =
                        attestation->is_settled && (!attestation->is_enforced || ret->works[means]);
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
        __attribute__((
                cleanup(cleanup_kubevirt_attestation))) struct kubevirt_attestation defaults =
                kubevirt_attestation_defaults();
        _cleanup_(kubevirt_attestation) struct kubevirt_attestation values =
                KUBEVIRT_ATTESTATION_NULL;

        attestation->options = *options;
        attestation->is_busy = true;
        attestation->relaying = new_relaying(attestation);
        attestation->is_settled = !options->api || is_fixed(options->config);
        attestation->watch = qgs_watch_new(&watch_options);
        attestation->patience = timer_new(options->loop, on_patience_over, attestation);
        /* The defaults first: if the remembered path is refused, they stay in force. */
        apply(attestation, &defaults);
        attestation->is_remembered = attestation_record_last(
                options->config->state_dir, attestation_place_check(options->config), &values);
        apply(attestation, &values);
        follow_qgs(attestation);
        if (attestation->is_settled) {
                log_settings(attestation, "flags");
                log_refusal(attestation);
        } else {
                timer_start(attestation->patience, ATTESTATION_PATIENCE_MS);
                follow_kubevirt(attestation, &values);
        }
        log_verdict(attestation);
        attestation->is_busy = false;
        return attestation;
}

void attestation_look(struct attestation *attestation)
{
        if (attestation->settings)
                settings_look(attestation->settings);
}

void attestation_stop(struct attestation *attestation)
{
        settings_free(take_ptr(attestation->settings));
}

void attestation_free(struct attestation *attestation)
{
        if (!attestation)
                return;
        relaying_free(attestation->relaying);
        qgs_watch_free(attestation->watch);
        kubevirt_attestation_deinit(&attestation->last);
        timer_free(attestation->patience);
        attestation_place_deinit(&attestation->place);
        free(attestation->doubt);
        free(attestation->warned_vm_path);
        kubevirt_attestation_deinit(&attestation->written);
        free(attestation->news_text);
        free(attestation->source);
        free(attestation);
}
