/* SPDX-License-Identifier: Apache-2.0 */
#include "relay/news.h"

#include "host/qgs_verdict.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static struct relay_qgs result_of(enum qgs_probe_result result, const char *failure)
{
        struct relay_qgs qgs = { .result = result };

        (void)snprintf(qgs.failure, sizeof(qgs.failure), "%s", failure);
        return qgs;
}

struct relay_qgs news_of_connect(int code)
{
        struct relay_qgs qgs = result_of(qgs_probe_result_of_connect(code), strerror(-code));

        qgs.is_absent = code == -ENOENT || code == -ENOTDIR;
        return qgs;
}

struct relay_qgs news_of_worker(const struct worker_qgs *qgs)
{
        char failure[64];

        switch ((enum worker_qgs_result)qgs->result) {
        case WORKER_QGS_ANSWERED:
                return result_of(QGS_PROBE_ANSWERED, "");
        case WORKER_QGS_CLOSED:
                return result_of(QGS_PROBE_FAILING, "it closes connections without an answer");
        case WORKER_QGS_ERROR:
                (void)snprintf(failure, sizeof(failure), "it answers with error 0x%x", qgs->code);
                return result_of(QGS_PROBE_FAILING, failure);
        case WORKER_QGS_GARBLED:
                return result_of(QGS_PROBE_FAILING, "its answer is not one of QGS");
        case WORKER_QGS_SILENT:
        case WORKER_QGS_N_RESULTS:
                break;
        }
        return result_of(QGS_PROBE_SILENT, "no answer in time");
}

struct relay_qgs news_of_delivery(void)
{
        return result_of(QGS_PROBE_ANSWERED, "");
}

bool news_take(struct news *news, const struct relay_qgs *qgs, uint64_t now_ms, bool *ret_is_change)
{
        bool is_change = !news->is_known || news->qgs.is_absent != qgs->is_absent ||
                         news->qgs.result != qgs->result ||
                         strcmp(news->qgs.failure, qgs->failure) != 0;

        *ret_is_change = is_change;
        if (!is_change && !news->is_asked && now_ms - news->told_ms < NEWS_INTERVAL_MS)
                return false;
        *news = (struct news){ .is_known = true, .qgs = *qgs, .told_ms = now_ms };
        return true;
}
