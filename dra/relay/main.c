/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/options.h"
#include "base/parse.h"
#include "base/text.h"
#include "relay/holder.h"
#include "relay/worker.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct settings {
        char *directory;
        char *host_root;
        unsigned worker_uid;
        unsigned n_threads;
        struct worker_limits limits;
        enum log_level log_level;
        enum log_format log_format;
};

static int parse_number(const struct option *option, const char *value, unsigned min, unsigned max,
                        unsigned *ret, struct error *err)
{
        char wanted[64];
        uint64_t n;

        (void)snprintf(wanted, sizeof(wanted), "a number from %u to %u", min, max);
        if (parse_u64(value, strlen(value), &n) < 0 || n < min || n > max)
                return option_invalid(option, value, wanted, err);
        *ret = (unsigned)n;
        return 0;
}

static int parse_uid(const struct option *option, const char *value, void *field, struct error *err)
{
        return parse_number(option, value, 1, 0x7fffffff, field, err);
}

static int parse_count(const struct option *option, const char *value, void *field,
                       struct error *err)
{
        return parse_number(option, value, 1, 1024, field, err);
}

static int parse_time(const struct option *option, const char *value, void *field,
                      struct error *err)
{
        uint64_t ms;

        if (parse_duration_ms(value, &ms) < 0 || ms < 100 || ms > 600000)
                return option_invalid(option, value, "a duration from 100ms to 10m", err);
        *(uint32_t *)field = (uint32_t)ms;
        return 0;
}

/* QEMU has given up after 30 s; until then the worker needs time to reply. */
static int parse_retry(const struct option *option, const char *value, void *field,
                       struct error *err)
{
        uint64_t ms;

        if (parse_duration_ms(value, &ms) < 0 || ms < 100 || ms > 27000)
                return option_invalid(option, value, "a duration from 100ms to 27s", err);
        *(uint32_t *)field = (uint32_t)ms;
        return 0;
}

#define field(name) offsetof(struct settings, name)

/* clang-format off */
static const struct option rows[] = {
        { .meaning = "This node" },
        { "relay-dir", "DIR", RELAY_DIRECTORY, "directory of the VMs' sockets and of relay.sock; the same path on the host and in the container", option_parse_string, field(directory) },
        { "host-root", "DIR", NULL, "prefix under which the relay sees the host's files when it runs in a container (/var/run is DIR/var/run); QGS is looked up below it", option_parse_string, field(host_root) },
        { "worker-uid", "UID", "65532", "user and group of the process that talks to VMs; no other process should have them", parse_uid, field(worker_uid) },

        { .meaning = "Limits" },
        { "qgs-threads", "N", "4", "requests at QGS at a time, all VMs together: number_threads of QGS's own configuration", parse_count, field(n_threads) },
        { "vm-requests", "N", "2", "requests of one TD at QGS at a time", parse_count, field(limits.n_requests) },
        { "vm-connections", "N", "16", "open connections of one TD; further ones wait (QEMU opens at most 16)", parse_count, field(limits.n_connections) },
        { "half-timeout", "TIME", "5s", "how long a VM may take from the first byte of a request to its last", parse_time, field(limits.half_ms) },
        { "idle-timeout", "TIME", "30s", "how long a VM's connection may stay without a request", parse_time, field(limits.idle_ms) },
        { "retry", "TIME", "25s", "how long after a VM's request the relay tries again if QGS is away; then the VM gets QGS's error reply (QEMU gives up after 30s)", parse_retry, field(limits.retry_ms) },

        { .meaning = "Operation" },
        { "log-level", "LEVEL", "info", "error, warn, info or debug (a line for each request of a VM)", option_parse_log_level, field(log_level) },
        { "log-format", "FORMAT", "text", "text or json", option_parse_log_format, field(log_format) },
};
/* clang-format on */

static const struct options options = { rows, array_size(rows) };

static void print_help(void)
{
        _cleanup_(text) struct text text = TEXT_NULL;

        text_add(&text,
                 "tdx-quote-relay stands between this host's TDX VMs and its Quote Generation "
                 "Service (QGS): each\nTD has a socket of its own that is always there, whatever "
                 "happens to QGS's. It runs as root, with\nCAP_SETGID (to connect to QGS in its "
                 "group) and CAP_SETUID (its worker, which talks to the VMs, is\nanother user and "
                 "has no rights at all). dra-driver-tdx tells it which sockets to bind.\n\n"
                 "Usage: tdx-quote-relay [run] [FLAG...]\n"
                 "       tdx-quote-relay version\n\n"
                 "A second relay in the same directory takes over from the first; no VM's connect "
                 "fails.\n\n"
                 "Each flag has an environment variable, shown in brackets; the flag wins over the "
                 "variable.\n");
        options_describe(&options, &text);
        fputs(text.bytes, stdout);
}

static char *worker_argument(const char *name, const char *value)
{
        return xasprintf("--%s=%s", name, value);
}

/* The log's settings reach the worker as they came: by its command line. */
static int run(const struct settings *settings)
{
        static const char *const levels[] = { "error", "warn", "info", "debug" };
        _cleanup_(free) char *uid = xasprintf("--worker-uid=%u", settings->worker_uid);
        _cleanup_(free) char *level = worker_argument("log-level", levels[settings->log_level]);
        _cleanup_(free) char *format =
                worker_argument("log-format", settings->log_format == LOG_JSON ? "json" : "text");
        char name[] = "tdx-quote-relay", command[] = "worker";
        char *arguments[] = { name, command, uid, level, format, NULL };
        const struct holder_options holder = { .directory = settings->directory,
                                               .root = settings->host_root,
                                               .worker_uid = settings->worker_uid,
                                               .n_threads = settings->n_threads,
                                               .limits = settings->limits,
                                               .worker_arguments = arguments };
        struct error error = ERROR_NULL;

        log_info("starting", log_str("version", DRA_VERSION),
                 log_str("relay", settings->directory));
        if (holder_run(&holder, &error) < 0) {
                log_error("cannot run", log_str("reason", error.text));
                return 1;
        }
        return 0;
}

static int read_settings(int argc, char **argv, struct settings *ret, struct error *err)
{
        int r = options_set_from_environment(&options, ret, err);

        if (!r)
                r = options_set_from_arguments(&options, argc, argv, ret, err);
        if (!ret->host_root)
                ret->host_root = xstrdup("");
        if (!r && ret->directory[0] != '/')
                r = error_set(err, -EINVAL, "--relay-dir: %s is not an absolute path",
                              ret->directory);
        /* A request that came in the last moment of --retry is answered before QEMU gives up. */
        ret->limits.answer_ms = ret->limits.retry_ms + 3000;
        return r;
}

static void free_settings(struct settings *settings)
{
        free(settings->directory);
        free(settings->host_root);
}

int main(int argc, char **argv)
{
        struct settings settings = { .limits = WORKER_LIMITS_DEFAULT };
        bool has_command = argc > 1 && argv[1][0] != '-';
        const char *command = has_command ? argv[1] : "run";
        struct error error = ERROR_NULL;
        int n_skipped = has_command ? 2 : 1, status = 2;
        int r;

        if (strcmp(command, "version") == 0 || (argc > 1 && strcmp(argv[1], "--version") == 0)) {
                puts("tdx-quote-relay " DRA_VERSION);
                return 0;
        }
        r = read_settings(argc - n_skipped, argv + n_skipped, &settings, &error);
        log_setup(settings.log_level, settings.log_format);
        if (r < 0) {
                fprintf(stderr, "tdx-quote-relay: %s\n", error.text);
        } else if (r == OPTIONS_HELP || strcmp(command, "help") == 0) {
                print_help();
                status = 0;
        } else if (strcmp(command, "run") == 0) {
                status = run(&settings);
        } else if (strcmp(command, "worker") == 0) {
                worker_run(settings.worker_uid, settings.worker_uid);
        } else {
                fprintf(stderr,
                        "tdx-quote-relay: there is no command \"%s\"; see tdx-quote-relay "
                        "--help\n",
                        command);
        }
        free_settings(&settings);
        return status;
}
