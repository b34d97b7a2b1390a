/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"
#include "unit/suite.h"

#include <errno.h>
#include <string.h>

START_TEST(text_grows_and_is_handed_over)
{
        struct text text = TEXT_NULL;
        char *taken;

        for (int i = 0; i < 1000; ++i)
                text_addf(&text, "%d,", i % 10);
        text_add(&text, "end");
        text_add_bytes(&text, NULL, 0);

        ck_assert_uint_eq(text.n, 2003);
        taken = text_take(&text);
        ck_assert_str_eq(taken + 1998, "9,end");
        ck_assert_ptr_null(text.bytes);
        free(taken);
        taken = text_take(&text);
        ck_assert_str_eq(taken, "");
        free(taken);
}
END_TEST

START_TEST(only_valid_utf8_passes)
{
        static const struct {
                const char *bytes;
                const char *cleaned;
        } cases[] = {
                { "plain", "plain" },
                { "gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f" },
                { "\xe2\x82\xac \xf0\x9f\x94\x90", "\xe2\x82\xac \xf0\x9f\x94\x90" },
                { "cut \xe2\x82", "cut ??" },
                { "\xc0\xaf", "??" },           /* overlong slash */
                { "\xed\xa0\x80", "???" },      /* surrogate */
                { "\xf4\x90\x80\x80", "????" }, /* beyond U+10FFFF */
                { "\xff\x80", "??" },
        };

        for (size_t i = 0; i < array_size(cases); ++i) {
                char copy[32];

                strcpy(copy, cases[i].bytes);
                text_make_utf8(copy);
                ck_assert_str_eq(copy, cases[i].cleaned);
        }
}
END_TEST

START_TEST(dns_names_are_as_kubernetes_wants_them)
{
        char label[66];

        memset(label, 'a', sizeof(label));
        label[64] = '\0';
        ck_assert(!text_is_dns_label(label));
        label[63] = '\0';
        ck_assert(text_is_dns_label(label));
        ck_assert(!text_is_dns_label("a.b"));
        ck_assert(!text_is_dns_label(""));
        ck_assert(!text_is_dns_label("-a"));
        ck_assert(!text_is_dns_label("A"));
        ck_assert(text_is_dns_subdomain("node-1.example.com"));
        ck_assert(!text_is_dns_subdomain("a..b"));
        ck_assert(!text_is_dns_subdomain("a."));
        ck_assert(!text_is_dns_subdomain("../etc"));
        ck_assert(!text_is_dns_subdomain("a_b"));
}
END_TEST

START_TEST(an_error_carries_context_in_front_and_stays_utf8)
{
        struct error error = ERROR_NULL;
        char *longest = xmalloc(2000);

        ck_assert_int_eq(error_errno(&error, -ENOENT, "cannot open %s", "x"), -ENOENT);
        error_prefix(&error, "claim %s/%s", "default", "a");
        error_prefix(NULL, "nobody reads this");
        ck_assert_int_eq(error.code, -ENOENT);
        ck_assert_str_eq(error.text, "claim default/a: cannot open x: No such file or directory");

        for (int i = 0; i < 1998; i += 2)
                memcpy(longest + i, "\xc3\xbc", 3);
        error_set(&error, -EIO, "x%s", longest);
        ck_assert_uint_eq(text_utf8_prefix(error.text, strlen(error.text)), strlen(error.text));
        ck_assert_int_eq(error_set(NULL, -EIO, "nobody reads this"), -EIO);
        free(longest);
}
END_TEST

START_TEST(words_are_wrapped_at_the_width_and_indented)
{
        static const struct {
                const char *words, *wrapped;
        } cases[] = {
                { "", "" },
                { "one", "one" },
                { "one two", "one two" },
                { "one two three", "one two\n  three" },
                { "12345678 x", "12345678\n  x" },
                { "123456789 x", "123456789\n  x" },
                { "a 1234567890123 b", "a\n  1234567890123\n  b" },
        };

        for (size_t i = 0; i < array_size(cases); ++i) {
                _cleanup_(text) struct text text = TEXT_NULL;

                text_add_wrapped(&text, cases[i].words, 2, 10);
                ck_assert_str_eq(text.bytes ? text.bytes : "", cases[i].wrapped);
        }
}
END_TEST

START_TEST(one_thing_is_singular_and_none_or_more_are_plural)
{
        ck_assert_str_eq(text_plural(0), "s");
        ck_assert_str_eq(text_plural(1), "");
        ck_assert_str_eq(text_plural(2), "s");
}
END_TEST

SUITE("text", one_thing_is_singular_and_none_or_more_are_plural,
      words_are_wrapped_at_the_width_and_indented, text_grows_and_is_handed_over,
      only_valid_utf8_passes, dns_names_are_as_kubernetes_wants_them,
      an_error_carries_context_in_front_and_stays_utf8);
