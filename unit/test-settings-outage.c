/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "unit/settings-rig.h"

/* ---- several CRs ---- */

START_TEST(with_two_crs_the_last_good_value_stays_until_one_is_left)
{
        static const struct stub_answer answers[] = { LIST("10", CR("b", GOOD("/run/b/s"))),
                                                      STREAM };

        set_up(answers, 2);
        stub_run_until_requests(&server, 2);
        send_line(LINE("ADDED", "11", "a", GOOD("/run/a/s")));
        run_until_told(3);
        ck_assert_str_eq(settings_in_force(settings)->qgs_socket, "/run/b/s");
        /* Neither of them counts now. */
        send_line(LINE("MODIFIED", "12", "b", GOOD("/run/x/s")) LINE("MODIFIED", "13", "a", BAD)
                          LINE("MODIFIED", "14", "a", GOOD("/run/c/s"))
                                  LINE("DELETED", "15", "b", GOOD("/run/x/s")));
        run_until_told(5);

        ck_assert_str_eq(story.bytes,
                         "<one CR> [true /run/b/s] <several> <one CR> [true /run/c/s] ");
        ck_assert_ptr_nonnull(strstr(texts.bytes, "there are 2 KubeVirt CRs (ns/a, ns/b) where "));
        tear_down();
}
END_TEST

START_TEST(two_crs_from_the_start_leave_the_defaults)
{
        static const struct stub_answer answers[] = {
                LIST("10", CR("a", GOOD("/run/a/s")) "," CR("b", GOOD("/run/b/s"))), STREAM
        };

        set_up(answers, 2);
        stub_run_until_requests(&server, 2);
        ck_assert(settings_is_known(settings));
        send_line(LINE("DELETED", "11", "a", GOOD("/run/a/s")));
        run_until_told(4);

        ck_assert_str_eq(story.bytes, "<several> " DEFAULTS "<one CR> [true /run/b/s] ");
        tear_down();
}
END_TEST

START_TEST(crs_of_one_name_in_two_namespaces_are_two)
{
        static const struct stub_answer answers[] = {
                LIST("10", CR_OF("\"namespace\":\"x\",\"name\":\"kubevirt\"", "null") "," CR_OF(
                                   "\"namespace\":\"y\",\"name\":\"kubevirt\"", "null")),
                STREAM
        };

        set_up(answers, 2);
        stub_run_until_requests(&server, 2);

        ck_assert_ptr_nonnull(strstr(texts.bytes, "(x/kubevirt, y/kubevirt)"));
        tear_down();
}
END_TEST

START_TEST(many_crs_are_reported_within_bounds_and_in_one_order)
{
        static const struct stub_answer answers[] = {
                LIST("10", CR("f", "null") "," CR("b", "null") "," CR("a", "null") "," CR(
                                   "d", "null") "," CR("e", "null") "," CR("c", "null")),
                STREAM
        };

        set_up(answers, 2);
        stub_run_until_requests(&server, 2);
        send_line(LINE("DELETED", "11", "b", "null") LINE("DELETED", "12", "unknown", "null"));
        run_until_told(3);

        ck_assert_str_eq(texts.bytes,
                         "there are 6 KubeVirt CRs (ns/a, ns/b, ns/c, ns/d, ...) where KubeVirt "
                         "allows one: the values in force stay; delete all but one\n"
                         "there are 5 KubeVirt CRs (ns/a, ns/c, ns/d, ns/e, ...) where KubeVirt "
                         "allows one: the values in force stay; delete all but one\n");
        tear_down();
}
END_TEST

START_TEST(a_name_that_no_server_gives_is_reported_cut_and_readable)
{
        _cleanup_(text) struct text list = TEXT_NULL;
        struct stub_answer answers[] = { { 200 }, STREAM };

        text_add(&list, "{\"kind\":\"KubeVirtList\",\"metadata\":{\"resourceVersion\":\"10\"},"
                        "\"items\":[{\"metadata\":{\"name\":\"x");
        for (unsigned i = 0; i < 1000; ++i)
                text_add(&list, "\xe2\x82\xac");
        text_add(&list, "\"}}]}");
        answers[0].body = list.bytes;

        set_up(answers, 2);
        stub_run_until_requests(&server, 2);

        ck_assert_uint_lt(texts.n, 250);
        ck_assert_uint_eq(text_utf8_prefix(texts.bytes, texts.n), texts.n);
        tear_down();
}
END_TEST

START_TEST(objects_without_a_name_are_survived)
{
        static const struct stub_answer answers[] = { LIST("10", "7,null,{\"metadata\":[]}"),
                                                      STREAM };

        set_up(answers, 2);
        stub_run_until_requests(&server, 2);

        ck_assert(settings_is_known(settings));
        tear_down();
}
END_TEST

/* ---- while the CRs cannot be read ---- */

START_TEST(a_lost_connection_keeps_the_values_and_is_reported_once)
{
        static const struct stub_answer answers[] = {
                LIST("10", CR("a", GOOD("/run/a/s"))), STREAM, { 503 }, { 503 }, { 503 }, STREAM,
        };

        set_up_timed(answers, 6, &trusting);
        stub_run_until_requests(&server, 2);
        cut_standing_watch();
        run_until_told(4);
        ck_assert_uint_eq(server.n_requests, 6);
        send_line(LINE("MODIFIED", "11", "a", GOOD("/run/b/s")));
        run_until_told(5);

        ck_assert_str_eq(story.bytes,
                         "<one CR> [true /run/a/s] <unreachable> <readable> [true /run/b/s] ");
        tear_down();
}
END_TEST

START_TEST(a_second_outage_is_reported_again)
{
        static const struct stub_answer answers[] = {
                LIST("10", CR("a", GOOD("/run/a/s"))), STREAM, { 503 }, STREAM, { 503 }, STREAM,
        };

        set_up_timed(answers, 6, &trusting);
        stub_run_until_requests(&server, 2);
        cut_standing_watch();
        run_until_told(4);
        cut_standing_watch();
        run_until_told(6);

        ck_assert_str_eq(story.bytes, "<one CR> [true /run/a/s] <unreachable> <readable> "
                                      "<unreachable> <readable> ");
        tear_down();
}
END_TEST

START_TEST(a_permission_that_is_withdrawn_keeps_the_values)
{
        static const struct stub_answer answers[] = {
                LIST("10", CR("a", GOOD("/run/a/s"))), STREAM, FORBIDDEN, FORBIDDEN,
                LIST("20", CR("a", GOOD("/run/a/s"))), STREAM,
        };

        set_up_timed(answers, 6, &trusting);
        stub_run_until_requests(&server, 2);
        cut_standing_watch();
        run_until_told(4);

        ck_assert_str_eq(story.bytes, "<one CR> [true /run/a/s] <forbidden> <readable> ");
        tear_down();
}
END_TEST

START_TEST(what_was_said_of_a_bad_cr_is_not_said_again_after_a_lost_connection)
{
        static const struct stub_answer answers[] = {
                LIST("10", CR("a", BAD)), STREAM, FORBIDDEN, LIST("20", CR("a", BAD)), STREAM,
        };

        set_up_timed(answers, 5, &trusting);
        stub_run_until_requests(&server, 2);
        cut_standing_watch();
        run_until_told(4);

        ck_assert_str_eq(story.bytes, "<invalid> " KEPT "<forbidden> <readable> ");
        tear_down();
}
END_TEST

START_TEST(a_cr_that_was_deleted_meanwhile_is_found_gone_by_a_relist)
{
        static const struct stub_answer answers[] = {
                LIST("10", CR("a", GOOD("/run/a/s"))),
                STREAM,
                LIST("20", ""),
                STREAM,
        };

        set_up(answers, 4);
        stub_run_until_requests(&server, 2);
        send_line("{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"code\":410}}\n");
        run_until_told(4);

        ck_assert_str_eq(story.bytes, "<one CR> [true /run/a/s] <no CR> " DEFAULTS);
        tear_down();
}
END_TEST

START_TEST(a_relist_that_shows_another_cr_puts_it_in_force)
{
        static const struct stub_answer answers[] = {
                LIST("10", CR("a", GOOD("/run/a/s"))), STREAM, { 410 },
                LIST("20", CR("b", GOOD("/run/b/s"))), STREAM,
        };

        set_up_timed(answers, 5, &trusting);
        stub_run_until_requests(&server, 2);
        cut_standing_watch();
        run_until_told(4);

        ck_assert_str_eq(story.bytes, "<one CR> [true /run/a/s] <one CR> [true /run/b/s] ");
        ck_assert_ptr_nonnull(strstr(texts.bytes, "CR ns/b are in force"));
        tear_down();
}
END_TEST

START_TEST(a_crd_that_is_removed_brings_back_the_defaults)
{
        static const struct stub_answer answers[] = {
                LIST("10", CR("a", GOOD("/run/a/s"))),
                STREAM,
                { 503 },
                NOT_SERVED,
                NOT_SERVED,
                { 0 },
        };

        set_up_timed(answers, 6, &trusting);
        stub_run_until_requests(&server, 2);
        cut_standing_watch();
        stub_run_until_requests(&server, 6);

        ck_assert_str_eq(story.bytes, "<one CR> [true /run/a/s] <unreachable> <readable> <not "
                                      "served> " DEFAULTS);
        tear_down();
}
END_TEST

SUITE("settings-outage", with_two_crs_the_last_good_value_stays_until_one_is_left,
      two_crs_from_the_start_leave_the_defaults, crs_of_one_name_in_two_namespaces_are_two,
      many_crs_are_reported_within_bounds_and_in_one_order,
      a_name_that_no_server_gives_is_reported_cut_and_readable, objects_without_a_name_are_survived,
      a_lost_connection_keeps_the_values_and_is_reported_once, a_second_outage_is_reported_again,
      a_permission_that_is_withdrawn_keeps_the_values,
      what_was_said_of_a_bad_cr_is_not_said_again_after_a_lost_connection,
      a_cr_that_was_deleted_meanwhile_is_found_gone_by_a_relist,
      a_relist_that_shows_another_cr_puts_it_in_force,
      a_crd_that_is_removed_brings_back_the_defaults);
