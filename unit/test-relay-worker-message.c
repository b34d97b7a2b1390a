/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "relay/worker_message.h"
#include "unit/suite.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static int pair[2];

static void open_pair(void)
{
        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
}

static void close_pair(void)
{
        close(pair[0]);
        close(pair[1]);
}

static struct worker_message listen_message(uint32_t device, uint32_t path)
{
        struct worker_message message;

        memset(&message, 0, sizeof(message));
        message.kind = WORKER_LISTEN;
        message.listener = (struct worker_listener){ .id = 7, .td = { device, path } };
        return message;
}

START_TEST(a_message_arrives_whole_with_its_descriptor)
{
        struct worker_message message = listen_message(5, RELAY_PLUGIN), got;
        int fd = -1, zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
        char byte = 1;

        open_pair();
        ck_assert_int_eq(worker_message_send(pair[0], &message, zero), 0);
        ck_assert_int_eq(worker_message_receive(pair[1], WORKER_SIDE_HOLDER, &got, &fd), 0);

        ck_assert_mem_eq(&got, &message, sizeof(got));
        ck_assert_int_eq(read(fd, &byte, 1), 1);
        ck_assert_int_eq(byte, 0);
        ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
        ck_assert_int_eq(worker_message_receive(pair[1], WORKER_SIDE_HOLDER, &got, &fd), -EAGAIN);
        close(fd);
        close(zero);
        close_pair();
}
END_TEST

START_TEST(the_end_of_the_peer_is_told_apart_from_no_message)
{
        struct worker_message got;
        int fd = -1;

        open_pair();
        close(pair[0]);

        ck_assert_int_eq(worker_message_receive(pair[1], WORKER_SIDE_HOLDER, &got, &fd), 1);
        got = listen_message(5, RELAY_CLAIM);
        ck_assert_int_eq(worker_message_send(pair[1], &got, -1), -EPIPE);
        close(pair[1]);
}
END_TEST

START_TEST(a_peer_that_does_not_read_blocks_nobody)
{
        struct worker_message message;
        int r = 0;

        memset(&message, 0, sizeof(message));
        message.kind = WORKER_PING;
        open_pair();
        for (unsigned i = 0; !r && i < 100000; ++i)
                r = worker_message_send(pair[0], &message, -1);

        ck_assert_int_eq(r, -EAGAIN);
        close_pair();
}
END_TEST

START_TEST(what_the_other_side_never_sends_is_refused_and_its_descriptor_closed)
{
        struct worker_message got;
        int fd = -1, next, zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
        struct worker_message rows[7];
        static const bool with_fd[] = { true, false, true, true, true, true, false };

        for (size_t i = 0; i < array_size(rows); ++i)
                rows[i] = listen_message(5, RELAY_CLAIM);
        /* [0]: right but for the side that it is said to come from. [1]: without its descriptor. */
        rows[2].listener.td.device = RELAY_DEVICES_MAX;
        rows[3].listener.td.path = RELAY_N_PATHS;
        rows[4].kind = 0;
        rows[5].kind = WORKER_PING; /* with a descriptor */
        rows[6].kind = UINT32_MAX;

        open_pair();
        next = dup(zero);
        close(next);
        for (size_t i = 0; i < array_size(rows); ++i) {
                ck_assert_int_eq(worker_message_send(pair[0], &rows[i], with_fd[i] ? zero : -1), 0);
                ck_assert_int_eq(worker_message_receive(pair[1],
                                                        i ? WORKER_SIDE_HOLDER : WORKER_SIDE_WORKER,
                                                        &got, &fd),
                                 -EBADMSG);
                ck_assert_int_eq(fd, -1);
        }
        ck_assert_int_eq(send(pair[0], "short", 5, 0), 5);
        ck_assert_int_eq(worker_message_receive(pair[1], WORKER_SIDE_HOLDER, &got, &fd), -EBADMSG);
        fd = dup(zero);
        ck_assert_int_eq(fd, next);
        close(fd);
        close(zero);
        close_pair();
}
END_TEST

START_TEST(a_descriptor_that_finds_no_room_is_told)
{
        struct worker_message message = listen_message(5, RELAY_CLAIM), got;
        struct rlimit limit = { 0 }, full;
        int fd = -1, next;

        open_pair();
        ck_assert_int_eq(worker_message_send(pair[0], &message, pair[0]), 0);
        ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
        next = dup(pair[0]);
        close(next);
        full = (struct rlimit){ .rlim_cur = (rlim_t)next, .rlim_max = limit.rlim_max };
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &full), 0);

        ck_assert_int_eq(worker_message_receive(pair[1], WORKER_SIDE_HOLDER, &got, &fd), -EMFILE);

        ck_assert_int_eq(fd, -1);
        ck_assert_uint_eq(got.listener.td.device, 5);
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
        close_pair();
}
END_TEST

SUITE("relay-worker-message", a_message_arrives_whole_with_its_descriptor,
      the_end_of_the_peer_is_told_apart_from_no_message, a_peer_that_does_not_read_blocks_nobody,
      what_the_other_side_never_sends_is_refused_and_its_descriptor_closed,
      a_descriptor_that_finds_no_room_is_told);
