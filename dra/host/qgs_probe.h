/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request for PLATFORM_INFO to the Quote Generation Service.
 *
 * The request (host/qgs_message) is one write, because QGS up to 1.25 misreads one that comes in
 * pieces.
 *
 * A connection is closed only after QGS has answered or closed it, or after QGS's own 30 s have
 * certainly passed: QGS up to 1.25 keeps a connection that was closed without a request until its
 * timer, and then uses memory that it has freed. A late answer is reported as silence at once, and
 * is still waited for.
 */
#pragma once

#include "host/qgs_verdict.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

/* After this time without an answer QGS counts as hung. */
#define QGS_PROBE_SILENCE_MS 5000
/* QGS closes a connection 30 s after it accepts it (qgs_server.cpp), which may be later than our
 * request. Waiting for exactly 30 s would close most of them before QGS does. */
#define QGS_PROBE_SERVER_TIMEOUT_MS 35000
/* How long an orderly stop waits for an answer. */
#define QGS_PROBE_STOP_MS 2000

struct qgs_probe;

/* failure: why a request was not answered, "" otherwise. is_over: the connection and the probe are
 * gone. Before that, QGS_PROBE_SILENT may be reported once, with is_over false. */
typedef void qgs_probe_on_told(void *owner, enum qgs_probe_result result, const char *failure,
                               bool is_over);

/* Connect with a VM's groups (its own and this one, QGS_VERDICT_NO_GROUP: none) if CAP_SETGID
 * allows, and send the request. If it cannot connect, it calls on_told and returns NULL. */
struct qgs_probe *qgs_probe_start(uv_loop_t *loop, const char *socket, gid_t group,
                                  qgs_probe_on_told *on_told, void *owner);
/* on_told is not called any more. The loop waits for the connection QGS_PROBE_STOP_MS longer. NULL
 * is fine. */
void qgs_probe_abandon(struct qgs_probe *probe);

/* The same look, request and verdict, for a person who asks once; the socket is below root ("": /)
 * and has the same name for a VM. Blocks until the verdict is known, which takes
 * QGS_PROBE_SILENCE_MS at most and two retries. A connection without an answer by then stays open:
 * call qgs_judge_finish() after the output. */
void qgs_judge_once(const char *root, const char *socket, struct qgs_verdict_state *ret);
/* As above, if the VM finds the socket by another name. */
void qgs_judge_vm_once(const struct qgs_place *place, struct qgs_verdict_state *ret);
/* Wait for the connections that the above have left open, each until QGS_PROBE_SERVER_TIMEOUT_MS
 * after its request. */
void qgs_judge_finish(void);
/* How long that may take; 0: no connection is left open. */
uint64_t qgs_judge_pending_ms(void);
