/* SPDX-License-Identifier: Apache-2.0 */
#include "relay/outcomes.h"

#include "base/memory.h"

#include <string.h>

struct outcomes {
        struct relay_snapshot node;
        struct relay_counts *tds[RELAY_N_PATHS]; /* by device; zero: had no quote */
        size_t n_tds[RELAY_N_PATHS];
        struct relay_quote *ring; /* quote n is at n % RELAY_QUOTES_KEPT */
        uint64_t next, first_untold;
};

struct outcomes *outcomes_new(void)
{
        struct outcomes *outcomes = xcalloc(1, sizeof(*outcomes));

        outcomes->node.is_of_node = true;
        /* The kernel gives a page of it once it is written to. */
        outcomes->ring = xcalloc(RELAY_QUOTES_KEPT, sizeof(*outcomes->ring));
        return outcomes;
}

void outcomes_free(struct outcomes *outcomes)
{
        if (!outcomes)
                return;
        for (size_t i = 0; i < RELAY_N_PATHS; ++i)
                free(outcomes->tds[i]);
        free(outcomes->ring);
        free(outcomes);
}

static struct relay_counts *counts_of(struct outcomes *outcomes, const struct relay_td *td)
{
        size_t n = outcomes->n_tds[td->path];
        struct relay_counts **tds = &outcomes->tds[td->path];

        if (td->device >= n) {
                *tds = xreallocarray(*tds, td->device + 1, sizeof(**tds));
                memset(*tds + n, 0, (td->device + 1 - n) * sizeof(**tds));
                outcomes->n_tds[td->path] = td->device + 1;
        }
        return *tds + td->device;
}

static void count(struct relay_counts *counts, const struct relay_quote *quote)
{
        ++counts->n[quote->outcome];
        if (quote->outcome == RELAY_DELIVERED)
                counts->delivered_ms = quote->time_ms;
}

void outcomes_add(struct outcomes *outcomes, const struct relay_quote *quote)
{
        if (outcomes->next - outcomes->first_untold == RELAY_QUOTES_KEPT) {
                ++outcomes->first_untold;
                ++outcomes->node.n_lost;
        }
        outcomes->ring[outcomes->next++ % RELAY_QUOTES_KEPT] = *quote;
        count(&outcomes->node.counts, quote);
        count(counts_of(outcomes, &quote->td), quote);
}

void outcomes_set(struct outcomes *outcomes, const struct relay_snapshot *snapshot)
{
        if (snapshot->is_of_node)
                outcomes->node = *snapshot;
        else
                *counts_of(outcomes, &snapshot->td) = snapshot->counts;
}

uint64_t outcomes_next(const struct outcomes *outcomes)
{
        return outcomes->next;
}

uint64_t outcomes_first_untold(const struct outcomes *outcomes)
{
        return outcomes->first_untold;
}

const struct relay_quote *outcomes_quote(const struct outcomes *outcomes, uint64_t number)
{
        if (number >= outcomes->next || outcomes->next - number > RELAY_QUOTES_KEPT)
                return NULL;
        return &outcomes->ring[number % RELAY_QUOTES_KEPT];
}

void outcomes_told(struct outcomes *outcomes, uint64_t number)
{
        if (number > outcomes->first_untold)
                outcomes->first_untold = number;
}

static bool has_history(const struct relay_counts *counts)
{
        static const struct relay_counts none;

        return memcmp(counts, &none, sizeof(none)) != 0;
}

bool outcomes_snapshot(const struct outcomes *outcomes, size_t *position,
                       struct relay_snapshot *ret)
{
        if (*position == 0) {
                ++*position;
                *ret = outcomes->node;
                return true;
        }
        for (size_t i = *position - 1; i < (size_t)RELAY_N_PATHS * RELAY_DEVICES_MAX; ++i) {
                struct relay_td td = { .device = (uint32_t)(i / RELAY_N_PATHS),
                                       .path = (uint32_t)(i % RELAY_N_PATHS) };

                if (td.device >= outcomes->n_tds[td.path] ||
                    !has_history(&outcomes->tds[td.path][td.device]))
                        continue;
                *position = i + 2;
                *ret = (struct relay_snapshot){ .td = td,
                                                .counts = outcomes->tds[td.path][td.device] };
                return true;
        }
        return false;
}
