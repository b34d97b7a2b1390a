/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "relay/frame.h"
#include "unit/suite.h"

#include <errno.h>
#include <string.h>

static const unsigned char request_head[QGS_REPORT_OFFSET] = { 0, 0, 4,    0x18, 1, 0, 1, 0, 0, 0,
                                                               0, 0, 0x18, 4,    0, 0, 0, 0, 0, 0,
                                                               0, 4, 0,    0,    0, 0, 0, 0 };

/* What a VM writes: a request whose report counts up, and behind it a second one's beginning. */
static unsigned char stream[QGS_QUOTE_REQUEST_SIZE + 100];

static void fill_stream(void)
{
        memcpy(stream, request_head, sizeof(request_head));
        for (size_t i = sizeof(request_head); i < sizeof(stream); ++i)
                stream[i] = (unsigned char)i;
}

/* Reads from the stream at most n bytes at a time. Returns how many were read until the answer. */
static size_t read_request(struct frame_request *request, size_t n_piece, int *ret,
                           enum qgs_message_error *ret_error)
{
        size_t n_read = 0;

        do {
                size_t n;
                unsigned char *room = frame_request_room(request, &n);

                ck_assert_uint_gt(n, 0);
                n = n < n_piece ? n : n_piece;
                memcpy(room, stream + n_read, n);
                n_read += n;
                *ret = frame_request_add(request, n, ret_error);
        } while (*ret == 1);
        return n_read;
}

START_TEST(a_request_is_read_in_any_pieces_and_nothing_beyond_it)
{
        static const size_t pieces[] = { 1, 3, 4, 5, 20, 28, 600, 1051, 1052, sizeof(stream) };

        fill_stream();
        for (size_t i = 0; i < array_size(pieces); ++i) {
                struct frame_request request = { .n = 0 };
                enum qgs_message_error error;
                int r;

                ck_assert_uint_le(read_request(&request, pieces[i], &r, &error),
                                  QGS_QUOTE_REQUEST_SIZE);
                ck_assert_int_eq(r, 0);
                ck_assert_uint_eq(request.n, QGS_QUOTE_REQUEST_SIZE);
                ck_assert_mem_eq(request.bytes, stream, QGS_QUOTE_REQUEST_SIZE);
        }
}
END_TEST

START_TEST(a_length_of_4_gib_is_answered_with_its_fourth_byte)
{
        struct frame_request request = { .n = 0 };
        enum qgs_message_error error = 0;
        int r;

        fill_stream();
        memset(stream, 0xff, 4);

        ck_assert_uint_eq(read_request(&request, 1, &r, &error), 4);
        ck_assert_int_eq(r, -EBADMSG);
        ck_assert_int_eq(error, QGS_ERROR_SIZE);
}
END_TEST

/* Feeds a reply of this size in pieces; returns the most memory that it took. */
static size_t read_reply(size_t size, uint32_t claimed, size_t n_piece, struct frame_reply *reply)
{
        unsigned char head[20] = { [4] = 1, [6] = 1, [8] = QGS_QUOTE };
        size_t n_fed = 0;

        for (unsigned i = 0; i < 4; ++i) {
                head[3 - i] = (unsigned char)(claimed >> 8 * i);
                head[12 + i] = (unsigned char)(claimed >> 8 * i);
        }
        while (n_fed < size) {
                size_t n;
                unsigned char *room = frame_reply_room(reply, &n);

                ck_assert_uint_gt(n, 0);
                n = n < n_piece ? n : n_piece;
                n = n < size - n_fed ? n : size - n_fed;
                for (size_t i = 0; i < n; ++i)
                        room[i] = n_fed + i < sizeof(head) ? head[n_fed + i]
                                                           : (unsigned char)(n_fed + i);
                n_fed += n;
                frame_reply_add(reply, n);
        }
        return reply->n_room;
}

START_TEST(a_reply_is_kept_byte_for_byte)
{
        static const size_t sizes[] = { 28, 5034, 8192, 8193, 70000, 4 + QGS_MESSAGE_MAX };
        static const size_t pieces[] = { 1, 1000, 1U << 20 };

        for (size_t i = 0; i < array_size(sizes) * array_size(pieces); ++i) {
                size_t size = sizes[i / array_size(pieces)], read = 0;
                struct frame_reply reply = FRAME_REPLY_NULL;
                size_t n_piece = pieces[i % array_size(pieces)];
                uint32_t error = 1;

                if (size / n_piece > 100000)
                        continue;
                (void)read_reply(size, (uint32_t)size - 4, n_piece, &reply);

                ck_assert_uint_eq(reply.n, size);
                ck_assert_int_eq(qgs_message_read_quote_reply(reply.bytes, reply.n, &read, &error),
                                 0);
                ck_assert_uint_eq(read, size);
                for (size_t k = 20; k < size; ++k)
                        if (reply.bytes[k] != (unsigned char)k)
                                ck_abort_msg("byte %zu of %zu", k, size);
                frame_reply_deinit(&reply);
        }
}
END_TEST

START_TEST(a_reply_takes_memory_for_what_has_come_not_for_what_it_claims)
{
        struct frame_reply reply = FRAME_REPLY_NULL;

        ck_assert_uint_le(read_reply(100, QGS_MESSAGE_MAX, 100, &reply), 8192);
        frame_reply_deinit(&reply);
}
END_TEST

SUITE("relay-frame", a_request_is_read_in_any_pieces_and_nothing_beyond_it,
      a_length_of_4_gib_is_answered_with_its_fourth_byte, a_reply_is_kept_byte_for_byte,
      a_reply_takes_memory_for_what_has_come_not_for_what_it_claims);
