/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The disk: stands in for dra/claims/records and base/file. Records that dra/claims/records calls
 * durable survive everything; the record of plugin devices is not synced, so a reboot may lose or
 * empty it.
 */
#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"
#include "claims/record.h"
#include "claims/records.h"
#include "e2e/storm/world.h"
#include "ledger.h"
#include "plugin/kubelet_checkpoint.h"

#include <errno.h>
#include <string.h>

struct record {
        struct list link;
        char *uid;
        char *bytes; /* NULL: the order removes the record */
        size_t n;
        unsigned weight; /* the claim's */
        bool is_damaged; /* also a readable one that says so of the record before it */
        bool is_lost;    /* taken away with its directory, and not written again yet */
        records_on_done *on_done;
        void *owner;
};

static struct list records = { &records, &records };
static struct list orders = { &orders, &orders }; /* waiting for the worker, the oldest first */
static struct event worker;
static char *plugin_devices; /* the file's text */
static struct event repair;
static struct {
        bool is_news;         /* the driver has not been told yet */
        bool has_plugin_file; /* the record of plugin devices was lost, and is not written yet */
        uint64_t since_ms;    /* when records were lost, or could be written again */
} loss;

static struct record *record_at(const struct list *position)
{
        return container_of((struct list *)position, struct record, link);
}

static void record_free(struct record *record)
{
        list_unlink(&record->link);
        free(record->uid);
        free(record->bytes);
        free(record);
}

static struct record *find(const struct list *among, const char *uid)
{
        const struct list *position;

        list_for_each (position, among)
                if (record_at(position)->bytes && strcmp(record_at(position)->uid, uid) == 0)
                        return record_at(position);
        return NULL;
}

bool disk_has(const char *uid)
{
        return find(&records, uid) || find(&orders, uid);
}

bool disk_has_cgroup(const char *cgroup)
{
        _cleanup_(free) char *field = xasprintf("\"cgroup\":\"%s\"", cgroup);

        return plugin_devices && strstr(plugin_devices, field);
}

bool disk_is_behind(void)
{
        const struct list *position;

        list_for_each (position, &records)
                if (record_at(position)->is_lost)
                        return true;
        return loss.has_plugin_file;
}

uint64_t disk_behind_ms(void)
{
        return !host.is_disk_full && disk_is_behind() ? clock_now() - loss.since_ms : 0;
}

bool disk_is_damaged(const char *uid)
{
        const struct record *record = find(&records, uid);

        return record && record->is_damaged;
}

unsigned disk_claimed(void)
{
        const struct list *position;
        unsigned n = 0;

        list_for_each (position, &records)
                n += record_at(position)->weight;
        /* Several orders may write one record: the first of them counts. */
        list_for_each (position, &orders) {
                const struct record *order = record_at(position);

                if (order->bytes && !find(&records, order->uid) &&
                    find(&orders, order->uid) == order)
                        n += order->weight;
        }
        return n;
}

/* ---- dra/claims/records ---- */

static void carry_out(struct record *order, bool is_done)
{
        struct record *old = find(&records, order->uid);
        struct error error = ERROR_NULL;
        records_on_done *on_done = order->on_done;
        void *owner = order->owner;

        list_unlink(&order->link);
        if (!is_done) {
                error_set(&error, -ENOSPC, "cannot write the record: No space left on device");
                if (order->bytes && !old)
                        truth_unprepared(order->weight);
                record_free(order);
        } else if (order->bytes) {
                if (old) {
                        figures.tallies[TALLY_REWRITTEN] += old->is_lost;
                        record_free(old);
                }
                list_add_tail(&records, &order->link);
        } else {
                if (old) {
                        truth_unprepared(old->weight);
                        record_free(old);
                }
                record_free(order);
        }
        on_done(owner, &error);
}

static void on_worker(void *unused)
{
        struct record *order = record_at(orders.next);

        if (orders.next->next != &orders)
                clock_plan(&worker, chance_between(1, 8), on_worker, NULL);
        carry_out(order, !order->bytes || !host.is_disk_full);
}

static void place(struct record *order, const char *uid)
{
        order->uid = xstrdup(uid);
        list_add_tail(&orders, &order->link);
        if (!clock_is_planned(&worker))
                clock_plan(&worker, chance_between(1, 8), on_worker, NULL);
}

void records_save(struct records *unused, const struct ledger_claim *claim,
                  records_on_done *on_done, void *owner)
{
        struct record *order = xcalloc(1, sizeof(*order));
        bool is_new;

        order->bytes = claims_record_encode(claim, &order->n);
        order->weight = ledger_claim_weight(claim);
        order->is_damaged = claim->is_uncertain;
        order->on_done = on_done;
        order->owner = owner;
        is_new = !disk_has(claim->uid);
        place(order, claim->uid);
        if (is_new)
                truth_claimed();
}

void records_remove(struct records *unused, const char *uid, records_on_done *on_done, void *owner)
{
        struct record *order = xcalloc(1, sizeof(*order));

        order->on_done = on_done;
        order->owner = owner;
        place(order, uid);
}

int records_open(uv_loop_t *loop, const char *state_dir, bool is_durable, struct records **ret,
                 struct error *err)
{
        *ret = (struct records *)&records; /* there is only one disk */
        return 0;
}

void records_free(struct records *unused)
{
}

bool records_take_lost(struct records *unused)
{
        bool is_news = loss.is_news;

        loss.is_news = false;
        return is_news && driver.fault != FAULT_NO_REWRITE;
}

bool records_is_idle(const struct records *unused)
{
        return list_is_empty(&orders);
}

/* A claim whose record is unreadable is held by its UID. */
int records_load(struct records *unused, struct ledger *ledger, const char *boot_id,
                 records_on_damaged *on_damaged, void *owner, struct error *err)
{
        const struct list *position;

        if (driver.fault == FAULT_FORGET)
                return 0;
        list_for_each (position, &records) {
                const struct record *record = record_at(position);
                struct ledger_claim *claim = NULL;
                struct error error = ERROR_NULL;

                if (claims_record_decode(record->bytes, record->n, &claim, &error) != 0) {
                        on_damaged(owner, record->uid, &error);
                        claim = ledger_claim_new(record->uid, "", "", 0);
                        claim->boot_id = xstrdup(boot_id);
                        claim->is_uncertain = true;
                        claim->uncertain_tds = record->weight;
                }
                ledger_restore(ledger, claim);
        }
        return 0;
}

/* The process has ended. Of the pending orders only the oldest are carried out; after an orderly
 * end all are. */
void disk_settle(bool is_orderly)
{
        bool is_done = true;

        clock_cancel(&worker);
        while (!list_is_empty(&orders)) {
                struct record *order = record_at(orders.next);

                is_done = is_done && (is_orderly || chance_percent(50));
                carry_out(order, is_done && (!order->bytes || !host.is_disk_full));
        }
}

/* ---- base/file, for the record of plugin devices and kubelet's own ---- */

int file_open_directory(const char *path, mode_t mode, int *ret_fd, struct error *err)
{
        *ret_fd = -1;
        return 0;
}

int file_replace(int dir_fd, const char *name, const void *bytes, size_t n, mode_t mode,
                 enum file_sync sync, struct error *err)
{
        if (host.is_disk_full)
                return error_set(err, -ENOSPC, "%s: No space left on device", name);
        free(plugin_devices);
        plugin_devices = xstrndup(bytes, n);
        loss.has_plugin_file = false;
        return 0;
}

int file_append(int dir_fd, const char *path, const void *bytes, size_t n, struct error *err)
{
        char *longer;

        if (!plugin_devices)
                return error_set(err, -ENOENT, "%s: No such file or directory", path);
        longer = xasprintf("%s%.*s", plugin_devices, (int)(host.is_disk_full ? n / 2 : n),
                           (const char *)bytes);
        free(plugin_devices);
        plugin_devices = longer;
        return host.is_disk_full ? error_set(err, -ENOSPC, "%s: No space left on device", path) : 0;
}

/* The record as it would be with IDs alone. */
static char *without_pods(const char *from)
{
        char *text = xstrdup(from), *pod;

        while ((pod = strstr(text, ",{\"pod\"")))
                memmove(pod, strchr(pod, '}') + 1, strlen(strchr(pod, '}') + 1) + 1);
        return text;
}

int file_read(int dir_fd, const char *path, size_t max, char **ret_bytes, size_t *ret_n,
              struct error *err)
{
        char *text = NULL;

        /* Opening kubelet's checkpoint succeeds once it has been written, but reading it may fail.
         */
        if (strstr(path, KUBELET_CHECKPOINT_NAME) && !chance_percent(90))
                return error_set(err, -EIO, "%s: Input/output error", path);
        if (strstr(path, KUBELET_CHECKPOINT_NAME))
                text = kubelet_device_checkpoint();
        else if (plugin_devices && driver.fault != FAULT_FORGET)
                text = driver.fault == FAULT_NO_PODS_RECORDED ? without_pods(plugin_devices)
                                                              : xstrdup(plugin_devices);
        if (!text)
                return error_set(err, -ENOENT, "%s: No such file or directory", path);
        *ret_bytes = text;
        *ret_n = strlen(text);
        return 0;
}

/* ---- what happens to the disk ---- */

void disk_reboot(void)
{
        unsigned fate = chance_below(3);

        if (fate == 0 || !plugin_devices)
                return;
        free(take_ptr(plugin_devices));
        if (fate == 1)
                plugin_devices = xstrdup("");
}

/* Only a record of a claim with one TD: an unreadable record counts as one. */
bool disk_damage_one(void)
{
        const struct list *position;

        list_for_each (position, &records) {
                struct record *record = record_at(position);

                if (record->weight != 1 || record->n < 90 || !chance_percent(30))
                        continue;
                record->bytes[record->n - 3] ^= 1;
                record->is_damaged = true;
                trace("the record of %s is damaged", record->uid);
                return true;
        }
        return false;
}

static void on_repaired(void *unused)
{
        host.is_disk_full = false;
        loss.since_ms = clock_now();
        trace("the disk has room again");
        truth_disturbed();
}

void disk_fail(uint64_t ms)
{
        host.is_disk_full = true;
        clock_plan(&repair, ms, on_repaired, NULL);
}

void disk_lose_state(void)
{
        const struct list *position;

        list_for_each (position, &records)
                record_at(position)->is_lost = true;
        loss.has_plugin_file |= plugin_devices && driver.sharing;
        free(take_ptr(plugin_devices));
        loss.is_news = true;
        loss.since_ms = clock_now();
}

void disk_deinit(void)
{
        while (!list_is_empty(&records))
                record_free(record_at(records.next));
        free(take_ptr(plugin_devices));
}
