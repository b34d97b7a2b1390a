/* SPDX-License-Identifier: Apache-2.0 */
#include "plugin/holdings.h"

#include "base/list.h"
#include "base/table.h"

#include <string.h>

struct holding {
        struct table_node node; /* by ID, while held */
        struct list link;       /* of those lingering, the oldest first */
        char *id;
        char *cgroup;         /* of its pod; NULL: not known */
        bool is_listed;       /* kubelet has listed it at least once */
        bool is_in_last_list; /* while holdings_observe() works */
        uint64_t deadline_ms; /* in flight: to be listed by then; lingering: to be looked at */
};

struct holdings {
        bool (*is_running)(const char *cgroup);
        struct table held;
        struct list lingering;
        size_t n_lingering;
};

static struct holding *holding_of(struct table_node *node)
{
        return node ? container_of(node, struct holding, node) : NULL;
}

static void holding_free(struct holding *holding)
{
        list_unlink(&holding->link);
        free(holding->id);
        free(holding->cgroup);
        free(holding);
}

static struct holding *hold(struct holdings *holdings, const char *id)
{
        struct holding *holding = xcalloc(1, sizeof(*holding));

        holding->id = xstrdup(id);
        list_init(&holding->link);
        table_insert(&holdings->held, &holding->node, holding->id);
        return holding;
}

/* For certain: where nothing is known of its pod, it has not. */
static bool has_ended(const struct holdings *holdings, const struct holding *holding)
{
        return holding->cgroup && !holdings->is_running(holding->cgroup);
}

/* kubelet has forgotten the pod that holds this. */
static void let_go(struct holdings *holdings, struct holding *holding, uint64_t now_ms)
{
        table_remove(&holdings->held, &holding->node);
        if (has_ended(holdings, holding)) {
                holding_free(holding);
                return;
        }
        holding->deadline_ms = now_ms + (holding->cgroup ? HOLDINGS_LOOK_MS : HOLDINGS_LINGER_MS);
        list_add_tail(&holdings->lingering, &holding->link);
        ++holdings->n_lingering;
}

struct holdings *holdings_new(bool (*is_running)(const char *cgroup))
{
        struct holdings *holdings = xcalloc(1, sizeof(*holdings));

        holdings->is_running = is_running;
        list_init(&holdings->lingering);
        return holdings;
}

void holdings_free(struct holdings *holdings)
{
        struct table_node *node;

        if (!holdings)
                return;
        while ((node = table_next(&holdings->held, NULL))) {
                table_remove(&holdings->held, node);
                holding_free(holding_of(node));
        }
        while (!list_is_empty(&holdings->lingering))
                holding_free(container_of(holdings->lingering.next, struct holding, link));
        table_deinit(&holdings->held);
        free(holdings);
}

size_t holdings_n(const struct holdings *holdings)
{
        return holdings->held.n_nodes + holdings->n_lingering;
}

enum holdings_state holdings_state(const struct holdings *holdings, const char *id)
{
        const struct list *position;

        if (table_find(&holdings->held, id))
                return HOLDINGS_HELD;
        list_for_each (position, &holdings->lingering)
                if (strcmp(container_of(position, struct holding, link)->id, id) == 0)
                        return HOLDINGS_LINGERING;
        return HOLDINGS_FREE;
}

/* kubelet gives away only what it holds for free. So whoever had the device before is forgotten
 * there (a forced deletion), though its container may run on. */
static bool is_handed_on(const struct holding *holding, uint64_t now_ms)
{
        return !holding->is_listed &&
               now_ms < holding->deadline_ms - HOLDINGS_IN_FLIGHT_MS + HOLDINGS_SAME_POD_MS;
}

size_t holdings_n_new(const struct holdings *holdings, const char *const *ids, size_t n,
                      uint64_t now_ms)
{
        __attribute__((cleanup(cleanup_free))) struct table_node *nodes = NULL;
        struct table new = TABLE_NULL;
        size_t n_new;

        nodes = xcalloc(n, sizeof(*nodes));
        for (size_t i = 0; i < n; ++i) {
                const struct holding *holding = holding_of(table_find(&holdings->held, ids[i]));

                if (!(holding && is_handed_on(holding, now_ms)) && !table_find(&new, ids[i]))
                        table_insert(&new, &nodes[i], ids[i]);
        }
        n_new = new.n_nodes;
        table_deinit(&new);
        return n_new;
}

void holdings_allocate(struct holdings *holdings, const char *const *ids, size_t n, uint64_t now_ms)
{
        for (size_t i = 0; i < n; ++i) {
                struct holding *holding = holding_of(table_find(&holdings->held, ids[i]));

                /* Also when it is named twice here. */
                if (holding && is_handed_on(holding, now_ms))
                        continue;
                if (holding)
                        let_go(holdings, holding, now_ms);
                holding = hold(holdings, ids[i]);
                holding->deadline_ms = now_ms + HOLDINGS_IN_FLIGHT_MS;
        }
}

/* One that kubelet does not list any more, or never did in time. */
static bool is_vanished(const struct holding *holding, uint64_t now_ms)
{
        return !holding->is_in_last_list && (holding->is_listed || now_ms >= holding->deadline_ms);
}

static bool drop_vanished(struct holdings *holdings, uint64_t now_ms)
{
        struct table_node *node = table_next(&holdings->held, NULL), *following;
        bool is_changed = false;

        for (; node; node = following) {
                struct holding *holding = holding_of(node);

                following = table_next(&holdings->held, node);
                if (!is_vanished(holding, now_ms))
                        continue;
                is_changed = true;
                let_go(holdings, holding, now_ms);
        }
        return is_changed;
}

bool holdings_observe(struct holdings *holdings, const char *const *ids, size_t n, bool is_complete,
                      uint64_t now_ms)
{
        struct table_node *node = NULL;
        bool is_changed = false;

        while ((node = table_next(&holdings->held, node)))
                holding_of(node)->is_in_last_list = false;
        for (size_t i = 0; i < n; ++i) {
                struct holding *holding = holding_of(table_find(&holdings->held, ids[i]));

                is_changed |= !holding;
                if (!holding)
                        holding = hold(holdings, ids[i]);
                holding->is_listed = true;
                holding->is_in_last_list = true;
        }
        if (is_complete)
                is_changed |= drop_vanished(holdings, now_ms);
        return is_changed;
}

static bool has_lingering_at(const struct holdings *holdings, const char *cgroup)
{
        const struct list *position;

        list_for_each (position, &holdings->lingering) {
                const struct holding *holding = container_of(position, struct holding, link);

                if (holding->cgroup && strcmp(holding->cgroup, cgroup) == 0)
                        return true;
        }
        return false;
}

void holdings_place(struct holdings *holdings, const char *id, const char *cgroup)
{
        struct holding *holding = holding_of(table_find(&holdings->held, id));

        if (holding && !holding->cgroup && !has_lingering_at(holdings, cgroup))
                holding->cgroup = xstrdup(cgroup);
}

bool holdings_is_unplaced(const struct holdings *holdings, const char *id)
{
        const struct holding *holding;
        struct table_node *node = NULL;

        if (id) {
                holding = holding_of(table_find(&holdings->held, id));
                return holding && !holding->cgroup;
        }
        while ((node = table_next(&holdings->held, node)))
                if (!holding_of(node)->cgroup)
                        return true;
        return false;
}

static void forget_lingering(struct holdings *holdings, struct holding *holding)
{
        holding_free(holding);
        --holdings->n_lingering;
}

bool holdings_expire(struct holdings *holdings, uint64_t now_ms)
{
        struct list *position, *following;
        bool is_changed = false;

        list_for_each_safe (position, following, &holdings->lingering) {
                struct holding *holding = container_of(position, struct holding, link);

                if (now_ms < holding->deadline_ms)
                        continue;
                if (holding->cgroup && !has_ended(holdings, holding)) {
                        holding->deadline_ms = now_ms + HOLDINGS_LOOK_MS;
                        continue;
                }
                forget_lingering(holdings, holding);
                is_changed = true;
        }
        return is_changed;
}

bool holdings_drop_ended(struct holdings *holdings, const char *const *ids, size_t n)
{
        struct list *position, *following;
        bool is_changed = false;

        for (size_t i = 0; i < n; ++i) {
                struct holding *holding = holding_of(table_find(&holdings->held, ids[i]));

                if (!holding || !has_ended(holdings, holding))
                        continue;
                table_remove(&holdings->held, &holding->node);
                holding_free(holding);
                is_changed = true;
        }
        list_for_each_safe (position, following, &holdings->lingering) {
                struct holding *holding = container_of(position, struct holding, link);

                if (!has_ended(holdings, holding))
                        continue;
                forget_lingering(holdings, holding);
                is_changed = true;
        }
        return is_changed;
}

uint64_t holdings_next_expiry_ms(const struct holdings *holdings)
{
        const struct list *position;
        uint64_t next_ms = UINT64_MAX;

        list_for_each (position, &holdings->lingering) {
                uint64_t deadline_ms = container_of(position, struct holding, link)->deadline_ms;

                next_ms = deadline_ms < next_ms ? deadline_ms : next_ms;
        }
        return next_ms;
}

const char *holdings_next(const struct holdings *holdings, const char *previous)
{
        struct table_node *node = previous ? table_find(&holdings->held, previous) : NULL;
        struct holding *next = holding_of(table_next(&holdings->held, node));

        return next ? next->id : NULL;
}

const char *holdings_next_lingering(const struct holdings *holdings, const char *previous)
{
        const struct list *position;
        bool is_past = !previous;

        list_for_each (position, &holdings->lingering) {
                const char *id = container_of(position, struct holding, link)->id;

                if (is_past)
                        return id;
                is_past = id == previous;
        }
        return NULL;
}

void holdings_restore(struct holdings *holdings, const char *id, uint64_t now_ms)
{
        struct holding *holding = holding_of(table_find(&holdings->held, id));

        if (holding)
                let_go(holdings, holding, now_ms);
        hold(holdings, id)->is_listed = true;
}
