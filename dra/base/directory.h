/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a directory is one that others find, too. Paths are followed. */
#pragma once

#include <stdbool.h>

bool directory_is_there(const char *path);
/* It was removed and is still there for us: a bind mount or a descriptor keeps it (st_nlink 0). */
bool directory_is_removed(const char *path);
