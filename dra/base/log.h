/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One line per decision: a message and key=value fields, on standard error.
 *
 *         log_info("claim prepared", log_str("claim", name), log_int("devices", n));
 *
 * ERROR: a person must act. WARN: we went on, and the line says what was ignored. INFO: a state
 * changed. DEBUG: free. Values are quoted and bounded, so that a foreign string can neither break a
 * line nor flood it; a line has at most PIPE_BUF bytes. Tokens and quote contents are never logged.
 * Libraries return errors; the daemon and its event handlers log, on any thread.
 *
 * Logging never waits: a line that the log does not take at once (its reader stalls, the disk is
 * full) is dropped and counted, and the next line that is written says how many were.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };
enum log_format { LOG_TEXT, LOG_JSON };

struct log_field {
        const char *key;    /* NULL ends a list of fields */
        const char *string; /* NULL: the field is a number */
        int64_t number;
};

/* Call it before the first thread starts. The defaults are LOG_INFO and LOG_TEXT. */
void log_setup(enum log_level level, enum log_format format);
bool log_is_on(enum log_level level);

/* Lines dropped since the process started. */
uint64_t log_n_dropped(void);

void log_write(enum log_level level, const char *message, const struct log_field *fields);

static inline struct log_field log_str(const char *key, const char *value)
{
        return (struct log_field){ .key = key, .string = value ? value : "" };
}

static inline struct log_field log_int(const char *key, int64_t value)
{
        return (struct log_field){ .key = key, .number = value };
}

/* clang-format off */
/* Unused fields are zero, and the first one ends the list. */
#define LOG_FIELDS_MAX 15
#define log_fields(...) ((const struct log_field[LOG_FIELDS_MAX + 1]){ __VA_ARGS__ })
#define log_error(message, ...) log_write(LOG_ERROR, (message), log_fields(__VA_ARGS__))
#define log_warn(message, ...)  log_write(LOG_WARN, (message), log_fields(__VA_ARGS__))
#define log_info(message, ...)  log_write(LOG_INFO, (message), log_fields(__VA_ARGS__))
#define log_debug(message, ...) (log_is_on(LOG_DEBUG) ? log_write(LOG_DEBUG, (message), log_fields(__VA_ARGS__)) : (void)0)
/* clang-format on */
