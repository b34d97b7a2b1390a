/* SPDX-License-Identifier: Apache-2.0 */
/* The API server and the engine are stood in for here. */
#include "claims/reconcile.h"

#include "base/memory.h"
#include "claims/prepare.h"
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
        unsigned n_absent;         /* so often kubelet is not there, and then has just started */
        unsigned n_asked, n_released;
        uint64_t first_asked_ms; /* after the start */
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
        const struct kube_reply reply = { .outcome = world.outcome };

        uv_close((uv_handle_t *)timer, on_call_closed);
        call->on_reply(call->owner, &reply);
}

struct kube_call *kube_get(struct kube_api *api, const char *path, const char *expected_kind,
                           kube_on_reply *on_reply, void *owner)
{
        struct kube_call *call = xcalloc(1, sizeof(*call));

        if (!world.n_asked++)
                world.first_asked_ms = uv_now(&world.loop) - world.started_ms;
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

void prepare_release(struct prepare *prepare, struct prepare_request *request,
                     const struct prepare_claim_id *id)
{
        ++world.n_released;
        ledger_claim_free(ledger_release(world.ledger, id->uid));
}

void prepare_cancel(struct prepare_request *request)
{
}

/* boot_id NULL: an unreadable record. */
static void restore(const char *uid, const char *boot_id)
{
        struct ledger_claim *claim = ledger_claim_new(uid, "default", uid, 0);

        if (boot_id)
                claim->boot_id = xstrdup(boot_id);
        claim->is_uncertain = !boot_id;
        ledger_restore(world.ledger, claim);
}

static uint64_t kubelet_age_ms(void *unused)
{
        if (world.n_absent) {
                --world.n_absent;
                return world.n_absent ? 0 : AFTER_MS - 1;
        }
        return AFTER_MS;
}

static void set_up(void)
{
        world.outcome = KUBE_NOT_FOUND;
        world.ledger = ledger_new();
        uv_loop_init(&world.loop);
}

static void run(void)
{
        struct reconcile *reconcile;

        uv_update_time(&world.loop);
        world.started_ms = uv_now(&world.loop);
        reconcile = reconcile_start(&world.loop, NULL, world.ledger, NULL, "now", AFTER_MS,
                                    kubelet_age_ms, NULL);
        uv_run(&world.loop, UV_RUN_DEFAULT);
        reconcile_free(reconcile);
        uv_run(&world.loop, UV_RUN_DEFAULT);
        ck_assert_int_eq(uv_loop_close(&world.loop), 0);
        ledger_free(world.ledger);
}

START_TEST(a_claim_that_was_deleted_by_force_just_now_is_released_at_the_second_look_only)
{
        set_up();
        restore("a", "now");
        restore("b", "now");

        run();

        ck_assert_uint_eq(world.n_asked, 4);
        ck_assert_uint_eq(world.n_released, 2);
        ck_assert_uint_ge(world.first_asked_ms, AFTER_MS);
}
END_TEST

START_TEST(nothing_is_released_while_kubelet_is_away_or_has_just_started)
{
        set_up();
        restore("a", "now");
        world.n_absent = 2;

        run();

        ck_assert_uint_eq(world.n_absent, 0);
        ck_assert_uint_ge(world.first_asked_ms, 3 * AFTER_MS);
        ck_assert_uint_eq(world.n_released, 1);
}
END_TEST

START_TEST(a_damaged_record_does_not_take_kubelets_time_from_the_other_claims)
{
        set_up();
        restore("a", "now");
        restore("damaged", NULL);

        run();

        ck_assert_uint_ge(world.first_asked_ms, AFTER_MS);
        ck_assert_uint_eq(world.n_released, 1);
}
END_TEST

START_TEST(a_claim_of_an_earlier_boot_is_released_at_once)
{
        set_up();
        restore("a", "before");

        run();

        ck_assert_uint_eq(world.n_asked, 1);
        ck_assert_uint_eq(world.n_released, 1);
        ck_assert_uint_lt(world.first_asked_ms, AFTER_MS);
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

        run();

        ck_assert_uint_ge(world.n_asked, 2);
        ck_assert_uint_eq(world.n_released, 1);
}
END_TEST

static void prepare_again(void)
{
        ledger_claim_free(ledger_release(world.ledger, "a"));
        restore("a", "now");
        world.on_asked = NULL;
}

START_TEST(a_claim_that_kubelet_has_prepared_again_since_the_reboot_is_left_to_kubelet)
{
        set_up();
        restore("a", "before");
        world.on_asked = prepare_again;

        run();

        ck_assert_uint_eq(world.n_released, 0);
}
END_TEST

SUITE("reconcile", a_claim_that_was_deleted_by_force_just_now_is_released_at_the_second_look_only,
      nothing_is_released_while_kubelet_is_away_or_has_just_started,
      a_damaged_record_does_not_take_kubelets_time_from_the_other_claims,
      a_claim_of_an_earlier_boot_is_released_at_once,
      an_api_server_that_refuses_at_first_is_asked_again,
      a_claim_that_kubelet_has_prepared_again_since_the_reboot_is_left_to_kubelet);
