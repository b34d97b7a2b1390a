/* SPDX-License-Identifier: Apache-2.0 */
#include "claims/records.h"

#include "base/error.h"
#include "base/file.h"
#include "base/list.h"
#include "ledger.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <time.h>

#define RECORD_MAX (1 << 20)

/* One order: write these bytes as the record of uid, or remove it. */
struct order {
        struct list link;
        char *uid;
        char *bytes; /* NULL: remove */
        size_t n;
        unsigned weight; /* TDs, of a record */
        struct error error;
        records_on_done *on_done;
        void *owner;
};

struct records {
        uv_loop_t *loop;
        char *directory;
        int directory_fd; /* changes between rounds only */
        bool is_durable;
        struct list waiting; /* orders for the next round */
        struct list round;   /* the worker's, while is_busy */
        bool is_busy;        /* a round is on its way, or its members are being told */
        uv_work_t work;
};

/* ---- reading all of them ---- */

/* A claim of a device each is nearly all there are. How many TDs another one holds is written
 * beside its record as well, in an attribute of the file, which survives what happens to its bytes.
 * A file system without attributes leaves it at one. */
#define WEIGHT_ATTRIBUTE "user.dra.tds"

static void note_weight(const struct records *records, const struct order *order)
{
        __attribute__((cleanup(cleanup_close))) int fd = -1;

        if (order->weight == 1)
                return;
        fd = openat(records->directory_fd, order->uid, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (fd >= 0 &&
            fsetxattr(fd, WEIGHT_ATTRIBUTE, &order->weight, sizeof(order->weight), 0) == 0 &&
            records->is_durable)
                (void)fsync(fd);
}

static unsigned noted_weight(const struct records *records, const char *uid)
{
        __attribute__((cleanup(cleanup_close))) int fd = -1;
        unsigned weight;

        fd = openat(records->directory_fd, uid, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        if (fd < 0 || fgetxattr(fd, WEIGHT_ATTRIBUTE, &weight, sizeof(weight)) != sizeof(weight))
                return 1;
        return weight;
}

static struct ledger_claim *uncertain_claim(const struct records *records, const char *uid)
{
        struct ledger_claim *claim = ledger_claim_new(uid, "", "", 0);

        claim->is_uncertain = true;
        claim->uncertain_tds = noted_weight(records, uid);
        return claim;
}

static enum file_sync sync_mode(const struct records *records)
{
        return records->is_durable ? FILE_SYNCED : FILE_UNSYNCED;
}

/* A second name for the record, <uid>.<time> in directory_fd; never one that is taken. */
static int link_aside(const struct records *records, const char *uid, int directory_fd,
                      char **ret_name)
{
        for (long long now = time(NULL), last = now + 1000; now < last; ++now) {
                __attribute__((cleanup(cleanup_free))) char *name = xasprintf("%s.%lld", uid, now);

                if (linkat(records->directory_fd, uid, directory_fd, name, 0) == 0) {
                        *ret_name = take_ptr(name);
                        return 0;
                }
                /* What is no file cannot have two names. */
                if (errno == EPERM && renameat2(records->directory_fd, uid, directory_fd, name,
                                                RENAME_NOREPLACE) == 0)
                        return 0;
                if (errno != EEXIST)
                        return -errno;
        }
        return -EEXIST;
}

/* Keep an unreadable record in state_dir/<where> for whoever wants to know what happened, and put
 * one of an uncertain claim in its place: otherwise the next start would not know that the claim is
 * held. Where there is no room for that, or the disk is read-only, the record stays where it is,
 * and the next start finds it again. */
static void set_aside(const struct records *records, const char *where,
                      const struct ledger_claim *claim)
{
        __attribute__((cleanup(cleanup_free))) char *path =
                xasprintf("%s/../%s", records->directory, where);
        __attribute__((cleanup(cleanup_free))) char *bytes = NULL, *name = NULL;
        __attribute__((cleanup(cleanup_close))) int fd = -1;
        size_t n;

        if (file_open_directory(path, 0700, &fd, NULL) < 0 ||
            link_aside(records, claim->uid, fd, &name) < 0)
                return;
        bytes = records_encode(claim, &n);
        if (file_replace(records->directory_fd, claim->uid, bytes, n, 0600, sync_mode(records),
                         NULL) < 0) {
                if (name)
                        (void)unlinkat(fd, name, 0);
                return;
        }
        if (records->is_durable) {
                (void)fsync(fd);
                (void)fsync(records->directory_fd);
        }
}

static int read_record(const struct records *records, const char *uid,
                       struct ledger_claim **ret_claim, struct error *err)
{
        __attribute__((cleanup(cleanup_free))) char *bytes = NULL;
        _cleanup_(ledger_claim) struct ledger_claim *claim = NULL;
        size_t n;
        int r;

        r = file_read(records->directory_fd, uid, RECORD_MAX, &bytes, &n, err);
        if (!r)
                r = records_decode(bytes, n, &claim, err);
        if (!r && strcmp(claim->uid, uid) != 0)
                r = error_set(err, -EBADMSG, "it is the record of another claim, %.64s",
                              claim->uid);
        if (!r)
                *ret_claim = take_ptr(claim);
        return r;
}

/* That we could not read says nothing about the record. */
static bool is_our_trouble(int r)
{
        return r == -EMFILE || r == -ENFILE || r == -ENOMEM || r == -EACCES || r == -EPERM;
}

static int load_one(const struct records *records, struct ledger *ledger, const char *uid,
                    records_on_damaged *on_damaged, void *owner, struct error *err)
{
        struct ledger_claim *claim = NULL;
        struct error reason = ERROR_NULL;
        int r;

        r = read_record(records, uid, &claim, &reason);
        if (r == -ENOENT)
                return 0;
        if (is_our_trouble(r))
                return error_set(err, r, "record %s/%s: %s", records->directory, uid, reason.text);
        if (r) {
                claim = uncertain_claim(records, uid);
                error_prefix(&reason, "record %s/%s", records->directory, uid);
                set_aside(records, r == RECORDS_NEWER ? "newer" : "damaged", claim);
                on_damaged(owner, uid, &reason);
        }
        ledger_restore(ledger, claim);
        return 0;
}

/* The names first: whether readdir() shows what is renamed meanwhile is left open (POSIX). */
static int list_records(const struct records *records, char ***ret_uids, size_t *ret_n,
                        struct error *err)
{
        DIR *directory = opendir(records->directory);
        const struct dirent *entry;
        char **uids = NULL;
        size_t n = 0;
        int r;

        if (!directory)
                return error_errno(err, -errno, "cannot read directory %s", records->directory);
        for (errno = 0; (entry = readdir(directory)); errno = 0) {
                if (!records_uid_is_valid(entry->d_name))
                        continue;
                uids = xreallocarray(uids, n + 1, sizeof(*uids));
                uids[n++] = xstrdup(entry->d_name);
        }
        r = -errno;
        closedir(directory);
        *ret_uids = uids;
        *ret_n = n;
        return r < 0 ? error_errno(err, r, "cannot read directory %s", records->directory) : 0;
}

int records_load(struct records *records, struct ledger *ledger, records_on_damaged *on_damaged,
                 void *owner, struct error *err)
{
        char **uids = NULL;
        size_t n = 0;
        int r;

        file_sweep_temporaries(records->directory_fd);
        r = list_records(records, &uids, &n, err);
        for (size_t i = 0; i < n; ++i) {
                if (!r)
                        r = load_one(records, ledger, uids[i], on_damaged, owner, err);
                free(uids[i]);
        }
        free(uids);
        return r;
}

/* ---- writing, on the worker thread ---- */

static const char *remedy_for(int r)
{
        switch (r) {
        case -ENOSPC:
        case -EDQUOT:
                return "; free space there";
        case -EROFS:
                return "; see why it is read-only (dmesg) and mount it writable";
        case -EACCES:
        case -EPERM:
                return "; let the driver write there";
        default:
                return "";
        }
}

static void fail(const struct records *records, struct order *order, const char *what, int r)
{
        error_set(&order->error, r, "cannot %s %s: %s%s", what, records->directory, strerror(-r),
                  remedy_for(r));
}

/* What is not there counts as removed, also where a read-only disk refuses before it looks. */
static int remove_record(const struct records *records, const char *uid)
{
        int r = unlinkat(records->directory_fd, uid, 0) < 0 ? -errno : 0;

        if (r == -EROFS && faccessat(records->directory_fd, uid, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
                r = -errno;
        return r == -ENOENT ? 0 : r;
}

static void carry_out(const struct records *records, struct order *order)
{
        int r;

        if (order->bytes) {
                r = file_replace(records->directory_fd, order->uid, order->bytes, order->n, 0600,
                                 sync_mode(records), NULL);
                if (r < 0)
                        fail(records, order, "record the claim in", r);
                else
                        note_weight(records, order);
        } else {
                r = remove_record(records, order->uid);
                if (r < 0)
                        fail(records, order, "remove the claim's record from", r);
        }
}

/* Each file is synced before its rename; the renames and removals of the whole round share one sync
 * of the directory. */
static void on_worker(uv_work_t *work)
{
        struct records *records = work->data;
        struct list *position;
        int r = 0;

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
        /* Only now: what the members order when they are told makes the next round together. */
        records->is_busy = false;
        start_round(records);
}

bool records_is_lost(const struct records *records)
{
        struct stat directory;

        return !records->is_busy && fstat(records->directory_fd, &directory) == 0 &&
               !directory.st_nlink;
}

/* Somebody has removed the directory: records go to a new one, not to one that nobody can find. */
static void find_directory_again(struct records *records)
{
        int fd;

        if (!records_is_lost(records))
                return;
        if (file_open_directory(records->directory, 0700, &fd, NULL) < 0)
                return;
        close(records->directory_fd);
        records->directory_fd = fd;
}

static void free_timer(uv_handle_t *timer)
{
        free(timer);
}

static void on_unsynced_round(uv_timer_t *timer)
{
        struct records *records = timer->data;

        uv_close((uv_handle_t *)timer, free_timer);
        on_worker(&records->work);
        on_round_over(&records->work, 0);
}

/* Without syncs there is nothing to wait for, and the worker thread would only cost its two changes
 * of thread. Still not from inside the caller. */
static void start_unsynced_round(struct records *records)
{
        uv_timer_t *timer = xcalloc(1, sizeof(*timer));

        uv_timer_init(records->loop, timer);
        timer->data = records;
        uv_timer_start(timer, on_unsynced_round, 0, 0);
}

static void start_round(struct records *records)
{
        int r;

        if (records->is_busy || list_is_empty(&records->waiting))
                return;
        find_directory_again(records);
        list_splice_tail(&records->round, &records->waiting);
        records->is_busy = true;
        records->work.data = records;
        if (!records->is_durable) {
                start_unsynced_round(records);
                return;
        }
        r = uv_queue_work(records->loop, &records->work, on_worker, on_round_over);
        assert(!r); /* fails without a worker function only */
        (void)r;
}

static void place_order(struct records *records, const char *uid, char *bytes, size_t n,
                        unsigned weight, records_on_done *on_done, void *owner)
{
        struct order *order = xcalloc(1, sizeof(*order));

        assert(records_uid_is_valid(uid));
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
        char *bytes = records_encode(claim, &n);

        place_order(records, claim->uid, bytes, n, ledger_claim_weight(claim), on_done, owner);
}

void records_remove(struct records *records, const char *uid, records_on_done *on_done, void *owner)
{
        place_order(records, uid, NULL, 0, 0, on_done, owner);
}

/* ---- the checkpoint ---- */

/* A record is as durable as the directories above it. They may be new. */
static void sync_above(int directory_fd)
{
        static const char *const above[] = { "..", "../.." };

        for (size_t i = 0; i < array_size(above); ++i) {
                __attribute__((cleanup(cleanup_close))) int fd =
                        openat(directory_fd, above[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);

                /* A disk that cannot do it fails the first record, too, and that is reported. */
                if (fd >= 0)
                        (void)fsync(fd);
        }
}

int records_open(uv_loop_t *loop, const char *state_dir, bool is_durable, struct records **ret,
                 struct error *err)
{
        __attribute__((cleanup(cleanup_free))) char *directory = xasprintf("%s/claims", state_dir);
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
