/* SPDX-License-Identifier: Apache-2.0 */
#include "claims/leftovers.h"

#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "claims/records.h"

#include <string.h>

struct leftover {
        struct list link;
        char *uid;
        bool is_trying;
};

static void leftover_free(struct leftover *leftover)
{
        list_unlink(&leftover->link);
        free(leftover->uid);
        free(leftover);
}

void leftovers_init(struct leftovers *leftovers)
{
        list_init(&leftovers->list);
}

void leftovers_deinit(struct leftovers *leftovers)
{
        while (!list_is_empty(&leftovers->list))
                leftover_free(container_of(leftovers->list.next, struct leftover, link));
}

void leftovers_add(struct leftovers *leftovers, const char *uid)
{
        struct leftover *leftover = xcalloc(1, sizeof(*leftover));

        leftover->uid = xstrdup(uid);
        list_add_tail(&leftovers->list, &leftover->link);
}

bool leftovers_has(const struct leftovers *leftovers, const char *uid)
{
        const struct list *position;

        list_for_each (position, &leftovers->list)
                if (strcmp(container_of(position, struct leftover, link)->uid, uid) == 0)
                        return true;
        return false;
}

/* On failure the record stays in the list, and the next leftovers_retry() tries it again. The
 * failure was already logged when the claim was unprepared. */
static void on_removed(void *owner, const struct error *error)
{
        struct leftover *leftover = owner;

        leftover->is_trying = false;
        if (error->code)
                return;
        log_info("the record of an unprepared claim is removed now", log_str("uid", leftover->uid));
        leftover_free(leftover);
}

void leftovers_retry(struct leftovers *leftovers, struct records *records,
                     bool (*is_claimed)(void *owner, const char *uid), void *owner)
{
        struct list *position, *following;

        list_for_each_safe (position, following, &leftovers->list) {
                struct leftover *leftover = container_of(position, struct leftover, link);

                if (leftover->is_trying)
                        continue;
                if (is_claimed(owner, leftover->uid)) {
                        leftover_free(leftover);
                        continue;
                }
                leftover->is_trying = true;
                records_remove(records, leftover->uid, on_removed, leftover);
        }
}
