/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a directory still has a name that other processes can find it by. Symbolic links are
 * followed. */
#pragma once

#include <stdbool.h>

bool directory_is_there(const char *path);
/* It was removed, but we still see it, because a bind mount or a descriptor keeps it (st_nlink 0).
 */
bool directory_is_removed(const char *path);
