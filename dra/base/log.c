/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include "base/memory.h"
#include "base/text.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define VALUE_MAX 1024 /* bytes of one value that are logged */

static const char *const level_names[] = {
        [LOG_ERROR] = "ERROR", [LOG_WARN] = "WARN", [LOG_INFO] = "INFO", [LOG_DEBUG] = "DEBUG"
};

static enum log_level log_level = LOG_INFO;
static enum log_format log_format = LOG_TEXT;

void log_setup(enum log_level level, enum log_format format)
{
        log_level = level;
        log_format = format;
}

bool log_is_on(enum log_level level)
{
        return level <= log_level;
}

/* A JSON string, which the text format uses as well. Bytes that are not valid UTF-8 become '?'. */
static void add_quoted(struct text *line, const char *string)
{
        size_t n = strnlen(string, VALUE_MAX);

        text_add(line, "\"");
        for (size_t i = 0; i < n;) {
                unsigned char c = (unsigned char)string[i];
                size_t plain = text_utf8_prefix(string + i, n - i);

                if (c < 0x20 || c == 0x7f) {
                        text_addf(line, "\\u%04x", c);
                        ++i;
                } else if (c == '"' || c == '\\') {
                        text_addf(line, "\\%c", c);
                        ++i;
                } else if (!plain) {
                        text_add(line, "?");
                        ++i;
                } else {
                        /* One character: its continuation bytes follow its first byte. */
                        size_t length = 1;

                        while (length < plain && ((unsigned char)string[i + length] & 0xc0) == 0x80)
                                ++length;
                        text_add_bytes(line, string + i, length);
                        i += length;
                }
        }
        text_add(line, string[n] ? "...\"" : "\"");
}

static bool needs_quotes(const char *string)
{
        if (!*string)
                return true;
        for (const char *p = string; *p; ++p)
                if (*p <= ' ' || *p > '~' || *p == '"' || *p == '\\' || *p == '=' ||
                    p - string > VALUE_MAX)
                        return true;
        return false;
}

static void add_time(struct text *line)
{
        struct timespec now;
        struct tm utc;

        clock_gettime(CLOCK_REALTIME, &now);
        gmtime_r(&now.tv_sec, &utc);
        text_addf(line, "%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ", utc.tm_year + 1900, utc.tm_mon + 1,
                  utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec, now.tv_nsec / 1000000);
}

static void add_as_text(struct text *line, enum log_level level, const char *message,
                        const struct log_field *fields)
{
        add_time(line);
        text_addf(line, " %-5s %s", level_names[level], message);
        for (; fields->key; ++fields) {
                text_addf(line, " %s=", fields->key);
                if (!fields->string)
                        text_addf(line, "%lld", (long long)fields->number);
                else if (needs_quotes(fields->string))
                        add_quoted(line, fields->string);
                else
                        text_add(line, fields->string);
        }
        text_add(line, "\n");
}

static void add_as_json(struct text *line, enum log_level level, const char *message,
                        const struct log_field *fields)
{
        text_add(line, "{\"time\":\"");
        add_time(line);
        text_addf(line, "\",\"level\":\"%s\",\"message\":", level_names[level]);
        add_quoted(line, message);
        for (; fields->key; ++fields) {
                text_add(line, ",");
                add_quoted(line, fields->key);
                text_add(line, ":");
                if (fields->string)
                        add_quoted(line, fields->string);
                else
                        text_addf(line, "%lld", (long long)fields->number);
        }
        text_add(line, "}\n");
}

void log_write(enum log_level level, const char *message, const struct log_field *fields)
{
        _cleanup_(text) struct text line = TEXT_NULL;

        if (!log_is_on(level))
                return;
        if (log_format == LOG_JSON)
                add_as_json(&line, level, message, fields);
        else
                add_as_text(&line, level, message, fields);
        /* One write per line, so that lines of two processes on one terminal do not mix. If the log
         * cannot be written, carry on without it. */
        if (write(STDERR_FILENO, line.bytes, line.n) < 0)
                return;
}
