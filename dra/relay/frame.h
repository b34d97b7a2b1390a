/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads a VM's request and QGS's reply as they arrive: pure, the caller does the reading. The
 * format is host/qgs_message's.
 */
#pragma once

#include "host/qgs_message.h"

#include <stddef.h>
#include <stdint.h>

/* A request of a VM. It takes no byte beyond the longest one allowed. */
struct frame_request {
        size_t n;
        unsigned char bytes[QGS_QUOTE_REQUEST_SIZE];
};

/* Where the next bytes go, and how many at most (> 0 while the request is incomplete). */
unsigned char *frame_request_room(struct frame_request *request, size_t *ret_n);
/* So many bytes were put there. Results as qgs_message_read_quote_request(). */
int frame_request_add(struct frame_request *request, size_t n, enum qgs_message_error *ret_error);

/* A reply of QGS. */
struct frame_reply {
        size_t n;
        size_t n_room;
        unsigned char *bytes;
};
#define FRAME_REPLY_NULL      \
        {                     \
                .bytes = NULL \
        }

void frame_reply_deinit(struct frame_reply *reply);

/* As above. Memory grows with what has arrived, not with what the reply claims. Not to be called
 * after the reply was found whole or wrong. */
unsigned char *frame_reply_room(struct frame_reply *reply, size_t *ret_n);
void frame_reply_add(struct frame_reply *reply, size_t n);
