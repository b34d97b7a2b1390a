/* SPDX-License-Identifier: Apache-2.0 */
/* The worker and a QGS that restarts, fails or is silent. */
#include "unit/suite.h"

#include "unit/relay-rig.h"

/* ---- what restarts is waited for ---- */

START_TEST(a_quote_waits_for_a_qgs_that_cannot_be_reached)
{
        static const int causes[] = { ENOENT, ECONNREFUSED, EACCES, EAGAIN, ENOTSOCK };
        struct door door;

        rig_start();
        door = open_door(1, 5, RELAY_CLAIM);
        for (size_t i = 0; i < array_size(causes); ++i) {
                struct vm vm = vm_connect(&door);

                rig.refuses = causes[i];
                rig.n_qgs = rig.n_refused = rig.n_outcomes = 0;
                vm_ask(&vm, 1);
                advance(2000);
                ck_assert_uint_ge(rig.n_refused, 5);
                ck_assert_uint_le(rig.n_refused, 16); /* it waits longer and longer */
                rig.refuses = 0;
                advance(501);
                ck_assert_uint_eq(rig.n_qgs, 1);
                qgs_reply(0, 5034, 1);
                turn();
                vm_read(&vm);

                ck_assert_uint_eq(vm.n_got, 5034);
                ck_assert_uint_eq(rig.outcomes[0].outcome, RELAY_DELIVERED);
                ck_assert_uint_ge(rig.outcomes[0].us, 2000000);
                vm_close(&vm);
                turn();
        }
        close_door(&door);
        rig_stop();
}
END_TEST

START_TEST(a_qgs_that_closes_before_a_whole_reply_is_asked_again)
{
        _cleanup_(free) unsigned char *reply = quote_of(5034, 1, 0);
        struct door door;
        struct vm vm;

        rig_start();
        door = open_door(1, 5, RELAY_CLAIM);
        vm = vm_connect(&door);
        vm_ask(&vm, 1);
        turn();
        qgs_close(0); /* nothing */
        advance(100);
        ck_assert_uint_eq(rig.n_qgs, 2);
        ck_assert_int_eq(send(rig.qgs[1].fd, reply, 3000, MSG_NOSIGNAL), 3000);
        turn();
        qgs_close(1); /* half a reply */
        advance(100);
        ck_assert_uint_eq(rig.n_qgs, 3);
        vm_read(&vm);
        ck_assert_uint_eq(vm.n_got, 0);
        qgs_reply(2, 5034, 2);
        turn();
        vm_read(&vm);

        ck_assert_uint_eq(vm.n_got, 5034);
        ck_assert_uint_eq(vm.got[5033], 2);
        ck_assert_uint_eq(rig.n_outcomes, 1);
        ck_assert_uint_eq(rig.n_told, 2);
        ck_assert_uint_eq(rig.told[0].result, WORKER_QGS_CLOSED);
        ck_assert_uint_eq(rig.told[0].is_probe, 0);
        vm_close(&vm);
        close_door(&door);
        rig_stop();
}
END_TEST

START_TEST(after_25_seconds_the_vm_gets_an_error_reply)
{
        struct door door;
        struct vm vm;

        rig_start();
        door = open_door(1, 5, RELAY_CLAIM);
        vm = vm_connect(&door);
        rig.refuses = ENOENT;
        vm_ask(&vm, 1);
        advance(24400);
        vm_read(&vm);
        ck_assert_uint_eq(vm.n_got, 0);
        advance(700);

        assert_refused(&vm, QGS_ERROR_UNEXPECTED);
        ck_assert(vm.has_ended);
        ck_assert_uint_eq(rig.outcomes[0].outcome, RELAY_GAVE_UP);
        ck_assert_int_eq(rig.outcomes[0].cause, -ENOENT);
        ck_assert_uint_eq(rig.outcomes[0].has_digest, 1);
        vm_close(&vm);
        close_door(&door);
        rig_stop();
}
END_TEST

/* Whose requests QGS closes without a reply, waits outside, and takes no one's turn meanwhile. */
START_TEST(who_waits_for_another_attempt_holds_no_turn)
{
        struct door doors[3];
        struct vm failing[4], vm;

        rig_start();
        for (unsigned i = 0; i < 3; ++i)
                doors[i] = open_door(i, i, RELAY_CLAIM);
        for (unsigned i = 0; i < 4; ++i) {
                failing[i] = vm_connect(&doors[i % 2]);
                vm_ask(&failing[i], 66);
        }
        turn();
        ck_assert_uint_eq(rig.n_qgs, 4);
        for (unsigned i = 0; i < 4; ++i)
                qgs_close(i);
        turn();
        vm = vm_connect(&doors[2]);
        vm_ask(&vm, 7);
        turn();

        ck_assert_uint_eq(rig.n_qgs, 5);
        ck_assert_uint_eq(rig.qgs[4].got[QGS_REPORT_OFFSET], 7);
        for (unsigned i = 0; i < 4; ++i)
                vm_close(&failing[i]);
        vm_close(&vm);
        for (unsigned i = 0; i < 3; ++i)
                close_door(&doors[i]);
        rig_stop();
}
END_TEST

START_TEST(a_reply_that_is_none_is_not_passed_on)
{
        /* Platform identity, to a request for a quote. */
        static const unsigned char info[68] = { 0, 0, 0, 64, 1, 0, 1, 0, 5, 0, 0, 0, 64 };
        struct door door;
        struct vm vm;

        rig_start();
        door = open_door(1, 5, RELAY_CLAIM);
        vm = vm_connect(&door);
        vm_ask(&vm, 1);
        turn();
        ck_assert_int_eq(send(rig.qgs[0].fd, info, sizeof(info), MSG_NOSIGNAL), sizeof(info));
        advance(1100);

        assert_refused(&vm, QGS_ERROR_UNEXPECTED);
        ck_assert_int_eq(rig.outcomes[0].cause, -EBADMSG);
        ck_assert_uint_eq(rig.told[0].result, WORKER_QGS_GARBLED);
        /* It may be in the middle of it. */
        ck_assert(!rig.qgs[0].is_closed && !rig.qgs[0].is_released);
        qgs_close(0);
        turn();
        ck_assert(rig.qgs[0].is_released);
        vm_close(&vm);
        close_door(&door);
        rig_stop();
}
END_TEST

/* ---- QGS never sees an early close ---- */

START_TEST(a_vm_that_leaves_does_not_end_its_connection_to_qgs)
{
        struct door door;
        struct vm vms[2], next;

        rig_start();
        door = open_door(1, 5, RELAY_CLAIM);
        for (unsigned i = 0; i < 2; ++i) {
                vms[i] = vm_connect(&door);
                vm_ask(&vms[i], 1);
        }
        turn();
        for (unsigned i = 0; i < 2; ++i)
                vm_close(&vms[i]);
        turn();
        ck_assert_uint_eq(rig.n_outcomes, 2);
        ck_assert_uint_eq(rig.outcomes[0].outcome, RELAY_LEFT);

        /* Its turns are taken until QGS is done. */
        next = vm_connect(&door);
        vm_ask(&next, 2);
        advance(5000);
        ck_assert_uint_eq(rig.n_qgs, 2);
        ck_assert(!rig.qgs[0].is_closed);
        qgs_reply(0, 5034, 1);
        turn();
        ck_assert(rig.qgs[0].is_released);
        ck_assert_uint_eq(rig.n_qgs, 3);
        vm_close(&next);
        close_door(&door);
        rig_stop();
}
END_TEST

START_TEST(a_vm_that_leaves_while_it_waits_costs_qgs_nothing)
{
        struct door door;
        struct vm vms[10];

        rig_start();
        door = open_door(1, 5, RELAY_CLAIM);
        for (unsigned i = 0; i < 10; ++i) {
                vms[i] = vm_connect(&door);
                vm_ask(&vms[i], 1);
        }
        turn();
        for (unsigned i = 0; i < 10; ++i)
                vm_close(&vms[i]);
        turn();
        qgs_reply(0, 64, 1);
        qgs_reply(1, 64, 1);
        turn();

        ck_assert_uint_eq(rig.n_qgs, 2);
        ck_assert_uint_eq(rig.n_outcomes, 10);
        close_door(&door);
        rig_stop();
}
END_TEST

START_TEST(a_vm_that_has_sent_more_or_closed_its_half_is_seen_to_leave)
{
        struct door door;
        struct vm vms[2];

        rig_start();
        tell_threads(0);
        door = open_door(1, 5, RELAY_CLAIM);
        for (unsigned i = 0; i < 2; ++i) {
                vms[i] = vm_connect(&door);
                vm_ask(&vms[i], 1);
        }
        vm_ask(&vms[0], 1);
        ck_assert_int_eq(shutdown(vms[1].fd, SHUT_WR), 0);
        turn();
        ck_assert_int_ne(uv_backend_timeout(&rig.loop), 0);
        for (unsigned i = 0; i < 2; ++i)
                vm_close(&vms[i]);
        turn();
        tell(message_of(WORKER_PING, 1), -1);
        turn();

        ck_assert_uint_eq(rig.state.n_connections, 0);
        ck_assert_uint_eq(rig.n_outcomes, 2);
        close_door(&door);
        rig_stop();
}
END_TEST

START_TEST(a_silent_qgs_has_its_own_time_and_the_vm_an_answer_before_qemu_gives_up)
{
        struct door door;
        struct vm vm;

        rig_start();
        door = open_door(1, 5, RELAY_CLAIM);
        vm = vm_connect(&door);
        vm_ask(&vm, 1);
        advance(10100);
        ck_assert_uint_ge(rig.n_told, 1);
        ck_assert_uint_eq(rig.told[0].result, WORKER_QGS_SILENT);
        advance(17800);
        vm_read(&vm);
        ck_assert_uint_eq(vm.n_got, 0);
        advance(200);

        assert_refused(&vm, QGS_ERROR_UNEXPECTED);
        ck_assert_int_eq(rig.outcomes[0].cause, -ETIMEDOUT);
        ck_assert(!rig.qgs[0].is_closed);
        advance(6800);
        ck_assert(!rig.qgs[0].is_closed && !rig.qgs[0].is_released);
        advance(200);
        ck_assert(rig.qgs[0].is_closed && rig.qgs[0].is_released);
        vm_close(&vm);
        close_door(&door);
        rig_stop();
}
END_TEST

START_TEST(a_late_reply_still_comes_while_qemu_waits)
{
        struct door door;
        struct vm vm;

        rig_start();
        door = open_door(1, 5, RELAY_CLAIM);
        vm = vm_connect(&door);
        vm_ask(&vm, 1);
        advance(27000);
        qgs_reply(0, 5034, 1);
        turn();
        vm_read(&vm);

        ck_assert_uint_eq(vm.n_got, 5034);
        ck_assert_uint_eq(rig.outcomes[0].outcome, RELAY_DELIVERED);
        vm_close(&vm);
        close_door(&door);
        rig_stop();
}
END_TEST

START_TEST(what_qgs_closes_after_25_seconds_is_not_tried_again)
{
        struct door door;
        struct vm vm;

        rig_start();
        door = open_door(1, 5, RELAY_CLAIM);
        vm = vm_connect(&door);
        vm_ask(&vm, 1);
        advance(26000);
        qgs_close(0);
        turn();

        assert_refused(&vm, QGS_ERROR_UNEXPECTED);
        ck_assert_uint_eq(rig.outcomes[0].outcome, RELAY_GAVE_UP);
        vm_close(&vm);
        close_door(&door);
        rig_stop();
}
END_TEST

SUITE("relay-worker-qgs", what_qgs_closes_after_25_seconds_is_not_tried_again,
      a_quote_waits_for_a_qgs_that_cannot_be_reached,
      a_qgs_that_closes_before_a_whole_reply_is_asked_again,
      after_25_seconds_the_vm_gets_an_error_reply, who_waits_for_another_attempt_holds_no_turn,
      a_reply_that_is_none_is_not_passed_on, a_vm_that_leaves_does_not_end_its_connection_to_qgs,
      a_vm_that_leaves_while_it_waits_costs_qgs_nothing,
      a_vm_that_has_sent_more_or_closed_its_half_is_seen_to_leave,
      a_silent_qgs_has_its_own_time_and_the_vm_an_answer_before_qemu_gives_up,
      a_late_reply_still_comes_while_qemu_waits);
