/* SPDX-License-Identifier: Apache-2.0 */
/* What the worker does with what its holder tells it, and without a holder; and its own questions
 * to QGS. */
#include "unit/suite.h"

#include "unit/relay-rig.h"

/* ---- an update ---- */

START_TEST(who_stops_accepting_leaves_new_connections_in_the_backlog)
{
        struct door door;
        struct vm vm, later;

        rig_start();
        door = open_door(1, 5, RELAY_CLAIM);
        vm = vm_connect(&door);
        vm_ask(&vm, 1);
        turn();
        tell_accepting(false);
        ck_assert_uint_eq(rig.n_states, 1);
        ck_assert_uint_eq(rig.state.n_connections, 1);
        ck_assert_uint_eq(rig.state.n_at_qgs, 1);
        later = vm_connect(&door);
        vm_ask(&later, 2);
        advance(1000);
        ck_assert_uint_eq(rig.n_qgs, 1);

        /* What it has it finishes, and that connection with it. */
        qgs_reply(0, 5034, 1);
        turn();
        vm_read(&vm);
        ck_assert_uint_eq(vm.n_got, 5034);
        ck_assert(vm.has_ended);
        vm_close(&vm);
        turn();
        ck_assert_uint_gt(rig.n_states, 1);
        ck_assert_uint_eq(rig.state.n_connections, 0);
        ck_assert_uint_eq(rig.state.n_at_qgs, 0);

        /* The successor did not make it. */
        tell_accepting(true);
        ck_assert_uint_eq(rig.n_qgs, 3); /* the probe, too */
        vm_close(&later);
        close_door(&door);
        rig_stop();
}
END_TEST

START_TEST(who_stops_accepting_keeps_idle_connections_for_five_seconds)
{
        struct door door;
        struct vm idle, slow;

        rig_start();
        door = open_door(1, 5, RELAY_CLAIM);
        idle = vm_connect(&door);
        slow = vm_connect(&door);
        turn();
        tell_accepting(false);
        advance(4000);
        vm_ask(&slow, 1);
        turn();
        ck_assert_uint_eq(rig.n_qgs, 1);
        advance(1100);
        vm_read(&idle);

        ck_assert(idle.has_ended);
        ck_assert_uint_eq(idle.n_got, 0);
        qgs_reply(0, 64, 1);
        turn();
        vm_read(&slow);
        ck_assert_uint_eq(slow.n_got, 64);
        vm_close(&idle);
        vm_close(&slow);
        close_door(&door);
        rig_stop();
}
END_TEST

START_TEST(who_stops_accepting_does_not_ask_by_itself)
{
        rig_start();
        tell_accepting(false);
        advance(60000);

        ck_assert_uint_eq(rig.n_qgs, 0);
        rig_stop();
}
END_TEST

START_TEST(threads_that_the_predecessor_still_uses_are_not_used_twice)
{
        struct door doors[2];
        struct vm vms[4];

        rig_start();
        tell_threads(0);
        for (unsigned i = 0; i < 2; ++i)
                doors[i] = open_door(i, i, RELAY_CLAIM);
        for (unsigned i = 0; i < 4; ++i) {
                vms[i] = vm_connect(&doors[i % 2]);
                vm_ask(&vms[i], 1);
        }
        advance(3000);
        ck_assert_uint_eq(rig.n_qgs, 0);
        tell_threads(1);
        ck_assert_uint_eq(rig.n_qgs, 1);
        tell_threads(4);
        ck_assert_uint_eq(rig.n_qgs, 4);

        for (unsigned i = 0; i < 4; ++i)
                vm_close(&vms[i]);
        close_door(&doors[0]);
        close_door(&doors[1]);
        rig_stop();
}
END_TEST

START_TEST(a_name_that_is_taken_back_is_closed_and_its_vms_are_served)
{
        struct worker_message message = message_of(WORKER_UNLISTEN, 0);
        struct door door;
        struct vm vm, later = { .fd = -1 };

        rig_start();
        door = open_door(1, 5, RELAY_CLAIM);
        vm = vm_connect(&door);
        turn();
        message.listener.id = 1;
        tell(message, -1);
        turn();
        close(door.fd);
        later.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ck_assert_int_eq(connect(later.fd, (struct sockaddr *)&door.address, sizeof(door.address)),
                         -1);
        vm_ask(&vm, 1);
        turn();

        ck_assert_uint_eq(rig.n_qgs, 1);
        vm_close(&vm);
        vm_close(&later);
        (void)unlink(door.address.sun_path);
        rig_stop();
}
END_TEST

START_TEST(a_ping_is_answered_from_the_first_moment)
{
        int pair[2];

        ck_assert_int_eq(uv_loop_init(&rig.loop), 0);
        ck_assert_int_eq(
                socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
        rig.fd = pair[0];
        rig.worker = worker_new(&rig.loop, pair[1], 1024, rig_on_over, NULL);
        tell(message_of(WORKER_PING, 77), -1);
        turn();

        ck_assert_uint_eq(rig.n_pongs, 1);
        rig_stop();
}
END_TEST

/* ---- a holder that does not read ---- */

START_TEST(a_deaf_holder_costs_bounded_memory_and_loses_no_quote)
{
        struct door door;
        struct vm vm;
        unsigned n_refused = 0;

        rig_start();
        door = open_door(1, 5, RELAY_CLAIM);
        rig.is_deaf = true;
        for (unsigned i = 0; i < 2000; ++i) {
                vm = vm_connect(&door);
                vm_send(&vm, "\377\377\377\377", 4);
                turn();
                vm_read(&vm);
                n_refused += vm.n_got == QGS_ERROR_REPLY_SIZE;
                vm_close(&vm);
                turn();
        }
        ck_assert_uint_eq(n_refused, 2000);
        vm = vm_connect(&door);
        vm_ask(&vm, 1);
        turn();
        rig.is_deaf = false;
        turn();
        ck_assert_uint_eq(rig.n_qgs, 1);
        qgs_reply(0, 5034, 1);
        tell(message_of(WORKER_PING, 1), -1);
        turn();

        ck_assert_uint_eq(rig.n_pongs, 1);
        ck_assert_uint_gt(rig.state.n_lost, 0);
        ck_assert_uint_eq(rig.n_outcomes + rig.state.n_lost, 2001);
        ck_assert_uint_eq(rig.outcomes[rig.n_outcomes - 1].outcome, RELAY_DELIVERED);
        vm_close(&vm);
        close_door(&door);
        rig_stop();
}
END_TEST

/* ---- without a holder ---- */

START_TEST(without_a_holder_what_is_at_qgs_is_answered_and_the_rest_gets_an_error_reply)
{
        struct door door;
        struct vm at_qgs[2], waiting, idle, in_backlog[20];

        rig_start();
        door = open_door(1, 5, RELAY_CLAIM);
        for (unsigned i = 0; i < 2; ++i) {
                at_qgs[i] = vm_connect(&door);
                vm_ask(&at_qgs[i], 1);
        }
        waiting = vm_connect(&door);
        vm_ask(&waiting, 2);
        idle = vm_connect(&door);
        turn();
        ck_assert_uint_eq(rig.n_qgs, 2);
        for (unsigned i = 0; i < 20; ++i)
                in_backlog[i] = vm_connect(&door);
        close(take_fd(&rig.fd));
        for (unsigned i = 0; i < 20; ++i)
                vm_ask(&in_backlog[i], 3);
        turn();

        assert_refused(&waiting, QGS_ERROR_UNEXPECTED);
        vm_close(&waiting);
        advance(2000);
        for (unsigned i = 0; i < 20; ++i) {
                assert_refused(&in_backlog[i], QGS_ERROR_UNEXPECTED);
                vm_close(&in_backlog[i]);
        }
        for (unsigned i = 0; i < 2; ++i) {
                ck_assert(!rig.is_over);
                ck_assert(!rig.qgs[i].is_closed);
                qgs_reply(i, 5034, 1);
                turn();
                vm_read(&at_qgs[i]);
                ck_assert_uint_eq(at_qgs[i].n_got, 5034);
                vm_close(&at_qgs[i]);
        }
        vm_close(&idle);
        turn();
        ck_assert(rig.is_over);
        close_door(&door);
        rig_stop();
}
END_TEST

START_TEST(without_a_holder_a_worker_that_had_stopped_accepting_leaves_the_backlog_to_the_successor)
{
        struct door door;
        struct vm vm;

        rig_start();
        door = open_door(1, 5, RELAY_CLAIM);
        tell_accepting(false);
        vm = vm_connect(&door);
        vm_ask(&vm, 1);
        close(take_fd(&rig.fd));
        turn();

        ck_assert(rig.is_over);
        vm_read(&vm);
        ck_assert_uint_eq(vm.n_got, 0);
        ck_assert(!vm.has_ended);
        vm_close(&vm);
        close_door(&door);
        rig_stop();
}
END_TEST

START_TEST(a_holder_that_sends_nonsense_is_one_that_is_gone)
{
        rig_start();
        ck_assert_int_eq(send(rig.fd, "hello", 5, 0), 5);
        turn();

        ck_assert(rig.is_over);
        rig_stop();
}
END_TEST

/* ---- its own questions ---- */

static const unsigned char info[68] = { 0, 0, 0, 64, 1, 0, 1, 0, 5, 0, 0, 0, 64 };

static void answer_probe(unsigned i)
{
        ck_assert_uint_gt(rig.n_qgs, i);
        ck_assert_uint_eq(rig.qgs[i].n_got, QGS_PLATFORM_INFO_REQUEST_SIZE);
        ck_assert_uint_eq(rig.qgs[i].n_reads, 1);
        ck_assert_mem_eq(rig.qgs[i].got, qgs_platform_info_request, QGS_PLATFORM_INFO_REQUEST_SIZE);
        ck_assert_int_eq(send(rig.qgs[i].fd, info, sizeof(info), MSG_NOSIGNAL), sizeof(info));
        qgs_close(i);
        turn();
}

START_TEST(qgs_is_asked_every_ten_seconds_if_nothing_else_is_heard)
{
        rig_start();
        advance(9900);
        ck_assert_uint_eq(rig.n_qgs, 0);
        for (unsigned i = 0; i < 3; ++i) {
                advance(200);
                answer_probe(i);
                advance(9800);
        }
        ck_assert_uint_eq(rig.n_qgs, 3);
        ck_assert_uint_eq(rig.n_told, 3);
        ck_assert_uint_eq(rig.told[2].result, WORKER_QGS_ANSWERED);
        ck_assert_uint_eq(rig.told[2].is_probe, 1);
        rig_stop();
}
END_TEST

START_TEST(a_quote_puts_the_next_question_off)
{
        struct door door;
        struct vm vm;

        rig_start();
        door = open_door(1, 5, RELAY_CLAIM);
        vm = vm_connect(&door);
        for (unsigned i = 0; i < 5; ++i) {
                advance(6000);
                vm_ask(&vm, 1);
                turn();
                ck_assert_uint_eq(rig.n_qgs, i + 1);
                qgs_reply(i, 64, 1);
                turn();
        }
        advance(9900);
        ck_assert_uint_eq(rig.n_qgs, 5);
        advance(200);
        answer_probe(5);
        vm_close(&vm);
        close_door(&door);
        rig_stop();
}
END_TEST

START_TEST(silence_is_told_after_five_seconds_and_the_late_answer_as_well)
{
        rig_start();
        advance(10100);
        ck_assert_uint_eq(rig.n_qgs, 1);
        advance(4700);
        ck_assert_uint_eq(rig.n_told, 0);
        advance(300);
        ck_assert_uint_eq(rig.n_told, 1);
        ck_assert_uint_eq(rig.told[0].result, WORKER_QGS_SILENT);
        ck_assert_uint_eq(rig.told[0].is_probe, 1);
        advance(15000);
        tell(message_of(WORKER_ASK, 0), -1);
        turn();
        ck_assert_uint_eq(rig.n_qgs, 1); /* not one more to hang on */

        answer_probe(0);
        ck_assert_uint_eq(rig.n_told, 2);
        ck_assert_uint_eq(rig.told[1].result, WORKER_QGS_ANSWERED);
        rig_stop();
}
END_TEST

START_TEST(an_error_a_close_and_nonsense_are_told_as_what_they_are)
{
        unsigned char error[QGS_ERROR_REPLY_SIZE];

        rig_start();
        advance(10100);
        qgs_message_error_reply(QGS_ERROR_UNEXPECTED, error);
        ck_assert_int_eq(send(rig.qgs[0].fd, error, sizeof(error), MSG_NOSIGNAL), sizeof(error));
        turn();
        ck_assert_uint_eq(rig.told[0].result, WORKER_QGS_ERROR);
        ck_assert_uint_eq(rig.told[0].code, 0x12001);
        advance(1010);
        qgs_close(1);
        turn();
        ck_assert_uint_eq(rig.told[1].result, WORKER_QGS_CLOSED);
        advance(2010);
        ck_assert_int_eq(send(rig.qgs[2].fd, "HTTP/1.1 400", 12, MSG_NOSIGNAL), 12);
        turn();
        ck_assert_uint_eq(rig.told[2].result, WORKER_QGS_GARBLED);
        qgs_close(2);
        advance(4010);
        answer_probe(3);
        ck_assert_uint_eq(rig.told[3].result, WORKER_QGS_ANSWERED);
        rig_stop();
}
END_TEST

START_TEST(a_qgs_that_cannot_be_reached_is_tried_more_and_more_rarely_or_when_told)
{
        unsigned n;

        rig_start();
        rig.refuses = ENOENT;
        advance(10100);
        ck_assert_uint_eq(rig.n_refused, 1);
        advance(1010);
        ck_assert_uint_ge(rig.n_refused, 2);
        advance(60000);
        n = rig.n_refused;
        advance(60000);
        ck_assert_uint_le(rig.n_refused - n, 13);
        ck_assert_uint_ge(rig.n_refused - n, 5);

        rig.refuses = 0;
        tell(message_of(WORKER_ASK, 0), -1);
        turn();
        answer_probe(0);
        rig_stop();
}
END_TEST

SUITE("relay-worker-holder", who_stops_accepting_leaves_new_connections_in_the_backlog,
      who_stops_accepting_keeps_idle_connections_for_five_seconds,
      who_stops_accepting_does_not_ask_by_itself,
      threads_that_the_predecessor_still_uses_are_not_used_twice,
      a_name_that_is_taken_back_is_closed_and_its_vms_are_served,
      a_ping_is_answered_from_the_first_moment,
      a_deaf_holder_costs_bounded_memory_and_loses_no_quote,
      without_a_holder_what_is_at_qgs_is_answered_and_the_rest_gets_an_error_reply,
      without_a_holder_a_worker_that_had_stopped_accepting_leaves_the_backlog_to_the_successor,
      a_holder_that_sends_nonsense_is_one_that_is_gone,
      qgs_is_asked_every_ten_seconds_if_nothing_else_is_heard, a_quote_puts_the_next_question_off,
      silence_is_told_after_five_seconds_and_the_late_answer_as_well,
      an_error_a_close_and_nonsense_are_told_as_what_they_are,
      a_qgs_that_cannot_be_reached_is_tried_more_and_more_rarely_or_when_told);
