/* SPDX-License-Identifier: Apache-2.0 */
/* Everything that can lie where a record should: each single-bit flip, each truncation, and each
 * kind of file that is not one. */
#include "base/error.h"
#include "base/memory.h"
#include "claims/record.h"
#include "claims/records.h"
#include "ledger.h"
#include "unit/suite.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>

#define REC_UID "2b4d5c9a-0c27-4a6e-9c5c-3f1f0a7a9f10"

static struct ledger_claim *make_claim(void)
{
        struct ledger_claim *claim = ledger_claim_new(REC_UID, "default", "a-claim", 2);

        claim->boot_id = xstrdup("b7ad2f1e-8c2e-4a9e-9f57-0d6a3c1f4e55");
        for (size_t i = 0; i < 2; ++i)
                claim->devices[i] = (struct ledger_device){ .request = xstrdup("td"),
                                                            .pool = xstrdup("node-1.example"),
                                                            .device = xasprintf("tdx%zu", i),
                                                            .slot = (uint32_t)i };
        return claim;
}

static char *make_record(size_t *ret_n)
{
        _cleanup_(ledger_claim) struct ledger_claim *claim = make_claim();

        return claims_record_encode(claim, ret_n);
}

/* The claim that the bytes are read as is the one that was written, byte for byte, or there is
 * none. */
static void check_damaged_or_equal(const char *bytes, size_t n, const char *record, size_t n_record)
{
        _cleanup_(ledger_claim) struct ledger_claim *claim = NULL;
        _cleanup_(free) char *again = NULL;
        struct error error = ERROR_NULL;
        size_t n_again = 0;
        int r = claims_record_decode(bytes, n, &claim, &error);

        if (r == CLAIMS_RECORD_NEWER)
                return;
        if (r) {
                ck_assert_int_eq(r, -EBADMSG);
                ck_assert_ptr_null(claim);
                return;
        }
        again = claims_record_encode(claim, &n_again);
        ck_assert_uint_eq(n_again, n_record);
        ck_assert_mem_eq(again, record, n_record);
}

START_TEST(every_single_bit_flip_of_a_record_is_damage)
{
        _cleanup_(free) char *record = NULL, *bytes = NULL;
        size_t n;

        record = make_record(&n);
        bytes = make_record(&n);
        for (size_t i = 0; i < 8 * n; ++i) {
                bytes[i / 8] ^= (char)(1 << (i % 8));

                ck_assert_int_ne(
                        claims_record_decode(bytes, n, &(struct ledger_claim *){ NULL }, NULL), 0);
                check_damaged_or_equal(bytes, n, record, n);

                bytes[i / 8] ^= (char)(1 << (i % 8));
        }
        check_damaged_or_equal(bytes, n, record, n);
}
END_TEST

START_TEST(every_truncation_of_a_record_and_every_byte_behind_it_is_damage)
{
        _cleanup_(free) char *record = NULL, *bytes = NULL;
        size_t n;

        record = make_record(&n);
        for (size_t i = 0; i < n; ++i)
                ck_assert_int_eq(
                        claims_record_decode(record, i, &(struct ledger_claim *){ NULL }, NULL),
                        -EBADMSG);
        bytes = xcalloc(n + 1, 1);
        memcpy(bytes, record, n);
        for (int c = 0; c < 256; ++c) {
                bytes[n] = (char)c;
                ck_assert_int_eq(
                        claims_record_decode(bytes, n + 1, &(struct ledger_claim *){ NULL }, NULL),
                        -EBADMSG);
        }
}
END_TEST

#define BOOT "b7ad2f1e-8c2e-4a9e-9f57-0d6a3c1f4e55"

/* ---- what is not a regular file ---- */

static char state[64];
static char *path; /* of the record */
static unsigned n_damaged;
static char damage[ERROR_TEXT_SIZE]; /* the reason given last */

static int remove_one(const char *name, const struct stat *file, int type, struct FTW *place)
{
        return remove(name);
}

static void write_file(const char *name, const void *bytes, size_t n)
{
        _cleanup_(close) int fd = open(name, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0600);

        ck_assert_int_eq(write(fd, bytes, n), (ssize_t)n);
}

static char *elsewhere(void)
{
        return xasprintf("%s/elsewhere", state);
}

static void link_to_good_record(void)
{
        _cleanup_(free) char *record = NULL, *target = elsewhere();
        size_t n;

        record = make_record(&n);
        write_file(target, record, n);
        ck_assert_int_eq(symlink(target, path), 0);
}

static void link_to_nowhere(void)
{
        ck_assert_int_eq(symlink("/nowhere/at/all", path), 0);
}

static void link_to_itself(void)
{
        ck_assert_int_eq(symlink(REC_UID, path), 0);
}

static void link_without_end(void)
{
        ck_assert_int_eq(symlink("/dev/zero", path), 0);
}

static void fifo(void)
{
        ck_assert_int_eq(mkfifo(path, 0600), 0);
}

static void listening_socket(void)
{
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        _cleanup_(close) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
        ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
}

static void empty_directory(void)
{
        ck_assert_int_eq(mkdir(path, 0700), 0);
}

static void full_directory(void)
{
        _cleanup_(free) char *inside = xasprintf("%s/inside", path);

        ck_assert_int_eq(mkdir(path, 0700), 0);
        write_file(inside, "x", 1);
}

static void terminal(void)
{
        ck_assert_int_eq(mknod(path, S_IFCHR | 0600, makedev(5, 0)), 0);
}

static void endless_device(void)
{
        ck_assert_int_eq(mknod(path, S_IFCHR | 0600, makedev(1, 5)), 0);
}

static void block_device(void)
{
        ck_assert_int_eq(mknod(path, S_IFBLK | 0600, makedev(7, 255)), 0);
}

static void nothing_in_it(void)
{
        write_file(path, "", 0);
}

static void sparse_gigabyte(void)
{
        write_file(path, "d", 1);
        ck_assert_int_eq(truncate(path, 1 << 30), 0);
}

static const struct {
        const char *name;
        void (*make)(void);
        bool needs_root;
} kinds[] = {
        { "a link to a good record", link_to_good_record, false },
        { "a dangling link", link_to_nowhere, false },
        { "a link to itself", link_to_itself, false },
        { "a link to a device", link_without_end, false },
        { "a FIFO", fifo, false },
        { "a socket", listening_socket, false },
        { "an empty directory", empty_directory, false },
        { "a full directory", full_directory, false },
        { "a terminal", terminal, true },
        { "/dev/zero", endless_device, true },
        { "a block device", block_device, true },
        { "an empty file", nothing_in_it, false },
        { "a sparse file of 1 GiB", sparse_gigabyte, false },
};

static void on_damaged(void *owner, const char *uid, const struct error *reason)
{
        ck_assert_str_eq(uid, REC_UID);
        ++n_damaged;
        snprintf(damage, sizeof(damage), "%s", reason->text);
}

/* One start on the state directory. Returns the TDs that the claim is found to hold; 0: no claim.
 */
static unsigned load(bool *ret_is_uncertain)
{
        _cleanup_(ledger) struct ledger *ledger = ledger_new();
        struct records *records;
        struct error error = ERROR_NULL;
        unsigned n_held;
        uv_loop_t loop;

        n_damaged = 0;
        ck_assert_int_eq(uv_loop_init(&loop), 0);
        ck_assert_int_eq(records_open(&loop, state, true, &records, &error), 0);
        ck_assert_msg(records_load(records, ledger, BOOT, on_damaged, NULL, &error) == 0, "%s",
                      error.text);
        *ret_is_uncertain =
                ledger_find(ledger, REC_UID) && ledger_find(ledger, REC_UID)->is_uncertain;
        n_held = ledger_held(ledger);
        records_free(records);
        uv_loop_close(&loop);
        return n_held;
}

START_TEST(what_is_not_a_record_is_damage_is_kept_aside_and_holds_a_td_through_every_start)
{
        for (size_t i = 0; i < array_size(kinds); ++i) {
                _cleanup_(free) char *claims = NULL;
                struct stat file;
                bool is_uncertain;

                if (kinds[i].needs_root && geteuid() != 0)
                        continue;
                snprintf(state, sizeof(state), "/tmp/test-records.XXXXXX");
                ck_assert_ptr_nonnull(mkdtemp(state));
                claims = xasprintf("%s/claims", state);
                path = xasprintf("%s/" REC_UID, claims);
                ck_assert_int_eq(mkdir(claims, 0700), 0);
                kinds[i].make();

                ck_assert_msg(load(&is_uncertain) == 1, "%s: not held", kinds[i].name);
                ck_assert_msg(is_uncertain && n_damaged == 1, "%s: taken for a record",
                              kinds[i].name);
                ck_assert_msg(strstr(damage, "moved aside to damaged/") != NULL, "%s: %s",
                              kinds[i].name, damage);
                ck_assert_msg(lstat(path, &file) == 0 && S_ISREG(file.st_mode), "%s: no stand-in",
                              kinds[i].name);
                ck_assert_msg(load(&is_uncertain) == 1 && is_uncertain && n_damaged == 0,
                              "%s: forgotten, or told again, at the second start", kinds[i].name);

                ck_assert_int_eq(nftw(state, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
                free(path);
        }
}
END_TEST

SUITE("claims-records-table", every_single_bit_flip_of_a_record_is_damage,
      every_truncation_of_a_record_and_every_byte_behind_it_is_damage,
      what_is_not_a_record_is_damage_is_kept_aside_and_holds_a_td_through_every_start);
