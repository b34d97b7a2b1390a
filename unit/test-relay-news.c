/* SPDX-License-Identifier: Apache-2.0 */
#include "relay/news.h"
#include "unit/suite.h"

#include <errno.h>
#include <string.h>

START_TEST(a_change_is_told_at_once_and_the_same_again_once_a_second)
{
        struct relay_qgs well = news_of_delivery(), away = news_of_connect(-ECONNREFUSED);
        struct news news = { 0 };
        bool is_change;

        ck_assert(news_take(&news, &well, 1000, &is_change));
        ck_assert(is_change);
        ck_assert(!news_take(&news, &well, 1999, &is_change));
        ck_assert(news_take(&news, &well, 2000, &is_change));
        ck_assert(!is_change);
        ck_assert(news_take(&news, &away, 2001, &is_change));
        ck_assert(is_change);
        ck_assert(!news_take(&news, &away, 2002, &is_change));
}
END_TEST

START_TEST(a_driver_that_asked_hears_of_the_next_result_even_if_it_is_the_same)
{
        struct relay_qgs well = news_of_delivery();
        struct news news = { 0 };
        bool is_change;

        ck_assert(news_take(&news, &well, 1000, &is_change));
        news.is_asked = true;

        ck_assert(news_take(&news, &well, 1001, &is_change));
        ck_assert(!is_change);
        ck_assert(!news_take(&news, &well, 1002, &is_change));
}
END_TEST

START_TEST(what_happened_is_said_in_the_drivers_words)
{
        struct worker_qgs error = { .result = WORKER_QGS_ERROR, .code = 0x12001 };
        struct worker_qgs silent = { .result = WORKER_QGS_SILENT };
        struct worker_qgs closed = { .result = WORKER_QGS_CLOSED };
        struct worker_qgs garbled = { .result = WORKER_QGS_GARBLED };
        struct worker_qgs answered = { .result = WORKER_QGS_ANSWERED };

        ck_assert(news_of_connect(-ENOENT).is_absent);
        ck_assert(news_of_connect(-ENOTDIR).is_absent);
        ck_assert_int_eq(news_of_connect(-ECONNREFUSED).result, QGS_PROBE_REFUSED);
        ck_assert(!news_of_connect(-ECONNREFUSED).is_absent);
        ck_assert_int_eq(news_of_connect(-EACCES).result, QGS_PROBE_NOT_ALLOWED);
        ck_assert_int_eq(news_of_connect(-EAGAIN).result, QGS_PROBE_FULL);
        ck_assert_str_eq(news_of_connect(-EACCES).failure, "Permission denied");
        ck_assert_int_eq(news_of_worker(&answered).result, QGS_PROBE_ANSWERED);
        ck_assert_int_eq(news_of_worker(&closed).result, QGS_PROBE_FAILING);
        ck_assert_int_eq(news_of_worker(&garbled).result, QGS_PROBE_FAILING);
        ck_assert_int_eq(news_of_worker(&silent).result, QGS_PROBE_SILENT);
        ck_assert_int_eq(news_of_worker(&error).result, QGS_PROBE_FAILING);
        ck_assert_str_eq(news_of_worker(&error).failure, "it answers with error 0x12001");
}
END_TEST

SUITE("relay-news", a_change_is_told_at_once_and_the_same_again_once_a_second,
      a_driver_that_asked_hears_of_the_next_result_even_if_it_is_the_same,
      what_happened_is_said_in_the_drivers_words);
