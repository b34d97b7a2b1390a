/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"

#include <malloc.h>
#include <stdio.h>
#include <string.h>

static void *or_abort(void *pointer)
{
        if (!pointer) {
                fputs("dra-driver-tdx: out of memory\n", stderr);
                abort();
        }
        return pointer;
}

/* That is glibc's default until the first such block is freed; then it keeps blocks of that size on
 * its heap (mallopt(3), M_MMAP_THRESHOLD). Replies of 2 MiB, which grow there between long-lived
 * small blocks, took 7 MiB more at their peak. */
void memory_init(void)
{
        (void)mallopt(M_MMAP_THRESHOLD, 128 * 1024);
}

void *xmalloc(size_t size)
{
        return or_abort(malloc(size ? size : 1));
}

void *xcalloc(size_t n, size_t size)
{
        return or_abort(calloc(n ? n : 1, size ? size : 1));
}

void *xreallocarray(void *old, size_t n, size_t size)
{
        return or_abort(reallocarray(old, n ? n : 1, size ? size : 1));
}

char *xstrdup(const char *string)
{
        return or_abort(strdup(string));
}

char *xstrndup(const char *bytes, size_t n)
{
        return or_abort(strndup(bytes, n));
}

char *xvasprintf(const char *format, va_list args)
{
        char *string;

        return or_abort(vasprintf(&string, format, args) < 0 ? NULL : string);
}

char *xasprintf(const char *format, ...)
{
        va_list args;
        char *string;

        va_start(args, format);
        string = xvasprintf(format, args);
        va_end(args);
        return string;
}
