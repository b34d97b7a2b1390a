/* SPDX-License-Identifier: Apache-2.0 */
#include "relay/probe.h"

#include "base/backoff.h"
#include "base/memory.h"
#include "base/timer.h"
#include "relay/exchange.h"
#include "relay/serving.h"

#include <uv.h>

#define RETRY_FIRST_MS 1000 /* after a failure; the cap is limits.probe_ms */

struct probe {
        struct serving *serving;
        struct exchanges *exchanges;
        struct turns_td turns;
        struct timer *timer;
        struct exchange *exchange; /* NULL: none is under way */
        struct backoff backoff;
};

static int read_reply(const unsigned char *bytes, size_t n, size_t *ret_size, uint32_t *ret_code)
{
        char failure[64];
        int r;

        *ret_code = 0;
        r = qgs_message_read_platform_info(bytes, n, ret_code, failure, sizeof(failure));
        *ret_size = (size_t)qgs_message_size(bytes, n);
        return r < 0 && *ret_code ? 0 : r;
}

static void try_again(struct probe *probe)
{
        timer_start(probe->timer, backoff_next_ms(&probe->backoff, 0, backoff_random()));
}

static void on_done(void *owner, enum exchange_result result, int code, struct frame_reply *reply,
                    size_t size)
{
        struct probe *probe = owner;

        probe->exchange = NULL;
        switch (result) {
        case EXCHANGE_REPLIED:
                serving_tell_qgs(probe->serving, code ? WORKER_QGS_ERROR : WORKER_QGS_ANSWERED,
                                 (uint32_t)code, true);
                break;
        case EXCHANGE_NOT_CONNECTED: /* the holder knows */
                break;
        case EXCHANGE_CLOSED:
                serving_tell_qgs(probe->serving, WORKER_QGS_CLOSED, 0, true);
                break;
        case EXCHANGE_GARBLED:
                serving_tell_qgs(probe->serving, WORKER_QGS_GARBLED, 0, true);
                break;
        case EXCHANGE_SILENT:
                serving_tell_qgs(probe->serving, WORKER_QGS_SILENT, 0, true);
                break;
        }
        if (result == EXCHANGE_REPLIED && !code) {
                backoff_reset(&probe->backoff);
                timer_start(probe->timer, probe->serving->limits.probe_ms);
        } else {
                try_again(probe);
        }
}

static void on_silence(void *owner)
{
        struct probe *probe = owner;

        serving_tell_qgs(probe->serving, WORKER_QGS_SILENT, 0, true);
}

static void ask(struct probe *probe)
{
        uint32_t probe_ms = probe->serving->limits.probe_ms;
        const struct exchange_plan plan = { .request = qgs_platform_info_request,
                                            .n_request = QGS_PLATFORM_INFO_REQUEST_SIZE,
                                            .silence_ms = probe_ms / 2,
                                            .read = read_reply,
                                            .on_done = on_done,
                                            .on_silence = on_silence,
                                            .owner = probe };

        if (!probe->exchange)
                probe->exchange = exchange_start(probe->exchanges, &probe->turns, &plan);
}

/* News that came meanwhile put it off. Failures do not: they are what the next attempt is for. */
static void on_due(void *owner)
{
        struct probe *probe = owner;
        uint64_t due_ms = probe->serving->heard_ms + probe->serving->limits.probe_ms;
        uint64_t now_ms = uv_now(probe->serving->loop);

        if (!probe->backoff.n_failures && now_ms < due_ms)
                timer_start(probe->timer, due_ms - now_ms);
        else
                ask(probe);
}

void probe_ask(struct probe *probe)
{
        backoff_reset(&probe->backoff);
        ask(probe);
}

void probe_stop(struct probe *probe)
{
        timer_stop(probe->timer);
        exchange_abandon(take_ptr(probe->exchange));
}

struct probe *probe_new(struct serving *serving, struct exchanges *exchanges)
{
        struct probe *probe = xcalloc(1, sizeof(*probe));

        probe->serving = serving;
        probe->exchanges = exchanges;
        turns_td_init(&probe->turns);
        probe->timer = timer_new(serving->loop, on_due, probe);
        probe->backoff = (struct backoff){ .first_ms = serving->limits.probe_ms < RETRY_FIRST_MS
                                                               ? serving->limits.probe_ms
                                                               : RETRY_FIRST_MS,
                                           .cap_ms = serving->limits.probe_ms };
        return probe;
}

void probe_free(struct probe *probe)
{
        if (!probe)
                return;
        probe_stop(probe);
        timer_free(probe->timer);
        free(probe);
}
