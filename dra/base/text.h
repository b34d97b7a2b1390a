/* SPDX-License-Identifier: Apache-2.0 */
/* Growing strings, and checks that text is valid for its readers. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A growing string. TEXT_NULL is empty; bytes is NULL or NUL-terminated. */
struct text {
        char *bytes;
        size_t n;
        size_t n_allocated;
};

#define TEXT_NULL \
        {         \
                0 \
        }

void text_add(struct text *text, const char *string);
void text_add_bytes(struct text *text, const void *bytes, size_t n);
void text_addf(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Add words that are separated by single blanks, the first at column indent, in lines of at most
 * width columns (a longer word has a line for itself); further lines are indented. ASCII. */
void text_add_wrapped(struct text *text, const char *words, unsigned indent, unsigned width);
/* Hands the string over ("" if nothing was added) and leaves text empty. */
char *text_take(struct text *text);
void text_deinit(struct text *text);
static inline void cleanup_text(struct text *text)
{
        text_deinit(text);
}

/* Equal strings, or both NULL. */
bool text_is_same(const char *a, const char *b);
/* Free the string and put a copy of another one in its place; NULL: none. */
void text_replace(char **string, const char *by);

/* Length of the longest prefix, at most n bytes, that is valid UTF-8 (RFC 3629) without NUL. */
size_t text_utf8_prefix(const char *bytes, size_t n);

/* Replace every byte that is not part of valid UTF-8 by '?', in place, because protobuf peers
 * refuse invalid strings. */
void text_make_utf8(char *string);

/* "" or "s", for a count of things: "1 TD", "2 TDs". */
static inline const char *text_plural(uint64_t n)
{
        return n == 1 ? "" : "s";
}

/* Kubernetes names: DNS-1123 label (<= 63) and subdomain (<= 253), as apimachinery validates them.
 */
bool text_is_dns_label(const char *string);
bool text_is_dns_subdomain(const char *string);

/* The UID of an object, or of a static pod (a hash), fit for a file name: 1 to 64 letters, digits
 * and dashes. */
bool text_is_uid(const char *string);
