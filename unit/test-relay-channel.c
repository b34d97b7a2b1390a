/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "relay/channel.h"
#include "unit/suite.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

struct heard {
        unsigned n;
        uint32_t last_ticket;
        int last_fd;
        unsigned n_ends;
        int end_code;
        struct channel *frees; /* at its first message */
};

static uv_loop_t loop;
static int peer_fd = -1;

static void on_message(void *owner, const struct worker_message *message, int fd)
{
        struct heard *heard = owner;

        ++heard->n;
        heard->last_ticket = message->ticket;
        if (heard->last_fd >= 0)
                close(heard->last_fd);
        heard->last_fd = fd;
        if (heard->frees)
                channel_free(take_ptr(heard->frees));
}

static void on_end(void *owner, int code)
{
        struct heard *heard = owner;

        ++heard->n_ends;
        heard->end_code = code;
}

static struct channel *start(struct heard *heard)
{
        int pair[2];

        *heard = (struct heard){ .last_fd = -1, .end_code = 1 };
        ck_assert_int_eq(uv_loop_init(&loop), 0);
        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
        peer_fd = pair[1];
        return channel_new(&loop, pair[0], WORKER_SIDE_HOLDER, on_message, on_end, heard);
}

static void turn_loop(void)
{
        for (unsigned i = 0; i < 3; ++i)
                (void)uv_run(&loop, UV_RUN_NOWAIT);
}

static void stop(struct channel *channel)
{
        channel_free(channel);
        if (peer_fd >= 0)
                close(peer_fd);
        turn_loop();
        ck_assert_int_eq(uv_loop_close(&loop), 0);
}

static struct worker_message message_of(uint32_t kind, uint32_t ticket)
{
        struct worker_message message;

        memset(&message, 0, sizeof(message));
        message.kind = kind;
        message.ticket = ticket;
        return message;
}

START_TEST(what_the_peer_does_not_read_waits_in_its_order)
{
        struct heard heard;
        struct channel *channel = start(&heard);
        unsigned n_read = 0;

        for (unsigned i = 0; i < 5000; ++i) {
                struct worker_message message = message_of(WORKER_CONNECT, i);

                channel_send(channel, &message, -1);
        }
        ck_assert_uint_gt(channel_n_unsent(channel), 1000);
        while (n_read < 5000) {
                struct worker_message message;
                int fd, r = worker_message_receive(peer_fd, WORKER_SIDE_WORKER, &message, &fd);

                if (r == -EAGAIN) {
                        turn_loop();
                        continue;
                }
                ck_assert_int_eq(r, 0);
                ck_assert_uint_eq(message.ticket, n_read++);
        }

        ck_assert_uint_eq(channel_n_unsent(channel), 0);
        stop(channel);
}
END_TEST

START_TEST(descriptors_that_were_not_sent_are_closed_with_the_channel)
{
        struct heard heard;
        struct channel *channel = start(&heard);
        struct worker_message message = message_of(WORKER_CONNECTED, 1);
        int next = dup(peer_fd);

        close(next);
        for (unsigned i = 0; i < 600; ++i)
                channel_send(channel, &message, dup(peer_fd));
        ck_assert_uint_gt(channel_n_unsent(channel), 0);
        stop(channel);

        /* Those that were sent went with the other end. */
        ck_assert_int_eq(fcntl(next, F_GETFD), -1);
}
END_TEST

START_TEST(messages_come_with_their_descriptors_and_may_free_the_channel)
{
        struct heard heard;
        struct channel *channel = start(&heard);
        struct worker_message message = message_of(WORKER_CONNECTED, 7);

        ck_assert_int_eq(worker_message_send(peer_fd, &message, peer_fd), 0);
        turn_loop();
        ck_assert_uint_eq(heard.n, 1);
        ck_assert_uint_eq(heard.last_ticket, 7);
        ck_assert_int_ge(heard.last_fd, 0);

        heard.frees = channel;
        ck_assert_int_eq(worker_message_send(peer_fd, &message, peer_fd), 0);
        ck_assert_int_eq(worker_message_send(peer_fd, &message, peer_fd), 0);
        turn_loop();
        ck_assert_uint_eq(heard.n, 2);
        close(heard.last_fd);
        stop(NULL);
}
END_TEST

START_TEST(the_peers_end_is_told_once_and_sending_goes_on_in_vain)
{
        struct heard heard;
        struct channel *channel = start(&heard);
        struct worker_message message = message_of(WORKER_CONNECT, 1);

        close(take_fd(&peer_fd));
        turn_loop();
        channel_send(channel, &message, -1);
        turn_loop();

        ck_assert_uint_eq(heard.n_ends, 1);
        ck_assert_int_eq(heard.end_code, 0);
        ck_assert_uint_eq(channel_n_unsent(channel), 0);
        stop(channel);
}
END_TEST

/* Unread messages of ours make its end a reset. */
START_TEST(what_a_peer_said_before_it_died_is_heard)
{
        struct heard heard;
        struct channel *channel = start(&heard);
        struct worker_message from_us = message_of(WORKER_CONNECT, 1),
                              from_it = message_of(WORKER_PING, 2);

        channel_send(channel, &from_us, -1);
        for (unsigned i = 0; i < 100; ++i)
                ck_assert_int_eq(worker_message_send(peer_fd, &from_it, -1), 0);
        close(take_fd(&peer_fd));
        turn_loop();

        ck_assert_uint_eq(heard.n, 100);
        ck_assert_uint_eq(heard.n_ends, 1);
        ck_assert_int_eq(heard.end_code, 0);
        stop(channel);
}
END_TEST

START_TEST(a_peer_that_sends_what_it_never_sends_is_at_its_end)
{
        struct heard heard;
        struct channel *channel = start(&heard);
        struct worker_message message = message_of(WORKER_PONG, 1);

        ck_assert_int_eq(worker_message_send(peer_fd, &message, -1), 0);
        turn_loop();

        ck_assert_uint_eq(heard.n, 0);
        ck_assert_uint_eq(heard.n_ends, 1);
        ck_assert_int_eq(heard.end_code, -EBADMSG);
        stop(channel);
}
END_TEST

SUITE("relay-channel", what_the_peer_does_not_read_waits_in_its_order,
      descriptors_that_were_not_sent_are_closed_with_the_channel,
      messages_come_with_their_descriptors_and_may_free_the_channel,
      the_peers_end_is_told_once_and_sending_goes_on_in_vain,
      what_a_peer_said_before_it_died_is_heard,
      a_peer_that_sends_what_it_never_sends_is_at_its_end);
