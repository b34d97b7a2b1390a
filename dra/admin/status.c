/* SPDX-License-Identifier: Apache-2.0 */
#include "admin/status.h"

#include "admin/metrics.h"
#include "admin/pages.h"
#include "attestation.h"
#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "claims/service.h"
#include "claims/sockets.h"
#include "config.h"
#include "kube/api.h"
#include "measuring.h"
#include "node.h"
#include "offer/publisher.h"
#include "quotes.h"
#include "surroundings.h"

#include <string.h>
#include <time.h>

#define HTTP_OK                  200
#define HTTP_SERVICE_UNAVAILABLE 503

struct status {
        struct status_options options;
        struct pages *pages;
        int64_t started_s;
};

/* ---- /metrics ---- */

static void measure_process(const struct status *status, struct metrics *metrics)
{
        struct timespec cpu = { 0 };
        size_t resident = 0;

        (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
        (void)uv_resident_set_memory(&resident);
        metrics->started_s = status->started_s;
        metrics->cpu_seconds = (double)cpu.tv_sec + (double)cpu.tv_nsec / 1e9;
        metrics->resident_bytes = resident;
        metrics->log_lines_dropped = log_n_dropped();
}

static void measure_plugin(const struct plugin_status *plugin, struct metrics *metrics)
{
        metrics->is_served[METRICS_PLUGIN] = plugin->is_served;
        metrics->is_registered[METRICS_PLUGIN] = plugin->standing == PLUGIN_SERVICE_REGISTERED;
        metrics->is_foreign_plugin = plugin->standing == PLUGIN_SERVICE_STANDS_BACK;
        metrics->held[METRICS_PLUGIN] = plugin->n_held;
        metrics->refusals[METRICS_PLUGIN] = plugin->n_refused;
        metrics->podresources_errors = plugin->n_unanswered;
        metrics->list_pushes = plugin->n_lists;
}

static void measure_publishing(const struct status *status, struct metrics *metrics)
{
        static const enum kube_outcome outcomes[METRICS_N_API_ERRORS] = {
                [METRICS_API_FORBIDDEN] = KUBE_FORBIDDEN,
                [METRICS_API_INVALID] = KUBE_INVALID,
                [METRICS_API_NOT_SERVED] = KUBE_NOT_SERVED,
                [METRICS_API_UNANSWERED] = KUBE_TRY_AGAIN,
        };
        struct publisher_status published;

        for (size_t i = 0; status->options.api && i < METRICS_N_API_ERRORS; ++i)
                metrics->api_errors[i] = kube_api_count(status->options.api, outcomes[i]);
        if (!status->options.publisher)
                return;
        publisher_status(status->options.publisher, &published);
        metrics->is_publishing = true;
        metrics->is_published = published.is_published;
        metrics->n_slices = published.n_slices;
        metrics->published_s = published.published_s;
}

static void measure_claims(const struct status *status, struct metrics *metrics)
{
        const struct claims_service *plugin = status->options.claims_service;

        metrics->prepares[METRICS_SUCCESS] = plugin->prepares.n_well;
        metrics->prepares[METRICS_ERROR] = plugin->prepares.n_errors;
        metrics->unprepares[METRICS_SUCCESS] = plugin->unprepares.n_well;
        metrics->unprepares[METRICS_ERROR] = plugin->unprepares.n_errors;
        metrics->prepare_durations = plugin->durations;
        metrics->refusals[METRICS_DRA] = plugin->n_refused;
}

static void measure_node(const struct node_status *node, struct metrics *metrics)
{
        unsigned held = node->n_held + node->plugin.n_held;

        metrics->is_active = node->is_active;
        metrics->is_qgs_known = node->is_attestation_known;
        metrics->qgs_state = node->attestation_state;
        metrics->refuses_path = node->refuses_path;
        metrics->refuses_enforced = node->refuses_enforced;
        metrics->is_attesting = node->is_attesting;
        metrics->is_schedulable = node->is_schedulable;
        metrics->is_capacity_known = node->is_total_known;
        metrics->capacity = node->total;
        metrics->held[METRICS_DRA] = node->n_held;
        metrics->is_measured = node->is_measured;
        metrics->running = node->n_running;
        metrics->foreign = node->n_foreign;
        metrics->leaked = node->n_leaked;
        metrics->free = node->n_usable > held ? node->n_usable - held : 0;
        metrics->overcommitted = held > metrics->capacity ? held - metrics->capacity : 0;
        metrics->n_claims = node->n_claims;
        metrics->is_unrecorded = node->record_trouble != NULL;
        metrics->n_waiting = node->n_waiting;
        measure_plugin(&node->plugin, metrics);
}

static void measure_quotes(const struct status_options *options, struct metrics *metrics)
{
        static const enum metrics_quote of[RELAY_N_OUTCOMES] = {
                [RELAY_DELIVERED] = METRICS_QUOTE_DELIVERED,
                [RELAY_QGS_ERROR] = METRICS_QUOTE_QGS_ERROR,
                [RELAY_GAVE_UP] = METRICS_QUOTE_GAVE_UP,
                [RELAY_MALFORMED] = METRICS_QUOTE_MALFORMED,
                [RELAY_REFUSED_TYPE] = METRICS_QUOTE_REFUSED_TYPE,
                [RELAY_LEFT] = METRICS_QUOTE_LEFT,
        };
        const struct relay_counts *counts;

        if (!options->quotes)
                return;
        counts = quotes_counts(options->quotes);
        metrics->is_relaying = true;
        metrics->is_relay_connected = attestation_is_relay_connected(options->attestation);
        for (size_t i = 0; i < array_size(of); ++i)
                metrics->quotes[of[i]] = counts->n[i];
        metrics->delivered_s = (uint64_t)(counts->delivered_ms / 1000);
        metrics->quotes_unlogged = quotes_n_unlogged(options->quotes);
}

static unsigned print_metrics(void *owner, struct text *page)
{
        const struct status *status = owner;
        const struct status_options *options = &status->options;
        struct metrics metrics = {
                .version = DRA_VERSION,
                .is_served = { [METRICS_DRA] = options->sockets != NULL },
                .is_registered = { [METRICS_DRA] = options->sockets &&
                                                   sockets_is_registered(options->sockets) },
        };
        struct node_status node;

        node_status(options->node, &node);
        measure_node(&node, &metrics);
        measure_quotes(options, &metrics);
        metrics.refused_starts = options->measuring->n_refused;
        measure_claims(status, &metrics);
        measure_publishing(status, &metrics);
        measure_process(status, &metrics);
        metrics_print(&metrics, page);
        return HTTP_OK;
}

/* ---- /healthz and /readyz ---- */

/* An answer alone shows that the loop turns. A failure makes kubelet restart the container, so
 * report only problems that a restart mends. */
static unsigned print_healthz(void *owner, struct text *page)
{
        const struct status *status = owner;
        const char *problem;

        surroundings_look(status->options.surroundings, uv_now(status->options.loop));
        problem = surroundings_problem(status->options.surroundings);
        if (problem) {
                text_addf(page, "not healthy: %s\n", problem);
                return HTTP_SERVICE_UNAVAILABLE;
        }
        text_add(page, "ok\n");
        return HTTP_OK;
}

/* NULL: this instance can serve kubelet. A standby is ready once kubelet could call it: the rolling
 * update then proceeds, and the old instance leaves. Neither the API server nor QGS counts, because
 * another instance would fare no better. */
static const char *why_not_ready(const struct status *status)
{
        const struct status_options *options = &status->options;
        struct node_status node;

        node_status(options->node, &node);
        if (!node.is_active)
                return options->sockets && options->config->pod_uid &&
                                       !sockets_are_in_place(options->sockets)
                               ? "the sockets are not in place yet"
                               : NULL;
        if (options->sockets && !sockets_is_registered(options->sockets))
                return "kubelet has not registered the DRA driver";
        if (!node.is_total_known)
                return "the number of free TDs is not known yet";
        if (!node.is_attestation_known)
                return "the state of QGS is not known yet";
        return node.plugin.is_served && node.plugin.standing == PLUGIN_SERVICE_UNREGISTERED
                       ? "kubelet has not registered the device plugin"
                       : NULL;
}

static unsigned print_readyz(void *owner, struct text *page)
{
        const struct status *status = owner;
        const char *reason = why_not_ready(status);
        struct node_status node;

        node_status(status->options.node, &node);
        if (reason) {
                text_addf(page, "not ready: %s\n", reason);
                return HTTP_SERVICE_UNAVAILABLE;
        }
        /* Not in /healthz: a restart would lose what only memory has. */
        if (node.record_trouble) {
                text_addf(page, "not ready: claims that are held cannot be recorded: %s\n",
                          node.record_trouble);
                return HTTP_SERVICE_UNAVAILABLE;
        }
        text_add(page, node.is_active ? "ok\n" : "ok, standing by\n");
        return HTTP_OK;
}

/* ---- life ---- */

static const struct page all_pages[] = {
        { "/metrics", "text/plain; version=0.0.4; charset=utf-8", "metrics for Prometheus",
          print_metrics },
        { "/healthz", "text/plain; charset=utf-8", "alive", print_healthz },
        { "/readyz", "text/plain; charset=utf-8", "serving kubelet, or ready to take over",
          print_readyz },
};

int status_start(const struct status_options *options, struct status **ret, struct error *err)
{
        struct status *status = xcalloc(1, sizeof(*status));
        const struct pages_options pages_options = { .loop = options->loop,
                                                     .listen = options->config->listen,
                                                     .pages = all_pages,
                                                     .n_pages = array_size(all_pages),
                                                     .owner = status };
        int r;

        status->options = *options;
        status->started_s = (int64_t)time(NULL);
        r = pages_start(&pages_options, &status->pages, err);
        if (r < 0) {
                error_prefix(err, "--listen");
                free(status);
                return r;
        }
        log_info("metrics and health are served", log_str("address", pages_address(status->pages)));
        *ret = status;
        return 0;
}

void status_stop(struct status *status)
{
        if (!status)
                return;
        pages_stop(status->pages);
        free(status);
}
