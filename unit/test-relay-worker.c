/* SPDX-License-Identifier: Apache-2.0 */
#include "unit/suite.h"

#include "unit/relay-rig.h"

#include <poll.h>
#include <sys/resource.h>

/* ---- a quote ---- */

START_TEST(a_quote_comes_byte_for_byte_and_is_told)
{
        /* Of 64 bytes 0x07: sha256sum's. */
        static const uint8_t digest[RELAY_DIGEST_SIZE] = { 0x6c, 0xfe, 0xeb, 0x3a, 0xa2, 0x5d, 0x3f,
                                                           0x41, 0x1d, 0xae, 0x5e, 0xec, 0x17, 0xd7,
                                                           0x36, 0x9c, 0xa7, 0x15, 0x3e, 0x72, 0xdc,
                                                           0xf5, 0x4b, 0xcf, 0x4c, 0x3d, 0xae, 0xc0,
                                                           0xf5, 0xb2, 0x1f, 0xc7 };
        struct door door;
        struct vm vm;

        rig_start();
        door = open_door(1, 5, RELAY_PLUGIN);
        vm = vm_connect(&door);
        vm_ask(&vm, 7);
        turn();
        ck_assert_uint_eq(rig.n_qgs, 1);
        ck_assert_uint_eq(rig.qgs[0].n_got, QGS_QUOTE_REQUEST_SIZE);
        ck_assert_uint_eq(rig.qgs[0].n_reads, 1);
        ck_assert_mem_eq(rig.qgs[0].got, request_of(7), QGS_QUOTE_REQUEST_SIZE);
        advance(40);
        qgs_reply(0, 5034, 9);
        turn();
        vm_read(&vm);

        ck_assert_uint_eq(vm.n_got, 5034);
        for (size_t i = 20; i < vm.n_got; ++i)
                ck_assert_uint_eq(vm.got[i], 9);
        ck_assert(!vm.has_ended);
        ck_assert(rig.qgs[0].is_released);
        ck_assert_uint_eq(rig.n_outcomes, 1);
        ck_assert_uint_eq(rig.outcomes[0].outcome, RELAY_DELIVERED);
        ck_assert_uint_eq(rig.outcomes[0].td.device, 5);
        ck_assert_uint_eq(rig.outcomes[0].td.path, RELAY_PLUGIN);
        ck_assert_uint_eq(rig.outcomes[0].us, 40000);
        ck_assert_uint_eq(rig.outcomes[0].has_digest, 1);
        ck_assert_mem_eq(rig.outcomes[0].digest, digest, sizeof(digest));
        vm_close(&vm);
        close_door(&door);
        rig_stop();
}
END_TEST

START_TEST(a_connection_carries_one_request_after_the_other)
{
        struct door door;
        struct vm vm;

        rig_start();
        door = open_door(1, 5, RELAY_CLAIM);
        vm = vm_connect(&door);
        for (unsigned i = 0; i < 3; ++i)
                vm_ask(&vm, (unsigned char)i); /* all at once */
        for (unsigned i = 0; i < 3; ++i) {
                turn();
                ck_assert_uint_eq(rig.n_qgs, i + 1);
                ck_assert_uint_eq(rig.qgs[i].got[QGS_REPORT_OFFSET], i);
                qgs_reply(i, 100, (unsigned char)i);
        }
        turn();
        vm_read(&vm);

        ck_assert_uint_eq(vm.n_got, 300);
        for (unsigned i = 0; i < 3; ++i)
                ck_assert_uint_eq(vm.got[100 * i + 99], i);
        ck_assert_uint_eq(rig.n_outcomes, 3);
        vm_close(&vm);
        close_door(&door);
        rig_stop();
}
END_TEST

START_TEST(a_vm_that_has_closed_its_half_gets_its_quote)
{
        struct door door;
        struct vm vm;

        rig_start();
        door = open_door(1, 5, RELAY_CLAIM);
        vm = vm_connect(&door);
        vm_ask(&vm, 1);
        ck_assert_int_eq(shutdown(vm.fd, SHUT_WR), 0);
        advance(100);
        qgs_reply(0, 5034, 1);
        turn();
        vm_read(&vm);

        ck_assert_uint_eq(vm.n_got, 5034);
        ck_assert(vm.has_ended);
        vm_close(&vm);
        close_door(&door);
        rig_stop();
}
END_TEST

START_TEST(a_reply_of_1_mib_in_pieces_to_a_slow_vm_comes_whole)
{
        const size_t size = QGS_LENGTH_SIZE + QGS_MESSAGE_MAX;
        _cleanup_(free) unsigned char *reply = quote_of(size, 3, 0);
        struct door door;
        struct vm vm;
        size_t n_sent = 0;

        rig_start();
        door = open_door(1, 5, RELAY_CLAIM);
        vm = vm_connect(&door);
        vm_ask(&vm, 1);
        turn();
        while (n_sent < size) {
                size_t n = size - n_sent < 50000 ? size - n_sent : 50000;

                ck_assert_int_eq(send(rig.qgs[0].fd, reply + n_sent, n, MSG_NOSIGNAL), n);
                n_sent += n;
                turn();
        }
        /* It is whole, so QGS is free again, however slow the VM is. */
        ck_assert(rig.qgs[0].is_released);
        for (unsigned i = 0; i < 1000 && vm.n_got < size; ++i) {
                vm_read(&vm);
                turn();
        }

        ck_assert_uint_eq(vm.n_got, size);
        ck_assert_mem_eq(vm.got, reply, size);
        ck_assert_uint_eq(rig.outcomes[0].outcome, RELAY_DELIVERED);
        vm_close(&vm);
        close_door(&door);
        rig_stop();
}
END_TEST

START_TEST(qgs_own_error_is_passed_on_and_told_with_its_code)
{
        struct door door;
        struct vm vm;
        unsigned char error[QGS_ERROR_REPLY_SIZE];

        rig_start();
        door = open_door(1, 5, RELAY_CLAIM);
        vm = vm_connect(&door);
        vm_ask(&vm, 1);
        turn();
        qgs_message_error_reply(QGS_ERROR_UNEXPECTED, error);
        ck_assert_int_eq(send(rig.qgs[0].fd, error, sizeof(error), MSG_NOSIGNAL), sizeof(error));
        turn();

        assert_refused(&vm, QGS_ERROR_UNEXPECTED);
        ck_assert_uint_eq(rig.outcomes[0].outcome, RELAY_QGS_ERROR);
        ck_assert_uint_eq(rig.outcomes[0].code, 0x12001);
        ck_assert_uint_eq(rig.n_told, 0);
        vm_close(&vm);
        close_door(&door);
        rig_stop();
}
END_TEST

/* ---- requests that are none ---- */

START_TEST(qgs_hears_nothing_before_a_request_is_whole)
{
        struct door door;
        struct vm vm;

        rig_start();
        door = open_door(1, 5, RELAY_CLAIM);
        vm = vm_connect(&door);
        for (size_t i = 0; i < QGS_QUOTE_REQUEST_SIZE; ++i) {
                ck_assert_uint_eq(rig.n_qgs, 0);
                vm_send(&vm, request_of(4) + i, 1);
                turn();
        }

        ck_assert_uint_eq(rig.n_qgs, 1);
        ck_assert_uint_eq(rig.qgs[0].n_reads, 1);
        ck_assert_mem_eq(rig.qgs[0].got, request_of(4), QGS_QUOTE_REQUEST_SIZE);
        vm_close(&vm);
        close_door(&door);
        rig_stop();
}
END_TEST

START_TEST(half_a_request_has_five_seconds)
{
        struct door door;
        struct vm vm;

        rig_start();
        door = open_door(1, 5, RELAY_CLAIM);
        vm = vm_connect(&door);
        vm_send(&vm, request_of(1), 600);
        advance(4000);
        vm_send(&vm, request_of(1) + 600, 1); /* does not buy time */
        advance(980);
        vm_read(&vm);
        ck_assert_uint_eq(vm.n_got, 0);
        advance(100);

        assert_refused(&vm, QGS_ERROR_SIZE);
        ck_assert(vm.has_ended);
        ck_assert_uint_eq(rig.n_qgs, 0);
        ck_assert_uint_eq(rig.outcomes[0].outcome, RELAY_MALFORMED);
        vm_close(&vm);
        close_door(&door);
        rig_stop();
}
END_TEST

START_TEST(an_idle_connection_has_thirty_seconds_and_ends_in_order)
{
        struct door door;
        struct vm vm;

        rig_start();
        door = open_door(1, 5, RELAY_CLAIM);
        vm = vm_connect(&door);
        advance(29900);
        vm_read(&vm);
        ck_assert(!vm.has_ended);
        advance(200);
        vm_read(&vm);

        ck_assert(vm.has_ended);
        ck_assert(!vm.is_reset);
        ck_assert_uint_eq(vm.n_got, 0);
        ck_assert_uint_eq(rig.n_outcomes, 0);
        vm_close(&vm);
        close_door(&door);
        rig_stop();
}
END_TEST

/* Closing with unread bytes would reset the connection, and QEMU would not see the reply. */
START_TEST(what_is_refused_gets_an_error_reply_and_an_orderly_end)
{
        static const struct {
                const char *what;
                unsigned char bytes[32];
                enum qgs_message_error error;
                enum relay_outcome outcome;
        } rows[] = {
                { "4 GiB", { 0xff, 0xff, 0xff, 0xff }, QGS_ERROR_SIZE, RELAY_MALFORMED },
                { "nothing", { 0, 0, 0, 0 }, QGS_ERROR_SIZE, RELAY_MALFORMED },
                { "a raw TDREPORT", { 0x81 }, QGS_ERROR_SIZE, RELAY_MALFORMED },
                { "major 2",
                  { 0, 0, 4, 0x18, 2, 0, 1, 0, 0, 0, 0, 0, 0x18, 4 },
                  QGS_ERROR_VERSION,
                  RELAY_MALFORMED },
                { "platform info",
                  { 0, 0, 0, 16, 1, 0, 1, 0, 4, 0, 0, 0, 16 },
                  QGS_ERROR_TYPE,
                  RELAY_REFUSED_TYPE },
                { "collateral",
                  { 0, 0, 0, 24, 1, 0, 1, 0, 2, 0, 0, 0, 24 },
                  QGS_ERROR_TYPE,
                  RELAY_REFUSED_TYPE },
        };
        unsigned char more[20000];
        struct door door;

        memset(more, 0xee, sizeof(more));
        rig_start();
        door = open_door(1, 5, RELAY_CLAIM);
        for (unsigned i = 0; i < array_size(rows); ++i) {
                struct vm vm = vm_connect(&door);

                vm_send(&vm, rows[i].bytes, sizeof(rows[i].bytes));
                vm_send(&vm, more, sizeof(more));
                turn();
                advance(1100);

                assert_refused(&vm, rows[i].error);
                ck_assert_msg(vm.has_ended, "%s", rows[i].what);
                ck_assert_uint_eq(rig.n_outcomes, i + 1);
                ck_assert_uint_eq(rig.outcomes[i].outcome, rows[i].outcome);
                ck_assert_uint_eq(rig.outcomes[i].has_digest, 0);
                vm_close(&vm);
        }
        ck_assert_uint_eq(rig.n_qgs, 0);
        close_door(&door);
        rig_stop();
}
END_TEST

/* ---- limits ---- */

START_TEST(two_requests_of_a_td_and_four_of_all_are_at_qgs)
{
        struct door doors[3];
        struct vm vms[3][8];
        unsigned n_of_td[3] = { 0 };

        rig_start();
        for (unsigned i = 0; i < 3; ++i)
                doors[i] = open_door(i, i, RELAY_CLAIM);
        for (unsigned k = 0; k < 8; ++k) {
                vms[0][k] = vm_connect(&doors[0]);
                vm_ask(&vms[0][k], 100);
        }
        turn();
        ck_assert_uint_eq(rig.n_qgs, 2);

        for (unsigned i = 1; i < 3; ++i)
                for (unsigned k = 0; k < 8; ++k) {
                        vms[i][k] = vm_connect(&doors[i]);
                        vm_ask(&vms[i][k], (unsigned char)(100 + i));
                }
        turn();
        ck_assert_uint_eq(rig.n_qgs, 4);
        for (unsigned i = 0; i < 24; ++i) {
                ck_assert_uint_le(rig.n_qgs, i + 4);
                ++n_of_td[rig.qgs[i].got[QGS_REPORT_OFFSET] - 100];
                /* In turns, from the moment that all have something waiting. */
                if (i >= 4 && i % 3 == 0)
                        for (unsigned td = 1; td < 3; ++td)
                                ck_assert_int_le(abs((int)n_of_td[td] - (int)n_of_td[0]), 2);
                qgs_reply(i, 64, 1);
                turn();
        }

        ck_assert_uint_eq(rig.n_outcomes, 24);
        for (unsigned i = 0; i < 3; ++i) {
                ck_assert_uint_eq(n_of_td[i], 8);
                for (unsigned k = 0; k < 8; ++k) {
                        vm_read(&vms[i][k]);
                        ck_assert_uint_eq(vms[i][k].n_got, 64);
                        vm_close(&vms[i][k]);
                }
                close_door(&doors[i]);
        }
        rig_stop();
}
END_TEST

START_TEST(the_same_number_on_the_other_path_is_another_vms)
{
        struct door doors[2];
        struct vm vms[2][4];

        rig_start();
        for (unsigned i = 0; i < 2; ++i) {
                doors[i] = open_door(i, 5, i);
                for (unsigned k = 0; k < 4; ++k) {
                        vms[i][k] = vm_connect(&doors[i]);
                        vm_ask(&vms[i][k], (unsigned char)i);
                }
        }
        turn();

        ck_assert_uint_eq(rig.n_qgs, 4);
        ck_assert_uint_eq(rig.qgs[0].got[QGS_REPORT_OFFSET] + rig.qgs[1].got[QGS_REPORT_OFFSET] +
                                  rig.qgs[2].got[QGS_REPORT_OFFSET] +
                                  rig.qgs[3].got[QGS_REPORT_OFFSET],
                          2);
        for (unsigned i = 0; i < 2; ++i) {
                for (unsigned k = 0; k < 4; ++k)
                        vm_close(&vms[i][k]);
                close_door(&doors[i]);
        }
        rig_stop();
}
END_TEST

START_TEST(the_seventeenth_connection_waits_and_two_names_are_one_td)
{
        struct door doors[2];
        struct vm idle[16], vm, other;

        rig_start();
        doors[0] = open_door(0, 5, RELAY_CLAIM);
        doors[1] = open_door(1, 5, RELAY_CLAIM);
        for (unsigned i = 0; i < 16; ++i)
                idle[i] = vm_connect(&doors[i % 2]);
        turn();
        vm = vm_connect(&doors[0]);
        other = vm_connect(&doors[1]);
        vm_ask(&vm, 1);
        vm_ask(&other, 2);
        advance(1000);
        ck_assert_uint_eq(rig.n_qgs, 0);

        vm_close(&idle[0]);
        turn();
        ck_assert_uint_eq(rig.n_qgs, 1);
        vm_close(&idle[1]);
        turn();
        ck_assert_uint_eq(rig.n_qgs, 2);

        for (unsigned i = 2; i < 16; ++i)
                vm_close(&idle[i]);
        vm_close(&vm);
        vm_close(&other);
        close_door(&doors[0]);
        close_door(&doors[1]);
        rig_stop();
}
END_TEST

/* 1100 idle connections of one VM end a QGS that they reach. */
START_TEST(idle_connections_of_one_vm_leave_room_for_another)
{
        struct door busy, quiet;
        struct vm *idle = xcalloc(1100, sizeof(*idle)), vm;
        struct rlimit limit;

        ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
        limit.rlim_cur = limit.rlim_max;
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
        rig_start();
        busy = open_door(0, 5, RELAY_CLAIM);
        quiet = open_door(1, 6, RELAY_CLAIM);
        for (unsigned i = 0; i < 1100; ++i)
                idle[i] = vm_connect(&busy);
        turn();
        vm = vm_connect(&quiet);
        vm_ask(&vm, 1);
        turn();

        ck_assert_uint_eq(rig.n_qgs, 1);
        tell(message_of(WORKER_PING, 3), -1);
        turn();
        ck_assert_uint_eq(rig.state.n_connections, 17);
        for (unsigned i = 0; i < 1100; ++i)
                vm_close(&idle[i]);
        free(idle);
        vm_close(&vm);
        close_door(&busy);
        close_door(&quiet);
        rig_stop();
}
END_TEST

START_TEST(vms_wait_where_descriptors_are_few_and_a_quote_still_finds_one)
{
        static const struct worker_limits limits = WORKER_LIMITS_DEFAULT;
        struct door doors[2];
        struct vm vms[6];

        rig_start_with(&limits, 64 + 8 + 2 + 4); /* kept, QGS's threads, two listeners, four VMs */
        tell_threads(8);
        doors[0] = open_door(0, 5, RELAY_CLAIM);
        doors[1] = open_door(1, 6, RELAY_CLAIM);
        for (unsigned i = 0; i < 6; ++i) {
                vms[i] = vm_connect(&doors[i % 2]);
                vm_ask(&vms[i], 1);
        }
        turn();
        tell(message_of(WORKER_PING, 3), -1);
        turn();
        ck_assert_uint_eq(rig.state.n_connections, 4);
        /* The probe, two of the first TD and one of the second. */
        ck_assert_uint_eq(rig.n_qgs, 4);
        for (unsigned i = 0; i < 6; ++i)
                vm_close(&vms[i]);
        turn();
        tell(message_of(WORKER_PING, 4), -1);
        turn();
        ck_assert_uint_eq(rig.state.n_connections, 0);
        close_door(&doors[0]);
        close_door(&doors[1]);
        rig_stop();
}
END_TEST

START_TEST(a_failed_accept_is_tried_again_after_a_pause_and_not_in_a_loop)
{
        struct pollfd ready = { .events = POLLIN };
        struct rlimit limit = { 0 }, full;
        struct door door;
        struct vm vm;
        int next;

        rig_start();
        door = open_door(0, 5, RELAY_CLAIM);
        vm = vm_connect(&door);
        ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
        next = dup(0);
        close(next);
        full = (struct rlimit){ .rlim_cur = (rlim_t)next, .rlim_max = limit.rlim_max };
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &full), 0);
        turn();

        /* Nothing is ready any more, though a connection waits. */
        ready.fd = uv_backend_fd(&rig.loop);
        ck_assert_int_eq(poll(&ready, 1, 0), 0);
        ck_assert_int_gt(uv_backend_timeout(&rig.loop), 0);
        advance(1000);
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
        advance(150);
        vm_ask(&vm, 1);
        turn();

        ck_assert_uint_eq(rig.n_qgs, 1);
        vm_close(&vm);
        close_door(&door);
        rig_stop();
}
END_TEST

SUITE("relay-worker", a_quote_comes_byte_for_byte_and_is_told,
      a_connection_carries_one_request_after_the_other,
      a_vm_that_has_closed_its_half_gets_its_quote,
      a_reply_of_1_mib_in_pieces_to_a_slow_vm_comes_whole,
      qgs_own_error_is_passed_on_and_told_with_its_code,
      qgs_hears_nothing_before_a_request_is_whole, half_a_request_has_five_seconds,
      an_idle_connection_has_thirty_seconds_and_ends_in_order,
      what_is_refused_gets_an_error_reply_and_an_orderly_end,
      two_requests_of_a_td_and_four_of_all_are_at_qgs,
      the_same_number_on_the_other_path_is_another_vms,
      the_seventeenth_connection_waits_and_two_names_are_one_td,
      idle_connections_of_one_vm_leave_room_for_another,
      vms_wait_where_descriptors_are_few_and_a_quote_still_finds_one,
      a_failed_accept_is_tried_again_after_a_pause_and_not_in_a_loop);
