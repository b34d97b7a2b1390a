/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reports changes in a directory (inotify), also across its removal and re-creation.
 * Level-triggered: the callback only says "look again".
 */
#pragma once

#include <uv.h>

struct dirwatch;

/* path need not exist yet. on_change runs on the loop thread. */
struct dirwatch *dirwatch_new(uv_loop_t *loop, const char *path, void (*on_change)(void *owner),
                              void *owner);
/* As dirwatch_new(), but only for changes of one name in the directory. */
struct dirwatch *dirwatch_new_for(uv_loop_t *loop, const char *path, const char *name,
                                  void (*on_change)(void *owner), void *owner);

/* Watch the directory that is at path now, if it is a different one, or if none is being watched.
 * Call it from a slow timer, and from on_change. */
void dirwatch_check(struct dirwatch *watch);

/* The memory is freed on the loop's next iteration. NULL is fine. */
void dirwatch_free(struct dirwatch *watch);
