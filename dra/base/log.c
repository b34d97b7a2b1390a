/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include "base/memory.h"
#include "base/text.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define VALUE_MAX    1024     /* bytes of one value that are logged */
#define LOG_LINE_MAX PIPE_BUF /* bytes of one line: a pipe that is writable takes so many whole */
/* What a value that is cut must leave of its line: ..."}, a line end, and the longest character. */
#define LINE_SPARE 16

/* What log_write() adds to a line besides the value: the longest key, quotes and a number. */
#define FIELD_SPARE 96

static const char *const level_names[] = {
        [LOG_ERROR] = "ERROR", [LOG_WARN] = "WARN", [LOG_INFO] = "INFO", [LOG_DEBUG] = "DEBUG"
};

static enum log_level log_level = LOG_INFO;
static enum log_format log_format = LOG_TEXT;

/* gRPC's threads log, too. Held only for calls that return at once. */
static pthread_mutex_t writing = PTHREAD_MUTEX_INITIALIZER;
static uint64_t n_unreported; /* lines dropped since the last line was written; by `writing` */
static atomic_uint_fast64_t n_dropped;

void log_setup(enum log_level level, enum log_format format)
{
        log_level = level;
        log_format = format;
}

bool log_is_on(enum log_level level)
{
        return level <= log_level;
}

uint64_t log_n_dropped(void)
{
        return atomic_load(&n_dropped);
}

/* ---- one line ---- */

/* Append one character of a JSON string; n bytes follow. Returns how many bytes it took. Bytes that
 * are not valid UTF-8 become '?'. */
static size_t add_character(struct text *line, const char *string, size_t n)
{
        unsigned char c = (unsigned char)string[0];
        size_t plain = text_utf8_prefix(string, n < 4 ? n : 4), length = 1;

        if (c < 0x20 || c == 0x7f) {
                text_addf(line, "\\u%04x", c);
        } else if (c == '"' || c == '\\') {
                text_addf(line, "\\%c", c);
        } else if (!plain) {
                text_add(line, "?");
        } else {
                /* A character's continuation bytes follow its first byte. */
                while (length < plain && ((unsigned char)string[length] & 0xc0) == 0x80)
                        ++length;
                text_add_bytes(line, string, length);
        }
        return length;
}

/* A JSON string, which the text format uses as well; cut if it, or the line, grows too long. */
static void add_quoted(struct text *line, const char *string)
{
        size_t n = strnlen(string, VALUE_MAX), i = 0;

        text_add(line, "\"");
        while (i < n && line->n < LOG_LINE_MAX - LINE_SPARE)
                i += add_character(line, string + i, n - i);
        text_add(line, string[i] ? "...\"" : "\"");
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

/* Whether there is room for another field; its value may still have to be cut. The fields that
 * follow a value without end are left out. */
static bool has_room(const struct text *line)
{
        return line->n < LOG_LINE_MAX - LINE_SPARE - FIELD_SPARE;
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
        for (; fields->key && has_room(line); ++fields) {
                text_addf(line, " %s=", fields->key);
                if (!fields->string)
                        text_addf(line, "%lld", (long long)fields->number);
                else if (needs_quotes(fields->string) ||
                         line->n + strlen(fields->string) > LOG_LINE_MAX - LINE_SPARE)
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
        for (; fields->key && has_room(line); ++fields) {
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

static void compose(struct text *line, enum log_level level, const char *message,
                    const struct log_field *fields)
{
        if (log_format == LOG_JSON)
                add_as_json(line, level, message, fields);
        else
                add_as_text(line, level, message, fields);
}

/* ---- writing ---- */

/* Write the line without waiting, in one piece, so that lines of two processes do not mix. A socket
 * can be asked not to wait. Nothing else can, because O_NONBLOCK would belong to every process that
 * shares this standard error: so ask first. A pipe that is writable has a free page, which takes
 * a line of PIPE_BUF; a terminal that is stopped is not writable; files always are. */
static bool write_now(const struct text *line)
{
        struct pollfd writable = { .fd = STDERR_FILENO, .events = POLLOUT };
        ssize_t n = send(STDERR_FILENO, line->bytes, line->n, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n < 0 && errno == ENOTSOCK && poll(&writable, 1, 0) == 1 &&
            (writable.revents & POLLOUT))
                n = write(STDERR_FILENO, line->bytes, line->n);
        return n > 0;
}

/* If lines were dropped, say so before the next one. */
static bool report_dropped(void)
{
        _cleanup_(text) struct text line = TEXT_NULL;

        if (!n_unreported)
                return true;
        compose(&line, LOG_WARN, "log lines were dropped, because the log could not be written",
                log_fields(log_int("lines", (int64_t)n_unreported)));
        if (!write_now(&line))
                return false;
        n_unreported = 0;
        return true;
}

void log_write(enum log_level level, const char *message, const struct log_field *fields)
{
        _cleanup_(text) struct text line = TEXT_NULL;

        if (!log_is_on(level))
                return;
        compose(&line, level, message, fields);
        pthread_mutex_lock(&writing);
        if (!report_dropped() || !write_now(&line)) {
                ++n_unreported;
                atomic_fetch_add(&n_dropped, 1);
        }
        pthread_mutex_unlock(&writing);
}
