/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VMs' requests for quotes, as the quote relay reports them: totals for the metrics, a DEBUG line
 * for each and an INFO line an hour, and the quote log (--quote-log), which says who attested when.
 *
 * The quote log has one JSON object a line. It holds the SHA-256 of the report data, so that a
 * verifier can find its own quote there, and never the content of a report or quote:
 *
 *         {"time":"2026-11-30T12:00:00.123Z","node":"n1","device":"tdx5","path":"claim",
 *          "namespace":"default","claim":"vm-tdx","podUid":"8d3c...","outcome":"delivered","ms":41,
 *          "reportDataSha256":"6b86..."}
 *
 * path: claim or plugin. namespace, claim and podUid are those of the TD's holder at that moment,
 * and absent if not known; the first two are also absent on the plugin path. error: QGS's code,
 * with the outcome qgs-error; cause: why the relay gave up.
 */
#pragma once

#include "host/relay_message.h"

#include <stdint.h>

struct config;
struct quotes;
struct tenant;
struct uv_loop_s;

struct quotes_options {
        struct uv_loop_s *loop;
        const struct config *config; /* outlives it */
        /* Who holds the TD now. False: this instance does not serve the node, and the active one
         * logs the quote. */
        bool (*find_holder)(void *owner, const struct relay_td *td, struct tenant *ret);
        void *owner;
};

struct quotes *quotes_new(const struct quotes_options *options);
void quotes_free(struct quotes *quotes); /* NULL is fine */

/* RELAY_QUOTE or RELAY_SNAPSHOT; others are ignored. */
void quotes_take(struct quotes *quotes, const struct relay_message *message);

/* Of the node, since its relay started. Borrowed. */
const struct relay_counts *quotes_counts(const struct quotes *quotes);
/* Quotes that are missing in the quote log: it could not be written, or the relay could not keep
 * them until a driver was there. */
uint64_t quotes_n_unlogged(const struct quotes *quotes);

/* A line of the quote log with its "\n"; the caller's. */
char *quotes_print(const struct relay_quote *quote, const char *node, const struct tenant *holder);
