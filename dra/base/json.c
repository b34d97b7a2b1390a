/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"

#include <assert.h>
#include <cjson/cJSON.h>
#include <errno.h>
#include <math.h>
#include <string.h>

#define DEPTH_MAX  64
#define VALUES_MAX 100000U /* with VALUE_MEMORY each: 8 MB */
/* glibc gives a value 80 bytes, and a string about 24 more than it has characters. */
#define VALUE_MEMORY  80U
#define STRING_MEMORY 24U
#define EXACT_MAX     9007199254740992.0 /* 2^53: the integers a double holds exactly */

/* struct json is cJSON under another name, so that no other file can reach cJSON's loose look-ups.
 */
static const cJSON *in(const struct json *value)
{
        return (const cJSON *)value;
}

static cJSON *in_mutable(struct json *value)
{
        return (cJSON *)value;
}

static struct json *out(cJSON *value)
{
        return (struct json *)value;
}

static struct json *out_or_abort(cJSON *value)
{
        if (!value)
                abort();
        return out(value);
}

/* cJSON recurses while it parses, and makes up to 40 bytes of one, so check the nesting and the
 * number of values first. 0 or -EBADMSG. */
static int check_size(const char *bytes, size_t n, struct error *err)
{
        bool is_string = false;
        unsigned depth = 0, n_values = 1;

        for (size_t i = 0; i < n; ++i) {
                char c = bytes[i];

                if (is_string) {
                        if (c == '\\')
                                ++i;
                        else if (c == '"')
                                is_string = false;
                } else if (c == '"') {
                        is_string = true;
                } else if (c == '{' || c == '[') {
                        ++n_values;
                        if (++depth > DEPTH_MAX)
                                return error_set(err, -EBADMSG,
                                                 "JSON is nested deeper than %d levels at byte %zu",
                                                 DEPTH_MAX, i);
                } else if ((c == '}' || c == ']') && depth) {
                        --depth;
                } else if (c == ',') {
                        ++n_values;
                }
        }
        return n_values > VALUES_MAX
                       ? error_set(err, -EBADMSG, "JSON with more than %u values", VALUES_MAX)
                       : 0;
}

static int compare_keys(const void *a, const void *b)
{
        return strcmp((*(const cJSON *const *)a)->string, (*(const cJSON *const *)b)->string);
}

static const char *find_duplicate_here(const cJSON *object)
{
        _cleanup_(free) const cJSON **members = NULL;
        size_t n = 0;

        for (const cJSON *member = object->child; member; member = member->next)
                ++n;
        members = xcalloc(n, sizeof(*members));
        n = 0;
        for (const cJSON *member = object->child; member; member = member->next)
                members[n++] = member;
        qsort(members, n, sizeof(*members), compare_keys);
        for (size_t i = 1; i < n; ++i)
                if (strcmp(members[i - 1]->string, members[i]->string) == 0)
                        return members[i]->string;
        return NULL;
}

/* Faults that cJSON accepts, anywhere in the tree: a duplicate key in one object, and a number that
 * no double holds (1e400 would print as null). 0 or -EBADMSG. */
static int check_tree(const cJSON *value, struct error *err)
{
        const char *duplicate =
                cJSON_IsObject(value) && value->child ? find_duplicate_here(value) : NULL;
        int r = 0;

        if (duplicate)
                return error_set(err, -EBADMSG, "key \"%.64s\" appears twice in one JSON object",
                                 duplicate);
        if (cJSON_IsNumber(value) && !isfinite(value->valuedouble))
                return error_set(err, -EBADMSG, "a number is too large");
        for (const cJSON *child = value->child; child && !r; child = child->next)
                r = check_tree(child, err);
        return r;
}

static size_t skip_space(const char *bytes, size_t at, size_t n)
{
        while (at < n &&
               (bytes[at] == ' ' || bytes[at] == '\t' || bytes[at] == '\n' || bytes[at] == '\r'))
                ++at;
        return at;
}

/* Offset of an escaped NUL, which would end a C string early and hide the rest; n: none. */
static size_t find_nul(const char *bytes, size_t n)
{
        static const char escape[] = "\\u0000";

        size_t at = 0;

        while (at < n) {
                const char *found = memchr(bytes + at, '\\', n - at);

                if (!found)
                        return n;
                at = (size_t)(found - bytes);
                if (n - at >= strlen(escape) && memcmp(found, escape, strlen(escape)) == 0)
                        return at;
                at += 2; /* past the escaped character */
        }
        return n;
}

int json_parse(const char *bytes, size_t n, struct json **ret_root, struct error *err)
{
        _cleanup_(json) struct json *root = NULL;
        const char *end = NULL;
        size_t at;
        int r;

        at = find_nul(bytes, n);
        if (at < n)
                return error_set(err, -EBADMSG, "JSON with a NUL character at byte %zu", at);
        r = check_size(bytes, n, err);
        if (r < 0)
                return r;
        root = out(cJSON_ParseWithLengthOpts(bytes, n, &end, false));
        at = end && end >= bytes ? (size_t)(end - bytes) : 0;
        if (!root)
                return error_set(err, -EBADMSG,
                                 n ? "not JSON at byte %zu of %zu" : "empty, not JSON", at, n);
        at = skip_space(bytes, at, n);
        if (at < n)
                return error_set(err, -EBADMSG, "text after the JSON value at byte %zu of %zu", at,
                                 n);
        r = check_tree(in(root), err);
        if (r < 0)
                return r;
        *ret_root = take_ptr(root);
        return 0;
}

/* Past the string that begins at that byte. */
static size_t skip_string(const char *bytes, size_t at, size_t n)
{
        for (++at; at < n && bytes[at] != '"'; ++at)
                if (bytes[at] == '\\')
                        ++at;
        return at < n ? at + 1 : n;
}

/* Past the value that begins at that byte, or past what a parser will refuse anyway. */
static size_t skip_value(const char *bytes, size_t at, size_t n)
{
        size_t depth = 0;

        while (at < n) {
                char c = bytes[at];

                if (!depth && strchr(",]} \t\r\n", c))
                        return at;
                depth += c == '{' || c == '[';
                depth -= c == '}' || c == ']';
                at = c == '"' ? skip_string(bytes, at, n) : at + 1;
                if (!depth && strchr("\"]}", c))
                        return at;
        }
        return n;
}

int json_parse_without(const char *bytes, size_t n, const char *key, struct json **ret_root,
                       struct error *err)
{
        _cleanup_(text) struct text kept = TEXT_NULL;
        size_t n_key = strlen(key), from = 0, at = 0;

        while (at < n) {
                size_t begin = at;

                if (bytes[at] != '"') {
                        ++at;
                        continue;
                }
                at = skip_string(bytes, at, n);
                if (at - begin != n_key + 2 || memcmp(bytes + begin + 1, key, n_key) != 0)
                        continue;
                at = skip_space(bytes, at, n);
                if (at == n || bytes[at] != ':')
                        continue;
                at = skip_space(bytes, at + 1, n);
                text_add_bytes(&kept, bytes + from, at - from);
                text_add(&kept, "null");
                from = at = skip_value(bytes, at, n);
        }
        text_add_bytes(&kept, bytes + from, n - from);
        return json_parse(kept.bytes, kept.n, ret_root, err);
}

void json_free(struct json *root)
{
        cJSON_Delete(in_mutable(root));
}

const struct json *json_get(const struct json *object, const char *key)
{
        if (!json_is_object(object))
                return NULL;
        return out(cJSON_GetObjectItemCaseSensitive(in(object), key));
}

const char *json_string(const struct json *value)
{
        return cJSON_GetStringValue((cJSON *)in(value));
}

bool json_is_object(const struct json *value)
{
        return cJSON_IsObject(in(value));
}

bool json_is_array(const struct json *value)
{
        return cJSON_IsArray(in(value));
}

bool json_is_null(const struct json *value)
{
        return cJSON_IsNull(in(value));
}

int json_int64(const struct json *value, int64_t *ret)
{
        double number;

        if (!cJSON_IsNumber(in(value)))
                return -EINVAL;
        number = in(value)->valuedouble;
        if (!(fabs(number) <= EXACT_MAX) || trunc(number) != number)
                return -EINVAL;
        *ret = (int64_t)number;
        return 0;
}

int json_bool(const struct json *value, bool *ret)
{
        if (!cJSON_IsBool(in(value)))
                return -EINVAL;
        *ret = cJSON_IsTrue(in(value));
        return 0;
}

size_t json_count(const struct json *container)
{
        size_t n = 0;

        for (const struct json *element = json_first(container); element;
             element = json_next(element))
                ++n;
        return n;
}

const struct json *json_first(const struct json *container)
{
        return json_is_object(container) || json_is_array(container) ? out(in(container)->child)
                                                                     : NULL;
}

const struct json *json_next(const struct json *element)
{
        return out(in(element)->next);
}

const char *json_key(const struct json *member)
{
        return in(member)->string;
}

bool json_equal(const struct json *a, const struct json *b)
{
        return a && b && cJSON_Compare(in(a), in(b), true);
}

struct json *json_new_object(void)
{
        return out_or_abort(cJSON_CreateObject());
}

struct json *json_new_array(void)
{
        return out_or_abort(cJSON_CreateArray());
}

struct json *json_new_string(const char *value)
{
        return out_or_abort(cJSON_CreateString(value));
}

struct json *json_new_int(int64_t value)
{
        assert(value <= (int64_t)EXACT_MAX && value >= -(int64_t)EXACT_MAX);
        return out_or_abort(cJSON_CreateNumber((double)value));
}

struct json *json_new_bool(bool value)
{
        return out_or_abort(cJSON_CreateBool(value));
}

size_t json_memory(const struct json *value)
{
        const char *string = json_string(value), *key = json_key(value);
        size_t n = VALUE_MEMORY + (string ? strlen(string) + STRING_MEMORY : 0) +
                   (key ? strlen(key) + STRING_MEMORY : 0);

        for (const struct json *child = json_first(value); child; child = json_next(child))
                n += json_memory(child);
        return n;
}

struct json *json_copy(const struct json *value)
{
        return out_or_abort(cJSON_Duplicate(in(value), true));
}

void json_add(struct json *object, const char *key, struct json *value)
{
        assert(!json_get(object, key));
        if (!cJSON_AddItemToObject(in_mutable(object), key, in_mutable(value)))
                abort();
}

void json_append(struct json *array, struct json *value)
{
        if (!cJSON_AddItemToArray(in_mutable(array), in_mutable(value)))
                abort();
}

void json_add_string(struct json *object, const char *key, const char *value)
{
        json_add(object, key, json_new_string(value));
}

void json_add_int(struct json *object, const char *key, int64_t value)
{
        json_add(object, key, json_new_int(value));
}

void json_add_bool(struct json *object, const char *key, bool value)
{
        json_add(object, key, json_new_bool(value));
}

struct json *json_add_object(struct json *object, const char *key)
{
        struct json *value = json_new_object();

        json_add(object, key, value);
        return value;
}

struct json *json_add_array(struct json *object, const char *key)
{
        struct json *value = json_new_array();

        json_add(object, key, value);
        return value;
}

char *json_print(const struct json *value)
{
        char *text = cJSON_PrintUnformatted(in(value));

        if (!text)
                abort();
        return text;
}
