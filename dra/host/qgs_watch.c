/* SPDX-License-Identifier: Apache-2.0 */
#include "host/qgs_watch.h"

#include "base/memory.h"
#include "base/timer.h"
#include "host/dirwatch.h"
#include "host/qgs_look.h"
#include "host/qgs_path.h"
#include "host/qgs_probe.h"

#include <errno.h>
#include <string.h>

/* Changes within this time (a restart removes and makes a directory and a socket) cause one look.
 */
#define SETTLE_MS 100

#define DEPTH_MAX 16 /* directories above the socket that are watched */

struct qgs_watch {
        struct qgs_watch_options options;
        struct qgs_verdict verdict;
        /* On the host and in the VM's container. NULL: there is nothing to look at, because none
         * is set, or the relay connects to it. */
        char *socket, *vm_socket;
        struct dirwatch *directories[DEPTH_MAX];
        /* The socket's real path, if links lead elsewhere. */
        char *real;
        struct dirwatch *real_directory;

        struct qgs_probe *probe; /* under way */
        unsigned probed_socket;  /* verdict.n_sockets at its start; 0: it asks at another path */
        bool is_silent;          /* inside qgs_watch_set_socket() */
        struct timer *settling;
        struct timer *clock; /* for the next thing due */
};

static uint64_t now(const struct qgs_watch *watch)
{
        return uv_now(watch->options.loop);
}

static void tell(struct qgs_watch *watch, bool is_changed)
{
        if (is_changed && !watch->is_silent)
                watch->options.on_changed(watch->options.owner);
}

/* Wake up when something is due next, and after a period anyway: inotify may have missed a change.
 */
static void set_clock(struct qgs_watch *watch)
{
        bool is_looking = watch->socket;
        uint64_t due_ms = is_looking ? now(watch) + QGS_VERDICT_PERIOD_MS : UINT64_MAX;
        uint64_t probe_ms = is_looking && !watch->probe ? qgs_verdict_next_probe_ms(&watch->verdict)
                                                        : UINT64_MAX;
        uint64_t expiry_ms = qgs_verdict_next_expiry_ms(&watch->verdict);

        due_ms = probe_ms < due_ms ? probe_ms : due_ms;
        due_ms = expiry_ms < due_ms ? expiry_ms : due_ms;
        if (due_ms == UINT64_MAX)
                timer_stop(watch->clock);
        else
                timer_start(watch->clock, due_ms > now(watch) ? due_ms - now(watch) : 0);
}

static void on_told(void *owner, enum qgs_probe_result result, const char *failure, bool is_over)
{
        struct qgs_watch *watch = owner;
        bool is_outdated = watch->probed_socket != watch->verdict.n_sockets;

        if (is_over)
                watch->probe = NULL;
        /* The silence of an earlier socket says nothing about this one; only the end of its
         * connection counts. */
        if (is_outdated && !is_over)
                return;
        if (watch->socket)
                tell(watch,
                     qgs_verdict_probed(&watch->verdict, is_outdated ? QGS_PROBE_NONE : result,
                                        failure, now(watch)));
        set_clock(watch);
}

static void on_directory_changed(void *owner);

static void watch_real_directory(struct qgs_watch *watch, const char *real)
{
        char *slash;

        if (watch->real && strcmp(watch->real, real) == 0) {
                dirwatch_check(watch->real_directory);
                return;
        }
        dirwatch_free(take_ptr(watch->real_directory));
        free(watch->real);
        watch->real = xstrdup(real);
        slash = strrchr(watch->real, '/');
        *slash = '\0';
        watch->real_directory = dirwatch_new_for(watch->options.loop, watch->real, slash + 1,
                                                 on_directory_changed, watch);
        *slash = '/';
}

/* Look at the socket, and send a request if one is due. */
static void look(struct qgs_watch *watch)
{
        const struct qgs_place place = { .root = watch->options.root,
                                         .socket = watch->socket + strlen(watch->options.root),
                                         .vm_socket = watch->vm_socket };
        _cleanup_(free) char *real = NULL;
        struct qgs_sight sight;

        for (size_t i = 0; i < DEPTH_MAX && watch->directories[i]; ++i)
                dirwatch_check(watch->directories[i]);
        real = qgs_look(&place, &sight);
        if (real && strcmp(real, watch->socket) != 0)
                watch_real_directory(watch, real);
        tell(watch, qgs_verdict_see(&watch->verdict, &sight, now(watch)));
        if (!watch->probe && qgs_verdict_next_probe_ms(&watch->verdict) <= now(watch)) {
                watch->probed_socket = watch->verdict.n_sockets;
                watch->probe = qgs_probe_start(watch->options.loop, real,
                                               qgs_verdict_group(&watch->verdict), on_told, watch);
        }
        tell(watch, qgs_verdict_expire(&watch->verdict, now(watch)));
        set_clock(watch);
}

static void on_clock(void *owner)
{
        struct qgs_watch *watch = owner;

        if (watch->socket)
                look(watch);
        else
                tell(watch, qgs_verdict_expire(&watch->verdict, now(watch)));
}

static void on_directory_changed(void *owner)
{
        struct qgs_watch *watch = owner;

        if (!timer_is_running(watch->settling))
                timer_start(watch->settling, SETTLE_MS);
}

/* One watch for each directory on the way to the socket, for the one name in it that matters. */
static void watch_directories(struct qgs_watch *watch)
{
        size_t n = 0;

        for (char *slash = watch->socket; slash && n < DEPTH_MAX; slash = strchr(slash + 1, '/')) {
                size_t n_directory = (size_t)(slash - watch->socket);
                _cleanup_(free) char *directory =
                        xstrndup(watch->socket, n_directory ? n_directory : 1);
                _cleanup_(free) char *name = xstrndup(slash + 1, strcspn(slash + 1, "/"));

                watch->directories[n] = dirwatch_new_for(watch->options.loop, directory, name,
                                                         on_directory_changed, watch);
                ++n;
        }
}

static void let_go(struct qgs_watch *watch)
{
        for (size_t i = 0; i < DEPTH_MAX; ++i)
                dirwatch_free(take_ptr(watch->directories[i]));
        dirwatch_free(take_ptr(watch->real_directory));
        free(take_ptr(watch->real));
        free(take_ptr(watch->socket));
        free(take_ptr(watch->vm_socket));
}

struct qgs_watch *qgs_watch_new(const struct qgs_watch_options *options)
{
        struct qgs_watch *watch = xcalloc(1, sizeof(*watch));

        watch->options = *options;
        watch->settling = timer_new(options->loop, on_clock, watch);
        watch->clock = timer_new(options->loop, on_clock, watch);
        watch->verdict.in_force.group = QGS_VERDICT_NO_GROUP;
        return watch;
}

void qgs_watch_set_socket(struct qgs_watch *watch, const char *socket, const char *vm_socket)
{
        _cleanup_(free) char *seen = qgs_path_seen(watch->options.root, socket);

        /* Another spelling of the same place counts as a change: it is the name in messages. */
        if (watch->socket && strcmp(watch->socket, seen) == 0 &&
            strcmp(watch->verdict.socket, socket) == 0 && strcmp(watch->vm_socket, vm_socket) == 0)
                return;
        let_go(watch);
        watch->socket = take_ptr(seen);
        watch->vm_socket = xstrdup(vm_socket);
        qgs_verdict_init(&watch->verdict, socket, now(watch));
        watch->probed_socket = 0;
        watch_directories(watch);
        watch->is_silent = true;
        look(watch);
        watch->is_silent = false;
}

void qgs_watch_set_relayed_socket(struct qgs_watch *watch, const char *socket)
{
        if (watch->verdict.is_relayed && strcmp(watch->verdict.socket, socket) == 0)
                return;
        let_go(watch);
        timer_stop(watch->settling);
        timer_stop(watch->clock);
        qgs_verdict_init(&watch->verdict, socket, now(watch));
        watch->verdict.is_relayed = true;
        watch->probed_socket = 0;
}

void qgs_watch_hear(struct qgs_watch *watch, bool is_absent, enum qgs_probe_result result,
                    const char *failure)
{
        const struct qgs_sight sight = { .code = is_absent ? -ENOENT : 0 };

        tell(watch, qgs_verdict_see(&watch->verdict, &sight, now(watch)));
        if (!is_absent)
                tell(watch, qgs_verdict_probed(&watch->verdict, result, failure, now(watch)));
        set_clock(watch);
}

const struct qgs_verdict_state *qgs_watch_state(const struct qgs_watch *watch)
{
        return &watch->verdict.in_force;
}

void qgs_watch_free(struct qgs_watch *watch)
{
        if (!watch)
                return;
        qgs_probe_abandon(watch->probe);
        let_go(watch);
        timer_free(watch->settling);
        timer_free(watch->clock);
        free(watch);
}
