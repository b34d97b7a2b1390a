/* SPDX-License-Identifier: Apache-2.0 */
#include "signals.h"

#include "base/memory.h"

#include <signal.h>

enum meaning { STOP, LOOK };

static const struct {
        int number;
        enum meaning meaning;
} handled[] = { { SIGTERM, STOP }, { SIGINT, STOP }, { SIGQUIT, STOP }, { SIGHUP, LOOK } };

static const int ignored[] = { SIGPIPE, SIGUSR1, SIGUSR2, SIGALRM };

struct signals {
        struct signals_options options;
        uv_signal_t handles[array_size(handled)];
        unsigned n_open;
};

void signals_ignore(void)
{
        const struct sigaction ignore = { .sa_handler = SIG_IGN };

        for (size_t i = 0; i < array_size(ignored); ++i)
                sigaction(ignored[i], &ignore, NULL);
}

static void on_signal(uv_signal_t *handle, int number)
{
        struct signals *signals = handle->data;

        if (handled[handle - signals->handles].meaning == STOP)
                signals->options.on_stop(signals->options.owner, number);
        else
                signals->options.on_look(signals->options.owner);
}

struct signals *signals_new(const struct signals_options *options)
{
        struct signals *signals = xcalloc(1, sizeof(*signals));

        signals->options = *options;
        for (size_t i = 0; i < array_size(handled); ++i) {
                uv_signal_init(options->loop, &signals->handles[i]);
                signals->handles[i].data = signals;
                uv_signal_start(&signals->handles[i], on_signal, handled[i].number);
                ++signals->n_open;
        }
        return signals;
}

static void on_closed(uv_handle_t *handle)
{
        struct signals *signals = handle->data;

        if (--signals->n_open == 0)
                free(signals);
}

void signals_free(struct signals *signals)
{
        if (!signals)
                return;
        for (size_t i = 0; i < array_size(handled); ++i)
                uv_close((uv_handle_t *)&signals->handles[i], on_closed);
}
