/* SPDX-License-Identifier: Apache-2.0 */
#include "base/brake.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "e2e/storm/world.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#define OPERATIONS_SHOWN 20U
#define LINES_KEPT       2048U /* of the trace, for a violation */
#define LINE_MAX_BYTES   200U

static struct {
        uint64_t seed;
        bool is_printing;
        struct {
                bool is_operation;
                char text[LINE_MAX_BYTES];
        } * lines;
        uint64_t n_lines; /* so far; the ring keeps the last of them */
} told;

struct figures figures;

void trace_setup(uint64_t seed, bool is_printing)
{
        told.seed = seed;
        told.is_printing = is_printing;
        told.lines = told.lines ? told.lines : xcalloc(LINES_KEPT, sizeof(*told.lines));
}

__attribute__((format(printf, 2, 0))) static void tell(bool is_operation, const char *format,
                                                       va_list args)
{
        uint64_t now = clock_now();
        char *line = told.lines[told.n_lines % LINES_KEPT].text;
        int n;

        n = is_operation ? snprintf(line, LINE_MAX_BYTES, "%6" PRIu64 " %5" PRIu64 ".%03us  ",
                                    figures.n_operations, now / 1000, (unsigned)(now % 1000))
                         : snprintf(line, LINE_MAX_BYTES, "       %5" PRIu64 ".%03us      ",
                                    now / 1000, (unsigned)(now % 1000));
        vsnprintf(line + n, LINE_MAX_BYTES - (size_t)n, format, args);
        told.lines[told.n_lines++ % LINES_KEPT].is_operation = is_operation;
        if (told.is_printing)
                puts(line);
}

void trace_operation(enum tally tally, const char *format, ...)
{
        va_list args;

        ++figures.tallies[tally];
        ++figures.n_operations;
        va_start(args, format);
        tell(true, format, args);
        va_end(args);
}

void trace(const char *format, ...)
{
        va_list args;

        va_start(args, format);
        tell(false, format, args);
        va_end(args);
}

void trace_violation(const char *format, ...)
{
        uint64_t first = told.n_lines;
        unsigned n_operations = 0;
        va_list args;

        while (first && told.n_lines - first < LINES_KEPT && n_operations < OPERATIONS_SHOWN)
                n_operations += told.lines[--first % LINES_KEPT].is_operation;
        printf("the last %u operations, and what came of them:\n", n_operations);
        for (; first < told.n_lines; ++first)
                puts(told.lines[first % LINES_KEPT].text);
        va_start(args, format);
        printf("storm: seed %" PRIu64 ", operation %" PRIu64 ": VIOLATION: ", told.seed,
               figures.n_operations);
        vprintf(format, args);
        puts("");
        va_end(args);
        fflush(stdout);
        _exit(EXIT_FAILURE); /* do not report leaks of a run that failed */
}

/* ---- the driver's log goes into the trace ---- */

bool log_is_on(enum log_level level)
{
        return level < LOG_DEBUG;
}

void log_write(enum log_level level, const char *message, const struct log_field *fields)
{
        _cleanup_(text) struct text line = TEXT_NULL;

        if (!driver.is_active)
                return;
        if (host.is_log_stalled) {
                ++figures.tallies[TALLY_LINES_DROPPED];
                clock_block_loop(driver.fault == FAULT_BLOCK_ON_LOG);
                return;
        }
        for (; fields->key; ++fields)
                if (fields->string)
                        text_addf(&line, " %s=%s", fields->key, fields->string);
                else
                        text_addf(&line, " %s=%" PRId64, fields->key, fields->number);
        trace("driver: %s%s", message, line.bytes ? line.bytes : "");
}

/* Without a brake: its clock is the real one. */
void brake_log(struct brake *brake, enum log_level level, const char *message,
               const struct log_field *fields)
{
        log_write(level, message, fields);
}

/* ---- the table at the end ---- */

static const char *const names[N_TALLIES] = {
        [TALLY_POD] = "plain pods created",
        [TALLY_CLAIM] = "pods with claims created",
        [TALLY_DELETE] = "deletions",
        [TALLY_FORCE] = "forced deletions",
        [TALLY_POKE] = "pods annotated",
        [TALLY_KUBELET] = "kubelet restarts",
        [TALLY_LOST_ALLOCATE] = "kubelet dies in Allocate",
        [TALLY_KILL] = "driver killed",
        [TALLY_UPDATE] = "driver stopped in order",
        [TALLY_SHARE] = "restarts with another --share",
        [TALLY_SERVE] = "restarts with another --serve",
        [TALLY_INJECT] = "restarts with another --plugin-inject",
        [TALLY_API] = "API server outages",
        [TALLY_PODRESOURCES] = "podresources outages",
        [TALLY_CAPACITY] = "capacity changes",
        [TALLY_UNREADABLE] = "capacity unreadable",
        [TALLY_DISK] = "disk full",
        [TALLY_DAMAGE] = "records damaged",
        [TALLY_REBOOT] = "reboots",
        [TALLY_QGS] = "QGS goes away",
        [TALLY_ENFORCE] = "attestation enforced, or no more",
        [TALLY_TAINTS] = "API server drops taints, or no more",
        [TALLY_SPEC] = "CDI spec removed",
        [TALLY_FOREIGN] = "TDs of others start or end",
        [TALLY_LEAK] = "key IDs leaked",
        [TALLY_CHECKPOINT] = "kubelet's device checkpoint removed",
        [TALLY_STATE] = "state directory taken away",
        [TALLY_LOG] = "log stalled",
        [TALLY_WAIT] = "lulls",
        [TALLY_ALLOCATED] = "plain pods admitted",
        [TALLY_PREPARED] = "claims prepared",
        [TALLY_WAITED] = "  of them after a wait of a second or more",
        [TALLY_REFUSED_FULL] = "refused, all TDs held",
        [TALLY_REFUSED_DOWN] = "refused, something was down",
        [TALLY_RETURNS] = "returns of free TDs timed",
        [TALLY_REWRITTEN] = "records written again",
        [TALLY_LINES_DROPPED] = "log lines that nobody read",
};

void trace_report(void)
{
        for (int i = 0; i < N_TALLIES; ++i)
                printf("  %-44s %10" PRIu64 "\n", names[i], figures.tallies[i]);
        printf("  %-44s %10u\n", "peak of holders", figures.peak_holders);
        printf("  %-44s %10u\n", "  most above a capacity that shrank", figures.peak_over);
        printf("  %-44s %8" PRIu64 ".%" PRIu64 " s\n", "slowest return of a free TD",
               figures.slowest_return_ms / 1000, figures.slowest_return_ms / 100 % 10);
        printf("  %-44s %8" PRIu64 " min\n", "simulated time", clock_now() / 60000);
        printf("storm: seed %" PRIu64 ", %" PRIu64 " operations, %" PRIu64
               " checks: 0 violations\n",
               told.seed, figures.n_operations, figures.n_checks);
}

void trace_deinit(void)
{
        free(told.lines);
}
