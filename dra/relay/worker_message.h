/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the relay's holder and its worker tell each other over their socketpair (SOCK_SEQPACKET):
 * one structure a message, and with some of them one descriptor.
 *
 * Both ends are the same executable, so the structure is sent as it is. The worker may have been
 * taken over by a VM: the holder believes only what worker_message_receive() has checked, and no
 * number that a message carries is more than a claim.
 *
 * A connection to QGS belongs to a ticket, a number that the worker chooses. The holder keeps its
 * own descriptor of the connection until WORKER_RELEASED: if the worker dies, QGS must not see the
 * connection close before its reply (host/qgs_probe.h says why), and until then it counts.
 */
#pragma once

#include "host/relay_message.h"

#include <stdint.h>

/* None is 0; retry_ms < answer_ms, probe_ms < server_ms. The defaults are in WORKER_LIMITS_DEFAULT.
 */
struct worker_limits {
        uint32_t n_connections; /* of VMs, open at a time for each TD */
        uint32_t n_requests;    /* at QGS at a time for each TD */
        uint32_t half_ms;       /* for a whole request, after its first byte */
        uint32_t idle_ms;       /* until the first byte of a request */
        uint32_t retry_ms;      /* after its request, a VM gets no further attempt */
        uint32_t answer_ms;     /* after its request, a VM gets an error if QGS has not replied */
        uint32_t server_ms;     /* after which QGS has certainly closed a connection itself */
        uint32_t probe_ms;      /* without news of QGS, until the worker asks itself */
};

/* QEMU gives up after 30 s (qapi, tdx-quote-generator.c), and QGS closes 30 s after it accepts. */
#define WORKER_LIMITS_DEFAULT                                                                \
        {                                                                                    \
                .n_connections = 16, .n_requests = 2, .half_ms = 5000, .idle_ms = 30000,     \
                .retry_ms = 25000, .answer_ms = 28000, .server_ms = 35000, .probe_ms = 10000 \
        }

enum worker_message_kind {
        /* From the holder. WORKER_LIMITS comes first and once. */
        WORKER_LIMITS = 1,    /* limits */
        WORKER_THREADS,       /* count: requests at QGS at a time for the node; may be 0 */
        WORKER_LISTEN,        /* listener; with a listening socket, SOCK_NONBLOCK */
        WORKER_UNLISTEN,      /* listener.id: close it; what was accepted is served */
        WORKER_ACCEPTING,     /* flag: accept connections (the default), or leave them in the
                               * backlog, end each accepted one with its reply, and report each
                               * change by WORKER_STATE */
        WORKER_CONNECTED,     /* ticket; with a socket that is connected to QGS, SOCK_NONBLOCK */
        WORKER_NOT_CONNECTED, /* ticket, cause: the negative errno of connect(2) */
        WORKER_ASK,           /* ask QGS for PLATFORM_INFO as soon as a turn is free */
        WORKER_PING,          /* ticket: any number */

        /* From the worker. */
        WORKER_CONNECT,  /* ticket: connect to QGS. Answered by one of the two above */
        WORKER_RELEASED, /* ticket: QGS has replied, has closed, or has had server_ms */
        WORKER_OUTCOME,  /* outcome: of a VM's request, each exactly once */
        WORKER_QGS,      /* qgs: how QGS itself does, beyond what outcomes tell */
        WORKER_PONG,     /* ticket of the ping, state */
        WORKER_STATE     /* state, while not accepting; also right after WORKER_ACCEPTING false */
};

/* A listening socket. id is the holder's choice, unique among those in use. */
struct worker_listener {
        uint32_t id;
        struct relay_td td;
};

struct worker_outcome {
        struct relay_td td;
        uint32_t outcome; /* enum relay_outcome */
        uint32_t code;
        int32_t cause;
        uint32_t has_digest;
        uint64_t us; /* from the whole request to the last byte of the reply */
        uint8_t digest[RELAY_DIGEST_SIZE]; /* SHA-256 of the report data */
};

/* How a connection to QGS went, a probe's or a request's. RELAY_DELIVERED says "answered" as well,
 * and is not repeated here; a failed connect is known to the holder. */
enum worker_qgs_result {
        WORKER_QGS_ANSWERED, /* a probe */
        WORKER_QGS_CLOSED,   /* it closed without a whole reply */
        WORKER_QGS_ERROR,    /* it answered a probe with an error; code */
        WORKER_QGS_GARBLED,  /* what it replied is not of its format */
        WORKER_QGS_SILENT,   /* no reply to a probe in probe_ms / 2, to a request in probe_ms. How a
                              * probe ends later is told, too */
        WORKER_QGS_N_RESULTS
};

struct worker_qgs {
        uint32_t result; /* enum worker_qgs_result */
        uint32_t code;
        uint32_t is_probe;
};

struct worker_state {
        uint32_t n_connections; /* of VMs */
        uint32_t n_at_qgs;      /* tickets that are not released */
        uint32_t n_waiting;     /* requests that wait for a turn or for another attempt */
        uint32_t n_lost;        /* outcomes that could not be told: the holder did not read */
};

struct worker_message {
        uint32_t kind; /* enum worker_message_kind */
        uint32_t ticket;
        union {
                struct worker_limits limits;
                uint32_t count;
                uint32_t flag;
                int32_t cause;
                struct worker_listener listener;
                struct worker_outcome outcome;
                struct worker_qgs qgs;
                struct worker_state state;
        };
};

enum worker_side { WORKER_SIDE_HOLDER, WORKER_SIDE_WORKER };

/* Pure: 0, or -EBADMSG: this side does not send such a message, or it has an impossible value, or a
 * descriptor too many or too few. */
int worker_message_check(const struct worker_message *message, enum worker_side from, int has_fd);

/* Send without blocking. passed_fd: -1 or a descriptor, which stays the caller's. 0, -EAGAIN: the
 * peer does not read, or another -errno: -EPIPE and -ECONNRESET say that it is gone. */
int worker_message_send(int fd, const struct worker_message *message, int passed_fd);

/* Receive one without blocking, from the other side. 0: *ret, and *ret_fd (-1: none) is the
 * caller's; 1: the peer has closed; -EAGAIN: there is none; -EBADMSG: not such a message, and it is
 * gone; -EMFILE: the descriptor found no room, *ret is valid and *ret_fd -1; another -errno. */
int worker_message_receive(int fd, enum worker_side from, struct worker_message *ret, int *ret_fd);
