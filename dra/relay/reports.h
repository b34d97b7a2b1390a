/* SPDX-License-Identifier: Apache-2.0 */
/* What the relay learns about quotes and about QGS: logs it, counts it and tells the drivers. */
#pragma once

#include "host/relay_message.h"
#include "relay/worker_message.h"

struct control;
struct outcomes;
struct reports;
struct uv_loop_s;

struct reports *reports_new(struct uv_loop_s *loop);
/* NULL is fine. */
void reports_free(struct reports *reports);

/* To be told to this control's drivers from now on. */
void reports_set_control(struct reports *reports, struct control *control);
struct outcomes *reports_outcomes(struct reports *reports); /* borrowed */

/* A VM's request has ended now, here. */
void reports_take_outcome(struct reports *reports, const struct worker_outcome *outcome);
/* One of the predecessor's. */
void reports_take_quote(struct reports *reports, const struct relay_quote *quote);

/* Which socket is QGS's, for the log; copied. */
void reports_set_qgs(struct reports *reports, const char *socket);
void reports_take_qgs(struct reports *reports, const struct worker_qgs *qgs);
void reports_take_failed_connect(struct reports *reports, int code);
/* A driver waits for the next result, whatever it is. */
void reports_want_qgs(struct reports *reports);
bool reports_is_qgs_wanted(const struct reports *reports);
