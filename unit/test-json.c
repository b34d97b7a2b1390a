/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "base/json.h"
#include "base/memory.h"
#include "unit/suite.h"

#include <errno.h>
#include <string.h>

START_TEST(what_is_not_strict_json_is_refused_with_a_reason)
{
        static const struct {
                const char *text;
                const char *reason;
        } cases[] = {
                { "", "empty" },
                { "{", "not JSON" },
                { "{} x", "text after" },
                { "{\"a\":1,\"a\":2}", "appears twice" },
                { "[{\"b\":{\"c\":1,\"d\":0,\"c\":1}}]", "appears twice" },
                { "nul", "not JSON" },
                { "[1e400]", "too large" },
        };
        struct error error = ERROR_NULL;
        struct json *root = NULL;

        for (size_t i = 0; i < array_size(cases); ++i) {
                ck_assert_int_eq(json_parse(cases[i].text, strlen(cases[i].text), &root, &error),
                                 -EBADMSG);
                ck_assert_msg(strstr(error.text, cases[i].reason) != NULL, "%s", error.text);
        }
        ck_assert_ptr_null(root);
}
END_TEST

START_TEST(deep_nesting_is_refused_before_it_is_parsed)
{
        char *deep = xmalloc(2000001);
        struct error error = ERROR_NULL;
        struct json *root = NULL;

        memset(deep, '[', 2000000);
        ck_assert_int_eq(json_parse(deep, 2000000, &root, &error), -EBADMSG);
        ck_assert_ptr_nonnull(strstr(error.text, "nested deeper"));
        /* Brackets inside a string nest nothing. */
        memcpy(deep, "[\"", 2);
        memcpy(deep + 200, "\"]", 2);
        ck_assert_int_eq(json_parse(deep, 202, &root, &error), 0);
        json_free(root);
        free(deep);
}
END_TEST

START_TEST(more_values_than_memory_allows_are_refused_before_they_are_parsed)
{
        const size_t n = 2 << 20;
        char *dense = xmalloc(n);
        struct error error = ERROR_NULL;
        struct json *root = NULL;

        for (size_t i = 0; i + 1 < n; i += 2)
                memcpy(dense + i, "1,", 2);
        dense[0] = '[';
        dense[n - 1] = ']';
        ck_assert_int_eq(json_parse(dense, n, &root, &error), -EBADMSG);
        ck_assert_ptr_nonnull(strstr(error.text, "more than 100000 values"));
        /* Commas inside a string are no values. */
        memset(dense, ',', n);
        memcpy(dense, "[\"", 2);
        memcpy(dense + n - 2, "\"]", 2);
        ck_assert_int_eq(json_parse(dense, n, &root, &error), 0);
        json_free(root);
        free(dense);
}
END_TEST

START_TEST(what_is_not_read_is_left_out_whatever_it_is)
{
        static const struct {
                const char *text, *without;
        } table[] = {
                { "{\"a\":1}", "{\"a\":null}" },
                { "{\"b\":{\"a\" : [1,{\"a\":2},\"]\"] ,\"c\":3}}",
                  "{\"b\":{\"a\":null,\"c\":3}}" },
                { "[{\"a\":\"x\\\"}\"},{\"a\":{}},{\"a\":-1e3 },{\"a\":true}]",
                  "[{\"a\":null},{\"a\":null},{\"a\":null},{\"a\":null}]" },
                { "{\"aa\":1,\"A\":2,\"b\":\"a\",\"c\":[\"a\"]}",
                  "{\"aa\":1,\"A\":2,\"b\":\"a\",\"c\":[\"a\"]}" },
                { "{\"x\\\":\":1,\"a\":{\"\":\"\\\\\"}}", "{\"x\\\":\":1,\"a\":null}" },
                { "{\"a\":", NULL },
                { "{\"a\":[1}", NULL },
                { "{\"a\":\"", NULL },
                { "{\"a\":}]", NULL },
                { "{\"a", NULL },
                { "", NULL },
        };

        for (size_t i = 0; i < array_size(table); ++i) {
                _cleanup_(json) struct json *root = NULL;
                _cleanup_(free) char *printed = NULL;
                int r = json_parse_without(table[i].text, strlen(table[i].text), "a", &root, NULL);

                ck_assert_msg(r == (table[i].without ? 0 : -EBADMSG), "%s: %d", table[i].text, r);
                if (r == 0)
                        printed = json_print(root);
                ck_assert_pstr_eq(printed, table[i].without);
        }
}
END_TEST

START_TEST(look_ups_chain_and_keep_types_and_case_apart)
{
        static const char text[] =
                "{\"a\":{\"b\":[1,2.5,\"x\",true,null,9007199254740993]},\"A\":7}";
        _cleanup_(json) struct json *root = NULL;
        const struct json *list, *element;
        int64_t number = 5;
        bool flag = false;

        ck_assert_int_eq(json_parse(text, strlen(text), &root, NULL), 0);
        list = json_get(json_get(root, "a"), "b");
        element = json_first(list);
        ck_assert_uint_eq(json_count(list), 6);
        ck_assert_int_eq(json_int64(element, &number), 0);
        ck_assert_int_eq(number, 1);
        element = json_next(element);
        ck_assert_int_eq(json_int64(element, &number), -EINVAL);
        element = json_next(element);
        ck_assert_str_eq(json_string(element), "x");
        ck_assert_int_eq(json_int64(element, &number), -EINVAL);
        element = json_next(element);
        ck_assert_int_eq(json_bool(element, &flag), 0);
        ck_assert(flag);
        element = json_next(element);
        ck_assert(json_is_null(element));
        ck_assert_int_eq(json_int64(json_get(root, "A"), &number), 0);
        ck_assert_int_eq(number, 7);
        ck_assert_ptr_null(json_get(json_get(json_get(root, "none"), "x"), "y"));
        ck_assert_ptr_null(json_string(NULL));
        ck_assert_ptr_null(json_first(NULL));
}
END_TEST

START_TEST(what_is_built_prints_and_compares)
{
        _cleanup_(json) struct json *built = json_new_object();
        _cleanup_(json) struct json *parsed = NULL;
        _cleanup_(free) char *text = NULL;

        json_add_string(built, "s", "a\"b");
        json_add_int(built, "n", -3);
        json_add_bool(built, "t", true);
        json_append(json_add_array(built, "l"), json_new_int(4096));
        json_add_string(json_add_object(built, "o"), "k", "");
        text = json_print(built);

        ck_assert_str_eq(text,
                         "{\"s\":\"a\\\"b\",\"n\":-3,\"t\":true,\"l\":[4096],\"o\":{\"k\":\"\"}}");
        ck_assert_int_eq(json_parse(text, strlen(text), &parsed, NULL), 0);
        ck_assert(json_equal(built, parsed));
        json_add_int(parsed, "more", 1);
        ck_assert(!json_equal(built, parsed));
}
END_TEST

START_TEST(a_string_with_a_nul_is_refused_and_one_that_only_looks_like_it_is_not)
{
        static const char nul[] = "{\"path\":\"/run/q/s\\u0000/../..\"}",
                          none[] = "{\"path\":\"\\\\u0000\",\"\\\"\":\"\\u00001\"}",
                          escaped[] = "[\"\\\\u0000\"]";
        _cleanup_(json) struct json *root = NULL;
        struct error error = ERROR_NULL;

        ck_assert_int_eq(json_parse(nul, strlen(nul), &root, &error), -EBADMSG);
        ck_assert_ptr_nonnull(strstr(error.text, "NUL"));
        ck_assert_int_eq(json_parse(none, strlen(none), &root, &error), -EBADMSG);
        ck_assert_int_eq(json_parse(escaped, strlen(escaped), &root, &error), 0);
        ck_assert_str_eq(json_string(json_first(root)), "\\u0000");
}
END_TEST

SUITE("json", what_is_not_strict_json_is_refused_with_a_reason,
      deep_nesting_is_refused_before_it_is_parsed,
      more_values_than_memory_allows_are_refused_before_they_are_parsed,
      what_is_not_read_is_left_out_whatever_it_is, look_ups_chain_and_keep_types_and_case_apart,
      what_is_built_prints_and_compares,
      a_string_with_a_nul_is_refused_and_one_that_only_looks_like_it_is_not);
