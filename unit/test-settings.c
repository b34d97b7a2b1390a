/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "unit/settings-rig.h"

/* ---- nothing to go by ---- */

START_TEST(without_a_crd_the_defaults_are_known_and_reported_once)
{
        static const struct stub_answer answers[] = { NOT_SERVED, NOT_SERVED, NOT_SERVED,
                                                      NOT_SERVED };

        set_up(answers, 4);
        stub_run_until_requests(&server, 4);

        ck_assert_str_eq(story.bytes, "<not served> " DEFAULTS);
        ck_assert(settings_is_known(settings));
        ck_assert_str_eq(server.targets[0], "GET /apis/kubevirt.io/v1/kubevirts?limit=16");
        tear_down();
}
END_TEST

START_TEST(kubevirt_may_be_installed_later)
{
        static const struct stub_answer answers[] = { NOT_SERVED, NOT_SERVED, LIST("10", ""),
                                                      STREAM };

        set_up_timed(answers, 4, &trusting);
        run_until_told(3);
        stub_run_until_requests(&server, 4);
        send_line(LINE("ADDED", "11", "a", GOOD("/run/a/s")));
        run_until_told(5);

        ck_assert_str_eq(story.bytes, "<not served> " DEFAULTS "<no CR> <one CR> [true /run/a/s] ");
        tear_down();
}
END_TEST

START_TEST(without_a_cr_the_defaults_are_known)
{
        static const struct stub_answer answers[] = { LIST("10", ""), STREAM };

        set_up(answers, 2);
        stub_run_until_requests(&server, 2);

        ck_assert_str_eq(story.bytes, "<no CR> " DEFAULTS);
        tear_down();
}
END_TEST

START_TEST(without_permission_the_defaults_are_known_and_reported_once)
{
        static const struct stub_answer answers[] = { FORBIDDEN, FORBIDDEN, FORBIDDEN, FORBIDDEN };

        set_up(answers, 4);
        stub_run_until_requests(&server, 4);

        ck_assert_str_eq(story.bytes, "<forbidden> " DEFAULTS);
        ck_assert(settings_is_known(settings));
        ck_assert_ptr_nonnull(strstr(texts.bytes, "kubevirts.kubevirt.io is forbidden: User"));
        tear_down();
}
END_TEST

START_TEST(permission_may_come_later)
{
        static const struct stub_answer answers[] = { FORBIDDEN,
                                                      LIST("10", CR("a", GOOD("/run/a/s"))),
                                                      STREAM };

        set_up_timed(answers, 3, &trusting);
        run_until_told(5);

        ck_assert_str_eq(story.bytes,
                         "<forbidden> " DEFAULTS "<one CR> [true /run/a/s] <readable> ");
        tear_down();
}
END_TEST

START_TEST(an_api_server_that_does_not_answer_makes_nothing_known)
{
        /* Closed twice: curl itself tries once more on a fresh connection. */
        static const struct stub_answer answers[] = {
                { 503 },
                { .is_closed = true },
                { .is_closed = true },
                { 200, NULL, "<html>" },
                { 200, NULL, "{\"kind\":\"PodList\"}" },
                { 400 },
                { 0 },
        };

        set_up(answers, 7);
        stub_run_until_requests(&server, 7);

        ck_assert_str_eq(story.bytes, "<unreachable> ");
        ck_assert(!settings_is_known(settings));
        ck_assert_str_eq(settings_in_force(settings)->qgs_socket, KUBEVIRT_QGS_SOCKET);
        ck_assert(!settings_in_force(settings)->is_enforced);
        tear_down();
}
END_TEST

/* ---- one CR ---- */

START_TEST(the_values_of_one_cr_are_in_force)
{
        static const struct stub_answer answers[] = { LIST("10", CR("a", GOOD("/run/a/s"))),
                                                      STREAM };

        set_up(answers, 2);
        stub_run_until_requests(&server, 2);

        ck_assert_str_eq(story.bytes, "<one CR> [true /run/a/s] ");
        ck_assert_str_eq(texts.bytes, "the values of KubeVirt CR ns/a are in force\n");
        tear_down();
}
END_TEST

START_TEST(a_cr_with_the_default_values_makes_them_known)
{
        static const struct stub_answer answers[] = { LIST("10", CR("a", "null")), STREAM };

        set_up(answers, 2);
        stub_run_until_requests(&server, 2);

        ck_assert_str_eq(story.bytes, "<one CR> " DEFAULTS);
        tear_down();
}
END_TEST

START_TEST(a_change_is_in_force_when_its_event_comes)
{
        static const struct stub_answer answers[] = { LIST("10", CR("a", GOOD("/run/a/s"))),
                                                      STREAM };

        set_up(answers, 2);
        stub_run_until_requests(&server, 2);
        send_line(LINE("MODIFIED", "11", "a", "{\"enforced\":false}"));
        run_until_told(3);
        send_line(LINE("MODIFIED", "12", "a", GOOD("/run/b/s")));
        run_until_told(4);

        ck_assert_str_eq(story.bytes, "<one CR> [true /run/a/s] " DEFAULTS "[true /run/b/s] ");
        ck_assert_uint_eq(server.n_requests, 2);
        tear_down();
}
END_TEST

START_TEST(a_change_elsewhere_in_the_cr_is_ignored)
{
        static const struct stub_answer answers[] = { LIST("10", CR("a", GOOD("/run/a/s"))),
                                                      STREAM };

        set_up(answers, 2);
        stub_run_until_requests(&server, 2);
        send_line("{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"11\"}}}\n"
                  "{\"type\":\"MODIFIED\",\"object\":" CR_OF(
                          NAME("a") ",\"resourceVersion\":\"12\",\"labels\":{\"x\":\"y\"}",
                          GOOD("/run/a/s")) "}\n" LINE("MODIFIED", "13", "a", GOOD("/run/b/s")));
        run_until_told(3);

        ck_assert_str_eq(story.bytes, "<one CR> [true /run/a/s] [true /run/b/s] ");
        tear_down();
}
END_TEST

START_TEST(a_cr_that_is_being_deleted_counts_until_it_is_gone)
{
        static const struct stub_answer answers[] = { LIST("10", CR("a", GOOD("/run/a/s"))),
                                                      STREAM };

        set_up(answers, 2);
        stub_run_until_requests(&server, 2);
        send_line("{\"type\":\"MODIFIED\",\"object\":" CR_OF(
                NAME("a") ",\"resourceVersion\":\"11\",\"deletionTimestamp\":"
                          "\"2026-01-01T00:00:00Z\"",
                GOOD("/run/b/s")) "}\n");
        run_until_told(3);
        ck_assert_str_eq(story.bytes, "<one CR> [true /run/a/s] [true /run/b/s] ");

        send_line(LINE("DELETED", "12", "a", GOOD("/run/b/s")));
        run_until_told(5);

        ck_assert_str_eq(story.bytes, "<one CR> [true /run/a/s] [true /run/b/s] <no CR> " DEFAULTS);
        tear_down();
}
END_TEST

START_TEST(a_cr_of_a_megabyte_is_read_from_list_and_watch)
{
        _cleanup_(free) char *filler = xcalloc(1 << 20, 1);
        _cleanup_(free) char *list = NULL, *line = NULL;
        struct stub_answer answers[] = { { 200 }, STREAM };

        memset(filler, 'x', (1 << 20) - 1);
        list = xasprintf("{\"kind\":\"KubeVirtList\",\"metadata\":{\"resourceVersion\":\"10\"},"
                         "\"items\":[{\"metadata\":{" NAME(
                                 "a") ",\"managedFields\":[{\"f\":"
                                      "\"%s\"}]},\"spec\":{\"configuration\":{"
                                      "\"confidentialCompute\":{\"tdx\":"
                                      "{\"attestation\":" GOOD("/run/a/s") "}}}}}]}",
                         filler);
        line = xasprintf("{\"type\":\"MODIFIED\",\"object\":{\"metadata\":{" NAME(
                                 "a") ",\"resourceVersion\":\"11\",\"managedFields\":[{\"f\":\"%"
                                      "s\"}]},\"spec\":"
                                      "{\"configuration\":{\"confidentialCompute\":{\"tdx\":{"
                                      "\"attestation\":" GOOD("/run/b/s") "}}}}}}\n",
                         filler);
        answers[0].body = list;

        set_up(answers, 2);
        stub_run_until_requests(&server, 2);
        send_line(line);
        run_until_told(3);

        ck_assert_str_eq(story.bytes, "<one CR> [true /run/a/s] [true /run/b/s] ");
        tear_down();
}
END_TEST

/* ---- bad values ---- */

START_TEST(a_bad_value_keeps_the_previous_one_until_it_is_corrected)
{
        static const struct stub_answer answers[] = { LIST("10", CR("a", GOOD("/run/a/s"))),
                                                      STREAM };

        set_up(answers, 2);
        stub_run_until_requests(&server, 2);
        send_line(LINE("MODIFIED", "11", "a",
                       "{\"enforced\":\"no\",\"qgsSocketPath\":\"/run/b/s\"}"));
        run_until_told(4);
        /* The same trouble again, then another one. */
        send_line(
                LINE("MODIFIED", "12", "a", "{\"enforced\":\"no\",\"qgsSocketPath\":\"/run/b/s\"}")
                        LINE("MODIFIED", "13", "a", GOOD("/etc/s")));
        run_until_told(6);
        send_line(LINE("MODIFIED", "14", "a", GOOD("/run/b/s")));
        run_until_told(8);

        ck_assert_str_eq(story.bytes, "<one CR> [true /run/a/s] "
                                      "<invalid> [true! /run/b/s] "
                                      "<invalid> [true /run/b/s!] "
                                      "<one CR> [true /run/b/s] ");
        ck_assert_ptr_nonnull(strstr(
                texts.bytes, "a value of KubeVirt CR ns/a is refused, its previous value stays "
                             "in force, the rest of the CR is followed: " KUBEVIRT_ENFORCED_FIELD
                             ": \"no\" is not a boolean"));
        ck_assert_ptr_nonnull(strstr(texts.bytes, "is followed: " KUBEVIRT_QGS_SOCKET_FIELD
                                                  ": \"/etc/s\" is shared"));
        tear_down();
}
END_TEST

START_TEST(one_change_that_enforces_and_moves_to_a_refused_path_enforces)
{
        static const struct stub_answer answers[] = {
                LIST("10", CR("a", "{\"enforced\":false,\"qgsSocketPath\":\"/run/a/s\"}")), STREAM
        };

        set_up(answers, 2);
        stub_run_until_requests(&server, 2);
        send_line(LINE("MODIFIED", "11", "a", GOOD("/etc/s")));
        run_until_told(4);

        ck_assert_str_eq(story.bytes, "<one CR> [false /run/a/s] <invalid> [true /run/a/s!] ");
        tear_down();
}
END_TEST

START_TEST(what_is_enforced_beside_a_refused_path_is_in_force_from_the_start)
{
        static const struct stub_answer answers[] = { LIST("10", CR("a", GOOD("/etc/s"))), STREAM };

        set_up(answers, 2);
        stub_run_until_requests(&server, 2);

        ck_assert_str_eq(story.bytes, "<invalid> [true " KUBEVIRT_QGS_SOCKET "!] ");
        tear_down();
}
END_TEST

START_TEST(a_cr_with_a_wrong_parent_of_both_fields_keeps_both_and_is_reported_once)
{
        static const struct stub_answer answers[] = { LIST("10", CR("a", GOOD("/run/a/s"))),
                                                      STREAM };

        set_up(answers, 2);
        stub_run_until_requests(&server, 2);
        send_line(LINE("MODIFIED", "11", "a", "7"));
        run_until_told(4);
        send_line(LINE("MODIFIED", "12", "a", "{\"enforced\":0,\"qgsSocketPath\":0}"));
        run_until_told(6);

        ck_assert_str_eq(story.bytes, "<one CR> [true /run/a/s] <invalid> [true! /run/a/s!] "
                                      "<invalid> [true! /run/a/s!] ");
        ck_assert_ptr_nonnull(strstr(texts.bytes, "KubeVirt CR ns/a is refused, the last values "
                                                  "stay in force: " KUBEVIRT_ATTESTATION_FIELD
                                                  ": 7 is not an object; correct or remove it\n"));
        ck_assert_ptr_nonnull(strstr(texts.bytes, "both values of KubeVirt CR ns/a are refused"));
        tear_down();
}
END_TEST

/* ---- after an earlier run ---- */

static const struct kubevirt_attestation known_before = { .is_enforced = true,
                                                          .qgs_socket = (char *)"/run/k/s" };

START_TEST(a_refused_field_at_the_start_has_the_value_of_the_last_run)
{
        static const struct stub_answer answers[] = { LIST("10", CR("a", BAD)), STREAM };

        last_known = &known_before;
        set_up(answers, 2);
        stub_run_until_requests(&server, 2);
        send_line(LINE("MODIFIED", "11", "a", "{\"enforced\":false,\"qgsSocketPath\":7}"));
        run_until_told(4);
        ck_assert_str_eq(story.bytes, "<invalid> [true! " KUBEVIRT_QGS_SOCKET "] "
                                      "<invalid> [false " KUBEVIRT_QGS_SOCKET "!] ");
        tear_down();
}
END_TEST

START_TEST(what_the_last_run_knew_is_in_force_while_the_cr_may_not_be_read)
{
        static const struct stub_answer answers[] = { FORBIDDEN, LIST("10", ""), STREAM };

        last_known = &known_before;
        set_up_timed(answers, 3, &trusting);
        run_until_told(5);

        /* No CR is something else: then the defaults are. */
        ck_assert_str_eq(story.bytes,
                         "<forbidden> [true /run/k/s] <no CR> " DEFAULTS "<readable> ");
        tear_down();
}
END_TEST

START_TEST(two_crs_at_the_start_leave_what_the_last_run_knew)
{
        static const struct stub_answer answers[] = {
                LIST("10", CR("a", GOOD("/run/a/s")) "," CR("b", "null")), STREAM
        };

        last_known = &known_before;
        set_up(answers, 2);
        stub_run_until_requests(&server, 2);

        ck_assert_str_eq(story.bytes, "<several> [true /run/k/s] ");
        tear_down();
}
END_TEST

START_TEST(a_bad_value_from_the_start_leaves_its_default)
{
        static const struct stub_answer answers[] = { LIST("10", CR("a", BAD)), STREAM };

        set_up(answers, 2);
        stub_run_until_requests(&server, 2);
        ck_assert(settings_is_known(settings));
        send_line(LINE("MODIFIED", "11", "a", GOOD("/run/a/s")));
        run_until_told(4);

        ck_assert_str_eq(story.bytes, "<invalid> " KEPT "<one CR> [true /run/a/s] ");
        tear_down();
}
END_TEST

START_TEST(a_bad_cr_after_a_deletion_does_not_bring_back_old_values)
{
        static const struct stub_answer answers[] = { LIST("10", CR("a", GOOD("/run/a/s"))),
                                                      STREAM };

        set_up(answers, 2);
        stub_run_until_requests(&server, 2);
        send_line(LINE("DELETED", "11", "a", GOOD("/run/a/s")) LINE("ADDED", "12", "a", BAD));
        run_until_told(6);

        ck_assert_str_eq(story.bytes,
                         "<one CR> [true /run/a/s] <no CR> " DEFAULTS "<invalid> " KEPT);
        ck_assert_str_eq(settings_in_force(settings)->qgs_socket, KUBEVIRT_QGS_SOCKET);
        tear_down();
}
END_TEST

/* ---- life ---- */

START_TEST(callbacks_may_be_left_out)
{
        static const struct stub_answer answers[] = {
                { 503 }, FORBIDDEN, LIST("10", CR("a", GOOD("/run/a/s"))), STREAM
        };

        set_up_timed(answers, 4, &trusting);
        settings_free(settings);
        settings = settings_new(&(struct settings_options){
                .loop = &loop, .api = api, .check_path = check_path, .timing = trusting });
        settings_start(settings);
        stub_run_until_requests(&server, 4);

        ck_assert_str_eq(settings_in_force(settings)->qgs_socket, "/run/a/s");
        tear_down();
}
END_TEST

START_TEST(nothing_is_reported_after_it_is_freed)
{
        static const struct stub_answer answers[] = { LIST("10", CR("a", GOOD("/run/a/s"))),
                                                      STREAM };

        set_up(answers, 2);
        settings_free(settings);
        settings = NULL;
        for (unsigned i = 0; i < 20; ++i)
                uv_run(&loop, UV_RUN_NOWAIT);

        ck_assert_uint_eq(n_told, 0);
        tear_down();
}
END_TEST

START_TEST(every_news_has_a_name_and_the_bad_ones_are_warnings)
{
        for (unsigned news = 0; news <= SETTINGS_READABLE; ++news)
                ck_assert_str_ne(settings_news_name(news), "unknown");
        ck_assert_str_eq(settings_news_name(SETTINGS_READABLE + 1), "unknown");
        ck_assert(settings_news_is_warning(SETTINGS_INVALID));
        ck_assert(settings_news_is_warning(SETTINGS_SEVERAL));
        ck_assert(settings_news_is_warning(SETTINGS_FORBIDDEN));
        ck_assert(settings_news_is_warning(SETTINGS_UNREACHABLE));
        ck_assert(!settings_news_is_warning(SETTINGS_NOT_SERVED));
        ck_assert(!settings_news_is_warning(SETTINGS_NO_CR));
        ck_assert(!settings_news_is_warning(SETTINGS_ONE_CR));
        ck_assert(!settings_news_is_warning(SETTINGS_READABLE));
}
END_TEST

SUITE("settings", without_a_crd_the_defaults_are_known_and_reported_once,
      kubevirt_may_be_installed_later, without_a_cr_the_defaults_are_known,
      without_permission_the_defaults_are_known_and_reported_once, permission_may_come_later,
      an_api_server_that_does_not_answer_makes_nothing_known, the_values_of_one_cr_are_in_force,
      a_cr_with_the_default_values_makes_them_known, a_change_is_in_force_when_its_event_comes,
      a_change_elsewhere_in_the_cr_is_ignored, a_cr_that_is_being_deleted_counts_until_it_is_gone,
      a_cr_of_a_megabyte_is_read_from_list_and_watch,
      a_bad_value_keeps_the_previous_one_until_it_is_corrected,
      one_change_that_enforces_and_moves_to_a_refused_path_enforces,
      what_is_enforced_beside_a_refused_path_is_in_force_from_the_start,
      a_cr_with_a_wrong_parent_of_both_fields_keeps_both_and_is_reported_once,
      a_refused_field_at_the_start_has_the_value_of_the_last_run,
      what_the_last_run_knew_is_in_force_while_the_cr_may_not_be_read,
      two_crs_at_the_start_leave_what_the_last_run_knew,
      a_bad_value_from_the_start_leaves_its_default,
      a_bad_cr_after_a_deletion_does_not_bring_back_old_values, callbacks_may_be_left_out,
      nothing_is_reported_after_it_is_freed, every_news_has_a_name_and_the_bad_ones_are_warnings);
