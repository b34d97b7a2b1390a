/* SPDX-License-Identifier: Apache-2.0 */
/* Readiness of a file descriptor, owned as base/timer owns a timer. The descriptor stays the
 * caller's: free the poll before closing it. */
#pragma once

#include <stdbool.h>

struct poll;
struct uv_loop_s;

/* status: 0, or a negative errno, after which the poll is stopped; events: UV_READABLE,
 * UV_WRITABLE. It may start, stop or free the poll. */
typedef void poll_on_ready(void *owner, int status, int events);

/* NULL if libuv refuses the descriptor (one that epoll cannot watch). */
struct poll *poll_new(struct uv_loop_s *loop, int fd, poll_on_ready *on_ready, void *owner);

/* Start polling for these events. 0 or a negative errno. */
int poll_start(struct poll *poll, int events);
void poll_stop(struct poll *poll);
bool poll_is_running(const struct poll *poll);

/* on_ready is not called again, and the loop stops watching the descriptor. NULL is fine. */
void poll_free(struct poll *poll);
