/* SPDX-License-Identifier: Apache-2.0 */
#include "claims/recordfile.h"

#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/parse.h"
#include "base/text.h"
#include "claims/record.h"
#include "ledger.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <time.h>

#define MARK_SUFFIX   ".tds"
#define OLD_ATTRIBUTE "user.dra.tds" /* an unsigned in host byte order, up to version 0.1 */
#define ATTEMPTS      3              /* reads of a record while the failure may pass */

/* ---- listing ---- */

/* Open the descriptor's directory itself: the path may lead to another one by now. */
static DIR *open_stream(int directory_fd)
{
        int fd = openat(directory_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *stream = fd < 0 ? NULL : fdopendir(fd);

        if (!stream && fd >= 0)
                close(fd);
        return stream;
}

/* List every name that is a valid UID: only those can be records. */
static int list_uids(int directory_fd, const char *path, char ***ret_uids, size_t *ret_n,
                     struct error *err)
{
        DIR *stream = open_stream(directory_fd);
        const struct dirent *entry;
        char **uids = NULL;
        size_t n = 0;
        int r;

        if (!stream)
                return error_errno(err, -errno, "cannot read directory %s", path);
        for (errno = 0; (entry = readdir(stream)); errno = 0) {
                if (!text_is_uid(entry->d_name))
                        continue;
                uids = xreallocarray(uids, n + 1, sizeof(*uids));
                uids[n++] = xstrdup(entry->d_name);
        }
        r = -errno;
        closedir(stream);
        if (r < 0) {
                while (n)
                        free(uids[--n]);
                free(uids);
                return error_errno(err, r, "cannot read directory %s", path);
        }
        *ret_uids = uids;
        *ret_n = n;
        return 0;
}

/* ---- reading ---- */

bool recordfile_is_our_trouble(int r)
{
        return r == -EMFILE || r == -ENFILE || r == -ENOMEM || r == -EACCES || r == -EPERM;
}

static bool may_pass(int r)
{
        return r == -EINTR || r == -EIO || r == -EMFILE || r == -ENFILE || r == -ENOMEM;
}

static int read_once(int directory_fd, const char *uid, char **ret_bytes, size_t *ret_n,
                     struct error *err)
{
        int r = file_read_regular(directory_fd, uid, RECORDFILE_MAX, ret_bytes, ret_n, err);

        for (unsigned i = 1; i < ATTEMPTS && may_pass(r); ++i)
                r = file_read_regular(directory_fd, uid, RECORDFILE_MAX, ret_bytes, ret_n, err);
        return r;
}

int recordfile_read(int directory_fd, const char *uid, struct ledger_claim **ret_claim,
                    struct error *err)
{
        _cleanup_(free) char *bytes = NULL;
        _cleanup_(ledger_claim) struct ledger_claim *claim = NULL;
        size_t n;
        int r;

        r = read_once(directory_fd, uid, &bytes, &n, err);
        if (!r)
                r = claims_record_decode(bytes, n, &claim, err);
        if (!r && strcmp(claim->uid, uid) != 0)
                r = error_set(err, -EBADMSG, "it is the record of another claim, %.64s",
                              claim->uid);
        if (!r)
                *ret_claim = take_ptr(claim);
        return r;
}

struct ledger_claim *recordfile_uncertain_claim(int directory_fd, const char *uid)
{
        struct ledger_claim *claim = ledger_claim_new(uid, "", "", 0);

        claim->is_uncertain = true;
        claim->uncertain_tds = recordfile_marked(directory_fd, uid);
        return claim;
}

static int find_one(int directory_fd, const char *path, const char *uid,
                    recordfile_on_found *on_found, void *owner, struct error *err)
{
        struct ledger_claim *claim = NULL;
        struct error reason = ERROR_NULL;
        int r;

        r = recordfile_read(directory_fd, uid, &claim, &reason);
        if (r == -ENOENT)
                return 0;
        if (recordfile_is_our_trouble(r))
                return error_set(err, r, "record %s/%s: %s", path, uid, reason.text);
        if (r == CLAIMS_RECORD_NEWER && !*reason.text)
                error_set(&reason, -EBADMSG, "it was written by a newer version of this driver");
        if (r)
                claim = recordfile_uncertain_claim(directory_fd, uid);
        on_found(owner, claim, r, &reason);
        return 0;
}

int recordfile_scan(int directory_fd, const char *path, recordfile_on_found *on_found, void *owner,
                    struct error *err)
{
        char **uids = NULL;
        size_t n = 0;
        int r;

        r = list_uids(directory_fd, path, &uids, &n, err);
        for (size_t i = 0; i < n; ++i) {
                if (!r)
                        r = find_one(directory_fd, path, uids[i], on_found, owner, err);
                free(uids[i]);
        }
        free(uids);
        return r;
}

/* ---- putting aside ---- */

/* Link uid as <uid>.<time> in aside_fd, never over an existing name. A second link rather than a
 * rename, so that a kill leaves at least one name. A directory cannot have a second link, and is
 * moved. */
static int name_aside(int directory_fd, const char *uid, int aside_fd, char **ret_name,
                      bool *ret_is_moved)
{
        for (long long now = time(NULL), last = now + 1000; now < last; ++now) {
                _cleanup_(free) char *name = xasprintf("%s.%lld", uid, now);

                *ret_is_moved = false;
                if (linkat(directory_fd, uid, aside_fd, name, 0) < 0) {
                        int r = -errno;

                        *ret_is_moved = r == -EPERM;
                        if (r == -EPERM &&
                            renameat2(directory_fd, uid, aside_fd, name, RENAME_NOREPLACE) < 0)
                                r = -errno;
                        else if (r == -EPERM)
                                r = 0;
                        if (r == -EEXIST)
                                continue;
                        if (r < 0)
                                return r;
                }
                *ret_name = take_ptr(name);
                return 0;
        }
        return -EEXIST;
}

/* The new record could not be written. The old file alone tells the next start about the claim, so
 * it goes back to its place. */
static void undo_aside(int directory_fd, const char *uid, int aside_fd, const char *name,
                       bool is_moved)
{
        if (is_moved)
                (void)renameat2(aside_fd, name, directory_fd, uid, RENAME_NOREPLACE);
        else
                (void)unlinkat(aside_fd, name, 0);
}

int recordfile_set_aside(int directory_fd, const char *path, const char *where,
                         const struct ledger_claim *claim, bool is_durable, struct error *err)
{
        _cleanup_(free) char *aside = xasprintf("%s/../%s", path, where);
        _cleanup_(free) char *bytes = NULL, *name = NULL;
        _cleanup_(close) int fd = -1;
        bool is_moved = false;
        size_t n;
        int r;

        r = file_open_directory(aside, 0700, &fd, err);
        if (r < 0)
                return r;
        r = name_aside(directory_fd, claim->uid, fd, &name, &is_moved);
        if (r < 0)
                return error_errno(err, r, "cannot move it to %s", aside);
        bytes = claims_record_encode(claim, &n);
        r = file_replace(directory_fd, claim->uid, bytes, n, 0600,
                         is_durable ? FILE_SYNCED : FILE_UNSYNCED, err);
        if (r < 0) {
                undo_aside(directory_fd, claim->uid, fd, name, is_moved);
                return r;
        }
        if (is_durable) {
                /* If a sync fails, the next start at worst finds the old file and sets it aside
                 * again. */
                (void)fsync(fd);
                (void)fsync(directory_fd);
        }
        return 0;
}

/* ---- marks ---- */

static char *mark_name(const char *uid)
{
        return xasprintf("%s" MARK_SUFFIX, uid);
}

int recordfile_mark(int directory_fd, const char *uid, unsigned n_tds)
{
        _cleanup_(free) char *mark = mark_name(uid), *temporary = NULL;
        char target[sizeof("4294967295")];
        unsigned long tag = 0;

        /* Most claims hold one TD. They need no mark, and so no second file. */
        if (n_tds == 1) {
                recordfile_unmark(directory_fd, uid);
                return 0;
        }
        if (getrandom(&tag, sizeof(tag), 0) != sizeof(tag))
                return -errno;
        /* Use file_replace()'s names, so that its sweep removes leftovers. */
        temporary = xasprintf(".%s.%016lx.tmp", mark, tag);
        snprintf(target, sizeof(target), "%u", n_tds);
        if (symlinkat(target, directory_fd, temporary) < 0)
                return -errno;
        if (renameat(directory_fd, temporary, directory_fd, mark) < 0) {
                int r = -errno;

                (void)unlinkat(directory_fd, temporary, 0);
                return r;
        }
        return 0;
}

static unsigned old_attribute(int directory_fd, const char *uid)
{
        _cleanup_(close) int fd = -1;
        struct stat file;
        unsigned n_tds;

        /* Check the type before opening: opening a device file can have side effects. */
        if (fstatat(directory_fd, uid, &file, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(file.st_mode))
                return 1;
        fd = openat(directory_fd, uid, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        if (fd < 0 || fgetxattr(fd, OLD_ATTRIBUTE, &n_tds, sizeof(n_tds)) != sizeof(n_tds))
                return 1;
        return n_tds;
}

unsigned recordfile_marked(int directory_fd, const char *uid)
{
        _cleanup_(free) char *mark = mark_name(uid);
        char target[sizeof("4294967295")];
        ssize_t n = readlinkat(directory_fd, mark, target, sizeof(target));
        uint64_t n_tds;

        if (n <= 0 || (size_t)n >= sizeof(target))
                return old_attribute(directory_fd, uid);
        /* This driver never writes a larger number. */
        return parse_u64(target, (size_t)n, &n_tds) < 0 || n_tds > CLAIMS_RECORD_TDS_MAX
                       ? 1
                       : (unsigned)n_tds;
}

void recordfile_unmark(int directory_fd, const char *uid)
{
        _cleanup_(free) char *mark = mark_name(uid);

        (void)unlinkat(directory_fd, mark, 0);
}

void recordfile_sweep_marks(int directory_fd)
{
        DIR *stream = open_stream(directory_fd);
        const struct dirent *entry;

        if (!stream)
                return;
        while ((entry = readdir(stream))) {
                size_t n = strlen(entry->d_name), n_suffix = strlen(MARK_SUFFIX);
                _cleanup_(free) char *uid = NULL;
                struct stat mark;

                if (n <= n_suffix || strcmp(entry->d_name + n - n_suffix, MARK_SUFFIX) != 0)
                        continue;
                uid = xstrndup(entry->d_name, n - n_suffix);
                /* A foreign file may have the suffix by chance: only a link is a mark. */
                if (text_is_uid(uid) &&
                    fstatat(directory_fd, entry->d_name, &mark, AT_SYMLINK_NOFOLLOW) == 0 &&
                    S_ISLNK(mark.st_mode) &&
                    faccessat(directory_fd, uid, F_OK, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT)
                        (void)unlinkat(directory_fd, entry->d_name, 0);
        }
        closedir(stream);
}
