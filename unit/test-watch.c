/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/watch.h"

#include "base/json.h"
#include "base/memory.h"
#include "kube/credentials.h"
#include "kube/lines.h"
#include "unit/stub-http.h"
#include "unit/suite.h"

#include <errno.h>

static uv_loop_t loop;
static struct stub_server server;
static struct http *http;
static struct kube_api *api;
static struct kube_watch *watch;
static struct text story; /* what the callbacks were told: "list[a,b] added(c) trouble(gone) ..." */
static unsigned n_told;
static void (*meddle)(void); /* called inside each callback, when set */

static void told(void)
{
        ++n_told;
        if (meddle)
                meddle();
}

static const char *name_of(const struct json *object)
{
        return json_string(json_get(json_get(object, "metadata"), "name"));
}

static void on_list(void *owner, const struct json *items)
{
        ck_assert(json_is_array(items));
        text_add(&story, "list[");
        for (const struct json *item = json_first(items); item; item = json_next(item))
                text_addf(&story, "%s%s", name_of(item), json_next(item) ? "," : "");
        text_add(&story, "] ");
        told();
}

static void on_event(void *owner, enum kube_watch_type type, const struct json *object)
{
        static const char *const names[] = { "added", "modified", "deleted" };

        text_addf(&story, "%s(%s) ", names[type], name_of(object));
        told();
}

static void on_trouble(void *owner, enum kube_outcome outcome, const struct error *error)
{
        ck_assert_int_lt(error->code, 0);
        text_addf(&story, "trouble(%s) ", kube_outcome_name(outcome));
        told();
}

static void on_recovered(void *owner)
{
        text_add(&story, "recovered ");
        told();
}

static const struct kube_watch_callbacks callbacks = { on_list, on_event, on_trouble,
                                                       on_recovered };

/* Retries within milliseconds; a watch must be proved by an event, unless short_ms says otherwise.
 */
static const struct kube_watch_timing quick = { .first_ms = 1,
                                                .cap_ms = 5,
                                                .not_served_ms = 3,
                                                .short_ms = 100000,
                                                .opening_ms = 100000,
                                                .silence_ms = 100000 };

static void set_up_timed(const struct stub_answer *answers, size_t n_answers,
                         const struct kube_watch_timing *timing)
{
        struct kube_watch_options options = { .path = KUBE_PATH_SLICES,
                                              .field_selector = "spec.driver=d,spec.nodeName=n",
                                              .list_kind = "ResourceSliceList",
                                              .timing = *timing };

        ck_assert_int_eq(uv_loop_init(&loop), 0);
        stub_start(&server, &loop, answers, n_answers);
        http = stub_client(&server);
        api = kube_api_new(http);
        watch = kube_watch_new(&loop, api, &options, &callbacks, NULL);
        kube_watch_start(watch);
}

static void set_up(const struct stub_answer *answers, size_t n_answers)
{
        set_up_timed(answers, n_answers, &quick);
}

static void tear_down(void)
{
        kube_watch_free(watch);
        kube_api_free(api);
        http_free(http);
        stub_stop(&server);
        text_deinit(&story);
}

static void run_until_told(unsigned n)
{
        while (n_told < n) {
                unsigned before = n_told, changed = 0;

                stub_set_deadline(&server);
                while (!changed) {
                        uv_run(&loop, UV_RUN_ONCE);
                        changed = n_told != before;
                }
                uv_timer_stop(&server.tick);
        }
}

#define LIST(version, items)                                                                 \
        {                                                                                    \
                200, NULL,                                                                   \
                        "{\"kind\":\"ResourceSliceList\",\"metadata\":{\"resourceVersion\":" \
                        "\"" version "\"},\"items\":" items "}"                              \
        }
#define ITEM(name) "{\"metadata\":{\"name\":\"" name "\"}}"
#define LINE(type, name, version)                                           \
        "{\"type\":\"" type "\",\"object\":{\"metadata\":{\"name\":\"" name \
        "\",\"resourceVersion\":\"" version "\"}}}\n"
#define STREAM(lines)                               \
        {                                           \
                200, NULL, lines, .is_stream = true \
        }
#define GONE_LINE "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"code\":410}}\n"

START_TEST(a_list_is_followed_by_a_watch_from_its_version)
{
        static const struct stub_answer answers[] = {
                LIST("10", "[" ITEM("a") "," ITEM("b") "]"),
                STREAM(LINE("ADDED", "c", "11") LINE("MODIFIED", "a", "12")
                               LINE("BOOKMARK", "", "13") LINE("DELETED", "b", "14")),
        };

        set_up(answers, 2);
        run_until_told(4);

        ck_assert_str_eq(story.bytes, "list[a,b] added(c) modified(a) deleted(b) ");
        ck_assert_str_eq(server.targets[0], "GET /apis/resource.k8s.io/v1/resourceslices?limit=16"
                                            "&fieldSelector=spec.driver%3Dd%2Cspec.nodeName%3Dn");
        ck_assert_ptr_nonnull(strstr(server.targets[1], "?watch=1&allowWatchBookmarks=true&"));
        ck_assert_ptr_nonnull(strstr(server.targets[1], "&resourceVersion=10&fieldSelector=spec."));
        tear_down();
}
END_TEST

START_TEST(the_server_is_asked_to_end_a_watch_in_30_to_60_minutes)
{
        static const struct stub_answer answers[] = { LIST("10", "[]"), STREAM(NULL) };
        const char *seconds;

        set_up(answers, 2);
        stub_run_until_requests(&server, 2);
        seconds = strstr(server.targets[1], "timeoutSeconds=");

        ck_assert_ptr_nonnull(seconds);
        ck_assert_uint_ge(strtoul(seconds + strlen("timeoutSeconds="), NULL, 10), 1800);
        ck_assert_uint_le(strtoul(seconds + strlen("timeoutSeconds="), NULL, 10), 3600);
        tear_down();
}
END_TEST

START_TEST(a_list_without_items_is_an_empty_one)
{
        static const struct stub_answer answers[] = { LIST("10", "null"), STREAM(NULL) };

        set_up(answers, 2);
        run_until_told(1);

        ck_assert_str_eq(story.bytes, "list[] ");
        tear_down();
}
END_TEST

#define PAGE(version, more, items)                                                           \
        {                                                                                    \
                200, NULL,                                                                   \
                        "{\"kind\":\"ResourceSliceList\",\"metadata\":{\"resourceVersion\":" \
                        "\"" version "\",\"continue\":\"" more "\"},\"items\":" items "}"    \
        }

START_TEST(pages_are_reported_as_one_list)
{
        static const struct stub_answer answers[] = { PAGE("10", "t=1", "[" ITEM("a") "]"),
                                                      PAGE("10", "t2", "[" ITEM("b") "]"),
                                                      LIST("10", "[" ITEM("c") "]"), STREAM(NULL) };

        set_up(answers, 4);
        stub_run_until_requests(&server, 4);

        ck_assert_str_eq(story.bytes, "list[a,b,c] ");
        ck_assert_ptr_nonnull(strstr(server.targets[1], "?limit=16&continue=t%3D1&"));
        ck_assert_ptr_nonnull(strstr(server.targets[2], "&continue=t2&"));
        tear_down();
}
END_TEST

START_TEST(a_continue_token_that_expired_begins_the_list_again)
{
        static const struct stub_answer answers[] = { PAGE("10", "t1", "[" ITEM("a") "]"),
                                                      { 410 },
                                                      LIST("12", "[" ITEM("b") "]"),
                                                      STREAM(NULL) };

        set_up(answers, 4);
        stub_run_until_requests(&server, 4);

        ck_assert_str_eq(story.bytes, "list[b] ");
        ck_assert_ptr_null(strstr(server.targets[2], "continue"));
        tear_down();
}
END_TEST

static const struct kube_watch_timing never = { .first_ms = 100000,
                                                .cap_ms = 100000,
                                                .short_ms = 100000 };

START_TEST(a_list_whose_pages_do_not_end_is_cut)
{
        static const struct stub_answer answers[] = { PAGE("10", "again", "[" ITEM("a") "]") };

        set_up_timed(answers, 1, &never);
        run_until_told(1);

        ck_assert_str_eq(story.bytes, "trouble(try again) ");
        ck_assert_uint_eq(server.n_requests, 101);
        tear_down();
}
END_TEST

START_TEST(a_list_that_would_take_too_much_memory_is_cut)
{
        static const size_t n = 1900000;
        static const char head[] = "{\"kind\":\"ResourceSliceList\",\"metadata\":{"
                                   "\"resourceVersion\":\"10\",\"continue\":\"t\"},\"items\":[";
        _cleanup_(free) char *dense = xcalloc(1, n), *wide = xcalloc(1, n);
        const struct stub_answer answers[] = { { 200, NULL, dense }, { 200, NULL, wide } };

        /* 90,000 values, and one string of 1.9 MB. */
        for (size_t at = (size_t)snprintf(dense, n, "%s", head); at < 180000; at += 2)
                memcpy(dense + at, "1,", 2);
        strcat(dense, "1]}");
        memset(wide + snprintf(wide, n, "%s\"", head), 'x', n - sizeof(head) - 8);
        strcat(wide, "\"]}");
        set_up_timed(answers, 2, &never);
        run_until_told(1);

        ck_assert_str_eq(story.bytes, "trouble(try again) ");
        ck_assert_uint_eq(server.n_requests, 7);
        tear_down();
}
END_TEST

START_TEST(a_watch_that_ends_goes_on_from_the_last_version)
{
        static const struct stub_answer answers[] = {
                LIST("10", "[]"),
                STREAM(LINE("ADDED", "a", "11") LINE("BOOKMARK", "", "15")),
                STREAM(LINE("ADDED", "b", "16")),
        };

        set_up(answers, 3);
        run_until_told(2);
        stub_send(server.last, "");
        run_until_told(3);

        ck_assert_str_eq(story.bytes, "list[] added(a) added(b) ");
        ck_assert_ptr_nonnull(strstr(server.targets[2], "&resourceVersion=15&"));
        tear_down();
}
END_TEST

START_TEST(a_standing_watch_that_breaks_is_resumed_without_a_word)
{
        static const struct stub_answer answers[] = {
                LIST("10", "[]"),
                STREAM(LINE("ADDED", "a", "11")),
                STREAM(LINE("ADDED", "b", "12")),
        };

        set_up(answers, 3);
        run_until_told(2);
        stub_close(server.last);
        run_until_told(3);

        ck_assert_str_eq(story.bytes, "list[] added(a) added(b) ");
        ck_assert_ptr_nonnull(strstr(server.targets[2], "&resourceVersion=11&"));
        tear_down();
}
END_TEST

/* Each WATCH ends as the second answer says: the next three wait, at least half of 40 + 80 + 80 ms.
 */
static void check_backoff(const struct stub_answer answers[2])
{
        static const struct kube_watch_timing slow = { .first_ms = 40,
                                                       .cap_ms = 80,
                                                       .short_ms = 100000 };
        uint64_t began, took;

        set_up_timed(answers, 2, &slow);
        stub_run_until_requests(&server, 2);
        began = uv_hrtime();
        stub_run_until_requests(&server, 5);
        took = uv_hrtime() - began;

        ck_assert_uint_ge(took, 95000000);
}

START_TEST(watches_that_end_at_once_are_retried_with_backoff_and_never_listed_again)
{
        static const struct stub_answer answers[] = { LIST("10", "[]"), { 200, NULL, "" } };

        check_backoff(answers);
        for (size_t i = 1; i < 5; ++i)
                ck_assert_ptr_nonnull(strstr(server.targets[i], "watch=1"));
        tear_down();
}
END_TEST

/* A proxy may end each watch right after an event: an event must not make up for that. */
START_TEST(watches_that_end_right_after_an_event_are_retried_with_backoff)
{
        static const struct stub_answer answers[] = { LIST("10", "[]"),
                                                      { 200, NULL, LINE("BOOKMARK", "", "11") } };

        check_backoff(answers);
        tear_down();
}
END_TEST

START_TEST(a_version_that_is_gone_right_after_an_event_again_and_again_is_not_hammered)
{
        static const struct stub_answer answers[] = {
                LIST("10", "[]"), STREAM(LINE("ADDED", "a", "11") GONE_LINE),
                LIST("20", "[]"), STREAM(LINE("ADDED", "b", "21") GONE_LINE),
                LIST("30", "[]"), STREAM(LINE("ADDED", "c", "31")),
        };

        set_up(answers, 6);
        run_until_told(8);

        ck_assert_str_eq(story.bytes, "list[] added(a) list[] added(b) trouble(gone) list[] "
                                      "recovered added(c) ");
        tear_down();
}
END_TEST

START_TEST(a_version_that_is_gone_is_listed_again_at_once)
{
        static const struct stub_answer answers[] = {
                LIST("10", "[]"),
                { 410, NULL, "{\"kind\":\"Status\",\"code\":410}" },
                LIST("20", "[" ITEM("a") "]"),
                STREAM(LINE("ADDED", "b", "21")),
        };

        set_up_timed(answers, 4, &never);
        run_until_told(3);

        ck_assert_str_eq(story.bytes, "list[] list[a] added(b) ");
        ck_assert_ptr_nonnull(strstr(server.targets[3], "&resourceVersion=20&"));
        tear_down();
}
END_TEST

START_TEST(a_server_that_always_says_gone_is_not_hammered)
{
        static const struct stub_answer answers[] = {
                LIST("10", "[]"),  STREAM(GONE_LINE), LIST("20", "[]"),
                STREAM(GONE_LINE), LIST("30", "[]"),  STREAM(LINE("ADDED", "a", "31")),
        };

        set_up(answers, 6);
        run_until_told(6);

        ck_assert_str_eq(story.bytes, "list[] list[] trouble(gone) list[] recovered added(a) ");
        tear_down();
}
END_TEST

START_TEST(trouble_is_reported_once_until_it_changes)
{
        static const struct stub_answer answers[] = {
                { 503 },
                { 503 },
                { 503 },
                { 403 },
                { 403 },
                /* Twice: curl itself tries once more on a fresh connection. */
                { .is_closed = true },
                { .is_closed = true },
                LIST("10", "[" ITEM("a") "]"),
                STREAM(LINE("ADDED", "b", "11")),
        };

        set_up(answers, 9);
        run_until_told(6);

        ck_assert_str_eq(story.bytes, "trouble(try again) trouble(forbidden) trouble(try again) "
                                      "list[a] recovered added(b) ");
        tear_down();
}
END_TEST

START_TEST(what_is_not_served_is_tried_again_later)
{
        static const struct stub_answer answers[] = {
                { 404, NULL, "404 page not found\n" },
                { 404, NULL, "404 page not found\n" },
                LIST("10", "[]"),
                STREAM(LINE("ADDED", "a", "11")),
        };
        static const struct kube_watch_timing timing = {
                .first_ms = 100000, .cap_ms = 100000, .not_served_ms = 2, .short_ms = 100000
        };

        set_up_timed(answers, 4, &timing);
        run_until_told(4);

        ck_assert_str_eq(story.bytes, "trouble(not served) list[] recovered added(a) ");
        tear_down();
}
END_TEST

START_TEST(a_watch_that_fails_is_resumed_and_not_listed_again)
{
        static const struct stub_answer answers[] = {
                LIST("10", "[]"),
                { 503 },
                { 429, "Retry-After: 0\r\n", NULL },
                STREAM(LINE("ADDED", "a", "11")),
        };

        set_up(answers, 4);
        run_until_told(4);

        ck_assert_str_eq(story.bytes, "list[] trouble(try again) recovered added(a) ");
        ck_assert_ptr_nonnull(strstr(server.targets[3], "&resourceVersion=10&"));
        tear_down();
}
END_TEST

START_TEST(a_watch_that_is_refused_begins_again_with_a_list)
{
        static const struct stub_answer answers[] = {
                LIST("10", "[]"),
                { 403 },
                LIST("20", "[]"),
                STREAM(LINE("ADDED", "a", "21")),
        };

        set_up(answers, 4);
        run_until_told(5);

        ck_assert_str_eq(story.bytes, "list[] trouble(forbidden) list[] recovered added(a) ");
        tear_down();
}
END_TEST

START_TEST(garbage_in_a_watch_is_made_good_by_a_list)
{
        static const char *const garbage[] = {
                "<html>\n",
                "{\"type\":\"ADDED\"}\n",
                "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"code\":500}}\n",
        };

        for (size_t i = 0; i < array_size(garbage); ++i) {
                const struct stub_answer answers[] = {
                        LIST("10", "[]"),
                        STREAM(garbage[i]),
                        LIST("20", "[" ITEM("a") "]"),
                        STREAM(LINE("ADDED", "b", "21")),
                };

                n_told = 0;
                set_up(answers, 4);
                run_until_told(5);
                ck_assert_str_eq(story.bytes,
                                 "list[] trouble(try again) list[a] recovered added(b) ");
                tear_down();
        }
}
END_TEST

START_TEST(a_line_beyond_the_limit_is_made_good_by_a_list)
{
        _cleanup_(free) char *line = xmalloc(WATCH_LINE_MAX + 2);
        const struct stub_answer answers[] = {
                LIST("10", "[]"),
                STREAM(line),
                LIST("20", "[]"),
                STREAM(LINE("ADDED", "b", "21")),
        };

        memset(line, 'x', WATCH_LINE_MAX + 1);
        line[WATCH_LINE_MAX + 1] = '\0';
        set_up(answers, 4);
        run_until_told(5);

        ck_assert_str_eq(story.bytes, "list[] trouble(try again) list[] recovered added(b) ");
        tear_down();
}
END_TEST

START_TEST(a_type_of_a_newer_server_is_passed_over)
{
        static const struct stub_answer answers[] = {
                LIST("10", "[]"),
                STREAM("{\"type\":\"NEWER\",\"object\":{}}\n" LINE("ADDED", "a", "11")),
        };

        set_up(answers, 2);
        run_until_told(2);

        ck_assert_str_eq(story.bytes, "list[] added(a) ");
        tear_down();
}
END_TEST

START_TEST(a_watch_proves_itself_by_lasting)
{
        static const struct stub_answer answers[] = { { 503 }, LIST("10", "[]"), STREAM(NULL) };
        static const struct kube_watch_timing timing = { .first_ms = 1,
                                                         .cap_ms = 5,
                                                         .short_ms = 20 };

        set_up_timed(answers, 3, &timing);
        run_until_told(3);

        ck_assert_str_eq(story.bytes, "trouble(try again) list[] recovered ");
        tear_down();
}
END_TEST

START_TEST(a_watch_that_is_not_answered_is_given_up)
{
        static const struct stub_answer answers[] = { LIST("10", "[]"),
                                                      { 0 },
                                                      STREAM(LINE("ADDED", "a", "11")) };
        static const struct kube_watch_timing timing = {
                .first_ms = 1, .cap_ms = 5, .short_ms = 100000, .opening_ms = 50
        };

        set_up_timed(answers, 3, &timing);
        run_until_told(4);

        ck_assert_str_eq(story.bytes, "list[] trouble(try again) recovered added(a) ");
        tear_down();
}
END_TEST

START_TEST(a_silent_watch_is_renewed_from_where_it_was)
{
        static const struct stub_answer answers[] = { LIST("10", "[]"),
                                                      STREAM(LINE("ADDED", "a", "11")),
                                                      STREAM(LINE("ADDED", "b", "12")) };
        static const struct kube_watch_timing timing = {
                .first_ms = 100000, .cap_ms = 100000, .short_ms = 100000, .silence_ms = 30
        };

        set_up_timed(answers, 3, &timing);
        run_until_told(3);

        ck_assert_str_eq(story.bytes, "list[] added(a) added(b) ");
        ck_assert_ptr_nonnull(strstr(server.targets[2], "&resourceVersion=11&"));
        tear_down();
}
END_TEST

START_TEST(a_resync_lists_again_at_once)
{
        static const struct stub_answer answers[] = { LIST("10", "[]"), STREAM(NULL),
                                                      LIST("20", "[" ITEM("a") "]"), STREAM(NULL) };

        set_up(answers, 4);
        stub_run_until_requests(&server, 2);
        kube_watch_resync(watch);
        stub_run_until_requests(&server, 4);

        ck_assert_str_eq(story.bytes, "list[] list[a] ");
        ck_assert_ptr_nonnull(strstr(server.targets[3], "&resourceVersion=20&"));
        tear_down();
}
END_TEST

static unsigned stop_at;

static void stop_at_nth(void)
{
        if (n_told != stop_at)
                return;
        kube_watch_stop(watch);
        kube_watch_resync(watch);
}

START_TEST(nothing_is_reported_after_a_stop_inside_any_callback)
{
        static const struct stub_answer answers[] = {
                { 503 },
                LIST("10", "[]"),
                STREAM(LINE("ADDED", "a", "11") LINE("ADDED", "b", "12")),
        };
        static const char *const stories[] = {
                "trouble(try again) ",
                "trouble(try again) list[] ",
                "trouble(try again) list[] recovered ",
                "trouble(try again) list[] recovered added(a) ",
        };

        meddle = stop_at_nth;
        for (stop_at = 1; stop_at <= array_size(stories); ++stop_at) {
                n_told = 0;
                set_up(answers, 3);
                run_until_told(stop_at);
                for (unsigned i = 0; i < 20; ++i)
                        uv_run(&loop, UV_RUN_NOWAIT);

                ck_assert_str_eq(story.bytes, stories[stop_at - 1]);
                tear_down();
        }
}
END_TEST

static void resync_once(void)
{
        meddle = NULL;
        kube_watch_resync(watch);
}

START_TEST(a_resync_inside_a_callback_holds)
{
        static const struct stub_answer answers[] = { LIST("10", "[]"), LIST("20", "[]"),
                                                      STREAM(LINE("ADDED", "a", "21")) };

        meddle = resync_once;
        set_up(answers, 3);
        run_until_told(3);

        ck_assert_str_eq(story.bytes, "list[] list[] added(a) ");
        tear_down();
}
END_TEST

static void free_everything(void)
{
        meddle = NULL;
        kube_watch_free(watch);
        kube_api_free(api);
        http_free(http);
}

START_TEST(everything_may_be_freed_from_an_event)
{
        static const struct stub_answer answers[] = {
                LIST("10", "[]"),
                STREAM(LINE("ADDED", "a", "11") LINE("ADDED", "b", "12")),
        };

        set_up(answers, 2);
        run_until_told(1);
        meddle = free_everything;
        run_until_told(2);
        stub_stop(&server);

        ck_assert_str_eq(story.bytes, "list[] added(a) ");
        text_deinit(&story);
}
END_TEST

START_TEST(a_stopped_watch_may_be_started_again)
{
        static const struct stub_answer answers[] = { LIST("10", "[]"), STREAM(NULL),
                                                      LIST("20", "[]"), STREAM(NULL) };

        set_up(answers, 4);
        stub_run_until_requests(&server, 2);
        kube_watch_stop(watch);
        kube_watch_start(watch);
        stub_run_until_requests(&server, 4);

        ck_assert_str_eq(story.bytes, "list[] list[] ");
        tear_down();
}
END_TEST

SUITE("watch", a_list_is_followed_by_a_watch_from_its_version,
      the_server_is_asked_to_end_a_watch_in_30_to_60_minutes, a_list_without_items_is_an_empty_one,
      pages_are_reported_as_one_list, a_continue_token_that_expired_begins_the_list_again,
      a_list_whose_pages_do_not_end_is_cut, a_list_that_would_take_too_much_memory_is_cut,
      a_watch_that_ends_goes_on_from_the_last_version,
      a_standing_watch_that_breaks_is_resumed_without_a_word,
      watches_that_end_at_once_are_retried_with_backoff_and_never_listed_again,
      watches_that_end_right_after_an_event_are_retried_with_backoff,
      a_version_that_is_gone_right_after_an_event_again_and_again_is_not_hammered,
      a_version_that_is_gone_is_listed_again_at_once,
      a_server_that_always_says_gone_is_not_hammered, trouble_is_reported_once_until_it_changes,
      what_is_not_served_is_tried_again_later, a_watch_that_fails_is_resumed_and_not_listed_again,
      a_watch_that_is_refused_begins_again_with_a_list, garbage_in_a_watch_is_made_good_by_a_list,
      a_line_beyond_the_limit_is_made_good_by_a_list, a_type_of_a_newer_server_is_passed_over,
      a_watch_proves_itself_by_lasting, a_watch_that_is_not_answered_is_given_up,
      a_silent_watch_is_renewed_from_where_it_was, a_resync_lists_again_at_once,
      nothing_is_reported_after_a_stop_inside_any_callback, a_resync_inside_a_callback_holds,
      everything_may_be_freed_from_an_event, a_stopped_watch_may_be_started_again);
