/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One look at, and one connection to, the Quote Generation Service.
 *
 * Wire format (Intel DCAP, QuoteGeneration/quote_wrapper/qgs_msg_lib): a big-endian length, then a
 * little-endian message. A request goes out in one write, as QGS up to 1.25 misreads one that comes
 * in pieces.
 */
#pragma once

#include "host/qgs_verdict.h"

#include <stddef.h>
#include <uv.h>

/* stat(2) of the socket and its directory. */
void qgs_look(const char *socket, struct qgs_sight *ret);

struct qgs_probe;

/* A look and a connection, for a person who asks once; the socket is below root ("": /). */
void qgs_judge_once(const char *root, const char *socket, struct qgs_verdict_state *ret);

/* failure: what to tell of a probe that did not succeed, "" otherwise. */
typedef void qgs_probe_on_done(void *owner, enum qgs_probe_result result, const char *failure);

/* Connect and, if asks, send a PLATFORM_INFO request and wait at most timeout_ms for the answer.
 * Without asking, on_done is called before this returns, and NULL is returned. */
struct qgs_probe *qgs_probe_start(uv_loop_t *loop, const char *socket, bool asks,
                                  uint32_t timeout_ms, qgs_probe_on_done *on_done, void *owner);
/* on_done is not called any more. */
void qgs_probe_cancel(struct qgs_probe *probe);

/* The first n bytes of an answer to PLATFORM_INFO. 0: a whole one without an error; 1: more is to
 * come; -EBADMSG with the reason. */
int qgs_probe_parse_answer(const unsigned char *bytes, size_t n, char *ret_failure,
                           size_t n_failure);
