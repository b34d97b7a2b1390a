/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The relay's worker: carries bytes between VMs and QGS, and has nothing but the descriptors that
 * the holder passes to it. The messages are relay/worker_message's.
 *
 * If the holder dies, what is at QGS is still answered, everything else with QGS's error reply, and
 * then the worker is over.
 */
#pragma once

struct uv_loop_s;
struct worker;

typedef void worker_on_over(void *owner);

/* channel_fd becomes the worker's. n_descriptors: this process's RLIMIT_NOFILE. on_over: the holder
 * is gone, or has sent what it never sends, and nothing is left to do; called once. */
struct worker *worker_new(struct uv_loop_s *loop, int channel_fd, unsigned n_descriptors,
                          worker_on_over *on_over, void *owner);
void worker_free(struct worker *worker);

/* The process: enter the sandbox (relay/sandbox) as this user and group, and serve the channel at
 * descriptor 3 until the worker is over, which no SIGTERM hastens. */
_Noreturn void worker_run(unsigned uid, unsigned gid);
