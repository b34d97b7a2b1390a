/* SPDX-License-Identifier: Apache-2.0 */
#include "relay/frame.h"

#include "base/memory.h"

#include <assert.h>

#define REPLY_ROOM 8192 /* a quote has about 5 KB */
#define REPLY_MAX  (QGS_LENGTH_SIZE + (size_t)QGS_MESSAGE_MAX)

unsigned char *frame_request_room(struct frame_request *request, size_t *ret_n)
{
        *ret_n = sizeof(request->bytes) - request->n;
        return request->bytes + request->n;
}

int frame_request_add(struct frame_request *request, size_t n, enum qgs_message_error *ret_error)
{
        assert(n <= sizeof(request->bytes) - request->n);
        request->n += n;
        return qgs_message_read_quote_request(request->bytes, request->n, ret_error);
}

void frame_reply_deinit(struct frame_reply *reply)
{
        free(reply->bytes);
        *reply = (struct frame_reply)FRAME_REPLY_NULL;
}

unsigned char *frame_reply_room(struct frame_reply *reply, size_t *ret_n)
{
        uint64_t size = qgs_message_size(reply->bytes, reply->n);
        size_t n_wanted = size && size < REPLY_MAX ? (size_t)size : REPLY_MAX;

        assert(reply->n < n_wanted);
        if (reply->n == reply->n_room) {
                reply->n_room = reply->n_room ? 2 * reply->n_room : REPLY_ROOM;
                reply->bytes = xreallocarray(reply->bytes, reply->n_room, 1);
        }
        *ret_n = (reply->n_room < n_wanted ? reply->n_room : n_wanted) - reply->n;
        return reply->bytes + reply->n;
}

void frame_reply_add(struct frame_reply *reply, size_t n)
{
        assert(n <= reply->n_room - reply->n);
        reply->n += n;
}
