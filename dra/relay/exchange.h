/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request to QGS: waits for its turn, gets a connection from the holder, sends the request in
 * one write (QGS up to 1.25 misreads one that comes in pieces) and reads the reply.
 *
 * What QGS has accepted is never closed by us before its reply, its own close, or the time after
 * which it has certainly closed (host/qgs_probe.h says why). So an exchange that nobody waits for
 * any more goes on, and keeps its turn.
 */
#pragma once

#include "relay/frame.h"
#include "relay/turns.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct exchange;
struct exchanges;
struct serving;

enum exchange_result {
        EXCHANGE_REPLIED,
        EXCHANGE_NOT_CONNECTED, /* code: a negative errno; -ENOTCONN: the holder is gone */
        EXCHANGE_CLOSED,        /* by QGS, before a whole reply */
        EXCHANGE_GARBLED,       /* what came is not a reply */
        EXCHANGE_SILENT         /* no reply in limits.server_ms, in which QGS would have closed */
};

/* What to do with the bytes of a reply that have come: 0 whole, of *ret_size bytes; 1 incomplete;
 * -EBADMSG garbled. *ret_code is QGS's error code, or 0. */
typedef int exchange_read(const unsigned char *bytes, size_t n, size_t *ret_size,
                          uint32_t *ret_code);
/* reply: whole, of size bytes; the callee may take its memory. NULL unless EXCHANGE_REPLIED. The
 * exchange is gone for its owner. */
typedef void exchange_on_done(void *owner, enum exchange_result result, int code,
                              struct frame_reply *reply, size_t size);
/* There was no reply silence_ms after the request; it goes on. */
typedef void exchange_on_silence(void *owner);

struct exchange_plan {
        const unsigned char *request; /* copied */
        size_t n_request;             /* <= QGS_QUOTE_REQUEST_SIZE */
        uint32_t silence_ms;          /* < limits.server_ms */
        exchange_read *read;
        exchange_on_done *on_done;
        exchange_on_silence *on_silence;
        void *owner;
};

struct exchanges *exchanges_new(struct serving *serving);
/* NULL is fine. Open connections to QGS are closed. */
void exchanges_free(struct exchanges *exchanges);

void exchanges_set_threads(struct exchanges *exchanges, unsigned n_threads);
/* The holder answers WORKER_CONNECT: a connected socket, which becomes the callee's, or -errno. */
void exchanges_connected(struct exchanges *exchanges, uint32_t ticket, int fd);
/* The holder is gone: what has no connection yet will get none. */
void exchanges_orphan(struct exchanges *exchanges);
/* Start those whose turn it is. */
void exchanges_go_on(struct exchanges *exchanges);

unsigned exchanges_n_waiting(const struct exchanges *exchanges);
unsigned exchanges_n_at_qgs(const struct exchanges *exchanges);

/* NULL: the holder is gone. No callback comes before this returns. */
struct exchange *exchange_start(struct exchanges *exchanges, struct turns_td *td,
                                const struct exchange_plan *plan);
/* It has got a turn: QGS has the request, or will have it in a moment. */
bool exchange_has_turn(const struct exchange *exchange);
/* No callback comes any more. NULL is fine. */
void exchange_abandon(struct exchange *exchange);
