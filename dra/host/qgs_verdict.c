/* SPDX-License-Identifier: Apache-2.0 */
#include "host/qgs_verdict.h"

#include "base/memory.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

const char *qgs_state_name(enum qgs_state state)
{
        static const char *const names[] = {
                [QGS_UNKNOWN] = "unknown", [QGS_ABSENT] = "absent", [QGS_REFUSED] = "refused",
                [QGS_STALE] = "stale",     [QGS_HUNG] = "hung",     [QGS_ANSWERING] = "answering",
        };

        return names[state];
}

/* ---- who gets in ---- */

/* The kernel's acl_permission_check() for a process that is neither owner nor root by capability:
 * the first class that fits decides. ACLs are left out; with one, the group bits are its mask. */
static bool is_permitted(mode_t mode, uid_t uid, gid_t gid, mode_t wanted, gid_t group)
{
        if (uid == QGS_VERDICT_VM_ID)
                return mode & (wanted << 6);
        if (gid == QGS_VERDICT_VM_ID || (group != QGS_VERDICT_NO_GROUP && gid == group))
                return mode & (wanted << 3);
        return mode & wanted;
}

static bool can_enter(const struct qgs_sight *sight, gid_t group)
{
        return is_permitted(sight->directory_mode, sight->directory_uid, sight->directory_gid, 1,
                            group);
}

static bool can_connect(const struct qgs_sight *sight, gid_t group)
{
        return can_enter(sight, group) &&
               is_permitted(sight->mode, sight->uid, sight->gid, 2, group);
}

/* The group to give to the VM, where one helps. Not 0: CDI's additionalGids ignores it, and root's
 * files are not to be opened that way. */
static bool find_group(const struct qgs_sight *sight, gid_t *ret_group)
{
        const gid_t candidates[] = { QGS_VERDICT_NO_GROUP, sight->gid, sight->directory_gid };

        for (size_t i = 0; i < array_size(candidates); ++i)
                if (candidates[i] != 0 && can_connect(sight, candidates[i])) {
                        *ret_group = candidates[i];
                        return true;
                }
        return false;
}

/* ---- what it looks like ---- */

static void judge_sight(const struct qgs_verdict *verdict, struct qgs_verdict_state *ret)
{
        const struct qgs_sight *sight = &verdict->sight;
        const char *socket = verdict->socket;

        ret->group = QGS_VERDICT_NO_GROUP;
        ret->reason[0] = '\0';
        if (sight->code == -ENOENT || sight->code == -ENOTDIR) {
                ret->state = QGS_ABSENT;
                snprintf(ret->reason, sizeof(ret->reason),
                         "there is no %s: start QGS (qgsd), or give its socket with --qgs-socket",
                         socket);
        } else if (sight->code == -ENOTSOCK) {
                ret->state = QGS_ABSENT;
                snprintf(ret->reason, sizeof(ret->reason),
                         "%s is no socket: remove it and start QGS (qgsd)", socket);
        } else if (sight->code) {
                ret->state = QGS_REFUSED;
                snprintf(ret->reason, sizeof(ret->reason), "%s cannot be looked at: %s", socket,
                         strerror(-sight->code));
        } else if (!find_group(sight, &ret->group)) {
                bool is_directory = !can_enter(sight, sight->directory_gid);

                ret->state = QGS_REFUSED;
                snprintf(ret->reason, sizeof(ret->reason),
                         "QEMU runs as uid %d, and %s %s is %04o %u:%u: make it %s",
                         QGS_VERDICT_VM_ID, is_directory ? "the directory of" : "the socket",
                         socket, is_directory ? sight->directory_mode : sight->mode,
                         is_directory ? sight->directory_uid : sight->uid,
                         is_directory ? sight->directory_gid : sight->gid,
                         is_directory ? "0755" : "0666, or 0660 with a group of its own");
        } else {
                ret->state = QGS_ANSWERING;
        }
}

static void judge(const struct qgs_verdict *verdict, struct qgs_verdict_state *ret)
{
        const char *what = NULL;

        judge_sight(verdict, ret);
        if (ret->state != QGS_ANSWERING)
                return;
        /* A socket that has just come counts as answering until it was probed. */
        if (verdict->probe == QGS_PROBE_REFUSED) {
                ret->state = QGS_STALE;
                what = "nobody listens on it, restart QGS (qgsd)";
        } else if (verdict->probe == QGS_PROBE_HUNG &&
                   (verdict->n_hung >= QGS_VERDICT_HUNG_PROBES || !verdict->is_confirmed ||
                    verdict->in_force.state != QGS_ANSWERING)) {
                ret->state = QGS_HUNG;
                what = "it does not answer, see its log and restart QGS (qgsd)";
        }
        if (what)
                snprintf(ret->reason, sizeof(ret->reason), "%s: %s (%s)", verdict->socket, what,
                         verdict->failure);
}

/* ---- what is in force ---- */

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
        if (verdict->n_recoveries == QGS_VERDICT_RECOVERIES)
                verdict->refilled_ms = now_ms;
}

static bool enforce(struct qgs_verdict *verdict, uint64_t now_ms)
{
        enum qgs_state before = verdict->in_force.state;
        bool is_recovery = verdict->latest.state == QGS_ANSWERING && before != QGS_ANSWERING &&
                           before != QGS_UNKNOWN;

        refill(verdict, now_ms);
        if (is_same(&verdict->in_force, &verdict->latest) ||
            (is_recovery && !verdict->n_recoveries))
                return false;
        verdict->n_recoveries -= is_recovery;
        if (verdict->latest.state != before)
                verdict->since_ms = now_ms;
        verdict->in_force = verdict->latest;
        return true;
}

static bool reconsider(struct qgs_verdict *verdict, uint64_t now_ms)
{
        judge(verdict, &verdict->latest);
        return enforce(verdict, now_ms);
}

void qgs_verdict_init(struct qgs_verdict *verdict, const char *socket, uint64_t period_ms,
                      uint64_t now_ms)
{
        *verdict = (struct qgs_verdict){ .n_recoveries = QGS_VERDICT_RECOVERIES,
                                         .refilled_ms = now_ms,
                                         .since_ms = now_ms,
                                         .next_probe_ms = now_ms,
                                         .period_ms = period_ms,
                                         .in_force.group = QGS_VERDICT_NO_GROUP };
        snprintf(verdict->socket, sizeof(verdict->socket), "%s", socket);
}

static bool is_same_socket(const struct qgs_sight *a, const struct qgs_sight *b)
{
        /* Inode numbers are reused at once; the change time moves with a chmod, too, and then
         * another look does no harm. */
        return !a->code && !b->code && a->device == b->device && a->inode == b->inode &&
               a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec;
}

bool qgs_verdict_see(struct qgs_verdict *verdict, const struct qgs_sight *sight, uint64_t now_ms)
{
        if (!verdict->is_seen || !is_same_socket(&verdict->sight, sight)) {
                verdict->is_confirmed = false;
                verdict->probe = QGS_PROBE_CONNECTED;
                verdict->n_hung = 0;
                if (verdict->is_ever_probed)
                        verdict->next_probe_ms = verdict->probed_ms + QGS_VERDICT_PROBE_MS;
        }
        verdict->is_seen = true;
        verdict->sight = *sight;
        return reconsider(verdict, now_ms);
}

bool qgs_verdict_probed(struct qgs_verdict *verdict, enum qgs_probe_result probe,
                        const char *failure, uint64_t now_ms)
{
        verdict->is_ever_probed = true;
        verdict->probed_ms = now_ms;
        verdict->next_probe_ms =
                now_ms + (probe == QGS_PROBE_CONNECTED ? verdict->period_ms : QGS_VERDICT_PROBE_MS);
        if (probe == QGS_PROBE_FAILED)
                return false;
        verdict->is_confirmed |= probe == QGS_PROBE_CONNECTED;
        verdict->probe = probe;
        verdict->n_hung = probe == QGS_PROBE_HUNG ? verdict->n_hung + 1 : 0;
        snprintf(verdict->failure, sizeof(verdict->failure), "%s", failure);
        return reconsider(verdict, now_ms);
}

bool qgs_verdict_expire(struct qgs_verdict *verdict, uint64_t now_ms)
{
        return verdict->is_seen && enforce(verdict, now_ms);
}

uint64_t qgs_verdict_next_probe_ms(const struct qgs_verdict *verdict)
{
        return verdict->is_seen && !verdict->sight.code ? verdict->next_probe_ms : UINT64_MAX;
}

uint64_t qgs_verdict_next_expiry_ms(const struct qgs_verdict *verdict)
{
        if (verdict->n_recoveries || is_same(&verdict->in_force, &verdict->latest))
                return UINT64_MAX;
        return verdict->refilled_ms + QGS_VERDICT_RECOVERY_MS;
}
