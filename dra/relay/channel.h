/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One end of the socketpair between holder and worker, on a loop. Sending never blocks and never
 * fails: what the peer does not read yet waits here, in its order.
 */
#pragma once

#include "relay/worker_message.h"

#include <stddef.h>

struct channel;
struct uv_loop_s;

/* fd: -1, or a descriptor that is the callee's now. It is -1 as well if a message's own descriptor
 * found no room in this process's table. */
typedef void channel_on_message(void *owner, const struct worker_message *message, int fd);
/* code: 0, the peer has closed; -EBADMSG, it sent what it never sends; or another -errno. Nothing
 * follows, and what is sent from now on is dropped. */
typedef void channel_on_end(void *owner, int code);

/* fd becomes the channel's. peer: which side is at the other end. Either callback may free it. */
struct channel *channel_new(struct uv_loop_s *loop, int fd, enum worker_side peer,
                            channel_on_message *on_message, channel_on_end *on_end, void *owner);
/* NULL is fine. What is unsent is dropped, its descriptors closed. */
void channel_free(struct channel *channel);

/* passed_fd: -1, or a descriptor that becomes the channel's. */
void channel_send(struct channel *channel, const struct worker_message *message, int passed_fd);
/* Messages that wait for the peer to read. */
size_t channel_n_unsent(const struct channel *channel);
