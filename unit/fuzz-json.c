/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as JSON. What is accepted is printed and parsed again, and must be the same; every
 * reader answers for every value. */
#include "base/error.h"
#include "base/json.h"
#include "base/memory.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void visit(const struct json *value, unsigned depth)
{
        int64_t number = 4711;
        bool flag = false;
        size_t n = 0;

        assert(depth <= 64);
        if (json_int64(value, &number) == 0)
                assert(llabs(number) <= INT64_C(1) << 53 && !json_string(value));
        else
                assert(number == 4711);
        if (json_bool(value, &flag) == 0)
                assert(!json_is_null(value) && !json_string(value));
        assert(json_is_object(value) + json_is_array(value) + json_is_null(value) +
                       (json_string(value) != NULL) <=
               1);
        for (const struct json *child = json_first(value); child; child = json_next(child)) {
                if (json_is_object(value))
                        assert(json_get(value, json_key(child)) == child);
                visit(child, depth + 1);
                ++n;
        }
        assert(json_count(value) == n);
}

/* The same, but for members "a", which may be null. */
static void compare(const struct json *value, const struct json *without)
{
        const struct json *b = json_first(without);

        assert(json_count(value) == json_count(without));
        assert(json_is_object(value) == json_is_object(without));
        if (!json_first(value))
                assert(json_is_array(value) == json_is_array(without));
        for (const struct json *a = json_first(value); a; a = json_next(a), b = json_next(b))
                if (!json_key(b) || strcmp(json_key(b), "a") != 0 || !json_is_null(b))
                        compare(a, b);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
        _cleanup_(json) struct json *root = NULL, *again = NULL, *copy = NULL, *without = NULL;
        _cleanup_(free) char *printed = NULL, *reprinted = NULL;
        struct error error = ERROR_NULL;
        int r;

        r = json_parse((const char *)bytes, n, &root, &error);
        assert(r == 0 || r == -EBADMSG);
        assert(!r == !!root && !r == !error.text[0]);
        if (r) {
                (void)json_parse_without((const char *)bytes, n, "a", &without, NULL);
                return 0;
        }
        visit(root, 0);
        r = json_parse_without((const char *)bytes, n, "a", &without, &error);
        assert(!r);
        compare(root, without);
        printed = json_print(root);
        r = json_parse(printed, strlen(printed), &again, &error);
        assert(!r);
        reprinted = json_print(again);
        assert(strcmp(printed, reprinted) == 0);
        /* Not of root: 1e400 is read as infinity, which equals nothing, and written as null. */
        copy = json_copy(again);
        assert(json_equal(again, copy));
        return 0;
}
