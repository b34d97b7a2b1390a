/* SPDX-License-Identifier: Apache-2.0 */
#include "claims/records.h"

#include "base/error.h"
#include "base/file.h"
#include "base/list.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/timer.h"
#include "claims/record.h"
#include "claims/recordfile.h"
#include "ledger.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/* One order: write these bytes as the record of uid, or remove it. */
struct order {
        struct list link;
        char *uid;
        char *bytes; /* NULL: remove */
        size_t n;
        unsigned weight; /* TDs of the claim, for the mark */
        struct error error;
        records_on_done *on_done;
        void *owner;
};

struct records {
        uv_loop_t *loop;
        char *directory;
        int directory_fd; /* changes only between rounds */
        bool is_durable;
        struct list waiting;  /* for the next round */
        struct list round;    /* belongs to the worker while is_busy */
        bool is_busy;         /* a round is running, or its callbacks are */
        bool is_lost;         /* the directory was lost, and the owner does not know yet */
        struct error missing; /* why this round has no directory */
        uv_work_t work;
        struct timer
                *unsynced; /* Runs a round without syncs, in the worker's place: with no disk to
                              wait for, the thread would only cost two context switches. The timer
                              keeps on_done out of the caller's stack. NULL outside such a round. */
};

/* ---- reading all of them ---- */

struct loading {
        const struct records *records;
        struct ledger *ledger;
        const char *boot_id;
        records_on_damaged *on_damaged;
        void *owner;
};

/* The record is damaged, or newer (r): set the file aside, and record the claim as uncertain. */
static void keep_aside(const struct records *records, const struct ledger_claim *claim, int r,
                       struct error *reason)
{
        const char *where = r == CLAIMS_RECORD_NEWER ? "newer" : "damaged";
        const struct error why = *reason;
        struct error failure = ERROR_NULL;

        if (recordfile_set_aside(records->directory_fd, records->directory, where, claim,
                                 records->is_durable, &failure) == 0)
                error_set(reason, why.code, "record %s/%s: %s; moved aside to %s/",
                          records->directory, claim->uid, why.text, where);
        else
                error_set(reason, why.code,
                          "record %s/%s: %s; it stays there until the next start, for it cannot be "
                          "moved aside: %s",
                          records->directory, claim->uid, why.text, failure.text);
}

static void on_found(void *owner, struct ledger_claim *claim, int r, struct error *reason)
{
        const struct loading *loading = owner;

        if (r) {
                claim->boot_id = xstrdup(loading->boot_id);
                keep_aside(loading->records, claim, r, reason);
                loading->on_damaged(loading->owner, claim->uid, reason);
        }
        ledger_restore(loading->ledger, claim);
}

int records_load(struct records *records, struct ledger *ledger, const char *boot_id,
                 records_on_damaged *on_damaged, void *owner, struct error *err)
{
        struct loading loading = {
                .records = records,
                .ledger = ledger,
                .boot_id = boot_id,
                .on_damaged = on_damaged,
                .owner = owner,
        };

        file_sweep_temporaries(records->directory_fd);
        recordfile_sweep_marks(records->directory_fd);
        return recordfile_scan(records->directory_fd, records->directory, on_found, &loading, err);
}

/* ---- writing, on the worker thread ---- */

static void fail(const struct records *records, struct order *order, const char *what, int r)
{
        error_set(&order->error, r, "cannot %s %s: %s%s", what, records->directory, strerror(-r),
                  file_remedy(r, "; see why it is read-only (dmesg) and mount it writable",
                              "; let the driver write there"));
}

static enum file_sync sync_mode(const struct records *records)
{
        return records->is_durable ? FILE_SYNCED : FILE_UNSYNCED;
}

/* A missing record counts as removed, even on a read-only disk, where unlink() fails before it
 * looks. */
static int remove_record(const struct records *records, const char *uid)
{
        int r = unlinkat(records->directory_fd, uid, 0) < 0 ? -errno : 0;

        if (r == -EROFS && faccessat(records->directory_fd, uid, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
                r = -errno;
        return r == -ENOENT ? 0 : r;
}

static int write_record(const struct records *records, const struct order *order)
{
        /* Mark first: a kill between the two leaves a mark that is swept, not a heavy record
         * without one.
         */
        int r = recordfile_mark(records->directory_fd, order->uid, order->weight);

        return r < 0 ? r
                     : file_replace(records->directory_fd, order->uid, order->bytes, order->n, 0600,
                                    sync_mode(records), NULL);
}

static void carry_out(const struct records *records, struct order *order)
{
        int r;

        if (order->bytes) {
                r = write_record(records, order);
                if (r < 0)
                        fail(records, order, "record the claim in", r);
        } else {
                r = remove_record(records, order->uid);
                if (r < 0)
                        fail(records, order, "remove the claim's record from", r);
                else
                        recordfile_unmark(records->directory_fd, order->uid);
        }
}

/* Each file is synced before its rename; the renames and removals of a round share one sync of the
 * directory. */
static void on_worker(uv_work_t *work)
{
        struct records *records = work->data;
        struct list *position;
        int r = 0;

        if (records->missing.code) {
                list_for_each (position, &records->round)
                        container_of(position, struct order, link)->error = records->missing;
                return;
        }
        list_for_each (position, &records->round)
                carry_out(records, container_of(position, struct order, link));
        if (records->is_durable && fsync(records->directory_fd) < 0)
                r = -errno;
        list_for_each (position, &records->round) {
                struct order *order = container_of(position, struct order, link);

                if (r < 0 && !order->error.code)
                        fail(records, order, "sync directory", r);
        }
}

/* ---- rounds, on the loop thread ---- */

static void start_round(struct records *records);

static void on_round_over(uv_work_t *work, int status)
{
        struct records *records = work->data;
        struct list done;

        list_init(&done);
        list_splice_tail(&done, &records->round);
        while (!list_is_empty(&done)) {
                struct order *order = container_of(done.next, struct order, link);

                list_unlink(&order->link);
                order->on_done(order->owner, &order->error);
                free(order->uid);
                free(order->bytes);
                free(order);
        }
        /* Only now, so that all orders placed by these callbacks form one round. */
        records->is_busy = false;
        start_round(records);
}

/* A record is only as durable as the directories above it, which may be new. */
static void sync_above(int directory_fd)
{
        static const char *const above[] = { "..", "../.." };

        for (size_t i = 0; i < array_size(above); ++i) {
                _cleanup_(close) int fd =
                        openat(directory_fd, above[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);

                /* If the disk cannot sync, the first record fails as well, and that failure is
                 * reported. */
                if (fd >= 0)
                        (void)fsync(fd);
        }
}

/* True if the path no longer leads to our directory: removed, renamed, or mounted over. */
static bool is_out_of_place(const struct records *records)
{
        struct stat ours, found;

        if (fstat(records->directory_fd, &ours) < 0)
                return false;
        return stat(records->directory, &found) < 0 || !file_is_same(&ours, &found);
}

/* Write records only where the next start will look for them. */
static int find_directory_again(struct records *records, struct error *err)
{
        int fd, r;

        if (!is_out_of_place(records))
                return 0;
        records->is_lost = true;
        r = file_open_directory(records->directory, 0700, &fd, err);
        if (r < 0)
                return r;
        close(records->directory_fd);
        records->directory_fd = fd;
        if (records->is_durable)
                sync_above(fd);
        return 0;
}

bool records_take_lost(struct records *records)
{
        bool is_lost = records->is_lost || (!records->is_busy && is_out_of_place(records));

        records->is_lost = false;
        return is_lost;
}

static void on_unsynced_round(void *owner)
{
        struct records *records = owner;

        timer_free(take_ptr(records->unsynced));
        on_worker(&records->work);
        on_round_over(&records->work, 0);
}

static void start_round(struct records *records)
{
        int r;

        if (records->is_busy || list_is_empty(&records->waiting))
                return;
        records->missing = (struct error)ERROR_NULL;
        (void)find_directory_again(records, &records->missing);
        list_splice_tail(&records->round, &records->waiting);
        records->is_busy = true;
        records->work.data = records;
        if (!records->is_durable) {
                records->unsynced = timer_new(records->loop, on_unsynced_round, records);
                timer_start(records->unsynced, 0);
                return;
        }
        r = uv_queue_work(records->loop, &records->work, on_worker, on_round_over);
        assert(!r); /* fails only without a worker function */
        (void)r;
}

static void place_order(struct records *records, const char *uid, char *bytes, size_t n,
                        unsigned weight, records_on_done *on_done, void *owner)
{
        struct order *order = xcalloc(1, sizeof(*order));

        assert(text_is_uid(uid));
        order->uid = xstrdup(uid);
        order->bytes = bytes;
        order->n = n;
        order->weight = weight;
        order->on_done = on_done;
        order->owner = owner;
        list_add_tail(&records->waiting, &order->link);
        start_round(records);
}

void records_save(struct records *records, const struct ledger_claim *claim,
                  records_on_done *on_done, void *owner)
{
        size_t n;
        char *bytes = claims_record_encode(claim, &n);

        place_order(records, claim->uid, bytes, n, ledger_claim_weight(claim), on_done, owner);
}

void records_remove(struct records *records, const char *uid, records_on_done *on_done, void *owner)
{
        place_order(records, uid, NULL, 0, 0, on_done, owner);
}

/* ---- the checkpoint ---- */

int records_open(uv_loop_t *loop, const char *state_dir, bool is_durable, struct records **ret,
                 struct error *err)
{
        _cleanup_(free) char *directory = xasprintf("%s/claims", state_dir);
        struct records *records;
        int fd, r;

        r = file_open_directory(directory, 0700, &fd, err);
        if (r < 0)
                return r;
        if (is_durable)
                sync_above(fd);
        records = xcalloc(1, sizeof(*records));
        records->loop = loop;
        records->directory = take_ptr(directory);
        records->directory_fd = fd;
        records->is_durable = is_durable;
        list_init(&records->waiting);
        list_init(&records->round);
        *ret = records;
        return 0;
}

void records_free(struct records *records)
{
        if (!records)
                return;
        assert(records_is_idle(records));
        close(records->directory_fd);
        free(records->directory);
        free(records);
}

bool records_is_idle(const struct records *records)
{
        return !records->is_busy && list_is_empty(&records->waiting);
}
