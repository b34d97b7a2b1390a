/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each signal means to `run`. SIGTERM, SIGINT and SIGQUIT end it in order; SIGHUP makes it
 * look at everything again. The others that a person, a terminal or a log rotation may send
 * (SIGUSR1, SIGUSR2, SIGALRM, SIGPIPE) are ignored: their default would end the process and leave
 * its sockets behind.
 */
#pragma once

#include <uv.h>

struct signals;

/* The callbacks run on the loop thread; number is the signal's. */
struct signals_options {
        uv_loop_t *loop;
        void (*on_stop)(void *owner, int number);
        void (*on_look)(void *owner);
        void *owner;
};

/* Ignore what is to be ignored: before the first thread and the first write to a socket. */
void signals_ignore(void);

struct signals *signals_new(const struct signals_options *options);
/* The memory is freed on the loop's next iteration. A signal that is not ignored then has its
 * default meaning again, so free this last. NULL is fine. */
void signals_free(struct signals *signals);
