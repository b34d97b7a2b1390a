/* SPDX-License-Identifier: Apache-2.0 */
#include "offer/contention.h"

#include "base/error.h"
#include "base/json.h"
#include "base/memory.h"
#include "unit/suite.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

static uint64_t now_ms;

/* The delay before the slice is written; then it is. */
static uint64_t write_slice(struct contention *contention, unsigned index)
{
        bool is_news;
        uint64_t delay = contention_delay(contention, index, now_ms, &is_news);

        ck_assert_int_eq(is_news, delay == CONTENTION_FIRST_MS);
        now_ms += delay;
        if (delay)
                ck_assert_uint_eq(contention_delay(contention, index, now_ms, &is_news), 0);
        contention_note_write(contention, index);
        now_ms += 20;
        return delay;
}

static const uint64_t delays[] = { 0, 0, 0, 0, 1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000 };

START_TEST(a_few_undone_writes_are_answered_at_once_and_then_ever_later)
{
        struct contention contention = { 0 };

        now_ms = 1000000;

        for (size_t i = 0; i < array_size(delays); ++i)
                ck_assert_uint_eq(write_slice(&contention, 0), delays[i]);
}
END_TEST

START_TEST(a_slice_that_is_undone_before_the_last_one_is_written_counts_too)
{
        struct contention contention = { 0 };

        now_ms = 1000000;

        for (unsigned i = 0; i < CONTENTION_SLICES; ++i)
                ck_assert_uint_eq(write_slice(&contention, i), 0);
        /* The first of them is undone again and again, and the others are never reached. */
        for (size_t i = 1; i < array_size(delays); ++i)
                ck_assert_uint_eq(write_slice(&contention, 0), delays[i]);
}
END_TEST

START_TEST(slices_that_are_wiped_together_count_once)
{
        struct contention contention = { 0 };

        now_ms = 1000000;

        for (size_t round = 0; round < 1 + CONTENTION_FREE; ++round)
                for (unsigned i = 0; i < CONTENTION_SLICES; ++i)
                        ck_assert_uint_eq(write_slice(&contention, i), 0);
        ck_assert_uint_eq(write_slice(&contention, 0), CONTENTION_FIRST_MS);
}
END_TEST

START_TEST(what_we_change_ourselves_is_never_late)
{
        struct contention contention = { 0 };

        now_ms = 1000000;

        for (size_t i = 0; i < 100; ++i) {
                contention_forget_writes(&contention);
                ck_assert_uint_eq(write_slice(&contention, 0), 0);
                ck_assert_uint_eq(write_slice(&contention, 1), 0);
        }
}
END_TEST

START_TEST(a_write_that_failed_is_not_undone_by_others)
{
        struct contention contention = { 0 };

        now_ms = 1000000;

        for (size_t i = 0; i < 100; ++i) {
                ck_assert_uint_eq(write_slice(&contention, 0), 0);
                contention_note_failed(&contention, 0);
        }
}
END_TEST

START_TEST(slices_that_others_add_again_and_again_are_deleted_ever_later)
{
        struct contention contention = { 0 };
        bool is_news;

        now_ms = 1000000;

        /* Those that the list had are ours to delete. */
        for (size_t i = 0; i < 100; ++i)
                ck_assert_uint_eq(contention_delay(&contention, UINT_MAX, now_ms, &is_news), 0);
        for (size_t i = 1; i < array_size(delays); ++i) {
                contention_note_intruder(&contention);
                ck_assert_uint_eq(contention_delay(&contention, UINT_MAX, now_ms, &is_news),
                                  delays[i]);
        }
}
END_TEST

START_TEST(only_quiet_time_makes_up_for_it)
{
        struct contention contention = { 0 };

        now_ms = 1000000;

        for (size_t i = 0; i < 8; ++i)
                (void)write_slice(&contention, 0);
        now_ms += CONTENTION_QUIET_MS - 10000;
        ck_assert_uint_gt(write_slice(&contention, 0), 0);
        now_ms += CONTENTION_QUIET_MS;
        ck_assert_uint_eq(write_slice(&contention, 0), 0);
}
END_TEST

START_TEST(the_client_that_made_the_last_change_is_named)
{
        static const char another[] = "another instance of this driver";
        static const struct {
                const char *fields, *who;
        } table[] = {
                { "[]", another },
                { "null", another },
                { "[7,{},{\"manager\":\"x\"},{\"time\":\"2026-01-01T00:00:00Z\"}]", another },
                { "[{\"manager\":\"us\",\"time\":\"2026-01-02T00:00:00Z\"}]", another },
                { "[{\"manager\":\"a\",\"time\":\"2026-01-01T00:00:00Z\"},"
                  "{\"manager\":\"us\",\"time\":\"2026-01-02T00:00:00Z\"}]",
                  another },
                { "[{\"manager\":\"a\",\"time\":\"2026-01-02T00:00:00Z\"},"
                  "{\"manager\":\"us\",\"time\":\"2026-01-02T00:00:00Z\"}]",
                  "field manager a," },
                { "[{\"manager\":\"b\",\"time\":\"2026-01-02T00:00:00Z\"},"
                  "{\"manager\":\"a\",\"time\":\"2026-01-01T00:00:00Z\"}]",
                  "field manager b," },
        };
        char *gone = contention_describe(NULL, "us");

        for (size_t i = 0; i < array_size(table); ++i) {
                struct json *object = NULL;
                char text[256], *described;

                (void)snprintf(text, sizeof(text), "{\"metadata\":{\"managedFields\":%s}}",
                               table[i].fields);
                ck_assert_int_eq(json_parse(text, strlen(text), &object, NULL), 0);
                described = contention_describe(object, "us");
                ck_assert_msg(strstr(described, table[i].who), "%s: %s", text, described);
                free(described);
                json_free(object);
        }
        ck_assert_ptr_nonnull(strstr(gone, "another client keeps deleting"));
        free(gone);
}
END_TEST

SUITE("contention", a_few_undone_writes_are_answered_at_once_and_then_ever_later,
      a_slice_that_is_undone_before_the_last_one_is_written_counts_too,
      slices_that_are_wiped_together_count_once, what_we_change_ourselves_is_never_late,
      a_write_that_failed_is_not_undone_by_others,
      slices_that_others_add_again_and_again_are_deleted_ever_later,
      only_quiet_time_makes_up_for_it, the_client_that_made_the_last_change_is_named);
