/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How QGS does, from what the worker and failed connects tell, and when the drivers hear of it: at
 * once if it changes or if they asked, otherwise once a second at most. Pure.
 */
#pragma once

#include "host/relay_message.h"
#include "relay/worker_message.h"

#include <stdbool.h>
#include <stdint.h>

#define NEWS_INTERVAL_MS 1000

struct news {
        bool is_known;
        bool is_asked; /* a driver waits for the next result */
        struct relay_qgs qgs;
        uint64_t told_ms;
};

/* The result in the drivers' words. */
struct relay_qgs news_of_connect(int code); /* connect(2)'s -errno */
struct relay_qgs news_of_worker(const struct worker_qgs *qgs);
struct relay_qgs news_of_delivery(void);

/* True: tell the drivers. ret_is_change: it differs from the last result. */
bool news_take(struct news *news, const struct relay_qgs *qgs, uint64_t now_ms,
               bool *ret_is_change);
