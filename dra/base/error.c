/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"

#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* text_make_utf8() everywhere: the text may hold foreign bytes, vsnprintf() may cut inside a
 * character, and protobuf peers refuse a string that is not UTF-8. */

int error_set(struct error *err, int code, const char *format, ...)
{
        va_list args;

        if (!err)
                return code;
        err->code = code;
        va_start(args, format);
        vsnprintf(err->text, sizeof(err->text), format, args);
        va_end(args);
        text_make_utf8(err->text);
        return code;
}

int error_errno(struct error *err, int code, const char *format, ...)
{
        va_list args;
        size_t n;

        if (!err)
                return code;
        err->code = code;
        va_start(args, format);
        vsnprintf(err->text, sizeof(err->text), format, args);
        va_end(args);
        n = strlen(err->text);
        snprintf(err->text + n, sizeof(err->text) - n, ": %s", strerror(-code));
        text_make_utf8(err->text);
        return code;
}

void error_prefix(struct error *err, const char *format, ...)
{
        char old[ERROR_TEXT_SIZE];
        va_list args;
        size_t n;

        if (!err)
                return;
        memcpy(old, err->text, sizeof(old));
        va_start(args, format);
        vsnprintf(err->text, sizeof(err->text), format, args);
        va_end(args);
        n = strlen(err->text);
        snprintf(err->text + n, sizeof(err->text) - n, ": %s", old);
        text_make_utf8(err->text);
}
