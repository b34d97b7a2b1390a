/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON, read strictly and written compactly. Only json.c knows cJSON.
 *
 * Reading: keys are compared case-sensitively; duplicate keys, text after the value and nesting
 * beyond 64 levels are errors, as are more than 100,000 values, which would take 8 MB; integers
 * must be exact (|n| <= 2^53). Values belong to their tree: free the root. Every reader accepts
 * NULL or a value of another type and then reports "not there", so that look-ups chain:
 *
 *         json_string(json_get(json_get(claim, "metadata"), "uid"))
 */
#pragma once

#include "base/memory.h"

#include <stdbool.h>
#include <stdint.h>

struct error;
struct json;

/* Parse n bytes. 0, or -EBADMSG with the reason and the byte offset in err. The tree is the
 * caller's. */
int json_parse(const char *bytes, size_t n, struct json **ret_root, struct error *err);
/* The same, but with null as the value of each member of that name, at any depth: what the caller
 * does not read costs no memory, whatever it is. key: without characters that JSON escapes. */
int json_parse_without(const char *bytes, size_t n, const char *key, struct json **ret_root,
                       struct error *err);
void json_free(struct json *root);
DEFINE_CLEANUP(struct json, json, json_free);

const struct json *json_get(const struct json *object,
                            const char *key);      /* NULL: not an object, or no such key */
const char *json_string(const struct json *value); /* NULL: not a string. Borrowed */
bool json_is_object(const struct json *value);
bool json_is_array(const struct json *value);
bool json_is_null(const struct json *value);
/* 0, or -EINVAL if the value is not an exact integer / a boolean; *ret is then untouched. */
int json_int64(const struct json *value, int64_t *ret);
int json_bool(const struct json *value, bool *ret);

/* Elements of an array or members of an object, in document order. */
size_t json_count(const struct json *container);
const struct json *json_first(const struct json *container);
const struct json *json_next(const struct json *element);
const char *json_key(const struct json *member); /* NULL if not in an object. Borrowed */

/* Same type and value; members of objects in any order, elements of arrays in their order. */
bool json_equal(const struct json *a, const struct json *b);

struct json *json_new_object(void);
struct json *json_new_array(void);
struct json *json_new_string(const char *value);
struct json *json_new_int(int64_t value);
struct json *json_new_bool(bool value);
struct json *json_copy(const struct json *value);
/* About how many bytes of memory a copy takes. */
size_t json_memory(const struct json *value);

/* Add a member / an element; the container takes value over. The key is copied and must be new. */
void json_add(struct json *object, const char *key, struct json *value);
void json_append(struct json *array, struct json *value);
void json_add_string(struct json *object, const char *key, const char *value);
void json_add_int(struct json *object, const char *key, int64_t value);
void json_add_bool(struct json *object, const char *key, bool value);
struct json *json_add_object(struct json *object, const char *key); /* borrowed */
struct json *json_add_array(struct json *object, const char *key);  /* borrowed */

char *json_print(const struct json *value); /* compact, NUL-terminated; the caller's */
