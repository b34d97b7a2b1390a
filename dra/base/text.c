/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"

#include "base/memory.h"

#include <stdarg.h>
#include <string.h>

static void reserve(struct text *text, size_t n_more)
{
        size_t n_needed = text->n + n_more + 1;

        if (n_needed <= text->n_allocated)
                return;
        text->n_allocated = n_needed < 64 ? 64 : n_needed + n_needed / 2;
        text->bytes = xreallocarray(text->bytes, text->n_allocated, 1);
}

void text_add_bytes(struct text *text, const void *bytes, size_t n)
{
        reserve(text, n);
        if (n)
                memcpy(text->bytes + text->n, bytes, n);
        text->n += n;
        text->bytes[text->n] = '\0';
}

void text_add(struct text *text, const char *string)
{
        text_add_bytes(text, string, strlen(string));
}

void text_addf(struct text *text, const char *format, ...)
{
        _cleanup_(free) char *string = NULL;
        va_list args;

        va_start(args, format);
        string = xvasprintf(format, args);
        va_end(args);
        text_add(text, string);
}

void text_add_wrapped(struct text *text, const char *words, unsigned indent, unsigned width)
{
        size_t column = indent;

        while (*words) {
                size_t n = strcspn(words, " ");

                if (column > indent && column + 1 + n > width) {
                        text_addf(text, "\n%*s", (int)indent, "");
                        column = indent;
                } else if (column > indent) {
                        text_add(text, " ");
                        ++column;
                }
                text_add_bytes(text, words, n);
                column += n;
                words += n + (words[n] == ' ');
        }
}

char *text_take(struct text *text)
{
        char *bytes = text->bytes ? text->bytes : xstrdup("");

        *text = (struct text)TEXT_NULL;
        return bytes;
}

void text_deinit(struct text *text)
{
        free(text->bytes);
        *text = (struct text)TEXT_NULL;
}

/* Bytes of the character at p (1 to 4), or 0 if no valid character of at most n bytes starts there.
 * RFC 3629 section 4. */
static size_t utf8_character(const unsigned char *p, size_t n)
{
        size_t length;

        if (p[0] < 0x80)
                return p[0] ? 1 : 0;
        length = p[0] >= 0xc2 && p[0] <= 0xdf   ? 2
                 : (p[0] & 0xf0) == 0xe0        ? 3
                 : p[0] >= 0xf0 && p[0] <= 0xf4 ? 4
                                                : 0;
        if (!length || length > n)
                return 0;
        for (size_t i = 1; i < length; ++i)
                if ((p[i] & 0xc0) != 0x80)
                        return 0;
        /* Refuse overlong forms, surrogates, and code points beyond U+10FFFF. */
        if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
            (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
                return 0;
        return length;
}

bool text_is_same(const char *a, const char *b)
{
        return a && b ? strcmp(a, b) == 0 : a == b;
}

void text_replace(char **string, const char *by)
{
        free(*string);
        *string = by ? xstrdup(by) : NULL;
}

size_t text_utf8_prefix(const char *bytes, size_t n)
{
        size_t done = 0;

        while (done < n) {
                size_t length = utf8_character((const unsigned char *)bytes + done, n - done);

                if (!length)
                        break;
                done += length;
        }
        return done;
}

void text_make_utf8(char *string)
{
        size_t n = strlen(string);
        size_t done = 0;

        while ((done += text_utf8_prefix(string + done, n - done)) < n)
                string[done] = '?';
}

static bool is_alnum(char c)
{
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_dns_label(const char *bytes, size_t n)
{
        if (n < 1 || n > 63 || !is_alnum(bytes[0]) || !is_alnum(bytes[n - 1]))
                return false;
        for (size_t i = 0; i < n; ++i)
                if (!is_alnum(bytes[i]) && bytes[i] != '-')
                        return false;
        return true;
}

bool text_is_dns_label(const char *string)
{
        return is_dns_label(string, strlen(string));
}

bool text_is_dns_subdomain(const char *string)
{
        size_t n = strlen(string);

        if (n < 1 || n > 253)
                return false;
        for (;;) {
                size_t label = strcspn(string, ".");

                /* apimachinery limits the whole name only: a label of a subdomain may exceed 63
                 * bytes. */
                if (label < 1 || !is_alnum(string[0]) || !is_alnum(string[label - 1]))
                        return false;
                for (size_t i = 0; i < label; ++i)
                        if (!is_alnum(string[i]) && string[i] != '-')
                                return false;
                if (!string[label])
                        return true;
                string += label + 1;
        }
}

/* Neither dot nor slash: the name cannot lead out of a directory, and cannot clash with a temporary
 * file or a mark. */
bool text_is_uid(const char *string)
{
        size_t n =
                strspn(string, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-");

        return n >= 1 && n <= 64 && !string[n];
}
