/* SPDX-License-Identifier: Apache-2.0 */
/* The API server and the engine are stood in for here. */
#include "claims/reconcile.h"

#include "base/json.h"
#include "base/memory.h"
#include "claims/prepare.h"
#include "claims/rebuild.h"
#include "kube/api.h"
#include "ledger.h"
#include "unit/suite.h"

#include <errno.h>
#include <string.h>

#define AFTER_MS 200

static struct {
        uv_loop_t loop;
        struct ledger *ledger;
        enum kube_outcome outcome; /* of every GET */
        const char *object;        /* and, with KUBE_OK, the claim that it finds */
        uint64_t kubelet_age_ms;
        enum rebuild_answer listed;
        unsigned n_asked, n_released;
        uint64_t asked_ms[16]; /* after the start */
        uint64_t started_ms;
        void (*on_asked)(void);
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
        struct kube_reply reply = { .outcome = world.outcome };

        if (world.outcome == KUBE_OK)
                ck_assert_int_eq(json_parse(world.object, strlen(world.object), &object, NULL), 0);
        reply.object = object;
        uv_close((uv_handle_t *)timer, on_call_closed);
        call->on_reply(call->owner, &reply);
}

struct kube_call *kube_get(struct kube_api *api, const char *path, const char *expected_kind,
                           kube_on_reply *on_reply, void *owner)
{
        struct kube_call *call = xcalloc(1, sizeof(*call));

        world.asked_ms[world.n_asked++ % 16] = uv_now(&world.loop) - world.started_ms;
        call->on_reply = on_reply;
        call->owner = owner;
        uv_timer_init(&world.loop, &call->timer);
        uv_timer_start(&call->timer, on_answer, 1, 0);
        if (world.on_asked)
                world.on_asked();
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

char *kube_path_node(const char *name)
{
        return xstrdup(name);
}

void prepare_release(struct prepare *prepare, struct prepare_request *request,
                     const struct prepare_claim_id *id)
{
        ++world.n_released;
        ledger_claim_free(ledger_release(world.ledger, id->uid));
}

void prepare_cancel(struct prepare_request *request)
{
}

enum rebuild_answer rebuild_lists(const struct rebuild *rebuild, const char *namespace_,
                                  const char *name)
{
        return world.listed;
}

static struct ledger_claim *make(const char *uid, const char *boot_id)
{
        struct ledger_claim *claim = ledger_claim_new(uid, "default", uid, 0);

        claim->boot_id = xstrdup(boot_id);
        return claim;
}

static void restore(const char *uid, const char *boot_id)
{
        ledger_restore(world.ledger, make(uid, boot_id));
}

static void restore_unreadable(const char *uid, const char *boot_id)
{
        struct ledger_claim *claim = make(uid, boot_id);

        claim->is_uncertain = true;
        claim->uncertain_tds = 1;
        ledger_restore(world.ledger, claim);
}

static uint64_t kubelet_age_ms(void *unused)
{
        return world.kubelet_age_ms;
}

static void set_up(void)
{
        world.outcome = KUBE_NOT_FOUND;
        world.kubelet_age_ms = 10 * AFTER_MS;
        world.listed = REBUILD_UNLISTED;
        world.ledger = ledger_new();
        uv_loop_init(&world.loop);
}

static void on_over(uv_timer_t *timer)
{
        uv_stop(timer->loop);
}

/* For so many rounds of looking. */
static void run(unsigned n_rounds)
{
        const struct reconcile_options options = { .loop = &world.loop,
                                                   .ledger = world.ledger,
                                                   .pool = "here",
                                                   .boot_id = "now",
                                                   .after_ms = AFTER_MS,
                                                   .kubelet_age_ms = kubelet_age_ms };
        struct reconcile *reconcile;
        uv_timer_t end;

        uv_update_time(&world.loop);
        world.started_ms = uv_now(&world.loop);
        reconcile = reconcile_start(&options);
        uv_timer_init(&world.loop, &end);
        uv_timer_start(&end, on_over, n_rounds * AFTER_MS + AFTER_MS / 2, 0);
        uv_run(&world.loop, UV_RUN_DEFAULT);
        reconcile_free(reconcile);
        uv_close((uv_handle_t *)&end, NULL);
        uv_run(&world.loop, UV_RUN_DEFAULT);
        ck_assert_int_eq(uv_loop_close(&world.loop), 0);
        ledger_free(world.ledger);
}

START_TEST(a_claim_that_was_deleted_by_force_just_now_is_released_at_the_second_look_only)
{
        set_up();
        restore("a", "now");
        restore("b", "now");

        run(4);

        ck_assert_uint_eq(world.n_asked, 4);
        ck_assert_uint_eq(world.n_released, 2);
        ck_assert_uint_ge(world.asked_ms[0], AFTER_MS);
        ck_assert_uint_ge(world.asked_ms[2] - world.asked_ms[0], AFTER_MS);
}
END_TEST

static void take_in_another(void)
{
        if (world.n_asked == 2)
                restore("later", "now");
}

START_TEST(a_claim_that_vanishes_while_the_driver_runs_is_released_too)
{
        set_up();
        restore("a", "now");
        world.on_asked = take_in_another;

        run(6);

        ck_assert_uint_eq(world.n_released, 2);
}
END_TEST

static void kubelet_restarts(void)
{
        world.kubelet_age_ms = AFTER_MS / 2;
}

START_TEST(nothing_is_released_while_kubelet_is_away_or_has_just_started)
{
        static const uint64_t ages_ms[] = { 0, 1, AFTER_MS - 1 };

        for (size_t i = 0; i < array_size(ages_ms); ++i) {
                set_up();
                restore("a", "now");
                restore_unreadable("damaged", "before");
                world.kubelet_age_ms = ages_ms[i];

                run(4);

                ck_assert_uint_eq(world.n_asked, 0);
                ck_assert_uint_eq(world.n_released, 0);
        }
}
END_TEST

START_TEST(a_kubelet_that_restarts_between_two_looks_begins_them_anew)
{
        set_up();
        restore("a", "now");
        world.on_asked = kubelet_restarts;

        run(5);

        ck_assert_uint_eq(world.n_asked, 1);
        ck_assert_uint_eq(world.n_released, 0);
}
END_TEST

START_TEST(a_claim_that_kubelet_still_has_prepared_is_not_released)
{
        set_up();
        restore("a", "now");
        world.listed = REBUILD_LISTED;

        run(5);

        ck_assert_uint_eq(world.n_asked, 0);
        ck_assert_uint_eq(world.n_released, 0);
}
END_TEST

START_TEST(without_kubelets_list_the_api_server_is_asked_less_often)
{
        set_up();
        restore("a", "now");
        world.outcome = KUBE_OK;
        world.object = "{\"metadata\":{\"uid\":\"a\",\"namespace\":\"default\",\"name\":\"a\"},"
                       "\"status\":{\"allocation\":{\"devices\":{\"results\":[{\"request\":\"r\","
                       "\"driver\":\"tdx.kubevirt.io\",\"pool\":\"here\",\"device\":\"tdx0\"}]}}}}";
        world.listed = REBUILD_UNKNOWN;

        run(9);

        ck_assert_uint_eq(world.n_asked, 2);
        ck_assert_uint_eq(world.n_released, 0);
}
END_TEST

START_TEST(a_claim_that_is_allocated_elsewhere_or_not_at_all_by_now_is_released_at_the_second_look)
{
        static const struct {
                const char *status;
                const char *boot_id;
                unsigned n_released;
        } rows[] = {
                { "{}", "now", 1 },
                { "{}", "before", 1 },
                { "{\"allocation\":{\"devices\":{\"results\":[]}}}", "before", 1 },
                { "{\"allocation\":{\"devices\":{\"results\":[{\"request\":\"r\",\"driver\":"
                  "\"tdx.kubevirt.io\",\"pool\":\"there\",\"device\":\"tdx0\"}]}}}",
                  "before", 1 },
                { "{\"allocation\":{\"devices\":{\"results\":[{\"request\":\"r\",\"driver\":"
                  "\"another.example\",\"pool\":\"here\",\"device\":\"tdx0\"}]}}}",
                  "now", 1 },
                { "{\"allocation\":{\"devices\":{\"results\":[{\"request\":\"r\",\"driver\":"
                  "\"tdx.kubevirt.io\",\"pool\":\"here\",\"device\":\"tdx0\"}]}}}",
                  "before", 0 },
                { "{\"allocation\":7}", "now", 0 },
        };

        for (size_t i = 0; i < array_size(rows); ++i) {
                _cleanup_(free) char *object = xasprintf(
                        "{\"metadata\":{\"uid\":\"a\",\"namespace\":\"default\",\"name\":\"a\"},"
                        "\"status\":%s}",
                        rows[i].status);

                world.n_asked = world.n_released = 0;
                set_up();
                restore("a", rows[i].boot_id);
                world.outcome = KUBE_OK;
                world.object = object;

                run(4);

                ck_assert_msg(world.n_released == rows[i].n_released, "row %zu", i);
                ck_assert_uint_ge(world.n_asked, 2);
        }
}
END_TEST

START_TEST(an_unreadable_record_of_an_earlier_boot_ends_when_kubelet_has_not_asked_for_it)
{
        set_up();
        restore_unreadable("this-boot", "now");
        restore_unreadable("boot-not-known", "");
        restore_unreadable("earlier", "before");

        run(4);

        ck_assert_uint_eq(world.n_released, 1);
        ck_assert_uint_eq(world.n_asked, 2);
}
END_TEST

START_TEST(
        an_unreadable_record_stays_while_the_api_server_is_away_and_kubelet_does_not_know_its_pods)
{
        set_up();
        restore_unreadable("earlier", "before");
        world.outcome = KUBE_TRY_AGAIN;

        run(5);

        ck_assert_uint_eq(world.n_released, 0);
}
END_TEST

START_TEST(a_claim_of_an_earlier_boot_is_released_at_once)
{
        set_up();
        restore("a", "before");
        world.kubelet_age_ms = 0;

        run(1);

        ck_assert_uint_eq(world.n_asked, 1);
        ck_assert_uint_eq(world.n_released, 1);
        ck_assert_uint_lt(world.asked_ms[0], AFTER_MS);
}
END_TEST

static void let_in(void)
{
        if (world.n_asked == 2)
                world.outcome = KUBE_NOT_FOUND;
}

START_TEST(an_api_server_that_refuses_at_first_is_asked_again)
{
        set_up();
        restore("a", "before");
        world.outcome = KUBE_FORBIDDEN;
        world.on_asked = let_in;

        run(4);

        ck_assert_uint_ge(world.n_asked, 2);
        ck_assert_uint_eq(world.n_released, 1);
}
END_TEST

static void prepare_again(void)
{
        ledger_claim_free(ledger_release(world.ledger, "a"));
        restore("a", "now");
        world.on_asked = NULL;
        world.listed = REBUILD_LISTED;
}

START_TEST(a_claim_that_kubelet_has_prepared_again_since_the_reboot_is_left_to_kubelet)
{
        set_up();
        restore("a", "before");
        world.on_asked = prepare_again;

        run(4);

        ck_assert_uint_eq(world.n_released, 0);
}
END_TEST

SUITE("reconcile", a_claim_that_was_deleted_by_force_just_now_is_released_at_the_second_look_only,
      a_claim_that_vanishes_while_the_driver_runs_is_released_too,
      nothing_is_released_while_kubelet_is_away_or_has_just_started,
      a_kubelet_that_restarts_between_two_looks_begins_them_anew,
      a_claim_that_kubelet_still_has_prepared_is_not_released,
      without_kubelets_list_the_api_server_is_asked_less_often,
      a_claim_that_is_allocated_elsewhere_or_not_at_all_by_now_is_released_at_the_second_look,
      an_unreadable_record_of_an_earlier_boot_ends_when_kubelet_has_not_asked_for_it,
      an_unreadable_record_stays_while_the_api_server_is_away_and_kubelet_does_not_know_its_pods,
      a_claim_of_an_earlier_boot_is_released_at_once,
      an_api_server_that_refuses_at_first_is_asked_again,
      a_claim_that_kubelet_has_prepared_again_since_the_reboot_is_left_to_kubelet);
