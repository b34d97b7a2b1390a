/* SPDX-License-Identifier: Apache-2.0 */
#include "offer/contention.h"

#include "base/json.h"
#include "base/memory.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>

void contention_deinit(struct contention *contention)
{
        free(contention->manager);
}

void contention_see(struct contention *contention, const struct json *object, const char *us)
{
        const char *manager = contention_other_manager(object, us);

        free(contention->manager);
        contention->manager = manager ? xstrdup(manager) : NULL;
}

char *contention_describe(const struct contention *contention)
{
        return xasprintf("another client keeps changing this node's ResourceSlices (%s%s): the "
                         "driver writes them again, less and less often. If a second driver runs "
                         "under this node's name, end it",
                         contention->manager ? "field manager "
                                             : "another instance of this driver, or somebody who "
                                               "deletes them",
                         contention->manager ? contention->manager : "");
}

uint64_t contention_undone(struct contention *contention, uint64_t now_ms, bool *ret_is_news)
{
        uint64_t delay = CONTENTION_FIRST_MS;

        if (now_ms - contention->last_ms >= CONTENTION_QUIET_MS)
                contention->n_undone = 0;
        contention->last_ms = now_ms;
        ++contention->n_undone;
        *ret_is_news = contention->n_undone == CONTENTION_FREE + 1;
        if (contention->n_undone <= CONTENTION_FREE)
                return 0;
        for (unsigned i = CONTENTION_FREE + 1;
             i < contention->n_undone && delay < CONTENTION_MOST_MS; ++i)
                delay *= 2;
        return delay < CONTENTION_MOST_MS ? delay : CONTENTION_MOST_MS;
}

const char *contention_other_manager(const struct json *object, const char *us)
{
        const struct json *fields = json_get(json_get(object, "metadata"), "managedFields");
        const char *newest = "", *other = NULL;

        for (const struct json *entry = json_first(fields); entry; entry = json_next(entry)) {
                const char *manager = json_string(json_get(entry, "manager"));
                const char *time = json_string(json_get(entry, "time"));

                /* RFC 3339 in UTC: the later one is the greater string. */
                if (!manager || !time || strcmp(manager, us) == 0 || strcmp(time, newest) < 0)
                        continue;
                newest = time;
                other = manager;
        }
        return other;
}
