/* SPDX-License-Identifier: Apache-2.0 */
#include "admin/metrics.h"

#include "base/memory.h"
#include "base/text.h"
#include "unit/suite.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

static struct text page;

static void print(const struct metrics *metrics)
{
        text_deinit(&page);
        metrics_print(metrics, &page);
}

/* Whether the page has exactly this line. */
static bool has(const char *line)
{
        size_t n = strlen(line);

        for (const char *p = page.bytes; (p = strstr(p, line)); ++p)
                if ((p == page.bytes || p[-1] == '\n') && p[n] == '\n')
                        return true;
        return false;
}

static bool mentions(const char *string)
{
        return strstr(page.bytes, string) != NULL;
}

START_TEST(the_state_of_qgs_is_in_a_label_once_it_is_known)
{
        print(&(struct metrics){ .version = "1", .qgs_state = "unknown" });
        ck_assert(!mentions("tdx_qgs_state{"));

        print(&(struct metrics){ .version = "1", .is_qgs_known = true, .qgs_state = "not-tried" });
        ck_assert(has("tdx_qgs_state{state=\"not-tried\"} 1"));
        ck_assert(has("tdx_attesting 0"));
        text_deinit(&page);
}
END_TEST

START_TEST(counters_are_there_with_zero_before_anything_has_happened)
{
        static const char *const zeros[] = {
                "tdx_prepare_claims_total{result=\"success\"} 0",
                "tdx_prepare_claims_total{result=\"error\"} 0",
                "tdx_unprepare_claims_total{result=\"success\"} 0",
                "tdx_unprepare_claims_total{result=\"error\"} 0",
                "tdx_prepare_duration_seconds_count 0",
                "tdx_refusals_total{path=\"dra\"} 0",
                "tdx_refusals_total{path=\"plugin\"} 0",
                "tdx_api_errors_total{reason=\"forbidden\"} 0",
                "tdx_api_errors_total{reason=\"unanswered\"} 0",
                "tdx_podresources_errors_total 0",
                "tdx_plugin_list_pushes_total 0",
                "tdx_log_lines_dropped_total 0",
                "tdx_foreign_plugin 0",
                "tdx_active 0",
                "tdx_records_refused 0",
        };

        print(&(struct metrics){ .version = "1.2.3" });

        for (size_t i = 0; i < array_size(zeros); ++i)
                ck_assert_msg(has(zeros[i]), "%s", zeros[i]);
        ck_assert(has("tdx_build_info{version=\"1.2.3\"} 1"));
        text_deinit(&page);
}
END_TEST

START_TEST(quotes_are_counted_only_where_a_relay_knows_of_them)
{
        print(&(struct metrics){ .version = "1" });
        ck_assert(!mentions("tdx_quote"));
        ck_assert(!mentions("tdx_relay"));

        print(&(struct metrics){
                .version = "1",
                .is_relaying = true,
                .quotes = { [METRICS_QUOTE_DELIVERED] = 7, [METRICS_QUOTE_LEFT] = 2 } });
        ck_assert(has("tdx_relay_connected 0"));
        ck_assert(has("tdx_quotes_total{outcome=\"delivered\"} 7"));
        ck_assert(has("tdx_quotes_total{outcome=\"gave_up\"} 0"));
        ck_assert(has("tdx_quotes_total{outcome=\"left\"} 2"));
        ck_assert(!mentions("\ntdx_quote_last_delivered_timestamp_seconds "));

        print(&(struct metrics){ .version = "1",
                                 .is_relaying = true,
                                 .is_relay_connected = true,
                                 .delivered_s = 1700000000 });
        ck_assert(has("tdx_relay_connected 1"));
        ck_assert(has("tdx_quote_last_delivered_timestamp_seconds 1700000000"));
        text_deinit(&page);
}
END_TEST

START_TEST(a_capacity_that_is_not_known_is_absent_and_one_of_zero_is_zero)
{
        struct metrics metrics = { .version = "v", .is_active = true };

        print(&metrics);
        ck_assert(!mentions("\ntdx_capacity_tds "));
        ck_assert(!mentions("\ntdx_held_tds{"));
        ck_assert(!mentions("\ntdx_free_tds "));
        ck_assert(!mentions("\ntdx_overcommitted_tds "));
        metrics.is_capacity_known = true;
        print(&metrics);
        ck_assert(has("tdx_capacity_tds 0"));
        ck_assert(has("tdx_free_tds 0"));
        metrics.is_active = false;
        print(&metrics);
        ck_assert(!mentions("\ntdx_capacity_tds "));
        text_deinit(&page);
}
END_TEST

START_TEST(held_tds_are_reported_by_path)
{
        print(&(struct metrics){ .version = "v",
                                 .is_active = true,
                                 .is_capacity_known = true,
                                 .capacity = 31,
                                 .held = { 5, 2 },
                                 .free = 24,
                                 .overcommitted = 1,
                                 .n_claims = 4,
                                 .n_waiting = 1,
                                 .prepares = { 7, 3 },
                                 .refusals = { 2, 9 } });

        ck_assert(has("tdx_capacity_tds 31"));
        ck_assert(has("tdx_held_tds{path=\"dra\"} 5"));
        ck_assert(has("tdx_held_tds{path=\"plugin\"} 2"));
        ck_assert(has("tdx_free_tds 24"));
        ck_assert(has("tdx_overcommitted_tds 1"));
        ck_assert(has("tdx_claims 4"));
        ck_assert(has("tdx_waiting_claims 1"));
        ck_assert(has("tdx_prepare_claims_total{result=\"success\"} 7"));
        ck_assert(has("tdx_prepare_claims_total{result=\"error\"} 3"));
        ck_assert(has("tdx_refusals_total{path=\"dra\"} 2"));
        ck_assert(has("tdx_refusals_total{path=\"plugin\"} 9"));
        text_deinit(&page);
}
END_TEST

START_TEST(only_paths_that_are_served_can_lack_a_registration)
{
        struct metrics metrics = { .version = "v", .is_served = { true, false } };

        print(&metrics);
        ck_assert(has("tdx_registered{path=\"dra\"} 0"));
        ck_assert(!mentions("tdx_registered{path=\"plugin\"}"));
        metrics.is_served[METRICS_PLUGIN] = metrics.is_registered[METRICS_PLUGIN] = true;
        print(&metrics);
        ck_assert(has("tdx_registered{path=\"plugin\"} 1"));
        text_deinit(&page);
}
END_TEST

START_TEST(slices_are_reported_only_if_they_are_published)
{
        struct metrics metrics = { .version = "v" };

        print(&metrics);
        ck_assert(!mentions("\ntdx_published"));
        metrics.is_publishing = true;
        print(&metrics);
        ck_assert(has("tdx_published 0"));
        ck_assert(has("tdx_published_timestamp_seconds 0"));
        metrics.is_published = true;
        metrics.n_slices = 2;
        metrics.published_s = 1700000000;
        print(&metrics);
        ck_assert(has("tdx_published 1"));
        ck_assert(has("tdx_published_slices 2"));
        ck_assert(has("tdx_published_timestamp_seconds 1700000000"));
        text_deinit(&page);
}
END_TEST

START_TEST(buckets_of_the_histogram_add_up_and_include_their_bounds)
{
        struct metrics metrics = { .version = "v" };
        static const double seconds[] = { 0, 0.005, 0.006, 0.5, 30, 44 };

        for (size_t i = 0; i < array_size(seconds); ++i)
                histogram_observe(&metrics.prepare_durations, seconds[i]);
        print(&metrics);

        ck_assert(has("tdx_prepare_duration_seconds_bucket{le=\"0.005\"} 2"));
        ck_assert(has("tdx_prepare_duration_seconds_bucket{le=\"0.025\"} 3"));
        ck_assert(has("tdx_prepare_duration_seconds_bucket{le=\"0.1\"} 3"));
        ck_assert(has("tdx_prepare_duration_seconds_bucket{le=\"0.5\"} 4"));
        ck_assert(has("tdx_prepare_duration_seconds_bucket{le=\"10\"} 4"));
        ck_assert(has("tdx_prepare_duration_seconds_bucket{le=\"30\"} 5"));
        ck_assert(has("tdx_prepare_duration_seconds_bucket{le=\"+Inf\"} 6"));
        ck_assert(has("tdx_prepare_duration_seconds_sum 74.511000"));
        ck_assert(has("tdx_prepare_duration_seconds_count 6"));
        text_deinit(&page);
}
END_TEST

/* promtool's and Prometheus' naming rules; that the syntax is right, an independent parser says in
 * e2e/metrics.bats. */
START_TEST(every_metric_has_help_and_type_and_a_name_by_the_rules)
{
        unsigned n_families = 0;

        print(&(struct metrics){ .version = "v", .resident_bytes = 1 });
        ck_assert_int_eq(page.bytes[page.n - 1], '\n');
        for (const char *line = page.bytes; *line; line = strchr(line, '\n') + 1) {
                char help[128], name[128], type[32];
                const char *second = strchr(line, '\n') + 1;
                size_t n;

                if (strncmp(line, "# HELP ", 7) != 0)
                        continue;
                ++n_families;
                ck_assert_int_eq(sscanf(line, "# HELP %127s %127s", name, help), 2);
                ck_assert_int_eq(sscanf(second, "# TYPE %127s %31s", help, type), 2);
                ck_assert_str_eq(name, help);
                ck_assert(strncmp(name, "tdx_", 4) == 0 || strncmp(name, "process_", 8) == 0);
                n = strlen(name);
                for (size_t i = 0; i < n; ++i)
                        ck_assert(islower(name[i]) || name[i] == '_');
                ck_assert_int_eq(n > 6 && strcmp(name + n - 6, "_total") == 0,
                                 strcmp(type, "counter") == 0);
                ck_assert(strchr(second, '\n')[-1] != ' ');
        }
        ck_assert_uint_ge(n_families, 20);
        text_deinit(&page);
}
END_TEST

SUITE("metrics", quotes_are_counted_only_where_a_relay_knows_of_them,
      the_state_of_qgs_is_in_a_label_once_it_is_known,
      counters_are_there_with_zero_before_anything_has_happened,
      a_capacity_that_is_not_known_is_absent_and_one_of_zero_is_zero, held_tds_are_reported_by_path,
      only_paths_that_are_served_can_lack_a_registration,
      slices_are_reported_only_if_they_are_published,
      buckets_of_the_histogram_add_up_and_include_their_bounds,
      every_metric_has_help_and_type_and_a_name_by_the_rules);
