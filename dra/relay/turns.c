/* SPDX-License-Identifier: Apache-2.0 */
#include "relay/turns.h"

#include "base/memory.h"

#include <assert.h>

void turns_init(struct turns *turns, unsigned n_threads, unsigned n_per_td)
{
        *turns = (struct turns){ .n_threads = n_threads, .n_per_td = n_per_td };
        list_init(&turns->tds);
}

void turns_td_init(struct turns_td *td)
{
        *td = (struct turns_td){ .n_running = 0 };
        list_init(&td->in_turns);
        list_init(&td->waiting);
}

void turn_init(struct turn *turn)
{
        *turn = (struct turn){ .td = NULL };
        list_init(&turn->in_td);
}

void turns_wait(struct turns *turns, struct turns_td *td, struct turn *turn)
{
        assert(!turn->td);
        if (list_is_empty(&td->waiting))
                list_add_tail(&turns->tds, &td->in_turns);
        list_add_tail(&td->waiting, &turn->in_td);
        turn->td = td;
        ++turns->n_waiting;
}

static void stop_waiting(struct turns *turns, struct turn *turn)
{
        list_unlink(&turn->in_td);
        --turns->n_waiting;
        if (list_is_empty(&turn->td->waiting))
                list_unlink(&turn->td->in_turns);
}

static bool is_before(const struct turns_td *a, const struct turns_td *b)
{
        return a->n_running < b->n_running ||
               (a->n_running == b->n_running && a->last_served < b->last_served);
}

/* NULL: none may run. */
static struct turns_td *next_td(const struct turns *turns)
{
        struct turns_td *next = NULL;
        struct list *position;

        list_for_each (position, &turns->tds) {
                struct turns_td *td = container_of(position, struct turns_td, in_turns);

                if (td->n_running < turns->n_per_td && (!next || is_before(td, next)))
                        next = td;
        }
        return next;
}

struct turn *turns_next(struct turns *turns)
{
        struct turns_td *td = turns->n_running < turns->n_threads ? next_td(turns) : NULL;
        struct turn *turn;

        if (!td)
                return NULL;
        turn = container_of(td->waiting.next, struct turn, in_td);
        stop_waiting(turns, turn);
        td->last_served = ++turns->n_served;
        turn->is_running = true;
        ++td->n_running;
        ++turns->n_running;
        return turn;
}

void turns_leave(struct turns *turns, struct turn *turn)
{
        if (!turn->td)
                return;
        if (turn->is_running) {
                --turn->td->n_running;
                --turns->n_running;
        } else {
                stop_waiting(turns, turn);
        }
        turn_init(turn);
}
