/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/event.h"

#include "base/json.h"
#include "base/memory.h"
#include "kube/api.h"
#include "kube/credentials.h"
#include "unit/stub-http.h"
#include "unit/suite.h"

static uv_loop_t loop;
static struct stub_server server;
static struct http *http;
static struct kube_api *api;
static struct kube_events *events;

static void set_up(const struct stub_answer *answers, size_t n_answers)
{
        ck_assert_int_eq(uv_loop_init(&loop), 0);
        stub_start(&server, &loop, answers, n_answers);
        http = stub_client(&server);
        api = kube_api_new(http);
        events = kube_events_new(&loop, api, "node1");
        kube_events_set_node_uid(events, "uid-1");
}

static void tear_down(void)
{
        kube_events_free(events);
        kube_api_free(api);
        http_free(http);
        stub_stop(&server);
}

START_TEST(the_object_is_what_the_api_wants)
{
        const struct event event = { .node_name = "node1",
                                     .node_uid = "uid-1",
                                     .is_warning = true,
                                     .reason = "QGSNotAnswering",
                                     .message = "nobody listens",
                                     .time_ns = 1700000000123456789 };
        _cleanup_(json) struct json *object = event_build(&event);
        _cleanup_(free) char *text = json_print(object);

        ck_assert_str_eq(
                text,
                "{\"apiVersion\":\"v1\",\"kind\":\"Event\","
                "\"metadata\":{\"name\":\"node1.17979cfe3d85cd15\",\"namespace\":\"default\"},"
                "\"involvedObject\":{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"name\":\"node1\","
                "\"uid\":\"uid-1\"},"
                "\"reason\":\"QGSNotAnswering\",\"message\":\"nobody listens\","
                "\"type\":\"Warning\","
                "\"source\":{\"component\":\"dra-driver-tdx\",\"host\":\"node1\"},"
                "\"reportingComponent\":\"dra-driver-tdx\",\"reportingInstance\":\"node1\","
                "\"firstTimestamp\":\"2023-11-14T22:13:20Z\","
                "\"lastTimestamp\":\"2023-11-14T22:13:20Z\",\"count\":1}");
}
END_TEST

START_TEST(a_long_message_is_cut_at_a_character)
{
        char message[2048] = { 0 };
        struct event event = { .node_name = "n", .reason = "R", .message = message };
        _cleanup_(json) struct json *object = NULL;
        const char *cut;

        message[0] = '\xff';
        for (size_t i = 1; i + 2 < sizeof(message); i += 2)
                memcpy(message + i, "\xc3\xa4", 2);
        object = event_build(&event);
        cut = json_string(json_get(object, "message"));

        ck_assert_uint_eq(strlen(cut), 1023);
        ck_assert_uint_eq(text_utf8_prefix(cut, 1023), 1023);
        ck_assert_int_eq(cut[0], '?');
        ck_assert_str_eq(json_string(json_get(object, "type")), "Normal");
}
END_TEST

START_TEST(the_name_stays_valid_for_the_longest_node_name)
{
        char node[254] = { 0 };
        struct event event = {
                .node_name = node, .reason = "R", .message = "m", .time_ns = UINT64_MAX
        };
        _cleanup_(json) struct json *object = NULL;

        memset(node, 'a', 253);
        node[199] = '.';
        object = event_build(&event);

        ck_assert(
                text_is_dns_subdomain(json_string(json_get(json_get(object, "metadata"), "name"))));
}
END_TEST

START_TEST(events_are_posted_in_order_under_names_of_their_own)
{
        static const struct stub_answer answers[] = { { 201, NULL, "{\"kind\":\"Event\"}" } };

        set_up(answers, 1);
        kube_events_post(events, true, "First", "1");
        kube_events_post(events, false, "Second", "2");
        stub_run_until_requests(&server, 2);

        ck_assert_str_eq(server.targets[0], "POST /api/v1/namespaces/default/events");
        ck_assert_ptr_nonnull(strstr(server.bodies[0], "\"reason\":\"First\""));
        ck_assert_ptr_nonnull(strstr(server.bodies[0], "\"uid\":\"uid-1\""));
        ck_assert_ptr_nonnull(strstr(server.bodies[1], "\"reason\":\"Second\""));
        ck_assert_int_ne(strncmp(strstr(server.bodies[0], "\"name\""),
                                 strstr(server.bodies[1], "\"name\""), 30),
                         0);
        tear_down();
}
END_TEST

START_TEST(an_event_is_tried_three_times_and_then_given_up)
{
        static const struct stub_answer answers[] = {
                { 503 }, { 503 }, { 503 }, { 201, NULL, "{\"kind\":\"Event\"}" }
        };

        set_up(answers, 4);
        kube_events_post(events, true, "Lost", "1");
        kube_events_post(events, true, "Next", "2");
        stub_run_until_requests(&server, 4);

        for (size_t i = 0; i < 3; ++i)
                ck_assert_str_eq(server.bodies[i], server.bodies[0]);
        ck_assert_ptr_nonnull(strstr(server.bodies[0], "\"reason\":\"Lost\""));
        ck_assert_ptr_nonnull(strstr(server.bodies[3], "\"reason\":\"Next\""));
        tear_down();
}
END_TEST

START_TEST(a_refused_event_is_not_tried_again)
{
        static const struct stub_answer answers[] = { { 403 },
                                                      { 201, NULL, "{\"kind\":\"Event\"}" } };

        set_up(answers, 2);
        kube_events_post(events, true, "Refused", "1");
        kube_events_post(events, true, "Next", "2");
        stub_run_until_requests(&server, 2);

        ck_assert_ptr_nonnull(strstr(server.bodies[1], "\"reason\":\"Next\""));
        tear_down();
}
END_TEST

START_TEST(a_flood_is_cut_to_sixteen)
{
        static const struct stub_answer answers[] = { { 201, NULL, "{\"kind\":\"Event\"}" } };

        set_up(answers, 1);
        for (unsigned i = 0; i < 1000; ++i)
                kube_events_post(events, true, "Flood", "m");
        stub_run_until_requests(&server, 16);
        kube_events_post(events, true, "Last", "m");
        stub_run_until_requests(&server, 17);

        ck_assert_ptr_nonnull(strstr(server.bodies[15], "\"reason\":\"Flood\""));
        ck_assert_ptr_nonnull(strstr(server.bodies[16], "\"reason\":\"Last\""));
        tear_down();
}
END_TEST

START_TEST(what_waits_is_freed_with_the_poster)
{
        static const struct stub_answer answers[] = { { 0 } };

        set_up(answers, 1);
        kube_events_post(events, true, "First", "m");
        kube_events_post(events, true, "Second", "m");
        stub_run_until_requests(&server, 1);

        tear_down();
}
END_TEST

SUITE("event", the_object_is_what_the_api_wants, a_long_message_is_cut_at_a_character,
      the_name_stays_valid_for_the_longest_node_name,
      events_are_posted_in_order_under_names_of_their_own,
      an_event_is_tried_three_times_and_then_given_up, a_refused_event_is_not_tried_again,
      a_flood_is_cut_to_sixteen, what_waits_is_freed_with_the_poster);
