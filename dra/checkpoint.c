/* SPDX-License-Identifier: Apache-2.0 */
#include "checkpoint.h"

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/list.h"
#include "base/parse.h"
#include "base/text.h"
#include "ledger.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define MAGIC       "dra-driver-tdx claim "
#define VERSION     "1"
#define RECORD_MAX  (1 << 20)
#define DEVICES_MAX 32 /* AllocationResultsMaxSize of resource.k8s.io/v1 */
#define UID_MAX     64

/* One order: write these bytes as the record of uid, or remove it. */
struct order {
        struct list link;
        char *uid;
        char *bytes; /* NULL: remove */
        size_t n;
        struct error error;
        checkpoint_on_done *on_done;
        void *owner;
};

struct checkpoint {
        uv_loop_t *loop;
        char *directory;
        int directory_fd;
        bool is_durable;
        struct list waiting; /* orders for the next round */
        struct list round;   /* the worker's, while is_busy */
        bool is_busy;
        uv_work_t work;
};

/* ---- records ---- */

/* CRC-32C (Castagnoli, reflected), bit by bit into a table of 16: records are small and few. */
static uint32_t crc32c(const char *bytes, size_t n)
{
        static const uint32_t nibbles[16] = { 0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1,
                                              0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
                                              0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
                                              0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75 };
        uint32_t crc = ~0U;

        for (size_t i = 0; i < n; ++i) {
                crc ^= (unsigned char)bytes[i];
                crc = (crc >> 4) ^ nibbles[crc & 15];
                crc = (crc >> 4) ^ nibbles[crc & 15];
        }
        return ~crc;
}

bool checkpoint_uid_is_valid(const char *uid)
{
        size_t n = strspn(uid, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-");

        return n >= 1 && n <= UID_MAX && !uid[n];
}

char *checkpoint_encode(const struct ledger_claim *claim, size_t *ret_n)
{
        _cleanup_(json) struct json *record = json_new_object();
        __attribute__((cleanup(cleanup_free))) char *json = NULL;
        struct text text = TEXT_NULL;
        struct json *devices;

        json_add_string(record, "uid", claim->uid);
        json_add_string(record, "namespace", claim->namespace_);
        json_add_string(record, "name", claim->name);
        json_add_string(record, "bootID", claim->boot_id ? claim->boot_id : "");
        devices = json_add_array(record, "devices");
        for (size_t i = 0; i < claim->n_devices; ++i) {
                const struct ledger_device *device = &claim->devices[i];
                struct json *entry = json_new_object();

                json_add_string(entry, "request", device->request);
                json_add_string(entry, "pool", device->pool);
                json_add_string(entry, "device", device->device);
                if (device->is_admin_access)
                        json_add_bool(entry, "adminAccess", true);
                else
                        json_add_int(entry, "slot", device->slot);
                json_append(devices, entry);
        }
        json = json_print(record);
        text_addf(&text, MAGIC VERSION " crc32c %08x %zu bytes\n%s", crc32c(json, strlen(json)),
                  strlen(json), json);
        *ret_n = text.n;
        return text_take(&text);
}

/* The header line, byte for byte as it must be for these JSON bytes. */
static int check_header(const char *bytes, size_t n_header, const char *json, size_t n_json,
                        struct error *err)
{
        __attribute__((cleanup(cleanup_free))) char *wanted =
                xasprintf(MAGIC VERSION " crc32c %08x %zu bytes\n", crc32c(json, n_json), n_json);

        if (strlen(wanted) == n_header && memcmp(wanted, bytes, n_header) == 0)
                return 0;
        return error_set(err, -EBADMSG,
                         "damaged or truncated: its checksum or length does not match");
}

static int take_string(const struct json *object, const char *key, char **ret, struct error *err)
{
        const char *string = json_string(json_get(object, key));

        if (!string)
                return error_set(err, -EBADMSG, "%s is missing or no string", key);
        *ret = xstrdup(string);
        return 0;
}

static int decode_device(const struct json *entry, struct ledger_device *device, struct error *err)
{
        int64_t slot = LEDGER_NO_SLOT;
        int r;

        r = take_string(entry, "request", &device->request, err);
        if (!r)
                r = take_string(entry, "pool", &device->pool, err);
        if (!r)
                r = take_string(entry, "device", &device->device, err);
        if (r < 0)
                return r;
        (void)json_bool(json_get(entry, "adminAccess"), &device->is_admin_access);
        if (!device->is_admin_access && (json_int64(json_get(entry, "slot"), &slot) < 0 ||
                                         slot < 0 || slot >= DEVICE_INDEX_MAX))
                return error_set(err, -EBADMSG, "slot is missing or out of range");
        device->slot = (uint32_t)slot;
        return 0;
}

static int decode_json(const struct json *record, struct ledger_claim **ret_claim,
                       struct error *err)
{
        const struct json *devices = json_get(record, "devices"), *entry;
        const char *uid = json_string(json_get(record, "uid"));
        const char *namespace_ = json_string(json_get(record, "namespace"));
        const char *name = json_string(json_get(record, "name"));
        _cleanup_(ledger_claim) struct ledger_claim *claim = NULL;
        size_t n_devices = json_count(devices), i = 0;
        int r;

        if (!uid || !checkpoint_uid_is_valid(uid) || !namespace_ || !name)
                return error_set(err, -EBADMSG, "uid, namespace or name is missing or malformed");
        if (!json_is_array(devices) || n_devices > DEVICES_MAX)
                return error_set(err, -EBADMSG, "devices is missing or too long");
        claim = ledger_claim_new(uid, namespace_, name, n_devices);
        r = take_string(record, "bootID", &claim->boot_id, err);
        for (entry = json_first(devices); entry && !r; entry = json_next(entry))
                r = decode_device(entry, &claim->devices[i++], err);
        if (r < 0)
                return r;
        *ret_claim = take_ptr(claim);
        return 0;
}

int checkpoint_decode(const char *bytes, size_t n, struct ledger_claim **ret_claim,
                      struct error *err)
{
        _cleanup_(json) struct json *record = NULL;
        const char *newline = memchr(bytes, '\n', n);
        const char *version = bytes + strlen(MAGIC);
        size_t n_header, n_version;
        int r;

        if (!newline || n < strlen(MAGIC) || memcmp(bytes, MAGIC, strlen(MAGIC)) != 0)
                return error_set(err, -EBADMSG, "truncated, or no record of this driver");
        n_header = (size_t)(newline - bytes) + 1;
        n_version = strspn(version, "0123456789");
        if (n_version && version[n_version] == ' ' &&
            (n_version != 1 || version[0] != VERSION[0])) {
                error_set(err, -EPROTO, "written by a newer version of this driver (format %.*s)",
                          (int)n_version, version);
                return CHECKPOINT_NEWER;
        }
        r = check_header(bytes, n_header, newline + 1, n - n_header, err);
        if (!r)
                r = json_parse(newline + 1, n - n_header, &record, err);
        if (!r)
                r = decode_json(record, ret_claim, err);
        return r;
}

/* ---- reading all of them ---- */

/* To state_dir/<where>/<uid>.<time>: kept for whoever wants to know what happened. */
static void move_aside(const struct checkpoint *checkpoint, const char *uid, const char *where)
{
        __attribute__((cleanup(cleanup_free))) char *directory =
                xasprintf("%s/../%s", checkpoint->directory, where);
        __attribute__((cleanup(cleanup_free))) char *name =
                xasprintf("%s.%lld", uid, (long long)time(NULL));
        __attribute__((cleanup(cleanup_close))) int fd = -1;

        /* On a read-only disk the record stays where it is, and is found again. */
        if (file_open_directory(directory, 0700, &fd, NULL) == 0)
                (void)renameat(checkpoint->directory_fd, uid, fd, name);
}

static struct ledger_claim *uncertain_claim(const char *uid)
{
        struct ledger_claim *claim = ledger_claim_new(uid, "", "", 0);

        claim->is_uncertain = true;
        return claim;
}

static int read_record(const struct checkpoint *checkpoint, const char *uid,
                       struct ledger_claim **ret_claim, struct error *err)
{
        __attribute__((cleanup(cleanup_free))) char *bytes = NULL;
        _cleanup_(ledger_claim) struct ledger_claim *claim = NULL;
        size_t n;
        int r;

        r = file_read(checkpoint->directory_fd, uid, RECORD_MAX, &bytes, &n, err);
        if (!r)
                r = checkpoint_decode(bytes, n, &claim, err);
        assert(r || claim);
        if (!r && strcmp(claim->uid, uid) != 0)
                r = error_set(err, -EBADMSG, "it is the record of another claim, %.64s",
                              claim->uid);
        if (!r)
                *ret_claim = take_ptr(claim);
        return r;
}

int checkpoint_load(struct checkpoint *checkpoint, struct ledger *ledger,
                    checkpoint_on_damaged *on_damaged, void *owner, struct error *err)
{
        const struct dirent *entry;
        DIR *directory;

        file_sweep_temporaries(checkpoint->directory_fd);
        directory = opendir(checkpoint->directory);
        if (!directory)
                return error_errno(err, -errno, "cannot read directory %s", checkpoint->directory);
        while ((entry = readdir(directory))) {
                struct ledger_claim *claim = NULL;
                struct error reason = ERROR_NULL;
                int r;

                if (!checkpoint_uid_is_valid(entry->d_name))
                        continue;
                r = read_record(checkpoint, entry->d_name, &claim, &reason);
                if (r) {
                        claim = uncertain_claim(entry->d_name);
                        error_prefix(&reason, "record %s/%s", checkpoint->directory, entry->d_name);
                        move_aside(checkpoint, entry->d_name,
                                   r == CHECKPOINT_NEWER ? "newer" : "damaged");
                        on_damaged(owner, entry->d_name, &reason);
                }
                ledger_restore(ledger, claim);
        }
        closedir(directory);
        return 0;
}

/* ---- writing, on the worker thread ---- */

static void carry_out(const struct checkpoint *checkpoint, struct order *order)
{
        if (order->bytes)
                (void)file_replace(checkpoint->directory_fd, order->uid, order->bytes, order->n,
                                   0600, checkpoint->is_durable ? FILE_SYNCED : FILE_UNSYNCED,
                                   &order->error);
        else if (unlinkat(checkpoint->directory_fd, order->uid, 0) < 0 && errno != ENOENT)
                error_errno(&order->error, -errno, "cannot remove %s", order->uid);
}

/* Each file is synced before its rename; the renames and removals of the whole round share one sync
 * of the directory. */
static void on_worker(uv_work_t *work)
{
        struct checkpoint *checkpoint = work->data;
        struct list *position;
        int r = 0;

        list_for_each (position, &checkpoint->round)
                carry_out(checkpoint, container_of(position, struct order, link));
        if (checkpoint->is_durable && fsync(checkpoint->directory_fd) < 0)
                r = -errno;
        list_for_each (position, &checkpoint->round) {
                struct order *order = container_of(position, struct order, link);

                if (r < 0 && !order->error.code)
                        error_errno(&order->error, r, "cannot sync");
                if (order->error.code)
                        error_prefix(&order->error, "cannot record the claim in %s",
                                     checkpoint->directory);
        }
}

static void start_round(struct checkpoint *checkpoint);

static void on_round_over(uv_work_t *work, int status)
{
        struct checkpoint *checkpoint = work->data;
        struct list done;

        list_init(&done);
        list_splice_tail(&done, &checkpoint->round);
        checkpoint->is_busy = false;
        while (!list_is_empty(&done)) {
                struct order *order = container_of(done.next, struct order, link);

                list_unlink(&order->link);
                order->on_done(order->owner, &order->error);
                free(order->uid);
                free(order->bytes);
                free(order);
        }
        start_round(checkpoint);
}

static void start_round(struct checkpoint *checkpoint)
{
        int r;

        if (checkpoint->is_busy || list_is_empty(&checkpoint->waiting))
                return;
        list_splice_tail(&checkpoint->round, &checkpoint->waiting);
        checkpoint->is_busy = true;
        checkpoint->work.data = checkpoint;
        r = uv_queue_work(checkpoint->loop, &checkpoint->work, on_worker, on_round_over);
        assert(!r); /* fails without a worker function only */
        (void)r;
}

static void place_order(struct checkpoint *checkpoint, const char *uid, char *bytes, size_t n,
                        checkpoint_on_done *on_done, void *owner)
{
        struct order *order = xcalloc(1, sizeof(*order));

        order->uid = xstrdup(uid);
        order->bytes = bytes;
        order->n = n;
        order->on_done = on_done;
        order->owner = owner;
        list_add_tail(&checkpoint->waiting, &order->link);
        start_round(checkpoint);
}

void checkpoint_save(struct checkpoint *checkpoint, const struct ledger_claim *claim,
                     checkpoint_on_done *on_done, void *owner)
{
        size_t n;
        char *bytes = checkpoint_encode(claim, &n);

        place_order(checkpoint, claim->uid, bytes, n, on_done, owner);
}

void checkpoint_remove(struct checkpoint *checkpoint, const char *uid, checkpoint_on_done *on_done,
                       void *owner)
{
        place_order(checkpoint, uid, NULL, 0, on_done, owner);
}

/* ---- the checkpoint ---- */

int checkpoint_open(uv_loop_t *loop, const char *state_dir, bool is_durable,
                    struct checkpoint **ret, struct error *err)
{
        __attribute__((cleanup(cleanup_free))) char *directory = xasprintf("%s/claims", state_dir);
        struct checkpoint *checkpoint;
        int fd, r;

        r = file_open_directory(directory, 0700, &fd, err);
        if (r < 0)
                return r;
        checkpoint = xcalloc(1, sizeof(*checkpoint));
        checkpoint->loop = loop;
        checkpoint->directory = take_ptr(directory);
        checkpoint->directory_fd = fd;
        checkpoint->is_durable = is_durable;
        list_init(&checkpoint->waiting);
        list_init(&checkpoint->round);
        *ret = checkpoint;
        return 0;
}

void checkpoint_free(struct checkpoint *checkpoint)
{
        if (!checkpoint)
                return;
        assert(checkpoint_is_idle(checkpoint));
        close(checkpoint->directory_fd);
        free(checkpoint->directory);
        free(checkpoint);
}

bool checkpoint_is_idle(const struct checkpoint *checkpoint)
{
        return !checkpoint->is_busy && list_is_empty(&checkpoint->waiting);
}
