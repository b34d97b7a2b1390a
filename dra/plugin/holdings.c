/* SPDX-License-Identifier: Apache-2.0 */
#include "plugin/holdings.h"

#include "base/list.h"
#include "base/memory.h"
#include "base/table.h"
#include "plugin/holder.h"

#include <string.h>

struct holding {
        struct table_node node; /* by ID, while held */
        struct list link;       /* among the lingering ones, the oldest first */
        char *id;
        char *pod_uid; /* NULL: not known */
        char *cgroup;  /* of its pod; NULL: not known */
        bool is_kept;  /* kubelet's checkpoint had it at the last reading */
        uint64_t allocated_ms;
        bool is_listed;       /* kubelet has listed it at least once */
        bool is_in_last_list; /* valid only inside holdings_observe() */
        uint64_t deadline_ms; /* in flight: kubelet must list it by then; lingering: when to look at
                                 it again */
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
        free(holding->pod_uid);
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

/* True only with proof: if the pod's cgroup is unknown, the device counts as in use. */
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

/* The pod may still be in admission: kubelet does not list the device, and no container runs. */
static bool may_be_in_admission(const struct holding *holding)
{
        return !holding->is_listed && holding->is_kept && !holding->cgroup;
}

/* Whether an Allocate now is for another container of the same pod. In every other case kubelet
 * believes the device free: it has forgotten the previous pod (a forced deletion), whose container
 * may still run. */
static bool is_handed_on(const struct holding *holding, uint64_t now_ms)
{
        if (!holding->is_listed && now_ms < holding->allocated_ms + HOLDINGS_SAME_POD_MS)
                return true;
        return may_be_in_admission(holding);
}

size_t holdings_n_new(const struct holdings *holdings, const char *const *ids, size_t n,
                      uint64_t now_ms)
{
        _cleanup_(free) struct table_node *nodes = NULL;
        struct table new = TABLE_NULL;
        size_t n_new;

        /* The table finds IDs that the request names twice. */
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

                /* If the request names an ID twice, the second finds what the first has made. */
                if (holding && !is_handed_on(holding, now_ms)) {
                        let_go(holdings, holding, now_ms);
                        holding = NULL;
                }
                if (!holding)
                        holding = hold(holdings, ids[i]);
                holding->allocated_ms = now_ms;
                holding->deadline_ms = now_ms + HOLDINGS_IN_FLIGHT_MS;
        }
}

/* kubelet no longer lists it, or has not listed it in time. */
static bool is_vanished(const struct holding *holding, uint64_t now_ms)
{
        if (holding->is_in_last_list)
                return false;
        if (may_be_in_admission(holding) && now_ms < holding->allocated_ms + HOLDINGS_ADMISSION_MS)
                return false;
        return holding->is_listed || now_ms >= holding->deadline_ms;
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

static bool is_same(const char *a, const char *b)
{
        return a && b && strcmp(a, b) == 0;
}

/* If kubelet's list has dropped a device of this pod, a checkpoint that still names the pod is
 * older than the list. */
static bool has_lingering_of(const struct holdings *holdings, const struct plugin_holder *holder)
{
        const struct list *position;

        list_for_each (position, &holdings->lingering) {
                const struct holding *holding = container_of(position, struct holding, link);

                if (is_same(holding->cgroup, holder->cgroup) ||
                    (is_same(holding->pod_uid, holder->pod_uid) &&
                     is_same(holding->id, holder->id)))
                        return true;
        }
        return false;
}

/* Copies the pod's UID and cgroup, if they are known. */
static void learn(struct holding *holding, const struct plugin_holder *holder)
{
        if (holder->pod_uid && !is_same(holding->pod_uid, holder->pod_uid)) {
                free(holding->pod_uid);
                holding->pod_uid = xstrdup(holder->pod_uid);
        }
        if (holder->cgroup)
                holding->cgroup = xstrdup(holder->cgroup);
}

bool holdings_place(struct holdings *holdings, const struct plugin_holder *holder)
{
        struct holding *holding = holding_of(table_find(&holdings->held, holder->id));

        if (!holding || holding->cgroup || has_lingering_of(holdings, holder))
                return false;
        if (!holder->cgroup && (!holder->pod_uid || is_same(holding->pod_uid, holder->pod_uid)))
                return false;
        learn(holding, holder);
        return true;
}

bool holdings_is_in_flight(const struct holdings *holdings, const char *id)
{
        const struct holding *holding = holding_of(table_find(&holdings->held, id));

        return holding && !holding->is_listed;
}

void holdings_confirm(struct holdings *holdings, const char *id, bool is_kept)
{
        struct table_node *node =
                id ? table_find(&holdings->held, id) : table_next(&holdings->held, NULL);

        for (; node; node = id ? NULL : table_next(&holdings->held, node))
                holding_of(node)->is_kept = is_kept && !holding_of(node)->is_listed;
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
                /* If the cgroup is known, only its end releases the device: the grace period is a
                 * guess. */
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

static void tell(const struct holding *holding,
                 void (*on_holder)(void *owner, const struct plugin_holder *holder), void *owner)
{
        const struct plugin_holder holder = { holding->id, holding->pod_uid, holding->cgroup };

        on_holder(owner, &holder);
}

void holdings_each(const struct holdings *holdings,
                   void (*on_holder)(void *owner, const struct plugin_holder *holder), void *owner)
{
        const struct list *position;
        struct table_node *node = NULL;

        list_for_each (position, &holdings->lingering)
                tell(container_of(position, struct holding, link), on_holder, owner);
        while ((node = table_next(&holdings->held, node)))
                tell(holding_of(node), on_holder, owner);
}

void holdings_restore(struct holdings *holdings, const struct plugin_holder *holder,
                      uint64_t now_ms)
{
        struct holding *holding = holding_of(table_find(&holdings->held, holder->id));

        if (holding)
                let_go(holdings, holding, now_ms);
        /* As if kubelet had listed it: the deadline of an Allocate in flight does not apply. */
        holding = hold(holdings, holder->id);
        holding->is_listed = true;
        learn(holding, holder);
}
