/* SPDX-License-Identifier: Apache-2.0 */
#include "host/qgs_watch.h"

#include "base/memory.h"
#include "host/dirwatch.h"
#include "host/qgs_path.h"
#include "host/qgs_probe.h"

#include <string.h>

/* Changes that come together (a restart removes and makes a directory and a socket) are looked at
 * once. */
#define SETTLE_MS 100

#define DEPTH_MAX         16    /* directories above the socket that are watched */
#define ANSWER_TIMEOUT_MS 5000  /* of a PLATFORM_INFO request, */
#define ASK_PERIOD_MS     60000 /* which costs the service an enclave call */

struct qgs_watch {
        struct qgs_watch_options options;
        struct qgs_verdict verdict;
        char *socket; /* NULL before there is one */
        struct dirwatch *directories[DEPTH_MAX];
        struct qgs_probe *probe; /* under way */
        bool is_silent;          /* inside qgs_watch_set_socket() */
        uv_timer_t settling;
        uv_timer_t clock; /* for what is due next */
        unsigned n_open;  /* handles, while closing */
};

static uint64_t now(const struct qgs_watch *watch)
{
        return uv_now(watch->options.loop);
}

static bool asks(const struct qgs_watch *watch)
{
        return watch->options.probe == QGS_WATCH_PLATFORM_INFO;
}

static void tell(struct qgs_watch *watch, bool is_changed)
{
        if (is_changed && !watch->is_silent)
                watch->options.on_changed(watch->options.owner);
}

static void on_probed(void *owner, enum qgs_probe_result result, const char *failure)
{
        struct qgs_watch *watch = owner;
        bool was_known = qgs_watch_state(watch)->state != QGS_UNKNOWN, is_changed;

        watch->probe = NULL;
        is_changed = qgs_verdict_probed(&watch->verdict, result, failure, now(watch));
        tell(watch, is_changed || !was_known);
}

static void on_clock(uv_timer_t *clock);

/* Look, connect where that is due, and be back when something is due next: at the latest when
 * inotify could have missed something. */
static void look(struct qgs_watch *watch)
{
        uint64_t due_ms = now(watch) + QGS_VERDICT_PROBE_MS, probe_ms, expiry_ms;
        struct qgs_sight sight;

        for (size_t i = 0; i < DEPTH_MAX && watch->directories[i]; ++i)
                dirwatch_check(watch->directories[i]);
        qgs_look(watch->socket, &sight);
        tell(watch, qgs_verdict_see(&watch->verdict, &sight, now(watch)));
        if (!watch->probe && qgs_verdict_next_probe_ms(&watch->verdict) <= now(watch))
                watch->probe = qgs_probe_start(watch->options.loop, watch->socket, asks(watch),
                                               ANSWER_TIMEOUT_MS, on_probed, watch);
        tell(watch, qgs_verdict_expire(&watch->verdict, now(watch)));
        probe_ms = watch->probe ? UINT64_MAX : qgs_verdict_next_probe_ms(&watch->verdict);
        expiry_ms = qgs_verdict_next_expiry_ms(&watch->verdict);
        due_ms = probe_ms < due_ms ? probe_ms : due_ms;
        due_ms = expiry_ms < due_ms ? expiry_ms : due_ms;
        uv_timer_start(&watch->clock, on_clock, due_ms > now(watch) ? due_ms - now(watch) : 0, 0);
}

static void on_clock(uv_timer_t *clock)
{
        look(clock->data);
}

static void on_directory_changed(void *owner)
{
        struct qgs_watch *watch = owner;

        if (!uv_is_active((uv_handle_t *)&watch->settling))
                uv_timer_start(&watch->settling, on_clock, SETTLE_MS, 0);
}

/* One watch for each directory on the way to the socket, for the one name in it that matters. */
static void watch_directories(struct qgs_watch *watch)
{
        size_t n = 0;

        for (char *slash = watch->socket; slash && n < DEPTH_MAX; slash = strchr(slash + 1, '/')) {
                size_t n_directory = (size_t)(slash - watch->socket);
                __attribute__((cleanup(cleanup_free))) char *directory =
                        xstrndup(watch->socket, n_directory ? n_directory : 1);
                __attribute__((cleanup(cleanup_free))) char *name =
                        xstrndup(slash + 1, strcspn(slash + 1, "/"));

                watch->directories[n] = dirwatch_new_for(watch->options.loop, directory, name,
                                                         on_directory_changed, watch);
                ++n;
        }
}

static void let_go(struct qgs_watch *watch)
{
        for (size_t i = 0; i < DEPTH_MAX; ++i)
                dirwatch_free(take_ptr(watch->directories[i]));
        if (watch->probe)
                qgs_probe_cancel(take_ptr(watch->probe));
        free(take_ptr(watch->socket));
}

struct qgs_watch *qgs_watch_new(const struct qgs_watch_options *options)
{
        struct qgs_watch *watch = xcalloc(1, sizeof(*watch));

        watch->options = *options;
        uv_timer_init(options->loop, &watch->settling);
        uv_timer_init(options->loop, &watch->clock);
        watch->settling.data = watch;
        watch->clock.data = watch;
        watch->verdict.in_force.group = QGS_VERDICT_NO_GROUP;
        return watch;
}

void qgs_watch_set_socket(struct qgs_watch *watch, const char *socket)
{
        __attribute__((cleanup(cleanup_free))) char *seen =
                qgs_path_seen(watch->options.root, socket);

        /* Another spelling of the same place is another name in what a person reads. */
        if (watch->socket && strcmp(watch->socket, seen) == 0 &&
            strcmp(watch->verdict.socket, socket) == 0)
                return;
        let_go(watch);
        watch->socket = take_ptr(seen);
        qgs_verdict_init(&watch->verdict, socket,
                         asks(watch) ? ASK_PERIOD_MS : QGS_VERDICT_PROBE_MS, now(watch));
        watch_directories(watch);
        watch->is_silent = true;
        look(watch);
        watch->is_silent = false;
}

const struct qgs_verdict_state *qgs_watch_state(const struct qgs_watch *watch)
{
        static const struct qgs_verdict_state unknown = { .group = QGS_VERDICT_NO_GROUP };
        const struct qgs_verdict *verdict = &watch->verdict;

        /* Who wants an answer takes no socket for one. */
        if (asks(watch) && verdict->in_force.state == QGS_ANSWERING && !verdict->is_ever_probed)
                return &unknown;
        return &verdict->in_force;
}

uint64_t qgs_watch_age_ms(const struct qgs_watch *watch)
{
        return now(watch) - watch->verdict.since_ms;
}

static void on_closed(uv_handle_t *handle)
{
        struct qgs_watch *watch = handle->data;

        if (!--watch->n_open)
                free(watch);
}

void qgs_watch_free(struct qgs_watch *watch)
{
        if (!watch)
                return;
        let_go(watch);
        watch->n_open = 2;
        uv_close((uv_handle_t *)&watch->settling, on_closed);
        uv_close((uv_handle_t *)&watch->clock, on_closed);
}
