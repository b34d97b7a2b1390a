/* SPDX-License-Identifier: Apache-2.0 */
#include "quotes.h"

#include "base/brake.h"
#include "base/json.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/timer.h"
#include "config.h"
#include "tenant.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define HOUR_MS 3600000

/* journald's native protocol (systemd, JOURNAL_NATIVE_PROTOCOL): a field a line, a datagram an
 * entry. */
#define JOURNAL_SOCKET "/var/run/systemd/journal/socket"
#define JOURNAL_FIELDS "PRIORITY=6\nSYSLOG_IDENTIFIER=tdx-quotes\nMESSAGE="

struct quotes {
        struct quotes_options options;
        struct relay_counts counts;
        struct relay_counts told; /* when the hourly line was logged last */
        uint64_t n_lost;          /* by the relay */
        uint64_t n_unwritten;
        struct timer *hourly;
};

/* ---- a line ---- */

static void add_time(struct json *line, int64_t time_ms)
{
        time_t seconds = (time_t)(time_ms / 1000);
        char date[sizeof("2026-11-30T12:00:00")] = "", text[64];
        struct tm utc;

        if (gmtime_r(&seconds, &utc))
                (void)strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &utc);
        (void)snprintf(text, sizeof(text), "%s.%03dZ", date, (int)(time_ms % 1000));
        json_add_string(line, "time", text);
}

static void add_if_known(struct json *line, const char *key, const char *value)
{
        if (value)
                json_add_string(line, key, value);
}

static void add_digest(struct json *line, const struct relay_quote *quote)
{
        char digest[2 * RELAY_DIGEST_SIZE + 1];

        if (!quote->has_digest)
                return;
        for (size_t i = 0; i < RELAY_DIGEST_SIZE; ++i)
                (void)snprintf(digest + 2 * i, 3, "%02x", quote->digest[i]);
        json_add_string(line, "reportDataSha256", digest);
}

char *quotes_print(const struct relay_quote *quote, const char *node, const struct tenant *holder)
{
        _cleanup_(json) struct json *line = json_new_object();
        _cleanup_(free) char *text = NULL;
        char device[sizeof("tdx4294967295")];

        (void)snprintf(device, sizeof(device), "tdx%u", quote->td.device);
        add_time(line, quote->time_ms);
        json_add_string(line, "node", node);
        json_add_string(line, "device", device);
        json_add_string(line, "path", relay_path_name((enum relay_path)quote->td.path));
        add_if_known(line, "namespace", holder->namespace_);
        add_if_known(line, "claim", holder->claim);
        add_if_known(line, "podUid", holder->pod_uid);
        json_add_string(line, "outcome", relay_outcome_name(quote->outcome));
        if (quote->outcome == RELAY_QGS_ERROR)
                json_add_int(line, "error", quote->error);
        if (quote->outcome == RELAY_GAVE_UP)
                json_add_string(line, "cause", strerror(-quote->cause));
        json_add_int(line, "ms", (int64_t)(quote->us / 1000));
        add_digest(line, quote);
        text = json_print(line);
        return xasprintf("%s\n", text);
}

/* ---- where it goes ---- */

/* Opened for each line: whoever rotates the file just renames it. 0 or -errno. */
static int append(const char *path, const char *line)
{
        _cleanup_(close) int fd =
                open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0600);
        ssize_t n;

        if (fd < 0)
                return -errno;
        n = write(fd, line, strlen(line));
        if (n < 0)
                return -errno;
        return n == (ssize_t)strlen(line) ? 0 : -ENOSPC;
}

/* 0 or -errno. A journal that does not keep up costs the line, and never makes the driver wait. */
static int send_to_journal(const char *host_root, const char *line)
{
        _cleanup_(free) char *entry = xasprintf(JOURNAL_FIELDS "%s", line);
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        _cleanup_(close) int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        if (fd < 0)
                return -errno;
        if (snprintf(address.sun_path, sizeof(address.sun_path), "%s" JOURNAL_SOCKET,
                     host_root ? host_root : "") >= (int)sizeof(address.sun_path))
                return -ENAMETOOLONG;
        return sendto(fd, entry, strlen(entry), MSG_NOSIGNAL, (struct sockaddr *)&address,
                      sizeof(address)) < 0
                       ? -errno
                       : 0;
}

static void record(struct quotes *quotes, const struct relay_quote *quote,
                   const struct tenant *holder)
{
        const struct config *config = quotes->options.config;
        _cleanup_(free) char *line = NULL;
        int r;

        if (!config->quote_log)
                return;
        line = quotes_print(quote, config->node_name, holder);
        r = strcmp(config->quote_log, "journal") == 0 ? send_to_journal(config->host_root, line)
                                                      : append(config->quote_log, line);
        if (r == 0)
                return;
        ++quotes->n_unwritten;
        log_warn_braked("a line is missing in the quote log",
                        log_str("quote-log", config->quote_log), log_str("reason", strerror(-r)));
}

/* ---- what the relay reports ---- */

static void take_quote(struct quotes *quotes, const struct relay_quote *quote)
{
        struct tenant holder = { 0 };
        char td[RELAY_TD_NAME_SIZE];

        ++quotes->counts.n[quote->outcome];
        if (quote->outcome == RELAY_DELIVERED)
                quotes->counts.delivered_ms = quote->time_ms;
        if (!quotes->options.find_holder(quotes->options.owner, &quote->td, &holder))
                return;
        relay_td_print(&quote->td, td);
        log_debug("a VM asked for a quote", log_str("td", td),
                  log_str("outcome", relay_outcome_name(quote->outcome)),
                  log_int("us", (int64_t)quote->us), log_str("namespace", holder.namespace_),
                  log_str("claim", holder.claim), log_str("pod", holder.pod_uid));
        record(quotes, quote, &holder);
}

void quotes_take(struct quotes *quotes, const struct relay_message *message)
{
        if (message->kind == RELAY_QUOTE) {
                take_quote(quotes, &message->quote);
        } else if (message->kind == RELAY_SNAPSHOT && message->snapshot.is_of_node) {
                /* It counts the quotes whose lines came before it, too. */
                quotes->counts = message->snapshot.counts;
                quotes->n_lost = message->snapshot.n_lost;
        }
}

static uint64_t count(const struct relay_counts *counts)
{
        uint64_t n = 0;

        for (size_t i = 0; i < RELAY_N_OUTCOMES; ++i)
                n += counts->n[i];
        return n;
}

static void on_hour(void *owner)
{
        struct quotes *quotes = owner;
        struct relay_counts since = quotes->counts;

        /* Fewer than before: another relay counts from zero. */
        for (size_t i = 0; i < RELAY_N_OUTCOMES; ++i)
                if (quotes->told.n[i] <= since.n[i])
                        since.n[i] -= quotes->told.n[i];
        quotes->told = quotes->counts;
        if (count(&since))
                log_info("VMs' requests for quotes in the last hour",
                         log_int("delivered", (int64_t)since.n[RELAY_DELIVERED]),
                         log_int("others", (int64_t)(count(&since) - since.n[RELAY_DELIVERED])));
}

const struct relay_counts *quotes_counts(const struct quotes *quotes)
{
        return &quotes->counts;
}

uint64_t quotes_n_unlogged(const struct quotes *quotes)
{
        return quotes->n_unwritten + quotes->n_lost;
}

struct quotes *quotes_new(const struct quotes_options *options)
{
        struct quotes *quotes = xcalloc(1, sizeof(*quotes));

        quotes->options = *options;
        quotes->hourly = timer_new(options->loop, on_hour, quotes);
        timer_start_repeating(quotes->hourly, HOUR_MS, HOUR_MS);
        return quotes;
}

void quotes_free(struct quotes *quotes)
{
        if (!quotes)
                return;
        timer_free(quotes->hourly);
        free(quotes);
}
