/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "unit/suite.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

/* Check forks each test, so a test may give the process another standard error. */
static void log_to(int fd)
{
        ck_assert_int_eq(dup2(fd, STDERR_FILENO), STDERR_FILENO);
        close(fd);
}

/* Everything that can be read without waiting. */
static char *read_all(int fd)
{
        struct text text = TEXT_NULL;
        char bytes[4096];
        ssize_t n;

        ck_assert_int_eq(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
        while ((n = read(fd, bytes, sizeof(bytes))) > 0)
                text_add_bytes(&text, bytes, (size_t)n);
        return text_take(&text);
}

static void fill(int fd)
{
        char bytes[4096] = { 0 };
        int flags = fcntl(fd, F_GETFL);

        ck_assert_int_eq(fcntl(fd, F_SETFL, flags | O_NONBLOCK), 0);
        while (write(fd, bytes, sizeof(bytes)) > 0)
                ;
        while (write(fd, bytes, 1) > 0)
                ;
        ck_assert_int_eq(errno, EAGAIN);
        ck_assert_int_eq(fcntl(fd, F_SETFL, flags), 0);
}

/* The read end of a pipe of two pages; standard error is its other end. The kernel calls a pipe
 * writable if it has an empty page. */
static int log_to_pipe(void)
{
        int fds[2];

        ck_assert_int_eq(pipe(fds), 0);
        ck_assert_int_eq(fcntl(fds[1], F_SETPIPE_SZ, 8192), 8192);
        log_to(fds[1]);
        return fds[0];
}

/* ---- a reader that stalls ---- */

START_TEST(a_stalled_reader_of_a_pipe_costs_lines_and_no_time)
{
        int reader = log_to_pipe();
        _cleanup_(free) char *filling = NULL, *after = NULL;

        fill(STDERR_FILENO);
        for (int i = 0; i < 3; ++i)
                log_warn("lost");
        ck_assert_uint_eq(log_n_dropped(), 3);
        filling = read_all(reader);
        log_info("reading again");
        log_info("and on");

        after = read_all(reader);
        ck_assert_ptr_null(strstr(after, "lost"));
        ck_assert_ptr_nonnull(strstr(after, " lines=3\n"));
        ck_assert_ptr_nonnull(strstr(after, "reading again\n"));
        ck_assert(strstr(after, "lines=3") < strstr(after, "reading again"));
        ck_assert_ptr_nonnull(strstr(after, "and on\n"));
        ck_assert_ptr_null(strstr(strstr(after, "lines=3") + 1, "lines="));
        ck_assert_uint_eq(log_n_dropped(), 3);
}
END_TEST

START_TEST(a_stalled_reader_of_a_socket_costs_lines_and_no_time)
{
        int fds[2];
        _cleanup_(free) char *filling = NULL, *after = NULL;

        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
        log_to(fds[1]);
        fill(STDERR_FILENO);
        log_warn("lost");
        ck_assert_uint_eq(log_n_dropped(), 1);
        filling = read_all(fds[0]);
        log_info("reading again");

        after = read_all(fds[0]);
        ck_assert_ptr_nonnull(strstr(after, " lines=1\n"));
        ck_assert_ptr_nonnull(strstr(after, "reading again\n"));
}
END_TEST

START_TEST(a_terminal_that_is_stopped_costs_lines_and_no_time)
{
        int terminal = posix_openpt(O_RDWR | O_NOCTTY), user;

        if (terminal < 0 && errno == ENOENT) /* no devpts here */
                return;
        ck_assert_int_ge(terminal, 0);
        ck_assert_int_eq(grantpt(terminal), 0);
        ck_assert_int_eq(unlockpt(terminal), 0);
        user = open(ptsname(terminal), O_RDWR | O_NOCTTY);
        ck_assert_int_ge(user, 0);
        log_to(user);
        log_info("running");
        ck_assert_uint_eq(log_n_dropped(), 0);

        ck_assert_int_eq(tcflow(STDERR_FILENO, TCOOFF), 0);
        log_info("lost");
        ck_assert_uint_eq(log_n_dropped(), 1);
}
END_TEST

/* ---- a log that cannot be written ---- */

START_TEST(a_reader_that_has_gone_costs_only_the_lines)
{
        int fds[2];

        ck_assert_ptr_ne(signal(SIGPIPE, SIG_IGN), SIG_ERR);
        close(log_to_pipe());
        log_info("to a pipe");
        ck_assert_uint_eq(log_n_dropped(), 1);

        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
        log_to(fds[1]);
        close(fds[0]);
        log_info("to a socket");
        ck_assert_uint_eq(log_n_dropped(), 2);
}
END_TEST

START_TEST(a_full_disk_and_a_closed_log_cost_only_the_lines)
{
        int full = open("/dev/full", O_WRONLY | O_CLOEXEC);

        ck_assert_int_ge(full, 0);
        log_to(full);
        log_info("to a full disk");
        ck_assert_uint_eq(log_n_dropped(), 1);

        close(STDERR_FILENO);
        log_info("nowhere");
        ck_assert_uint_eq(log_n_dropped(), 2);
}
END_TEST

START_TEST(files_and_dev_null_take_every_line)
{
        char name[] = "/tmp/test-log.XXXXXX";
        int file = mkstemp(name), null = open("/dev/null", O_WRONLY | O_CLOEXEC);
        struct stat status;

        ck_assert_int_ge(file, 0);
        ck_assert_int_ge(null, 0);
        unlink(name);
        log_to(file);
        for (int i = 0; i < 1000; ++i)
                log_info("a line");
        ck_assert_int_eq(fstat(STDERR_FILENO, &status), 0);
        ck_assert_int_ge(status.st_size, 1000 * 20);
        log_to(null);
        log_info("a line");
        ck_assert_uint_eq(log_n_dropped(), 0);
}
END_TEST

/* ---- the length of a line ---- */

static void log_much(const char *value)
{
        log_warn("a long line", log_str("a", value), log_str("b", value), log_str("c", value),
                 log_str("d", value), log_str("e", value), log_int("f", -1), log_str("g", value));
}

START_TEST(a_line_of_any_values_fits_what_a_pipe_takes_whole)
{
        static const char *const kinds[] = { "x", "\x01", "\"", "\\", "\xff", "ä", "🧀", "a b" };
        enum log_format formats[] = { LOG_TEXT, LOG_JSON };

        for (size_t i = 0; i < array_size(kinds) * 2; ++i) {
                const char *kind = kinds[i / 2];
                _cleanup_(free) char *line = NULL;
                struct text value = TEXT_NULL;
                int reader = log_to_pipe();
                size_t n;

                for (size_t j = 0; j < 2000; ++j)
                        text_add(&value, kind);
                log_setup(LOG_INFO, formats[i % 2]);
                log_much(value.bytes);
                text_deinit(&value);
                line = read_all(reader);
                close(reader);
                n = strlen(line);

                ck_assert_uint_eq(log_n_dropped(), 0);
                ck_assert_uint_le(n, PIPE_BUF);
                ck_assert_uint_gt(n, 1024);
                ck_assert_int_eq(line[n - 1], '\n');
                ck_assert_ptr_eq(strchr(line, '\n'), line + n - 1);
                ck_assert_uint_eq(text_utf8_prefix(line, n), n);
                ck_assert_ptr_nonnull(strstr(line, "..."));
                if (formats[i % 2] == LOG_JSON) {
                        struct json *document = NULL;
                        struct error error = ERROR_NULL;

                        ck_assert_int_eq(json_parse(line, n, &document, &error), 0);
                        json_free(document);
                }
        }
}
END_TEST

START_TEST(a_short_line_has_all_of_its_fields)
{
        int reader = log_to_pipe();
        _cleanup_(free) char *lines = NULL;

        log_info("a message", log_str("plain", "x/y"), log_str("odd", "a \"b\"\n"),
                 log_int("n", 7));
        log_setup(LOG_INFO, LOG_JSON);
        log_info("a message", log_str("odd", "a \"b\"\n"), log_int("n", 7));
        log_debug("not on");

        lines = read_all(reader);
        ck_assert_ptr_nonnull(
                strstr(lines, "Z INFO  a message plain=x/y odd=\"a \\\"b\\\"\\u000a\" n=7\n"));
        ck_assert_ptr_nonnull(strstr(lines, "\",\"level\":\"INFO\",\"message\":\"a message\","
                                            "\"odd\":\"a \\\"b\\\"\\u000a\",\"n\":7}\n"));
        ck_assert_ptr_null(strstr(lines, "not on"));
}
END_TEST

/* ---- threads ---- */

#define N_THREADS 4
#define N_LINES   2000

static void *log_many(void *unused)
{
        for (int i = 0; i < N_LINES; ++i)
                log_info("one of many", log_int("i", i),
                         log_str("filling", "xxxxxxxxxxxxxxxxxxxx"));
        return NULL;
}

START_TEST(lines_of_several_threads_are_whole_and_each_is_written_or_counted)
{
        int reader = log_to_pipe();
        pthread_t threads[N_THREADS];
        struct text lines = TEXT_NULL;
        size_t n_written = 0;
        char bytes[4096];
        ssize_t n;

        for (size_t i = 0; i < N_THREADS; ++i)
                ck_assert_int_eq(pthread_create(&threads[i], NULL, log_many, NULL), 0);
        ck_assert_int_gt(n = read(reader, bytes, sizeof(bytes)), 0);
        text_add_bytes(&lines, bytes, (size_t)n);
        ck_assert_int_eq(fcntl(reader, F_SETFL, O_NONBLOCK), 0);
        for (size_t i = 0; i < N_THREADS; ++i) {
                while (pthread_tryjoin_np(threads[i], NULL) == EBUSY)
                        if ((n = read(reader, bytes, sizeof(bytes))) > 0)
                                text_add_bytes(&lines, bytes, (size_t)n);
        }
        while ((n = read(reader, bytes, sizeof(bytes))) > 0)
                text_add_bytes(&lines, bytes, (size_t)n);

        for (char *line = lines.bytes, *end; (end = strchr(line, '\n')); line = end + 1) {
                *end = '\0';
                ck_assert_int_eq(line[4], '-');
                if (strstr(line, "INFO  one of many i=") &&
                    strcmp(end - 20, "xxxxxxxxxxxxxxxxxxxx") == 0)
                        ++n_written;
                else
                        ck_assert_ptr_nonnull(strstr(line, "WARN  "));
        }
        ck_assert_uint_eq(n_written + log_n_dropped(), (size_t)N_THREADS * N_LINES);
        text_deinit(&lines);
}
END_TEST

SUITE("log", a_stalled_reader_of_a_pipe_costs_lines_and_no_time,
      a_stalled_reader_of_a_socket_costs_lines_and_no_time,
      a_terminal_that_is_stopped_costs_lines_and_no_time,
      a_reader_that_has_gone_costs_only_the_lines, a_full_disk_and_a_closed_log_cost_only_the_lines,
      files_and_dev_null_take_every_line, a_line_of_any_values_fits_what_a_pipe_takes_whole,
      a_short_line_has_all_of_its_fields,
      lines_of_several_threads_are_whole_and_each_is_written_or_counted);
