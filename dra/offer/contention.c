/* SPDX-License-Identifier: Apache-2.0 */
#include "offer/contention.h"

#include "base/json.h"
#include "base/text.h"

#include <string.h>

void contention_forget_writes(struct contention *contention)
{
        contention->written = 0;
        contention->has_intruder = false;
}

static uint64_t bit_of(unsigned index)
{
        return index < CONTENTION_SLICES ? UINT64_C(1) << index : 0;
}

void contention_note_write(struct contention *contention, unsigned index)
{
        contention->written |= bit_of(index);
}

void contention_note_failed(struct contention *contention, unsigned index)
{
        contention->written &= ~bit_of(index);
}

void contention_note_intruder(struct contention *contention)
{
        contention->has_intruder = true;
}

/* Others may undo many writes in one go, as the garbage collector does: that counts once, so all of
 * them are forgotten with the first. */
static bool take_undone(struct contention *contention, unsigned index)
{
        bool is_undone = index < CONTENTION_SLICES ? contention->written & bit_of(index)
                                                   : contention->has_intruder;

        if (is_undone)
                contention_forget_writes(contention);
        return is_undone;
}

uint64_t contention_delay(struct contention *contention, unsigned index, uint64_t now_ms,
                          bool *ret_is_news)
{
        uint64_t delay = CONTENTION_FIRST_MS;

        *ret_is_news = false;
        if (!take_undone(contention, index))
                return 0;
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

/* The client that changed an object last, by its metadata.managedFields (KEP-555); NULL: we did. An
 * entry's time has whole seconds, so in doubt it was the other one. */
static const char *last_manager(const struct json *object, const char *us)
{
        const struct json *fields = json_get(json_get(object, "metadata"), "managedFields");
        const char *newest = "", *other = NULL, *ours = "";

        for (const struct json *entry = json_first(fields); entry; entry = json_next(entry)) {
                const char *manager = json_string(json_get(entry, "manager"));
                const char *time = json_string(json_get(entry, "time"));

                /* RFC 3339 in UTC: the later one is the greater string. */
                if (!manager || !time)
                        continue;
                if (strcmp(manager, us) == 0) {
                        if (strcmp(time, ours) > 0)
                                ours = time;
                } else if (strcmp(time, newest) >= 0) {
                        newest = time;
                        other = manager;
                }
        }
        return strcmp(newest, ours) >= 0 ? other : NULL;
}

char *contention_describe(const struct json *object, const char *us)
{
        static const char what[] = "the driver writes them again, less and less often";
        const char *manager = last_manager(object, us);

        if (!object)
                return xasprintf("another client keeps deleting this node's ResourceSlices: %s",
                                 what);
        if (!manager)
                return xasprintf("another instance of this driver keeps changing this node's "
                                 "ResourceSlices: %s. Find the one that runs under this node's "
                                 "name, and end it",
                                 what);
        return xasprintf("another client, field manager %.128s, keeps changing this node's "
                         "ResourceSlices: %s. Find out why it does",
                         manager, what);
}
