/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/slice.h"

#include "base/error.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/text.h"
#include "unit/suite.h"

#include <errno.h>
#include <string.h>

static struct json *parse(const char *text)
{
        struct json *object = NULL;
        struct error error = ERROR_NULL;

        ck_assert_msg(json_parse(text, strlen(text), &object, &error) == 0, "%s: %s", text,
                      error.text);
        return object;
}

static struct json *build(unsigned n_devices, const char *attributes)
{
        _cleanup_(json) struct json *shared = attributes ? parse(attributes) : NULL;
        struct slice_device devices[] = { { "tdx0", shared },
                                          { "tdx1", shared },
                                          { "tdx2", NULL } };
        struct slice_options options = { .driver = "tdx.kubevirt.io",
                                         .node_name = "node1",
                                         .node_uid = "node-uid",
                                         .generation = 3,
                                         .index = 0,
                                         .count = 1,
                                         .devices = devices,
                                         .n_devices = n_devices };

        return slice_build(&options);
}

START_TEST(the_object_is_what_the_api_wants)
{
        _cleanup_(json) struct json *object = build(3, "{\"attestation\":{\"bool\":true}}");
        _cleanup_(free) char *text = json_print(object);

        ck_assert_str_eq(
                text,
                "{\"apiVersion\":\"resource.k8s.io/v1\",\"kind\":\"ResourceSlice\","
                "\"metadata\":{\"name\":\"node1-tdx.kubevirt.io-0\",\"ownerReferences\":["
                "{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"name\":\"node1\",\"uid\":\"node-uid\","
                "\"controller\":true}]},"
                "\"spec\":{\"driver\":\"tdx.kubevirt.io\",\"nodeName\":\"node1\","
                "\"pool\":{\"name\":\"node1\",\"generation\":3,\"resourceSliceCount\":1},"
                "\"devices\":["
                "{\"name\":\"tdx0\",\"attributes\":{\"attestation\":{\"bool\":true}}},"
                "{\"name\":\"tdx1\",\"attributes\":{\"attestation\":{\"bool\":true}}},"
                "{\"name\":\"tdx2\"}]}}");
}
END_TEST

START_TEST(a_name_is_always_valid_and_tells_nodes_apart)
{
        char longest[254], other[254];
        static const char *const odd[] = { "", "Upper", "a_b", "-", "a..b" };
        _cleanup_(free) char *a = NULL, *b = NULL, *again = NULL;

        memset(longest, 'a', 253);
        longest[253] = '\0';
        longest[199] = '.';
        memcpy(other, longest, 254);
        other[252] = 'b';
        a = slice_name(longest, "tdx.kubevirt.io", 0);
        b = slice_name(other, "tdx.kubevirt.io", 0);
        again = slice_name(longest, "tdx.kubevirt.io", 0);

        ck_assert(text_is_dns_subdomain(a));
        ck_assert(text_is_dns_subdomain(b));
        ck_assert_str_ne(a, b);
        ck_assert_str_eq(a, again);
        for (size_t i = 0; i < array_size(odd); ++i) {
                _cleanup_(free) char *name = slice_name(odd[i], "tdx.kubevirt.io", 12);

                ck_assert_msg(text_is_dns_subdomain(name), "%s", name);
        }
}
END_TEST

START_TEST(a_slice_is_read_as_the_server_shows_it)
{
        _cleanup_(json) struct json *object =
                parse("{\"metadata\":{\"name\":\"s\",\"uid\":\"u\",\"resourceVersion\":\"12\"},"
                      "\"spec\":{\"driver\":\"d\",\"nodeName\":\"n\",\"pool\":{\"name\":\"p\","
                      "\"generation\":9007199254740992,\"resourceSliceCount\":2},"
                      "\"devices\":[{\"name\":\"tdx0\"},{\"name\":\"tdx7\",\"attributes\":{}}]}}");
        struct slice slice = SLICE_NULL;

        ck_assert_int_eq(slice_parse(object, &slice, NULL), 0);

        ck_assert_str_eq(slice.name, "s");
        ck_assert_str_eq(slice.uid, "u");
        ck_assert_str_eq(slice.resource_version, "12");
        ck_assert_str_eq(slice.driver, "d");
        ck_assert_str_eq(slice.node_name, "n");
        ck_assert_str_eq(slice.pool, "p");
        ck_assert_int_eq(slice.generation, 9007199254740992);
        ck_assert_int_eq(slice.count, 2);
        ck_assert_uint_eq(slice.n_devices, 2);
        ck_assert_str_eq(slice.devices[1], "tdx7");
        slice_deinit(&slice);
}
END_TEST

START_TEST(what_is_wrong_is_named)
{
#define METADATA "\"metadata\":{\"name\":\"s\",\"uid\":\"u\",\"resourceVersion\":\"1\"}"
        static const struct {
                const char *text, *reason;
                int result;
        } table[] = {
                { "[]", "metadata.name: not a string", -EBADMSG },
                { "{\"metadata\":{\"name\":\"s\"}}", "metadata.uid: not a string", -EBADMSG },
                { "{" METADATA "}", "spec: not an object", -EBADMSG },
                { "{" METADATA ",\"spec\":{\"pool\":{}}}", "spec.driver: not a string", -EBADMSG },
                { "{" METADATA ",\"spec\":{\"driver\":\"d\",\"nodeName\":1,\"pool\":{}}}",
                  "spec.nodeName: not a string", -EBADMSG },
                { "{" METADATA ",\"spec\":{\"driver\":\"d\"}}", "spec.pool: not an object",
                  SLICE_ODD },
                { "{" METADATA ",\"spec\":{\"driver\":\"d\",\"pool\":{\"name\":\"p\","
                  "\"generation\":9223372036854775807}}}",
                  "spec.pool.generation: not an integer", SLICE_ODD },
                { "{" METADATA ",\"spec\":{\"driver\":\"d\",\"pool\":{\"name\":\"p\","
                  "\"generation\":1.5}}}",
                  "spec.pool.generation: not an integer", SLICE_ODD },
                { "{" METADATA ",\"spec\":{\"driver\":\"d\",\"pool\":{\"name\":\"p\"},"
                  "\"devices\":{}}}",
                  "spec.devices: not an array", SLICE_ODD },
                { "{" METADATA ",\"spec\":{\"driver\":\"d\",\"pool\":{\"name\":\"p\"},"
                  "\"devices\":[{\"name\":\"a\"},{}]}}",
                  "spec.devices[1].name: not a string", SLICE_ODD },
        };

        for (size_t i = 0; i < array_size(table); ++i) {
                _cleanup_(json) struct json *object = parse(table[i].text);
                struct slice slice = SLICE_NULL;
                struct error error = ERROR_NULL;

                ck_assert_int_eq(slice_parse(object, &slice, &error), table[i].result);
                ck_assert_str_eq(error.text, table[i].reason);
                if (table[i].result == SLICE_ODD)
                        ck_assert_str_eq(slice.driver, "d");
                slice_deinit(&slice);
        }
}
END_TEST

#define OWNER "\"ownerReferences\":[{\"uid\":\"another\"},{\"uid\":\"node-uid\"}]"
#define SPEC(pool, devices)                                                         \
        "{\"metadata\":{\"resourceVersion\":\"9\"," OWNER "},\"spec\":{"            \
        "\"nodeName\":\"node1\",\"driver\":\"tdx.kubevirt.io\",\"allNodes\":false," \
        "\"pool\":" pool ",\"devices\":" devices "}}"
#define POOL       "{\"resourceSliceCount\":1,\"generation\":3,\"name\":\"node1\"}"
#define ATTRIBUTES "\"attributes\":{\"attestation\":{\"bool\":true}}"

START_TEST(only_a_real_difference_is_one)
{
        static const struct {
                const char *observed;
                bool differs;
        } table[] = {
                { SPEC(POOL, "[{" ATTRIBUTES ",\"name\":\"tdx0\"},{\"name\":\"tdx1\"," ATTRIBUTES
                             ",\"taints\":[],\"capacity\":null}]"),
                  false },
                { SPEC(POOL,
                       "[{\"name\":\"tdx1\"," ATTRIBUTES "},{\"name\":\"tdx0\"," ATTRIBUTES "}]"),
                  true },
                { SPEC(POOL, "[{\"name\":\"tdx0\"," ATTRIBUTES "}]"), true },
                { SPEC(POOL, "[{\"name\":\"tdx0\"," ATTRIBUTES "},{\"name\":\"tdx1\"}]"), true },
                { SPEC(POOL,
                       "[{\"name\":\"tdx0\"," ATTRIBUTES "},{\"name\":\"tdx1\",\"attributes\":"
                       "{\"attestation\":{\"bool\":true},\"more\":{\"int\":1}}}]"),
                  true },
                { SPEC("{\"resourceSliceCount\":1,\"generation\":2,\"name\":\"node1\"}",
                       "[{\"name\":\"tdx0\"," ATTRIBUTES "},{\"name\":\"tdx1\"," ATTRIBUTES "}]"),
                  true },
                { "{}", true },
        };
        _cleanup_(json) struct json *wanted = build(2, "{\"attestation\":{\"bool\":true}}");

        for (size_t i = 0; i < array_size(table); ++i) {
                _cleanup_(json) struct json *observed = parse(table[i].observed);

                ck_assert_msg(slice_differs(wanted, observed) == table[i].differs, "%s",
                              table[i].observed);
        }
        ck_assert(!slice_differs(wanted, wanted));
}
END_TEST

START_TEST(an_owner_that_was_removed_or_is_another_is_a_difference)
{
        static const char *const metadata[] = {
                "{}",
                "{\"ownerReferences\":[]}",
                "{\"ownerReferences\":[{\"uid\":\"another\"}]}",
                "{\"ownerReferences\":7}",
        };
        _cleanup_(json) struct json *wanted = build(2, NULL);

        for (size_t i = 0; i < array_size(metadata); ++i) {
                _cleanup_(json) struct json *observed = json_new_object();

                json_add(observed, "metadata", parse(metadata[i]));
                json_add(observed, "spec", json_copy(json_get(wanted, "spec")));
                ck_assert(slice_differs(wanted, observed));
        }
}
END_TEST

START_TEST(an_empty_pool_that_lost_its_devices_member_is_the_same)
{
        _cleanup_(json) struct json *wanted = build(0, NULL);
        _cleanup_(json) struct json *observed =
                parse("{\"metadata\":{" OWNER "},\"spec\":{\"nodeName\":\"node1\","
                      "\"driver\":\"tdx.kubevirt.io\",\"pool\":" POOL "}}");

        ck_assert(!slice_differs(wanted, observed));
        ck_assert_ptr_null(slice_dropped_field(wanted, observed));
}
END_TEST

START_TEST(the_time_that_the_server_adds_to_a_taint_is_not_a_difference)
{
#define TAINT "{\"key\":\"tdx.kubevirt.io/qgs\",\"effect\":\"NoSchedule\""
        _cleanup_(json) struct json *wanted =
                parse(SPEC(POOL, "[{\"name\":\"a\",\"taints\":[" TAINT "}]}]"));
        _cleanup_(json) struct json *observed = parse(
                SPEC(POOL, "[{\"name\":\"a\",\"taints\":[" TAINT ",\"timeAdded\":\"2026\"}]}]"));
        _cleanup_(json) struct json *untainted = parse(SPEC(POOL, "[{\"name\":\"a\"}]"));

        ck_assert(!slice_differs(wanted, observed));
        ck_assert(slice_differs(wanted, untainted));
}
END_TEST

START_TEST(a_field_that_the_server_dropped_is_named)
{
        _cleanup_(json) struct json *wanted = parse(
                SPEC(POOL, "[{\"name\":\"a\",\"capacity\":{}},{\"name\":\"b\",\"taints\":[1]}]"));
        _cleanup_(json) struct json *answered =
                parse(SPEC(POOL, "[{\"name\":\"a\"},{\"name\":\"b\"}]"));
        _cleanup_(free) char *dropped = slice_dropped_field(wanted, answered);

        ck_assert_str_eq(dropped, "spec.devices[1].taints");
        ck_assert_ptr_null(slice_dropped_field(wanted, wanted));
}
END_TEST

SUITE("slice", the_object_is_what_the_api_wants, a_name_is_always_valid_and_tells_nodes_apart,
      a_slice_is_read_as_the_server_shows_it, what_is_wrong_is_named, only_a_real_difference_is_one,
      an_owner_that_was_removed_or_is_another_is_a_difference,
      an_empty_pool_that_lost_its_devices_member_is_the_same,
      the_time_that_the_server_adds_to_a_taint_is_not_a_difference,
      a_field_that_the_server_dropped_is_named);
