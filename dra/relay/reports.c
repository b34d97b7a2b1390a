/* SPDX-License-Identifier: Apache-2.0 */
#include "relay/reports.h"

#include "base/log.h"
#include "base/memory.h"
#include "base/timer.h"
#include "relay/control.h"
#include "relay/news.h"
#include "relay/outcomes.h"

#include <string.h>
#include <time.h>
#include <uv.h>

#define SUMMARY_MS 3600000

struct reports {
        uv_loop_t *loop;
        struct control *control;
        struct outcomes *outcomes;
        struct news news;
        struct timer *summary;
        char qgs_socket[RELAY_NAME_MAX + 1];
};

/* ---- quotes ---- */

static int64_t unix_ms(void)
{
        struct timespec now;

        (void)clock_gettime(CLOCK_REALTIME, &now);
        return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void log_quote(const struct relay_quote *quote)
{
        char td[RELAY_TD_NAME_SIZE];

        relay_td_print(&quote->td, td);
        log_debug("a VM's request has ended", log_str("td", td),
                  log_str("outcome", relay_outcome_name(quote->outcome)),
                  log_int("us", (int64_t)quote->us), log_int("error", quote->error),
                  log_str("cause", quote->cause ? strerror(-quote->cause) : ""));
}

/* An hour after the first request that no summary has. */
static void on_summary(void *owner)
{
        const struct reports *reports = owner;
        struct relay_snapshot node;
        size_t position = 0;

        (void)outcomes_snapshot(reports->outcomes, &position, &node);
        log_info("VMs' requests so far",
                 log_int("delivered", (int64_t)node.counts.n[RELAY_DELIVERED]),
                 log_int("qgs-error", (int64_t)node.counts.n[RELAY_QGS_ERROR]),
                 log_int("gave-up", (int64_t)node.counts.n[RELAY_GAVE_UP]),
                 log_int("malformed", (int64_t)node.counts.n[RELAY_MALFORMED]),
                 log_int("refused-type", (int64_t)node.counts.n[RELAY_REFUSED_TYPE]),
                 log_int("left", (int64_t)node.counts.n[RELAY_LEFT]));
}

void reports_take_quote(struct reports *reports, const struct relay_quote *quote)
{
        outcomes_add(reports->outcomes, quote);
        log_quote(quote);
        if (!timer_is_running(reports->summary))
                timer_start(reports->summary, SUMMARY_MS);
        control_tell_quotes(reports->control);
}

static void take_qgs(struct reports *reports, const struct relay_qgs *qgs)
{
        bool is_change;

        if (!news_take(&reports->news, qgs, uv_now(reports->loop), &is_change))
                return;
        if (is_change && qgs->result == QGS_PROBE_ANSWERED)
                log_info("QGS answers", log_str("socket", reports->qgs_socket));
        else if (is_change)
                log_warn("QGS does not answer; VMs' requests are tried again for a while",
                         log_str("socket", reports->qgs_socket), log_str("reason", qgs->failure));
        control_tell_qgs(reports->control, qgs);
}

void reports_take_outcome(struct reports *reports, const struct worker_outcome *outcome)
{
        struct relay_quote quote = { .time_ms = unix_ms(),
                                     .td = outcome->td,
                                     .outcome = (enum relay_outcome)outcome->outcome,
                                     .error = outcome->code,
                                     .cause = outcome->cause,
                                     .us = outcome->us,
                                     .has_digest = outcome->has_digest };

        memcpy(quote.digest, outcome->digest, sizeof(quote.digest));
        reports_take_quote(reports, &quote);
        if (quote.outcome == RELAY_DELIVERED) {
                struct relay_qgs qgs = news_of_delivery();

                take_qgs(reports, &qgs);
        }
}

/* ---- QGS ---- */

void reports_set_qgs(struct reports *reports, const char *socket)
{
        memset(reports->qgs_socket, 0, sizeof(reports->qgs_socket));
        memcpy(reports->qgs_socket, socket, strnlen(socket, RELAY_NAME_MAX));
}

void reports_take_qgs(struct reports *reports, const struct worker_qgs *worker_qgs)
{
        struct relay_qgs qgs = news_of_worker(worker_qgs);

        take_qgs(reports, &qgs);
}

void reports_take_failed_connect(struct reports *reports, int code)
{
        struct relay_qgs qgs = news_of_connect(code);

        take_qgs(reports, &qgs);
}

void reports_want_qgs(struct reports *reports)
{
        reports->news.is_asked = true;
}

bool reports_is_qgs_wanted(const struct reports *reports)
{
        return reports->news.is_asked;
}

/* ---- the whole ---- */

struct reports *reports_new(uv_loop_t *loop)
{
        struct reports *reports = xcalloc(1, sizeof(*reports));

        reports->loop = loop;
        reports->outcomes = outcomes_new();
        reports->summary = timer_new(loop, on_summary, reports);
        return reports;
}

void reports_free(struct reports *reports)
{
        if (!reports)
                return;
        timer_free(reports->summary);
        outcomes_free(reports->outcomes);
        free(reports);
}

void reports_set_control(struct reports *reports, struct control *control)
{
        reports->control = control;
}

struct outcomes *reports_outcomes(struct reports *reports)
{
        return reports->outcomes;
}
