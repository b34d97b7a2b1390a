/* SPDX-License-Identifier: Apache-2.0 */
#include "host/qgs_verdict.h"

#include "base/memory.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *qgs_state_name(enum qgs_state state)
{
        static const char *const names[] = {
                [QGS_UNKNOWN] = "unknown",     [QGS_ABSENT] = "absent",
                [QGS_REFUSED] = "refused",     [QGS_STALE] = "stale",
                [QGS_HUNG] = "hung",           [QGS_FAILING] = "failing",
                [QGS_NOT_TRIED] = "not-tried", [QGS_ANSWERING] = "answering",
        };

        return names[state];
}

/* ---- who gets in ---- */

#define SEARCH 1
#define WRITE  2

/* The kernel's acl_permission_check() for a process that is neither owner nor root by capability:
 * the first class that fits decides. ACLs are ignored; if there is one, the group bits are its
 * mask. */
static bool is_permitted(const struct qgs_owner *file, mode_t wanted, gid_t group)
{
        if (file->uid == QGS_VERDICT_VM_ID)
                return file->mode & (wanted << 6);
        if (file->gid == QGS_VERDICT_VM_ID || (group != QGS_VERDICT_NO_GROUP && file->gid == group))
                return file->mode & (wanted << 3);
        return file->mode & wanted;
}

static bool can_enter(const struct qgs_sight *sight, gid_t group)
{
        for (unsigned i = 0; i < sight->n_directories; ++i)
                if (!is_permitted(&sight->directories[i], SEARCH, group))
                        return false;
        return true;
}

/* If the driver could not look at the socket, assume that the VM may open it. */
static bool can_connect(const struct qgs_sight *sight, gid_t group)
{
        return can_enter(sight, group) && (sight->code || is_permitted(&sight->file, WRITE, group));
}

/* The group to give to the VM, if one helps. Never 0: CDI's additionalGids ignores it, and no VM
 * should open root's files by it. */
static bool find_group(const struct qgs_sight *sight, gid_t *ret_group)
{
        gid_t candidates[2 + QGS_LOOK_DIRECTORIES] = { QGS_VERDICT_NO_GROUP };
        unsigned n = 1;

        if (!sight->code)
                candidates[n++] = sight->file.gid;
        for (unsigned i = 0; i < sight->n_directories; ++i)
                candidates[n++] = sight->directories[i].gid;
        /* No group comes first: a VM that gets in anyway needs none. */
        for (unsigned i = 0; i < n; ++i)
                if (candidates[i] != 0 && can_connect(sight, candidates[i])) {
                        *ret_group = candidates[i];
                        return true;
                }
        return false;
}

/* Whether the file's group, unless it is root's, lets a VM in. */
static bool can_help_itself(const struct qgs_owner *file, mode_t wanted)
{
        return is_permitted(file, wanted, file->gid ? file->gid : QGS_VERDICT_NO_GROUP);
}

/* ---- by the look alone ---- */

static void __attribute__((format(printf, 3, 4)))
find(struct qgs_verdict_state *ret, enum qgs_state state, const char *format, ...)
{
        va_list args;

        ret->state = state;
        va_start(args, format);
        (void)vsnprintf(ret->reason, sizeof(ret->reason), format, args);
        va_end(args);
}

/* If root owns a directory without a socket, the driver may have made it for the mount. */
static void judge_absence(const struct qgs_verdict *verdict, struct qgs_verdict_state *ret)
{
        const struct qgs_sight *sight = &verdict->sight;
        bool is_roots = sight->n_directories && sight->directories[0].uid == 0;

        find(ret, QGS_ABSENT,
             "there is no %s: start QGS (qgsd), or give its socket with --qgs-socket; if it runs, "
             "it may listen on vsock: comment out port in /etc/qgs.conf and leave out -p%s",
             verdict->socket,
             is_roots
                     ? "; the directory belongs to root, as one that this driver made: if QGS runs "
                       "as another user without RuntimeDirectory=, chown it to that user"
                     : "");
}

static void judge_directory(const struct qgs_verdict *verdict, const struct qgs_owner *directory,
                            struct qgs_verdict_state *ret)
{
        find(ret, QGS_REFUSED,
             "QEMU runs as uid %d, and the directory of %s is %04o %u:%u: make it 0755, in qgsd's "
             "unit by RuntimeDirectoryMode=0755 (a chmod is lost when QGS starts again)",
             QGS_VERDICT_VM_ID, verdict->socket, directory->mode, directory->uid, directory->gid);
}

/* No group lets the VM in: name the obstacle, and a remedy that survives QGS's next start. */
static void judge_rights(const struct qgs_verdict *verdict, struct qgs_verdict_state *ret)
{
        const struct qgs_sight *sight = &verdict->sight;
        const struct qgs_owner *file = &sight->file;

        for (unsigned i = 0; i < sight->n_directories; ++i)
                if (!can_help_itself(&sight->directories[i], SEARCH)) {
                        judge_directory(verdict, &sight->directories[i], ret);
                        return;
                }
        if (!sight->code && !can_help_itself(file, WRITE))
                find(ret, QGS_REFUSED,
                     "QEMU runs as uid %d, and the socket %s is %04o %u:%u: %s (a chmod is lost "
                     "when QGS starts again)",
                     QGS_VERDICT_VM_ID, verdict->socket, file->mode, file->uid, file->gid,
                     file->gid
                             ? "set UMask=0117 in qgsd's unit, which makes it 0660 and is enough, "
                               "or UMask=0111 for 0666"
                             : "a VM is never given root's group, so run QGS as a dedicated user "
                               "and group (qgsd), or with UMask=0111 for 0666");
        else
                find(ret, QGS_REFUSED,
                     "QEMU runs as uid %d with one more group, and %s is of group %u in a "
                     "directory of group %u: make the directory 0755, in qgsd's unit by "
                     "RuntimeDirectoryMode=0755",
                     QGS_VERDICT_VM_ID, verdict->socket, file->gid, sight->directories[0].gid);
}

/* The group by which a VM gets in, whether it has it anyway or must be given it. */
static gid_t group_needed(const struct qgs_sight *sight, gid_t group)
{
        if (group != QGS_VERDICT_NO_GROUP)
                return group;
        if (!sight->code && sight->file.gid == QGS_VERDICT_VM_ID)
                return QGS_VERDICT_VM_ID;
        for (unsigned i = 0; i < sight->n_directories; ++i)
                if (sight->directories[i].gid == QGS_VERDICT_VM_ID)
                        return QGS_VERDICT_VM_ID;
        return QGS_VERDICT_NO_GROUP;
}

/* The driver was refused although the VM would not be. */
static void judge_own_rights(const struct qgs_verdict *verdict, struct qgs_verdict_state *ret)
{
        const struct qgs_sight *sight = &verdict->sight;
        gid_t needed = group_needed(sight, ret->group);

        if (!sight->n_directories)
                find(ret, QGS_NOT_TRIED,
                     "the driver may not look at the directory of %s, though it can be mounted for "
                     "a VM: make the directories above it 0755",
                     verdict->socket);
        else if (!sight->code && sight->file.uid == QGS_VERDICT_VM_ID &&
                 !is_permitted(&(struct qgs_owner){ .mode = sight->file.mode,
                                                    .uid = (uid_t)-1,
                                                    .gid = sight->file.gid },
                               WRITE, ret->group))
                find(ret, QGS_NOT_TRIED,
                     "only uid %d may open %s, so the driver cannot find out whether QGS answers: "
                     "make the socket 0660 with a group",
                     QGS_VERDICT_VM_ID, verdict->socket);
        else if (!sight->has_vm_groups && needed != QGS_VERDICT_NO_GROUP)
                find(ret, QGS_NOT_TRIED,
                     "a VM may open %s, but the driver is not in group %u and has no CAP_SETGID to "
                     "try with: add SETGID to its container's capabilities, or %u to its pod's "
                     "supplementalGroups",
                     verdict->socket, needed, needed);
        else
                find(ret, QGS_NOT_TRIED,
                     "by its mode a VM may open %s, but the driver with the same rights is "
                     "refused: "
                     "look for SELinux denials (ausearch -m avc) or an ACL (getfacl)",
                     verdict->socket);
}

/* Leaves QGS_UNKNOWN if only a request can tell. */
static void judge_sight(const struct qgs_verdict *verdict, struct qgs_verdict_state *ret)
{
        const struct qgs_sight *sight = &verdict->sight;
        const char *socket = verdict->socket;
        bool is_open;

        *ret = (struct qgs_verdict_state){ .group = QGS_VERDICT_NO_GROUP };
        if (verdict->is_relayed && !sight->code)
                return;
        is_open = find_group(sight, &ret->group);
        switch (-sight->code) {
        case 0:
                if (!is_open)
                        judge_rights(verdict, ret);
                break;
        case ENOENT:
        case ENOTDIR:
                ret->group = QGS_VERDICT_NO_GROUP;
                judge_absence(verdict, ret);
                break;
        case ENOTSOCK:
                ret->group = QGS_VERDICT_NO_GROUP;
                find(ret, QGS_ABSENT, "%s is not a socket: remove it and start QGS (qgsd)", socket);
                break;
        case ENOLINK:
                ret->group = QGS_VERDICT_NO_GROUP;
                find(ret, QGS_ABSENT,
                     "%s is a link to nothing: remove it, for QGS cannot bind its socket there, "
                     "and "
                     "restart QGS (qgsd)",
                     socket);
                break;
        case EXDEV:
                ret->group = QGS_VERDICT_NO_GROUP;
                find(ret, QGS_REFUSED,
                     "%s is a link out of its directory, and only the directory is mounted into "
                     "the "
                     "VM's container: remove it and let QGS make its socket there, or give the "
                     "socket's own path with --qgs-socket",
                     socket);
                break;
        case EACCES:
        case EPERM:
                if (is_open)
                        judge_own_rights(verdict, ret);
                else
                        judge_rights(verdict, ret);
                break;
        default:
                find(ret, QGS_REFUSED, "%s cannot be looked at: %s", socket,
                     strerror(-sight->code));
        }
}

/* ---- by the last request ---- */

static void judge_probe(const struct qgs_verdict *verdict, struct qgs_verdict_state *ret)
{
        switch (verdict->probe) {
        case QGS_PROBE_ANSWERED:
                ret->state = QGS_ANSWERING;
                break;
        case QGS_PROBE_REFUSED:
                find(ret, QGS_STALE, "%s: nothing listens on it, restart QGS (qgsd) (%s)",
                     verdict->socket, verdict->failure);
                break;
        case QGS_PROBE_FULL:
        case QGS_PROBE_SILENT:
                find(ret, QGS_HUNG,
                     "%s: it does not answer, see its log and restart QGS (qgsd) (%s)",
                     verdict->socket, verdict->failure);
                break;
        case QGS_PROBE_FAILING:
                find(ret, QGS_FAILING,
                     "%s: %s; a restart does not cure that: QGS's log (journalctl -u qgsd) tells "
                     "whether it is the PCCS, the platform's registration or the enclave",
                     verdict->socket, verdict->failure);
                break;
        case QGS_PROBE_NOT_ALLOWED:
                if (verdict->is_relayed)
                        find(ret, QGS_REFUSED,
                             "the quote relay may not open %s: its container needs CAP_SETGID, and "
                             "the socket or its directory a group that is not root's",
                             verdict->socket);
                else
                        judge_own_rights(verdict, ret);
                break;
        case QGS_PROBE_NONE:
        case QGS_PROBE_OURS:
                break;
        }
}

/* ---- the verdict in force ---- */

static bool is_same(const struct qgs_verdict_state *a, const struct qgs_verdict_state *b)
{
        return a->state == b->state && a->group == b->group && strcmp(a->reason, b->reason) == 0;
}

static void refill(struct qgs_verdict *verdict, uint64_t now_ms)
{
        while (verdict->n_recoveries < QGS_VERDICT_RECOVERIES &&
               now_ms - verdict->refilled_ms >= QGS_VERDICT_RECOVERY_MS) {
                ++verdict->n_recoveries;
                verdict->refilled_ms += QGS_VERDICT_RECOVERY_MS;
        }
        /* A full bucket saves up no time: the interval starts with the next recovery. */
        if (verdict->n_recoveries == QGS_VERDICT_RECOVERIES)
                verdict->refilled_ms = now_ms;
}

/* Until a new socket has been tried, the verdict on the previous one stays in force. */
static bool is_in_force(const struct qgs_verdict *verdict)
{
        return verdict->latest.state == QGS_UNKNOWN ||
               is_same(&verdict->in_force, &verdict->latest);
}

static bool enforce(struct qgs_verdict *verdict, uint64_t now_ms)
{
        enum qgs_state before = verdict->in_force.state;
        /* The first answer after the start is not a recovery and takes no token. */
        bool is_recovery = verdict->latest.state == QGS_ANSWERING && before != QGS_ANSWERING &&
                           before != QGS_UNKNOWN;

        refill(verdict, now_ms);
        if (is_in_force(verdict) || (is_recovery && !verdict->n_recoveries))
                return false;
        verdict->n_recoveries -= is_recovery;
        verdict->in_force = verdict->latest;
        return true;
}

static bool reconsider(struct qgs_verdict *verdict, uint64_t now_ms)
{
        judge_sight(verdict, &verdict->latest);
        if (verdict->latest.state == QGS_UNKNOWN)
                judge_probe(verdict, &verdict->latest);
        return enforce(verdict, now_ms);
}

void qgs_verdict_init(struct qgs_verdict *verdict, const char *socket, uint64_t now_ms)
{
        *verdict = (struct qgs_verdict){ .next_probe_ms = now_ms,
                                         .n_recoveries = QGS_VERDICT_RECOVERIES,
                                         .refilled_ms = now_ms,
                                         .in_force.group = QGS_VERDICT_NO_GROUP,
                                         .latest.group = QGS_VERDICT_NO_GROUP };
        (void)snprintf(verdict->socket, sizeof(verdict->socket), "%s", socket);
}

static bool is_same_socket(const struct qgs_sight *a, const struct qgs_sight *b)
{
        /* Inode numbers are reused at once; the change time moves with a chmod, too, and then
         * another request does no harm. */
        return !a->code && !b->code && a->device == b->device && a->inode == b->inode &&
               a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec;
}

bool qgs_verdict_see(struct qgs_verdict *verdict, const struct qgs_sight *sight, uint64_t now_ms)
{
        if (!verdict->is_seen || !is_same_socket(&verdict->sight, sight)) {
                ++verdict->n_sockets;
                verdict->probe = QGS_PROBE_NONE;
                verdict->n_latest = 0;
                verdict->n_unanswered = 0;
                verdict->next_probe_ms = now_ms;
                if (verdict->is_ever_probed && verdict->probed_ms + QGS_VERDICT_GAP_MS > now_ms)
                        verdict->next_probe_ms = verdict->probed_ms + QGS_VERDICT_GAP_MS;
        }
        verdict->is_seen = true;
        verdict->sight = *sight;
        return reconsider(verdict, now_ms);
}

/* Whether the last result has come often enough in a row to be believed. */
static bool is_conclusive(const struct qgs_verdict *verdict)
{
        switch (verdict->latest_probe) {
        case QGS_PROBE_FAILING:
                return verdict->n_latest >= QGS_VERDICT_FAILURES;
        case QGS_PROBE_FULL:
                return verdict->n_latest >= QGS_VERDICT_FULL;
        case QGS_PROBE_NONE:
        case QGS_PROBE_OURS:
                return false;
        case QGS_PROBE_ANSWERED:
        case QGS_PROBE_REFUSED:
        case QGS_PROBE_SILENT:
        case QGS_PROBE_NOT_ALLOWED:
                break;
        }
        return true;
}

static uint64_t pause_ms(const struct qgs_verdict *verdict, enum qgs_probe_result probe)
{
        if (probe == QGS_PROBE_NONE)
                return QGS_VERDICT_GAP_MS;
        return verdict->n_unanswered && verdict->n_unanswered <= QGS_VERDICT_RETRIES
                       ? QGS_VERDICT_RETRY_MS
                       : QGS_VERDICT_PERIOD_MS;
}

bool qgs_verdict_probed(struct qgs_verdict *verdict, enum qgs_probe_result probe,
                        const char *failure, uint64_t now_ms)
{
        verdict->is_ever_probed = true;
        verdict->probed_ms = now_ms;
        verdict->n_unanswered =
                probe == QGS_PROBE_ANSWERED ? 0 : verdict->n_unanswered + (probe != QGS_PROBE_NONE);
        verdict->next_probe_ms = now_ms + pause_ms(verdict, probe);
        if (probe == QGS_PROBE_NONE || probe == QGS_PROBE_OURS)
                return false;
        verdict->n_latest = verdict->latest_probe == probe ? verdict->n_latest + 1 : 1;
        verdict->latest_probe = probe;
        if (!is_conclusive(verdict))
                return false;
        verdict->probe = probe;
        (void)snprintf(verdict->failure, sizeof(verdict->failure), "%s", failure);
        return reconsider(verdict, now_ms);
}

bool qgs_verdict_expire(struct qgs_verdict *verdict, uint64_t now_ms)
{
        return verdict->is_seen && enforce(verdict, now_ms);
}

gid_t qgs_verdict_group(const struct qgs_verdict *verdict)
{
        return verdict->latest.group;
}

uint64_t qgs_verdict_next_probe_ms(const struct qgs_verdict *verdict)
{
        bool is_there = verdict->is_seen && !verdict->sight.code;

        /* The VM would not get in. The driver might, by its own user's rights, but that proves
         * nothing. */
        if (is_there && verdict->latest.state == QGS_REFUSED)
                is_there = false;
        return is_there ? verdict->next_probe_ms : UINT64_MAX;
}

uint64_t qgs_verdict_next_expiry_ms(const struct qgs_verdict *verdict)
{
        if (verdict->n_recoveries || is_in_force(verdict))
                return UINT64_MAX;
        return verdict->refilled_ms + QGS_VERDICT_RECOVERY_MS;
}

enum qgs_probe_result qgs_probe_result_of_connect(int code)
{
        switch (-code) {
        case ECONNREFUSED:
                return QGS_PROBE_REFUSED;
        case EAGAIN:
                return QGS_PROBE_FULL;
        case EACCES:
        case EPERM:
                return QGS_PROBE_NOT_ALLOWED;
        case EPIPE:
                return QGS_PROBE_FAILING;
        default:
                return QGS_PROBE_OURS;
        }
}
