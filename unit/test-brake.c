/* SPDX-License-Identifier: Apache-2.0 */
#include "base/brake.h"

#include "base/memory.h"
#include "unit/suite.h"

#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

START_TEST(one_line_a_second_is_let_through_and_the_others_are_counted)
{
        struct brake brake = { 0 };
        uint64_t n = 99;

        ck_assert(brake_take(&brake, 0, &n));
        ck_assert_uint_eq(n, 0);
        for (uint64_t ms = 0; ms < BRAKE_MS; ms += 10)
                ck_assert(!brake_take(&brake, ms, &n));
        ck_assert_uint_eq(n, 0);
        ck_assert(brake_take(&brake, BRAKE_MS, &n));
        ck_assert_uint_eq(n, 100);
        ck_assert(!brake_take(&brake, 2 * BRAKE_MS - 1, &n));
        ck_assert(brake_take(&brake, 10 * BRAKE_MS, &n));
        ck_assert_uint_eq(n, 1);
        ck_assert(brake_take(&brake, 20 * BRAKE_MS, &n));
        ck_assert_uint_eq(n, 0);
}
END_TEST

#define N_THREADS 4
#define N_TRIES   20000

static struct brake shared;

/* Each thread's clock runs from 1 to N_TRIES ms. */
static void *try_often(void *passed)
{
        uint64_t *n_all = passed, n;

        for (uint64_t ms = 1; ms <= N_TRIES; ++ms)
                if (brake_take(&shared, ms, &n))
                        *n_all += 1 + n;
        return NULL;
}

START_TEST(threads_share_a_brake_and_lose_no_line)
{
        pthread_t threads[N_THREADS];
        uint64_t n_all[N_THREADS] = { 0 }, n = 0, sum = 0;

        for (size_t i = 0; i < N_THREADS; ++i)
                ck_assert_int_eq(pthread_create(&threads[i], NULL, try_often, &n_all[i]), 0);
        for (size_t i = 0; i < N_THREADS; ++i) {
                pthread_join(threads[i], NULL);
                sum += n_all[i];
        }
        ck_assert(brake_take(&shared, UINT64_MAX / 2, &n));
        ck_assert_uint_eq(sum + n, N_THREADS * N_TRIES);
}
END_TEST

static void complain(int i)
{
        log_warn_braked("one cause", log_int("i", i));
}

START_TEST(each_place_in_the_code_has_a_brake)
{
        int fds[2];
        char lines[4096] = "";

        ck_assert_int_eq(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
        ck_assert_int_eq(dup2(fds[1], STDERR_FILENO), STDERR_FILENO);
        complain(1);
        complain(2);
        log_error_braked("another cause");
        ck_assert_int_gt(read(fds[0], lines, sizeof(lines) - 1), 0);

        ck_assert_ptr_nonnull(strstr(lines, "WARN  one cause i=1\n"));
        ck_assert_ptr_null(strstr(lines, "i=2"));
        ck_assert_ptr_nonnull(strstr(lines, "ERROR another cause\n"));
}
END_TEST

START_TEST(the_line_after_a_second_says_how_many_were_left_out)
{
        static const struct log_field field[LOG_FIELDS_MAX + 1] = { { .key = "i", .number = 7 } };
        struct brake brake = { .n_left_out = 5 };
        char lines[4096] = "";
        int fds[2];

        ck_assert_int_eq(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
        ck_assert_int_eq(dup2(fds[1], STDERR_FILENO), STDERR_FILENO);
        brake_log(&brake, LOG_WARN, "one cause", field);
        ck_assert_int_gt(read(fds[0], lines, sizeof(lines) - 1), 0);

        ck_assert_ptr_nonnull(strstr(lines, "WARN  one cause i=7 left_out=5\n"));
}
END_TEST

SUITE("brake", one_line_a_second_is_let_through_and_the_others_are_counted,
      threads_share_a_brake_and_lose_no_line, each_place_in_the_code_has_a_brake,
      the_line_after_a_second_says_how_many_were_left_out);
