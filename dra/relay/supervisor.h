/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps one worker process running: starts it, replaces it at once when it dies (then with growing
 * pauses), and kills it when it hangs.
 */
#pragma once

#include "relay/worker_message.h"

struct supervisor;
struct uv_loop_s;

/* A worker that says nothing for so long is asked, and killed if it does not answer. The first is
 * longer than the worker's pause between its own questions to QGS, so that an idle relay wakes for
 * nothing else. */
#define SUPERVISOR_SILENCE_MS 11000
#define SUPERVISOR_PONG_MS    4000

struct supervisor_options {
        struct uv_loop_s *loop;
        char **arguments; /* of the worker's process, NULL at the end; outlive the supervisor */
        unsigned worker_uid;
        /* A new worker: tell it what it must know. */
        void (*on_started)(void *owner);
        /* All but WORKER_PONG; fd as channel_on_message(). */
        void (*on_message)(void *owner, const struct worker_message *message);
        /* The worker is dead, and all it said has been heard. */
        void (*on_lost)(void *owner);
        /* Once after supervisor_stop(). */
        void (*on_stopped)(void *owner);
        void *owner;
};

struct supervisor *supervisor_new(const struct supervisor_options *options);
void supervisor_start(struct supervisor *supervisor);
/* The worker has nothing left to do: end it, and start no other one. */
void supervisor_stop(struct supervisor *supervisor);
/* Kills a worker that is still there. NULL is fine. */
void supervisor_free(struct supervisor *supervisor);

/* Dropped if there is no worker: on_started will be called. passed_fd: -1, or a descriptor that
 * becomes the supervisor's. */
void supervisor_send(struct supervisor *supervisor, const struct worker_message *message,
                     int passed_fd);
/* It has broken the rules. */
void supervisor_kill(struct supervisor *supervisor, const char *why);
