/* SPDX-License-Identifier: Apache-2.0 */
/* A doubly linked ring, intrusive. An unlinked member points at itself, so that unlinking twice is
 * harmless. */
#pragma once

#include <stdbool.h>

struct list {
        struct list *previous;
        struct list *next;
};

static inline void list_init(struct list *list)
{
        list->previous = list;
        list->next = list;
}

static inline bool list_is_empty(const struct list *list)
{
        return list->next == list;
}

static inline void list_add_tail(struct list *head, struct list *member)
{
        member->previous = head->previous;
        member->next = head;
        head->previous->next = member;
        head->previous = member;
}

static inline void list_unlink(struct list *member)
{
        member->previous->next = member->next;
        member->next->previous = member->previous;
        list_init(member);
}

/* Move every member of from (then empty) to the end of to. */
static inline void list_splice_tail(struct list *to, struct list *from)
{
        if (list_is_empty(from))
                return;
        from->next->previous = to->previous;
        to->previous->next = from->next;
        from->previous->next = to;
        to->previous = from->previous;
        list_init(from);
}

#define list_for_each(position, head) \
        for ((position) = (head)->next; (position) != (head); (position) = (position)->next)

/* position may be unlinked or freed inside the loop; following is a second cursor. */
#define list_for_each_safe(position, following, head)                                         \
        for ((position) = (head)->next, (following) = (position)->next; (position) != (head); \
             (position) = (following), (following) = (position)->next)
