/* SPDX-License-Identifier: Apache-2.0 */
/* One file in a new directory, as the kernel would show it. */
#pragma once

#include "unit/suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char directory[64];
static char file[96];

static inline void enter(void)
{
        snprintf(directory, sizeof(directory), "/tmp/test-file.XXXXXX");
        ck_assert_ptr_nonnull(mkdtemp(directory));
        snprintf(file, sizeof(file), "%s/file", directory);
}

/* The file may have become a directory. */
static inline void leave(void)
{
        (void)unlink(file);
        (void)rmdir(file);
        ck_assert_int_eq(rmdir(directory), 0);
}

static inline void say(const char *text)
{
        FILE *stream = fopen(file, "w");

        ck_assert_ptr_nonnull(stream);
        ck_assert_int_ge(fputs(text, stream), 0);
        ck_assert_int_eq(fclose(stream), 0);
}
