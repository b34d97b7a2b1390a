/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as what a VM sends and as what QGS replies, in pieces of a length that the first byte
 * says: the answer does not depend on the pieces, and nothing is read beyond a request. */
#include "base/memory.h"
#include "relay/frame.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static int read_request(const uint8_t *bytes, size_t n, size_t n_piece, size_t *ret_read)
{
        struct frame_request request = { .n = 0 };
        enum qgs_message_error error = 0;
        int r = 1;

        for (*ret_read = 0; r == 1 && *ret_read < n;) {
                size_t n_room, n_now = n - *ret_read < n_piece ? n - *ret_read : n_piece;
                unsigned char *room = frame_request_room(&request, &n_room);

                assert(n_room);
                n_now = n_now < n_room ? n_now : n_room;
                memcpy(room, bytes + *ret_read, n_now);
                *ret_read += n_now;
                r = frame_request_add(&request, n_now, &error);
        }
        assert(r == 0 || r == 1 || r == -EBADMSG || r == -EPROTONOSUPPORT);
        assert((r < 0) == (error != 0));
        assert(r || (*ret_read == QGS_QUOTE_REQUEST_SIZE &&
                     memcmp(request.bytes, bytes, QGS_QUOTE_REQUEST_SIZE) == 0));
        return r;
}

static int read_reply(const uint8_t *bytes, size_t n, size_t n_piece)
{
        struct frame_reply reply = FRAME_REPLY_NULL;
        size_t n_read = 0, size = 0;
        uint32_t error;
        int r = 1;

        while (r == 1 && n_read < n) {
                size_t n_room, n_now = n - n_read < n_piece ? n - n_read : n_piece;
                unsigned char *room = frame_reply_room(&reply, &n_room);

                assert(n_room);
                n_now = n_now < n_room ? n_now : n_room;
                memcpy(room, bytes + n_read, n_now);
                n_read += n_now;
                frame_reply_add(&reply, n_now);
                r = qgs_message_read_quote_reply(reply.bytes, reply.n, &size, &error);
        }
        assert(r == 0 || r == 1 || r == -EBADMSG);
        assert(r || (size <= reply.n && memcmp(reply.bytes, bytes, size) == 0));
        assert(reply.n_room <= 2 * n_read + 8192);
        frame_reply_deinit(&reply);
        return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
        size_t n_piece, n_read, n_byte_by_byte;

        if (!n)
                return 0;
        n_piece = bytes[0] * 8U + 1U;
        ++bytes;
        --n;
        assert(read_request(bytes, n, n_piece, &n_read) ==
               read_request(bytes, n, 1, &n_byte_by_byte));
        assert(n_byte_by_byte <= n_read);
        assert(read_reply(bytes, n, n_piece) == read_reply(bytes, n, 1));
        return 0;
}
