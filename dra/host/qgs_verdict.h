/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does the host's Quote Generation Service answer a VM? Pure; the caller passes what it saw and the
 * time, in milliseconds of any monotonic clock.
 *
 * A verdict comes from trying. QEMU connects as uid and gid 107 from inside the VM's container,
 * where QGS's directory is mounted: it needs search permission there and write permission on the
 * socket (unix(7)); root's capabilities would hide that either is missing. A file is not a service:
 * QGS up to 1.25 leaves its socket behind when it dies. So a socket counts only once it has
 * answered a request for PLATFORM_INFO. That does not prove that quotes work: they need a
 * certificate for the platform, too.
 *
 * Changes are damped. A bad verdict comes into force at once; a recovery only if the token bucket
 * below has a token. So a service that flaps counts as down, and causes a handful of changes a
 * minute.
 */
#pragma once

#include "host/qgs_look.h"
#include "host/vm_groups.h"

#include <stdbool.h>
#include <stdint.h>

#define QGS_VERDICT_VM_ID    VM_GROUPS_VM_ID
#define QGS_VERDICT_NO_GROUP VM_GROUPS_NONE

/* Delay from an answer to the next request. In QGS only the first for each of its threads calls the
 * enclave (td_ql_logic.cpp). */
#define QGS_VERDICT_PERIOD_MS 8000
/* Delay from a request without an answer to the next one. */
#define QGS_VERDICT_RETRY_MS 1000
/* Requests in a row that follow after that delay; then the period applies. */
#define QGS_VERDICT_RETRIES 3
/* Delay from the end of a connection to the first one to a new socket. */
#define QGS_VERDICT_GAP_MS 250
/* Failures in a row before QGS counts as failing: a single one may come from a stopping QGS. */
#define QGS_VERDICT_FAILURES 2
/* Full backlogs in a row before QGS counts as hung: a burst of VMs may fill one, too. */
#define QGS_VERDICT_FULL 3
/* Token bucket: recoveries that may come into force at once. */
#define QGS_VERDICT_RECOVERIES 3
/* Interval at which it gets another token. */
#define QGS_VERDICT_RECOVERY_MS 20000

enum qgs_state {
        QGS_UNKNOWN,   /* nothing was tried yet */
        QGS_ABSENT,    /* no socket */
        QGS_REFUSED,   /* permissions, or a link out of the directory, keep the VM out */
        QGS_STALE,     /* a socket on which nothing listens */
        QGS_HUNG,      /* it does not accept connections, or does not answer */
        QGS_FAILING,   /* it answers with an error, or closes without an answer */
        QGS_NOT_TRIED, /* the driver may not open the socket, though the VM may */
        QGS_ANSWERING
};

const char *qgs_state_name(enum qgs_state state); /* "absent", ..., "not-tried"; static */

/* How a request for PLATFORM_INFO went. */
enum qgs_probe_result {
        QGS_PROBE_NONE, /* it went to an earlier socket, and says nothing about this one */
        QGS_PROBE_ANSWERED,
        QGS_PROBE_REFUSED,     /* ECONNREFUSED */
        QGS_PROBE_FULL,        /* EAGAIN: its backlog is full */
        QGS_PROBE_SILENT,      /* no answer in time */
        QGS_PROBE_FAILING,     /* it answered with an error, or closed without an answer */
        QGS_PROBE_NOT_ALLOWED, /* EACCES or EPERM */
        QGS_PROBE_OURS         /* a failure on our side, such as EMFILE: says nothing about QGS */
};

/* What a failed connect says of QGS; code: connect(2)'s negative errno, or -EPIPE if QGS closed
 * before the request was sent. */
enum qgs_probe_result qgs_probe_result_of_connect(int code);

struct qgs_verdict_state {
        enum qgs_state state;
        /* The group that a VM must be given to get in; QGS_VERDICT_NO_GROUP: none. Known even if
         * the socket does not answer. */
        gid_t group;
        char reason[512]; /* for a person, with the remedy; "" if it answers */
};

struct qgs_verdict {
        char socket[108];
        /* Set after qgs_verdict_init(): the quote relay connects for the VMs, so what a VM could
         * open itself does not matter. */
        bool is_relayed;
        bool is_seen;
        struct qgs_sight sight;
        unsigned n_sockets; /* seen so far */

        /* The following concern the socket in sight. */
        enum qgs_probe_result probe;        /* the last conclusive result; NONE before the first */
        enum qgs_probe_result latest_probe; /* the last result, conclusive or not */
        unsigned n_latest;
        char failure[128]; /* of probe */

        bool is_ever_probed;
        uint64_t probed_ms, next_probe_ms;
        unsigned n_unanswered; /* requests in a row */
        unsigned n_recoveries; /* tokens left */
        uint64_t refilled_ms;
        struct qgs_verdict_state in_force, latest;
};

/* socket: its path for messages. */
void qgs_verdict_init(struct qgs_verdict *verdict, const char *socket, uint64_t now_ms);

/* All three return whether the verdict in force has changed. */
bool qgs_verdict_see(struct qgs_verdict *verdict, const struct qgs_sight *sight, uint64_t now_ms);
/* Take in the result of a request to the socket last seen; failure says why it failed. May be
 * called twice for one request: with QGS_PROBE_SILENT first, and later with how it ended. */
bool qgs_verdict_probed(struct qgs_verdict *verdict, enum qgs_probe_result probe,
                        const char *failure, uint64_t now_ms);
bool qgs_verdict_expire(struct qgs_verdict *verdict, uint64_t now_ms);

/* The group to ask with: the one that a VM would have. */
gid_t qgs_verdict_group(const struct qgs_verdict *verdict);
/* When to send the next request, unless one is under way; UINT64_MAX: there is nothing to ask. */
uint64_t qgs_verdict_next_probe_ms(const struct qgs_verdict *verdict);
/* When qgs_verdict_expire() has something to do; UINT64_MAX: not unless something changes. */
uint64_t qgs_verdict_next_expiry_ms(const struct qgs_verdict *verdict);
