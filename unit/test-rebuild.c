/* SPDX-License-Identifier: Apache-2.0 */
/* kubelet, the API server and the engine are stood in for here. */
#include "claims/rebuild.h"

#include "base/error.h"
#include "base/json.h"
#include "base/memory.h"
#include "claims/prepare.h"
#include "device.h"
#include "kube/api.h"
#include "ledger.h"
#include "unit/suite.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define OLD_KUBELET_MS (10 * REBUILD_SETTLE_MS)
#define HERE(devices)  "{\"allocation\":{\"devices\":{\"results\":[" devices "]}}}"
#define RESULT(pool, device)                                                 \
        "{\"request\":\"r\",\"driver\":\"tdx.kubevirt.io\",\"pool\":\"" pool \
        "\",\"device\":\"" device "\"}"
#define CDI5 "kubevirt.io/tdx=dra-tdx5"

/* Claim "default/a" has each of these devices, as kubelet lists it. */
struct listing {
        const char *devices[2];
        const char *pool; /* NULL: "here" */
        const char *cdi;  /* NULL: "" */
        bool has_no_pods;
        bool is_failed; /* kubelet does not answer */
};

static struct {
        uv_loop_t loop;
        struct ledger *ledger;
        struct rebuild *rebuild;
        struct listing listing;
        uint64_t kubelet_age_ms;
        enum kube_outcome outcome; /* of every GET */
        const char *uid;           /* with KUBE_OK: the claim's, and */
        const char *status;        /* its status */
        unsigned n_lists, n_gets, n_saves, n_changes, n_events;
} world;

struct kube_call {
        uv_timer_t timer;
        kube_on_reply *on_reply;
        void *owner;
};

static void on_call_closed(uv_handle_t *handle)
{
        free(handle);
}

static void on_answer(uv_timer_t *timer)
{
        struct kube_call *call = container_of(timer, struct kube_call, timer);
        _cleanup_(json) struct json *object = NULL;
        _cleanup_(free) char *text = NULL;
        struct kube_reply reply = { .outcome = world.outcome };

        if (world.outcome == KUBE_OK) {
                text = xasprintf("{\"metadata\":{\"uid\":\"%s\",\"namespace\":\"default\","
                                 "\"name\":\"a\"},\"status\":%s}",
                                 world.uid, world.status);
                ck_assert_int_eq(json_parse(text, strlen(text), &object, NULL), 0);
        }
        reply.object = object;
        uv_close((uv_handle_t *)timer, on_call_closed);
        call->on_reply(call->owner, &reply);
}

struct kube_call *kube_get(struct kube_api *api, const char *path, const char *expected_kind,
                           kube_on_reply *on_reply, void *owner)
{
        struct kube_call *call = xcalloc(1, sizeof(*call));

        ck_assert_str_eq(path, "default/a");
        ++world.n_gets;
        call->on_reply = on_reply;
        call->owner = owner;
        uv_timer_init(&world.loop, &call->timer);
        uv_timer_start(&call->timer, on_answer, 1, 0);
        return call;
}

void kube_cancel(struct kube_call *call)
{
        uv_close((uv_handle_t *)&call->timer, on_call_closed);
}

char *kube_path_claim(const char *namespace_, const char *name)
{
        return xasprintf("%s/%s", namespace_, name);
}

void prepare_record_held(struct prepare *prepare)
{
        ++world.n_saves;
}

static uint64_t kubelet_age_ms(void *unused)
{
        return world.kubelet_age_ms;
}

static void on_asked(void *unused)
{
        const struct error none = ERROR_NULL, refused = { -EAGAIN, "no answer" };
        const struct listing *listing = &world.listing;
        struct device_prepared devices[2];
        size_t n = 0;

        for (size_t i = 0; i < array_size(devices) && listing->devices[i]; ++i)
                devices[n++] =
                        (struct device_prepared){ .namespace_ = "default",
                                                  .claim = "a",
                                                  .pool = listing->pool ? listing->pool : "here",
                                                  .device = listing->devices[i],
                                                  .cdi = listing->cdi ? listing->cdi : "" };
        ++world.n_lists;
        rebuild_listed(world.rebuild, devices, n, !listing->has_no_pods,
                       listing->is_failed ? &refused : &none);
}

static void on_changed(void *unused)
{
        ++world.n_changes;
}

static void on_event(void *unused, const char *reason, const char *text)
{
        ck_assert_str_eq(reason, "TDXRecordsMissing");
        ++world.n_events;
}

static void set_up(void)
{
        memset(&world, 0, sizeof(world));
        world.kubelet_age_ms = OLD_KUBELET_MS;
        world.outcome = KUBE_OK;
        world.uid = "u";
        world.status = HERE(RESULT("here", "tdx0"));
        world.ledger = ledger_new();
        ledger_set_total(world.ledger, 8);
        uv_loop_init(&world.loop);
}

static void start(bool has_api)
{
        const struct rebuild_options options = { .loop = &world.loop,
                                                 .ledger = world.ledger,
                                                 .api = has_api ? (void *)&world : NULL,
                                                 .pool = "here",
                                                 .boot_id = "now",
                                                 .ask = on_asked,
                                                 .kubelet_age_ms = kubelet_age_ms,
                                                 .on_changed = on_changed,
                                                 .on_event = on_event };

        world.rebuild = rebuild_start(&options);
}

static void tear_down(void)
{
        rebuild_free(world.rebuild);
        uv_run(&world.loop, UV_RUN_DEFAULT);
        ck_assert_int_eq(uv_loop_close(&world.loop), 0);
        ledger_free(world.ledger);
}

static void on_tick(uv_timer_t *timer)
{
}

/* The case's time limit is the deadline. */
static void run_until(bool (*is_over)(void))
{
        uv_timer_t tick;

        uv_timer_init(&world.loop, &tick);
        uv_timer_start(&tick, on_tick, 0, 5);
        while (!is_over())
                uv_run(&world.loop, UV_RUN_ONCE);
        uv_close((uv_handle_t *)&tick, NULL);
        uv_run(&world.loop, UV_RUN_NOWAIT);
}

static bool is_complete(void)
{
        return !ledger_is_incomplete(world.ledger);
}

static bool was_asked_twice(void)
{
        return world.n_lists >= 2;
}

static bool is_held_by_uid(void)
{
        return ledger_find(world.ledger, "u");
}

static bool is_nothing_held(void)
{
        return !ledger_n_claims(world.ledger);
}

/* "u:1", with '?' for a claim of which only the name is known, '!' for one without a record. The
 * ledger has no order, and no test has more than one of each. */
static const char *held(void)
{
        static char text[128];
        const struct ledger_claim *claim = NULL, *other = NULL;
        size_t n = 0;

        for (const struct ledger_claim *next = ledger_next(world.ledger, NULL); next;
             next = ledger_next(world.ledger, next)) {
                if (next->is_unidentified)
                        other = next;
                else
                        claim = next;
        }
        ck_assert_uint_eq(ledger_n_claims(world.ledger), (claim != NULL) + (other != NULL));
        text[0] = '\0';
        for (int i = 0; i < 2; ++i, claim = other, other = NULL)
                if (claim)
                        n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s:%u%s%s",
                                              n ? " " : "", claim->uid, ledger_claim_weight(claim),
                                              claim->is_unidentified ? "?" : "",
                                              claim->is_unrecorded ? "!" : "");
        return text;
}

enum record { NO_RECORD, READABLE, DAMAGED };

/* UID "u", and, unless it is damaged, the name "a". */
static void restore(enum record record)
{
        struct ledger_claim *claim;

        if (record == NO_RECORD)
                return;
        claim = ledger_claim_new("u", record == DAMAGED ? "" : "default",
                                 record == DAMAGED ? "" : "a", record == DAMAGED ? 0 : 1);
        claim->boot_id = xstrdup("now");
        if (record == DAMAGED) {
                claim->is_uncertain = true;
                claim->uncertain_tds = 1;
        } else {
                claim->devices[0] = (struct ledger_device){ xstrdup("r"), xstrdup("here"),
                                                            xstrdup("tdx0"), 0, false };
        }
        ledger_restore(world.ledger, claim);
}

START_TEST(what_is_held_follows_from_the_list_the_records_and_the_api_server)
{
        static const char here[] = HERE(RESULT("here", "tdx0"));
        static const struct {
                struct listing listing;
                enum record record;
                bool has_no_api;
                enum kube_outcome outcome;
                const char *uid, *status;
                const char *held;
                unsigned n_gets, n_saves, n_events;
        } rows[] = {
                /* Without a record. */
                { { { NULL } }, NO_RECORD, false, KUBE_OK, "u", here, "", 0, 0, 0 },
                { { { "tdx0" } }, NO_RECORD, false, KUBE_OK, "u", here, "u:1!", 1, 1, 1 },
                { { { "tdx0", "tdx1" } },
                  NO_RECORD,
                  false,
                  KUBE_OK,
                  "u",
                  HERE(RESULT("here", "tdx0") "," RESULT("here", "tdx1")),
                  "u:2!",
                  1,
                  1,
                  1 },
                { { { "tdx0", "tdx1" } },
                  NO_RECORD,
                  false,
                  KUBE_NOT_FOUND,
                  "",
                  "",
                  "default/a:2?",
                  1,
                  0,
                  1 },
                { { { "tdx0" } },
                  NO_RECORD,
                  false,
                  KUBE_TRY_AGAIN,
                  "",
                  "",
                  "default/a:1?",
                  1,
                  0,
                  1 },
                { { { "tdx0" } },
                  NO_RECORD,
                  false,
                  KUBE_FORBIDDEN,
                  "",
                  "",
                  "default/a:1?",
                  1,
                  0,
                  1 },
                { { { "tdx0" } }, NO_RECORD, true, KUBE_OK, "", "", "default/a:1?", 0, 0, 1 },
                /* The API server has another claim of that name by now. */
                { { { "tdx0" } }, NO_RECORD, false, KUBE_OK, "new", "{}", "default/a:1?", 1, 0, 1 },
                { { { "tdx0" } },
                  NO_RECORD,
                  false,
                  KUBE_OK,
                  "new",
                  HERE(RESULT("there", "tdx0")),
                  "default/a:1?",
                  1,
                  0,
                  1 },
                /* Another node's. */
                { { { "tdx0" }, "there" }, NO_RECORD, false, KUBE_OK, "u", here, "", 0, 0, 0 },
                /* With a record. */
                { { { "tdx0" } }, READABLE, false, KUBE_OK, "u", here, "u:1", 0, 0, 0 },
                { { { NULL } }, READABLE, false, KUBE_OK, "u", here, "u:1", 0, 0, 0 },
                { { { NULL } }, DAMAGED, false, KUBE_OK, "u", here, "u:1", 0, 0, 0 },
                { { { "tdx0" } }, DAMAGED, false, KUBE_OK, "u", here, "u:1!", 1, 1, 1 },
                { { { "tdx0" } },
                  DAMAGED,
                  false,
                  KUBE_NOT_FOUND,
                  "",
                  "",
                  "u:1 default/a:1?",
                  1,
                  0,
                  1 },
        };

        for (size_t i = 0; i < array_size(rows); ++i) {
                set_up();
                world.listing = rows[i].listing;
                world.outcome = rows[i].outcome;
                world.uid = rows[i].uid;
                world.status = rows[i].status;
                restore(rows[i].record);
                start(!rows[i].has_no_api);
                ck_assert(ledger_is_incomplete(world.ledger));

                run_until(is_complete);

                ck_assert_msg(strcmp(held(), rows[i].held) == 0, "row %zu: %s", i, held());
                ck_assert_msg(world.n_gets == rows[i].n_gets, "row %zu: %u GETs", i, world.n_gets);
                ck_assert_msg(world.n_saves == rows[i].n_saves, "row %zu", i);
                ck_assert_msg(world.n_events == rows[i].n_events, "row %zu", i);
                ck_assert_uint_ge(world.n_changes, 1);
                tear_down();
        }
}
END_TEST

START_TEST(a_kubelet_that_lists_no_pods_yet_or_does_not_answer_leaves_the_ledger_incomplete)
{
        static const struct listing rows[] = { { .has_no_pods = true }, { .is_failed = true } };

        for (size_t i = 0; i < array_size(rows); ++i) {
                set_up();
                world.kubelet_age_ms = REBUILD_SETTLE_MS - 1;
                world.listing = rows[i];
                restore(READABLE);
                start(true);

                run_until(was_asked_twice);

                ck_assert(ledger_is_incomplete(world.ledger));
                ck_assert_str_eq(held(), "u:1");
                tear_down();
        }
}
END_TEST

START_TEST(without_a_kubelet_the_records_alone_count_after_a_while)
{
        set_up();
        world.kubelet_age_ms = 0;
        world.listing.is_failed = true;
        restore(READABLE);
        start(true);

        run_until(is_complete);

        ck_assert_uint_gt(world.n_lists, 1);
        ck_assert_str_eq(held(), "u:1");
        tear_down();
}
END_TEST

START_TEST(a_claim_held_by_its_name_gets_its_uid_and_its_record_when_the_api_server_is_back)
{
        set_up();
        world.listing = (struct listing){ { "tdx0" }, .cdi = CDI5 };
        world.outcome = KUBE_TRY_AGAIN;
        start(true);
        run_until(is_complete);
        ck_assert_str_eq(held(), "default/a:1?");
        ck_assert_uint_eq(world.n_saves, 0);
        world.outcome = KUBE_OK;

        run_until(is_held_by_uid);

        ck_assert_str_eq(held(), "u:1!");
        ck_assert_uint_eq(world.n_saves, 1);
        /* Its container has this CDI device. */
        ck_assert_uint_eq(ledger_find(world.ledger, "u")->devices[0].slot, 5);
        tear_down();
}
END_TEST

START_TEST(a_claim_held_by_its_name_ends_with_the_second_list_without_it)
{
        unsigned n_lists;

        set_up();
        world.listing = (struct listing){ { "tdx0" } };
        world.outcome = KUBE_NOT_FOUND;
        start(true);
        run_until(is_complete);
        ck_assert_str_eq(held(), "default/a:1?");
        world.listing.devices[0] = NULL;
        n_lists = world.n_lists;

        run_until(is_nothing_held);

        ck_assert_uint_eq(world.n_lists, n_lists + 2);
        tear_down();
}
END_TEST

START_TEST(a_claim_that_was_released_a_moment_ago_is_not_held_again_by_a_list_of_before)
{
        set_up();
        world.listing = (struct listing){ { "tdx0" } };
        start(true);
        rebuild_released(world.rebuild, "default", "a");

        run_until(is_complete);

        ck_assert_str_eq(held(), "");
        ck_assert_uint_eq(world.n_gets, 0);
        tear_down();
}
END_TEST

START_TEST(what_kubelet_listed_last_can_be_asked_for)
{
        set_up();
        ck_assert_int_eq(rebuild_lists(NULL, "default", "a"), REBUILD_UNKNOWN);
        world.listing = (struct listing){ { "tdx0" } };
        restore(READABLE);
        start(true);
        ck_assert_int_eq(rebuild_lists(world.rebuild, "default", "a"), REBUILD_UNKNOWN);

        run_until(is_complete);

        ck_assert_int_eq(rebuild_lists(world.rebuild, "default", "a"), REBUILD_LISTED);
        ck_assert_int_eq(rebuild_lists(world.rebuild, "default", "b"), REBUILD_UNLISTED);
        tear_down();
}
END_TEST

SUITE("rebuild", what_is_held_follows_from_the_list_the_records_and_the_api_server,
      a_kubelet_that_lists_no_pods_yet_or_does_not_answer_leaves_the_ledger_incomplete,
      without_a_kubelet_the_records_alone_count_after_a_while,
      a_claim_held_by_its_name_gets_its_uid_and_its_record_when_the_api_server_is_back,
      a_claim_held_by_its_name_ends_with_the_second_list_without_it,
      a_claim_that_was_released_a_moment_ago_is_not_held_again_by_a_list_of_before,
      what_kubelet_listed_last_can_be_asked_for);
