/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/slice.h"

#include "base/error.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/parse.h"
#include "base/text.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define NODE_PART_MAX                                                               \
        200 /* bytes kept of a node name that is too long; leaves room for the rest \
             */

void slice_deinit(struct slice *slice)
{
        free(slice->name);
        free(slice->uid);
        free(slice->resource_version);
        free(slice->driver);
        free(slice->node_name);
        free(slice->pool);
        for (size_t i = 0; i < slice->n_devices; ++i)
                free(slice->devices[i]);
        free(slice->devices);
        *slice = (struct slice)SLICE_NULL;
}

static int read_string(const struct json *object, const char *path, const char *key, char **ret,
                       struct error *err)
{
        const char *value = json_string(json_get(object, key));

        if (!value || !*value)
                return error_set(err, -EBADMSG, "%s.%s: %s", path, key,
                                 value ? "empty" : "not a string");
        *ret = xstrdup(value);
        return 0;
}

/* Go omits a zero, so an absent number is zero. */
static int read_number(const struct json *object, const char *key, int64_t *ret, struct error *err)
{
        const struct json *value = json_get(object, key);

        *ret = 0;
        if (value && json_int64(value, ret) < 0)
                return error_set(err, -EBADMSG, "spec.pool.%s: not an integer", key);
        return 0;
}

static int read_devices(const struct json *devices, struct slice *slice, struct error *err)
{
        size_t n = json_count(devices);

        if (!devices || json_is_null(devices))
                return 0;
        if (!json_is_array(devices))
                return error_set(err, -EBADMSG, "spec.devices: not an array");
        if (n > SLICE_DEVICES_MAX)
                return error_set(err, -EBADMSG, "spec.devices: %zu devices, the API's limit is %u",
                                 n, SLICE_DEVICES_MAX);
        slice->devices = xcalloc(n, sizeof(*slice->devices));
        for (const struct json *device = json_first(devices); device; device = json_next(device)) {
                const char *name = json_string(json_get(device, "name"));

                if (!name)
                        return error_set(err, -EBADMSG, "spec.devices[%zu].name: not a string",
                                         slice->n_devices);
                slice->devices[slice->n_devices++] = xstrdup(name);
        }
        return 0;
}

static int read_identity(const struct json *object, struct slice *slice, struct error *err)
{
        const struct json *metadata = json_get(object, "metadata"),
                          *spec = json_get(object, "spec");
        const struct json *node_name = json_get(spec, "nodeName");
        int r;

        if ((r = read_string(metadata, "metadata", "name", &slice->name, err)) < 0 ||
            (r = read_string(metadata, "metadata", "uid", &slice->uid, err)) < 0 ||
            (r = read_string(metadata, "metadata", "resourceVersion", &slice->resource_version,
                             err)) < 0)
                return r;
        if (!json_is_object(spec))
                return error_set(err, -EBADMSG, "spec: not an object");
        if (node_name && (r = read_string(spec, "spec", "nodeName", &slice->node_name, err)) < 0)
                return r;
        return read_string(spec, "spec", "driver", &slice->driver, err);
}

static int read_rest(const struct json *spec, struct slice *slice, struct error *err)
{
        const struct json *pool = json_get(spec, "pool");
        int r;

        if (!json_is_object(pool))
                return error_set(err, -EBADMSG, "spec.pool: not an object");
        if ((r = read_string(pool, "spec.pool", "name", &slice->pool, err)) < 0 ||
            (r = read_number(pool, "generation", &slice->generation, err)) < 0 ||
            (r = read_number(pool, "resourceSliceCount", &slice->count, err)) < 0)
                return r;
        return read_devices(json_get(spec, "devices"), slice, err);
}

int slice_parse(const struct json *object, struct slice *ret, struct error *err)
{
        _cleanup_(slice) struct slice slice = SLICE_NULL;
        int r;

        r = read_identity(object, &slice, err);
        if (r < 0)
                return r;
        r = read_rest(json_get(object, "spec"), &slice, err) < 0 ? SLICE_ODD : 0;
        *ret = slice;
        slice = (struct slice)SLICE_NULL;
        return r;
}

bool slice_is_older(const char *version, const char *known)
{
        uint64_t a, b;

        return version && known && parse_u64(version, strlen(version), &a) == 0 &&
               parse_u64(known, strlen(known), &b) == 0 && a < b;
}

/* FNV-1a: any stable hash will do, because the name must only be the same after a restart. */
static uint64_t hash(const char *string)
{
        uint64_t value = 0xcbf29ce484222325U;

        for (; *string; ++string)
                value = (value ^ (unsigned char)*string) * 0x100000001b3U;
        return value;
}

char *slice_name(const char *node_name, const char *driver, unsigned index)
{
        _cleanup_(free) char *name = NULL;
        _cleanup_(free) char *kept = NULL;
        size_t n;

        name = xasprintf("%s-%s-%u", node_name, driver, index);
        if (text_is_dns_subdomain(name))
                return take_ptr(name);
        /* A prefix of a valid name is valid too, unless it ends in a separator. */
        kept = xstrndup(text_is_dns_subdomain(node_name) ? node_name : "node", NODE_PART_MAX);
        for (n = strlen(kept); n && (kept[n - 1] == '-' || kept[n - 1] == '.'); --n)
                kept[n - 1] = '\0';
        return xasprintf("%s-%016llx-%s-%u", kept, (unsigned long long)hash(node_name), driver,
                         index);
}

static void add_metadata(struct json *object, const struct slice_options *options)
{
        _cleanup_(free) char *name = NULL;
        struct json *metadata = json_add_object(object, "metadata");
        struct json *owner;

        name = slice_name(options->node_name, options->driver, options->index);
        json_add_string(metadata, "name", name);
        if (options->resource_version)
                json_add_string(metadata, "resourceVersion", options->resource_version);
        owner = json_new_object();
        json_add_string(owner, "apiVersion", "v1");
        json_add_string(owner, "kind", "Node");
        json_add_string(owner, "name", options->node_name);
        json_add_string(owner, "uid", options->node_uid);
        json_add_bool(owner, "controller", true);
        json_append(json_add_array(metadata, "ownerReferences"), owner);
}

struct json *slice_build(const struct slice_options *options)
{
        struct json *object = json_new_object(), *spec, *pool, *devices;

        assert(options->n_devices <= SLICE_DEVICES_MAX && options->index < options->count);
        json_add_string(object, "apiVersion", "resource.k8s.io/v1");
        json_add_string(object, "kind", "ResourceSlice");
        add_metadata(object, options);
        spec = json_add_object(object, "spec");
        json_add_string(spec, "driver", options->driver);
        json_add_string(spec, "nodeName", options->node_name);
        pool = json_add_object(spec, "pool");
        json_add_string(pool, "name", options->node_name);
        json_add_int(pool, "generation", options->generation);
        json_add_int(pool, "resourceSliceCount", options->count);
        devices = json_add_array(spec, "devices");
        for (size_t i = 0; i < options->n_devices; ++i) {
                struct json *device = json_new_object();

                json_add_string(device, "name", options->devices[i].name);
                if (options->devices[i].attributes)
                        json_add(device, "attributes", json_copy(options->devices[i].attributes));
                if (options->devices[i].taints)
                        json_add(device, "taints", json_copy(options->devices[i].taints));
                json_append(devices, device);
        }
        return object;
}

/* Empty values: Go omits some of them. */
static bool is_empty(const struct json *value)
{
        return json_is_null(value) ||
               ((json_is_object(value) || json_is_array(value)) && !json_first(value));
}

/* As json_copy(), but without empty members, and without timeAdded, which the server sets. */
static struct json *normalise(const struct json *value)
{
        bool is_object = json_is_object(value);
        struct json *copy;

        if (!is_object && !json_is_array(value))
                return json_copy(value);
        copy = is_object ? json_new_object() : json_new_array();
        for (const struct json *child = json_first(value); child; child = json_next(child)) {
                if (!is_object)
                        json_append(copy, normalise(child));
                else if (!is_empty(child) && strcmp(json_key(child), "timeAdded") != 0)
                        json_add(copy, json_key(child), normalise(child));
        }
        return copy;
}

static bool member_differs(const struct json *wanted, const struct json *observed, const char *key)
{
        _cleanup_(json) struct json *a = json_new_object(), *b = json_new_object();
        _cleanup_(json) struct json *a_normal = NULL, *b_normal = NULL;

        if (json_get(wanted, key))
                json_add(a, key, json_copy(json_get(wanted, key)));
        if (json_get(observed, key))
                json_add(b, key, json_copy(json_get(observed, key)));
        a_normal = normalise(a);
        b_normal = normalise(b);
        return !json_equal(a_normal, b_normal);
}

/* There may be other owner references besides ours. */
static bool has_owner(const struct json *wanted, const struct json *observed)
{
        const struct json *owner =
                json_first(json_get(json_get(wanted, "metadata"), "ownerReferences"));
        const char *uid = json_string(json_get(owner, "uid"));

        if (!uid)
                return true;
        for (const struct json *each =
                     json_first(json_get(json_get(observed, "metadata"), "ownerReferences"));
             each; each = json_next(each)) {
                const char *other = json_string(json_get(each, "uid"));

                if (other && strcmp(uid, other) == 0)
                        return true;
        }
        return false;
}

bool slice_differs(const struct json *wanted, const struct json *observed)
{
        static const char *const members[] = { "driver", "nodeName", "pool", "devices" };
        const struct json *wanted_spec = json_get(wanted, "spec");
        const struct json *observed_spec = json_get(observed, "spec");

        if (!has_owner(wanted, observed))
                return true;
        for (size_t i = 0; i < array_size(members); ++i)
                if (member_differs(wanted_spec, observed_spec, members[i]))
                        return true;
        return false;
}

static char *find_dropped(const struct json *wanted, const struct json *answered, const char *path)
{
        const struct json *element = json_is_array(answered) ? json_first(answered) : NULL;
        size_t i = 0;

        for (const struct json *child = json_first(wanted); child; child = json_next(child)) {
                _cleanup_(free) char *below = NULL;
                const struct json *other;
                char *found;

                if (json_is_object(wanted)) {
                        below = xasprintf("%s.%s", path, json_key(child));
                        other = json_get(answered, json_key(child));
                } else {
                        below = xasprintf("%s[%zu]", path, i++);
                        other = element;
                        element = element ? json_next(element) : NULL;
                }
                if (!other && !is_empty(child))
                        return take_ptr(below);
                found = other ? find_dropped(child, other, below) : NULL;
                if (found)
                        return found;
        }
        return NULL;
}

char *slice_dropped_field(const struct json *wanted, const struct json *answered)
{
        return find_dropped(json_get(wanted, "spec"), json_get(answered, "spec"), "spec");
}
