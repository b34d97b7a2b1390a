/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hear that something changed in a directory (inotify), also across its removal and re-creation:
 * level-triggered, so the callback says "look again" and nothing else.
 */
#pragma once

#include <uv.h>

struct dirwatch;

/* path need not exist yet. on_change runs on the loop thread. */
struct dirwatch *dirwatch_new(uv_loop_t *loop, const char *path, void (*on_change)(void *owner),
                              void *owner);
/* As dirwatch_new(), for one name in the directory; what happens to others is passed over. */
struct dirwatch *dirwatch_new_for(uv_loop_t *loop, const char *path, const char *name,
                                  void (*on_change)(void *owner), void *owner);

/* Watch the directory that is at path now, if it is another one than is being watched, or if there
 * was none. Call it from a slow timer, and from on_change. */
void dirwatch_check(struct dirwatch *watch);

/* The memory goes when the loop has turned. NULL is fine. */
void dirwatch_free(struct dirwatch *watch);
