/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does the host's Quote Generation Service answer a VM? Pure; what was seen and when is given, in
 * milliseconds of any monotonic clock.
 *
 * QEMU connects as uid and gid 107 from inside the VM's container, where QGS's directory is
 * mounted: it needs search permission there and write permission on the socket (unix(7)), and root
 * would see neither missing. A file is not a service: QGS up to 1.25 leaves its socket behind when
 * it dies, and one EMFILE stops it from accepting for good.
 *
 * What comes into force is damped. A bad verdict does so at once, except that one slow answer says
 * nothing; a recovery at once as long as there were few of them lately. So a service that flaps
 * counts as down, and costs a handful of changes a minute.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#define QGS_VERDICT_VM_ID 107 /* KubeVirt's qemu: its uid and its only group */
#define QGS_VERDICT_PROBE_MS \
        10000 /* at least between two connections: old QGS keep each for 30 s */
#define QGS_VERDICT_HUNG_PROBES \
        2 /* that are not answered, before an answering QGS counts as hung */
#define QGS_VERDICT_RECOVERIES  3     /* that come into force at once, */
#define QGS_VERDICT_RECOVERY_MS 20000 /* and after how long there is another */
#define QGS_VERDICT_NO_GROUP    ((gid_t)-1)

enum qgs_state {
        QGS_UNKNOWN, /* nobody has looked yet */
        QGS_ABSENT,
        QGS_REFUSED, /* its permissions keep the VM out */
        QGS_STALE,   /* a socket on which nobody listens */
        QGS_HUNG,
        QGS_ANSWERING
};

const char *qgs_state_name(enum qgs_state state); /* "absent", ...; static */

/* The socket and its directory, as stat(2) shows them. */
struct qgs_sight {
        int code; /* 0, or the negative errno of stat(2); -ENOTSOCK: another kind of file */
        dev_t device;
        ino_t inode;
        struct timespec changed;
        mode_t mode, directory_mode; /* permission bits */
        uid_t uid, directory_uid;
        gid_t gid, directory_gid;
};

/* How a connection went. */
enum qgs_probe_result {
        QGS_PROBE_CONNECTED, /* and, where that was asked for, answered */
        QGS_PROBE_REFUSED,   /* ECONNREFUSED */
        QGS_PROBE_HUNG,      /* EAGAIN (its backlog is full), no answer in time, or none at all */
        QGS_PROBE_FAILED     /* on our side, EACCES or EMFILE: it says nothing about QGS */
};

struct qgs_verdict_state {
        enum qgs_state state;
        gid_t group;      /* that a VM must be given to get in; QGS_VERDICT_NO_GROUP: none */
        char reason[320]; /* for a person, with the remedy; "" where it answers */
};

struct qgs_verdict {
        char socket[108];
        struct qgs_sight sight;
        bool is_seen;

        /* Of the socket in sight. */
        bool is_confirmed;           /* a probe has succeeded */
        enum qgs_probe_result probe; /* the last that says anything; CONNECTED before */
        unsigned n_hung;             /* probes in a row */
        char failure[128];           /* of the last */

        bool is_ever_probed;
        uint64_t period_ms, probed_ms, next_probe_ms;
        unsigned n_recoveries; /* left */
        uint64_t refilled_ms;
        struct qgs_verdict_state in_force, latest;
        uint64_t since_ms; /* in_force */
};

/* period_ms: between probes while nothing happens; at least QGS_VERDICT_PROBE_MS. */
void qgs_verdict_init(struct qgs_verdict *verdict, const char *socket, uint64_t period_ms,
                      uint64_t now_ms);

/* The three return whether what is in force has changed. */
bool qgs_verdict_see(struct qgs_verdict *verdict, const struct qgs_sight *sight, uint64_t now_ms);
/* Of a connection to the socket last seen; failure is what to tell of one that did not succeed. */
bool qgs_verdict_probed(struct qgs_verdict *verdict, enum qgs_probe_result probe,
                        const char *failure, uint64_t now_ms);
bool qgs_verdict_expire(struct qgs_verdict *verdict, uint64_t now_ms);

/* When to connect next; UINT64_MAX: there is nothing to connect to. */
uint64_t qgs_verdict_next_probe_ms(const struct qgs_verdict *verdict);
/* When qgs_verdict_expire() has something to do; UINT64_MAX: never, as things stand. */
uint64_t qgs_verdict_next_expiry_ms(const struct qgs_verdict *verdict);
