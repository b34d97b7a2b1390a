/* SPDX-License-Identifier: Apache-2.0 */
#include "offer/contention.h"

#include "base/error.h"
#include "base/json.h"
#include "unit/suite.h"

#include <stdio.h>
#include <string.h>

START_TEST(a_few_undone_writes_are_answered_at_once_and_then_ever_later)
{
        static const uint64_t delays[] = { 0,    0,     0,     1000,  2000, 4000,
                                           8000, 16000, 32000, 60000, 60000 };
        struct contention contention = { 0 };
        uint64_t now_ms = 1000000;
        unsigned n_news = 0;

        for (size_t i = 0; i < sizeof(delays) / sizeof(delays[0]); ++i) {
                bool is_news;

                ck_assert_uint_eq(contention_undone(&contention, now_ms, &is_news), delays[i]);
                ck_assert_int_eq(is_news, i == 3);
                n_news += is_news;
                now_ms += delays[i] + 20;
        }
        ck_assert_uint_eq(n_news, 1);
}
END_TEST

START_TEST(only_quiet_time_makes_up_for_it)
{
        struct contention contention = { 0 };
        uint64_t now_ms = 1000000;
        bool is_news;

        for (int i = 0; i < 8; ++i)
                (void)contention_undone(&contention, now_ms, &is_news);
        now_ms += CONTENTION_QUIET_MS - 1;
        ck_assert_uint_gt(contention_undone(&contention, now_ms, &is_news), 0);
        now_ms += CONTENTION_QUIET_MS;
        ck_assert_uint_eq(contention_undone(&contention, now_ms, &is_news), 0);
}
END_TEST

START_TEST(the_manager_is_the_last_one_that_is_not_us)
{
        static const struct {
                const char *fields, *manager;
        } table[] = {
                { "[]", NULL },
                { "null", NULL },
                { "[7,{},{\"manager\":\"x\"},{\"time\":\"2026-01-01T00:00:00Z\"}]", NULL },
                { "[{\"manager\":\"us\",\"time\":\"2026-01-02T00:00:00Z\"}]", NULL },
                { "[{\"manager\":\"a\",\"time\":\"2026-01-01T00:00:00Z\"},"
                  "{\"manager\":\"us\",\"time\":\"2026-01-02T00:00:00Z\"}]",
                  "a" },
                { "[{\"manager\":\"b\",\"time\":\"2026-01-02T00:00:00Z\"},"
                  "{\"manager\":\"a\",\"time\":\"2026-01-01T00:00:00Z\"}]",
                  "b" },
        };

        for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); ++i) {
                struct error error = ERROR_NULL;
                struct json *object = NULL;
                char text[256];

                (void)snprintf(text, sizeof(text), "{\"metadata\":{\"managedFields\":%s}}",
                               table[i].fields);
                ck_assert_int_eq(json_parse(text, strlen(text), &object, &error), 0);
                ck_assert_pstr_eq(contention_other_manager(object, "us"), table[i].manager);
                json_free(object);
        }
        ck_assert_ptr_null(contention_other_manager(NULL, "us"));
}
END_TEST

SUITE("contention", a_few_undone_writes_are_answered_at_once_and_then_ever_later,
      only_quiet_time_makes_up_for_it, the_manager_is_the_last_one_that_is_not_us);
