/* SPDX-License-Identifier: Apache-2.0 */
#include "relay/serving.h"

#include "relay/channel.h"

#include <string.h>
#include <time.h>
#include <uv.h>

#define UNSENT_MAX 256 /* unsent messages, from which outcomes are counted instead of told */

uint64_t serving_now_us(void)
{
        struct timespec now;

        (void)clock_gettime(CLOCK_MONOTONIC, &now);
        return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

void serving_tell(struct serving *serving, const struct worker_message *message)
{
        if (serving->channel)
                channel_send(serving->channel, message, -1);
}

/* A quote is always told: its connection to QGS was asked of a holder that did read. */
void serving_tell_outcome(struct serving *serving, const struct worker_outcome *outcome)
{
        struct worker_message message;

        if (outcome->outcome == RELAY_DELIVERED || outcome->outcome == RELAY_QGS_ERROR)
                serving->heard_ms = uv_now(serving->loop);
        else if (serving->channel && channel_n_unsent(serving->channel) >= UNSENT_MAX) {
                ++serving->n_lost;
                return;
        }
        memset(&message, 0, sizeof(message));
        message.kind = WORKER_OUTCOME;
        message.outcome = *outcome;
        serving_tell(serving, &message);
}

void serving_tell_qgs(struct serving *serving, enum worker_qgs_result result, uint32_t code,
                      bool is_probe)
{
        struct worker_message message;

        serving->heard_ms = uv_now(serving->loop);
        memset(&message, 0, sizeof(message));
        message.kind = WORKER_QGS;
        message.qgs = (struct worker_qgs){ .result = result, .code = code, .is_probe = is_probe };
        serving_tell(serving, &message);
}

void serving_changed(struct serving *serving)
{
        serving->on_changed(serving->owner);
}
