/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/kubevirt.h"

#include "base/error.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/text.h"
#include "host/qgs_path.h"
#include "unit/suite.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define ATTESTATION(fields)                                                                       \
        "{\"spec\":{\"configuration\":{\"confidentialCompute\":{\"tdx\":{\"attestation\":" fields \
        "}}}}}"
#define SOCKET(value)   ATTESTATION("{\"qgsSocketPath\":" value "}")
#define ENFORCED(value) ATTESTATION("{\"enforced\":" value "}")

/* The driver's own policy, on a host where nothing exists. */
static int check_path(const char *path, struct error *err)
{
        return qgs_path_check(KUBEVIRT_QGS_SOCKET_FIELD, path, "/nonexistent/root", err);
}

static char checked[256];
static int check_result;

/* Another policy, that only this test has. */
static int note_path(const char *path, struct error *err)
{
        snprintf(checked, sizeof(checked), "%s", path);
        return check_result ? error_set(err, check_result, "field: \"%s\" is mine", path) : 0;
}

static int parse_with(kubevirt_check_path *check, const char *text,
                      struct kubevirt_attestation *ret)
{
        _cleanup_(json) struct json *object = NULL;

        ck_assert_int_eq(json_parse(text, strlen(text), &object, NULL), 0);
        return kubevirt_attestation_parse(object, check, ret);
}

static int parse(const char *text, struct kubevirt_attestation *ret)
{
        return parse_with(check_path, text, ret);
}

START_TEST(what_is_given_is_taken_and_the_rest_are_defaults)
{
        static const struct {
                const char *text;
                bool is_enforced;
                const char *qgs_socket;
        } table[] = {
                { "{}", false, KUBEVIRT_QGS_SOCKET },
                { "{\"spec\":null}", false, KUBEVIRT_QGS_SOCKET },
                { "{\"spec\":{}}", false, KUBEVIRT_QGS_SOCKET },
                { "{\"spec\":{\"configuration\":null}}", false, KUBEVIRT_QGS_SOCKET },
                { "{\"spec\":{\"configuration\":{}}}", false, KUBEVIRT_QGS_SOCKET },
                { "{\"spec\":{\"configuration\":{\"confidentialCompute\":null}}}", false,
                  KUBEVIRT_QGS_SOCKET },
                { "{\"spec\":{\"configuration\":{\"confidentialCompute\":{}}}}", false,
                  KUBEVIRT_QGS_SOCKET },
                { "{\"spec\":{\"configuration\":{\"confidentialCompute\":{\"tdx\":null}}}}", false,
                  KUBEVIRT_QGS_SOCKET },
                { "{\"spec\":{\"configuration\":{\"confidentialCompute\":{\"tdx\":{}}}}}", false,
                  KUBEVIRT_QGS_SOCKET },
                { ATTESTATION("null"), false, KUBEVIRT_QGS_SOCKET },
                { ATTESTATION("{}"), false, KUBEVIRT_QGS_SOCKET },
                { ATTESTATION("{\"enforced\":null,\"qgsSocketPath\":null}"), false,
                  KUBEVIRT_QGS_SOCKET },
                { ENFORCED("true"), true, KUBEVIRT_QGS_SOCKET },
                { ENFORCED("false"), false, KUBEVIRT_QGS_SOCKET },
                { SOCKET("\"" KUBEVIRT_QGS_SOCKET "\""), false, KUBEVIRT_QGS_SOCKET },
                { SOCKET("\"/run/qgs/s\""), false, "/run/qgs/s" },
                { ATTESTATION("{\"enforced\":true,\"qgsSocketPath\":\"/run/qgs/s\"}"), true,
                  "/run/qgs/s" },
        };

        for (size_t i = 0; i < array_size(table); ++i) {
                struct kubevirt_attestation found = KUBEVIRT_ATTESTATION_NULL;

                ck_assert_msg(parse(table[i].text, &found) == 0, "%s", table[i].text);
                ck_assert_msg(found.is_enforced == table[i].is_enforced, "%s", table[i].text);
                ck_assert_str_eq(found.qgs_socket, table[i].qgs_socket);
                kubevirt_attestation_deinit(&found);
        }
}
END_TEST

START_TEST(unknown_fields_and_other_cases_are_passed_over)
{
        static const char *const table[] = {
                ATTESTATION("{\"Enforced\":\"yes\",\"qgsSocketpath\":7,\"later\":[{}]}"),
                "{\"Spec\":[],\"spec\":{\"Configuration\":1,\"infra\":{\"replicas\":2},"
                "\"configuration\":{\"developerConfiguration\":{\"featureGates\":["
                "\"WorkloadEncryptionTDX\"]},\"confidentialCompute\":{\"snp\":true,\"tdx\":{"
                "\"later\":null,\"attestation\":{\"later\":1}}}}},\"status\":{\"phase\":7}}",
                "{\"enforced\":true,\"attestation\":{\"enforced\":true}}",
        };

        for (size_t i = 0; i < array_size(table); ++i) {
                struct kubevirt_attestation found = KUBEVIRT_ATTESTATION_NULL;
                struct kubevirt_attestation defaults = kubevirt_attestation_defaults();

                ck_assert_int_eq(parse(table[i], &found), 0);
                ck_assert_msg(kubevirt_attestation_equal(&found, &defaults), "%s", table[i]);
                kubevirt_attestation_deinit(&found);
                kubevirt_attestation_deinit(&defaults);
        }
}
END_TEST

#define NO_OBJECT " is not an object; correct or remove it"
#define NO_BOOL   " is not a boolean; write true or false, without quotes"
#define NO_STRING \
        " is not a string; write a path such as \"/var/run/tdx-qgs/qgs.socket\", or remove it"

START_TEST(a_wrong_type_is_named_at_every_level)
{
        static const struct {
                const char *text, *reason;
        } table[] = {
                { "[]", "the KubeVirt CR is not a JSON object" },
                { "null", "the KubeVirt CR is not a JSON object" },
                { "\"spec\"", "the KubeVirt CR is not a JSON object" },
                { "{\"spec\":[]}", "spec: an array" NO_OBJECT },
                { "{\"spec\":\"a\\nb\"}", "spec: \"a\\nb\"" NO_OBJECT },
                { "{\"spec\":{\"configuration\":1.5}}", "spec.configuration: 1.5" NO_OBJECT },
                { "{\"spec\":{\"configuration\":{\"confidentialCompute\":true}}}",
                  "spec.configuration.confidentialCompute: true" NO_OBJECT },
                { "{\"spec\":{\"configuration\":{\"confidentialCompute\":{\"tdx\":\"on\"}}}}",
                  "spec.configuration.confidentialCompute.tdx: \"on\"" NO_OBJECT },
                { ATTESTATION("false"), KUBEVIRT_ATTESTATION_FIELD ": false" NO_OBJECT },
                { ATTESTATION("[{\"enforced\":true}]"),
                  KUBEVIRT_ATTESTATION_FIELD ": an array" NO_OBJECT },
                { ENFORCED("\"true\""), KUBEVIRT_ENFORCED_FIELD ": \"true\"" NO_BOOL },
                { ENFORCED("\"yes\""), KUBEVIRT_ENFORCED_FIELD ": \"yes\"" NO_BOOL },
                { ENFORCED("1"), KUBEVIRT_ENFORCED_FIELD ": 1" NO_BOOL },
                { ENFORCED("0"), KUBEVIRT_ENFORCED_FIELD ": 0" NO_BOOL },
                { ENFORCED("{}"), KUBEVIRT_ENFORCED_FIELD ": an object" NO_BOOL },
                { ENFORCED("[true]"), KUBEVIRT_ENFORCED_FIELD ": an array" NO_BOOL },
                { SOCKET("1"), KUBEVIRT_QGS_SOCKET_FIELD ": 1" NO_STRING },
                { SOCKET("false"), KUBEVIRT_QGS_SOCKET_FIELD ": false" NO_STRING },
                { SOCKET("{\"path\":\"/run/qgs/s\"}"),
                  KUBEVIRT_QGS_SOCKET_FIELD ": an object" NO_STRING },
                { SOCKET("[\"/run/qgs/s\"]"), KUBEVIRT_QGS_SOCKET_FIELD ": an array" NO_STRING },
        };

        for (size_t i = 0; i < array_size(table); ++i) {
                struct kubevirt_attestation found = KUBEVIRT_ATTESTATION_NULL;
                const char *refusal;

                ck_assert_msg(parse(table[i].text, &found) == KUBEVIRT_REFUSED, "%s",
                              table[i].text);
                ck_assert(!found.is_enforced);
                ck_assert_int_eq(!found.qgs_socket, !!found.qgs_socket_refusal);
                /* On the way to both fields it refuses both, for the same reason. */
                refusal =
                        found.enforced_refusal ? found.enforced_refusal : found.qgs_socket_refusal;
                ck_assert_str_eq(refusal, table[i].reason);
                if (!strstr(refusal, NO_BOOL) && !strstr(refusal, NO_STRING)) {
                        ck_assert_str_eq(found.enforced_refusal, refusal);
                        ck_assert_str_eq(found.qgs_socket_refusal, refusal);
                }
                kubevirt_attestation_deinit(&found);
        }
}
END_TEST

#define A20  "aaaaaaaaaaaaaaaaaaaa"
#define A100 A20 A20 A20 A20 A20

START_TEST(a_bad_path_is_named_with_the_reason)
{
        static const struct {
                const char *text, *reason;
        } table[] = {
                { SOCKET("\"\""), "\"\" is not an absolute path" },
                { SOCKET("\"qgs.socket\""), "\"qgs.socket\" is not an absolute path" },
                { SOCKET("\"run/qgs/s\""), "\"run/qgs/s\" is not an absolute path" },
                { SOCKET("\"/run/qgs/../s\""), "\"/run/qgs/../s\" has a . or .. component" },
                { SOCKET("\"/run/qgs/./s\""), "\"/run/qgs/./s\" has a . or .. component" },
                { SOCKET("\"/run/qgs//s\""), "\"/run/qgs//s\" has an empty component" },
                { SOCKET("\"/run/qgs/\""), "\"/run/qgs/\" names a directory" },
                { SOCKET("\"/run/qgs/s\\n\""), "control character as byte 11" },
                { SOCKET("\"/run/q\\u007fgs/s\""), "control character as byte 7" },
                { SOCKET("\"/run/qg/" A100 "\""), "longer than the 107 bytes" },
                { SOCKET("\"/var/run/qgs.socket\""), "/var/run is shared by the whole host" },
                { SOCKET("\"/qgs.socket\""), "/ is shared by the whole host" },
                { SOCKET("\"/run/containerd/s\""), "containerd" },
                { SOCKET("\"/var/lib/kubelet/qgs/s\""), "kubelet's" },
        };

        for (size_t i = 0; i < array_size(table); ++i) {
                struct kubevirt_attestation found = KUBEVIRT_ATTESTATION_NULL;

                ck_assert_msg(parse(table[i].text, &found) == KUBEVIRT_REFUSED, "%s",
                              table[i].text);
                ck_assert_msg(strncmp(found.qgs_socket_refusal, KUBEVIRT_QGS_SOCKET_FIELD ": ",
                                      strlen(KUBEVIRT_QGS_SOCKET_FIELD ": ")) == 0,
                              "%s", found.qgs_socket_refusal);
                ck_assert_msg(strstr(found.qgs_socket_refusal, table[i].reason) != NULL, "%s",
                              found.qgs_socket_refusal);
                ck_assert_msg(strstr(found.qgs_socket_refusal, "give QGS a separate directory") !=
                                      NULL,
                              "%s", found.qgs_socket_refusal);
                ck_assert_ptr_null(found.qgs_socket);
                ck_assert_ptr_null(found.enforced_refusal);
                kubevirt_attestation_deinit(&found);
        }
}
END_TEST

START_TEST(a_path_of_107_bytes_is_taken_and_one_of_108_refused)
{
        struct kubevirt_attestation found = KUBEVIRT_ATTESTATION_NULL;

        ck_assert_int_eq(parse(SOCKET("\"/run/q/" A100 "\""), &found), 0);
        ck_assert_uint_eq(strlen(found.qgs_socket), 107);
        kubevirt_attestation_deinit(&found);
        ck_assert_int_eq(parse(SOCKET("\"/run/qg/" A100 "\""), &found), KUBEVIRT_REFUSED);
        kubevirt_attestation_deinit(&found);
}
END_TEST

START_TEST(the_path_goes_by_the_callers_policy_and_the_text_comes_from_it)
{
        struct kubevirt_attestation found = KUBEVIRT_ATTESTATION_NULL;

        ck_assert_int_eq(parse_with(note_path, SOCKET("\"/shared/s\""), &found), 0);
        ck_assert_str_eq(checked, "/shared/s");
        ck_assert_str_eq(found.qgs_socket, "/shared/s");
        kubevirt_attestation_deinit(&found);

        check_result = -EACCES;
        ck_assert_int_eq(parse_with(note_path, SOCKET("\"/shared/t\""), &found), KUBEVIRT_REFUSED);
        ck_assert_str_eq(found.qgs_socket_refusal, "field: \"/shared/t\" is mine");
        kubevirt_attestation_deinit(&found);
}
END_TEST

START_TEST(the_default_path_is_checked_only_if_it_is_given)
{
        struct kubevirt_attestation found = KUBEVIRT_ATTESTATION_NULL;

        check_result = -EINVAL;
        ck_assert_int_eq(parse_with(note_path, ENFORCED("true"), &found), 0);
        ck_assert_str_eq(checked, "");
        kubevirt_attestation_deinit(&found);
        ck_assert_int_eq(parse_with(note_path, SOCKET("\"" KUBEVIRT_QGS_SOCKET "\""), &found),
                         KUBEVIRT_REFUSED);
        ck_assert_str_eq(checked, KUBEVIRT_QGS_SOCKET);
        kubevirt_attestation_deinit(&found);
}
END_TEST

START_TEST(a_field_that_is_refused_does_not_take_the_other_along)
{
        struct kubevirt_attestation found = KUBEVIRT_ATTESTATION_NULL;

        ck_assert_int_eq(parse(ATTESTATION("{\"enforced\":true,\"qgsSocketPath\":\"s\"}"), &found),
                         KUBEVIRT_REFUSED);
        ck_assert(found.is_enforced);
        ck_assert_ptr_null(found.enforced_refusal);
        ck_assert_ptr_null(found.qgs_socket);
        ck_assert_ptr_nonnull(strstr(found.qgs_socket_refusal, "\"s\" is not an absolute path"));
        kubevirt_attestation_deinit(&found);

        ck_assert_int_eq(
                parse(ATTESTATION("{\"qgsSocketPath\":\"/run/qgs/s\",\"enforced\":1}"), &found),
                KUBEVIRT_REFUSED);
        ck_assert_str_eq(found.qgs_socket, "/run/qgs/s");
        ck_assert_ptr_null(found.qgs_socket_refusal);
        ck_assert_str_eq(found.enforced_refusal, KUBEVIRT_ENFORCED_FIELD ": 1" NO_BOOL);
        kubevirt_attestation_deinit(&found);

        ck_assert_int_eq(parse(ATTESTATION("{\"qgsSocketPath\":7,\"enforced\":\"no\"}"), &found),
                         KUBEVIRT_REFUSED);
        ck_assert_str_eq(found.qgs_socket_refusal, KUBEVIRT_QGS_SOCKET_FIELD ": 7" NO_STRING);
        ck_assert_str_eq(found.enforced_refusal, KUBEVIRT_ENFORCED_FIELD ": \"no\"" NO_BOOL);
        kubevirt_attestation_deinit(&found);
}
END_TEST

/* The values in force after this CR follows true and /run/before/s. */
static struct kubevirt_attestation follow(const char *text)
{
        struct kubevirt_attestation in_force = { .is_enforced = true,
                                                 .qgs_socket = xstrdup("/run/before/s"),
                                                 .qgs_socket_refusal = xstrdup("old") };
        struct kubevirt_attestation found = KUBEVIRT_ATTESTATION_NULL;

        (void)parse(text, &found);
        kubevirt_attestation_follow(&in_force, &found);
        kubevirt_attestation_deinit(&found);
        return in_force;
}

START_TEST(a_refused_field_keeps_its_value_and_the_reason_follows_the_cr)
{
        struct kubevirt_attestation values =
                follow(ATTESTATION("{\"enforced\":false,\"qgsSocketPath\":\"s\"}"));

        ck_assert(!values.is_enforced);
        ck_assert_str_eq(values.qgs_socket, "/run/before/s");
        ck_assert_ptr_nonnull(strstr(values.qgs_socket_refusal, "\"s\" is not"));
        kubevirt_attestation_deinit(&values);

        values = follow(ATTESTATION("{\"enforced\":\"no\",\"qgsSocketPath\":\"/run/qgs/s\"}"));
        ck_assert(values.is_enforced);
        ck_assert_ptr_nonnull(values.enforced_refusal);
        ck_assert_str_eq(values.qgs_socket, "/run/qgs/s");
        ck_assert_ptr_null(values.qgs_socket_refusal);
        kubevirt_attestation_deinit(&values);

        values = follow(ATTESTATION("7"));
        ck_assert(values.is_enforced);
        ck_assert_str_eq(values.qgs_socket, "/run/before/s");
        ck_assert_str_eq(values.enforced_refusal, values.qgs_socket_refusal);
        kubevirt_attestation_deinit(&values);

        /* An absent field is not refused: it has its default. */
        values = follow("{}");
        ck_assert(!values.is_enforced);
        ck_assert_str_eq(values.qgs_socket, KUBEVIRT_QGS_SOCKET);
        ck_assert_ptr_null(values.enforced_refusal);
        ck_assert_ptr_null(values.qgs_socket_refusal);
        kubevirt_attestation_deinit(&values);
}
END_TEST

START_TEST(a_long_value_is_cut_at_a_character_and_leaves_room_for_the_remedy)
{
        static const char *const fields[] = { "enforced", "qgsSocketPath" };

        for (unsigned shift = 0; shift < 3; ++shift) {
                _cleanup_(text) struct text text = TEXT_NULL;
                struct kubevirt_attestation found = KUBEVIRT_ATTESTATION_NULL;

                text_addf(&text, "{\"spec\":\"%.*s", (int)shift, "xx");
                for (unsigned i = 0; i < 400000; ++i)
                        text_add(&text, "\xe2\x82\xac");
                text_add(&text, "\"}");

                ck_assert_int_eq(parse(text.bytes, &found), KUBEVIRT_REFUSED);
                ck_assert_uint_lt(strlen(found.enforced_refusal), 200);
                ck_assert_ptr_null(strchr(found.enforced_refusal, '?'));
                ck_assert_ptr_nonnull(strstr(found.enforced_refusal, "\xe2\x82\xac..." NO_OBJECT));
                kubevirt_attestation_deinit(&found);
        }
        for (size_t i = 0; i < array_size(fields); ++i) {
                _cleanup_(text) struct text text = TEXT_NULL;
                struct kubevirt_attestation found = KUBEVIRT_ATTESTATION_NULL;
                const char *refusal;

                text_addf(&text,
                          "{\"spec\":{\"configuration\":{\"confidentialCompute\":{\"tdx\":{"
                          "\"attestation\":{\"%s\":",
                          fields[i]);
                text_addf(&text, "\"/run/qgs/%s%s%s%s\"}}}}}}", A100, A100, A100, A100);

                ck_assert_int_eq(parse(text.bytes, &found), KUBEVIRT_REFUSED);
                refusal = i ? found.qgs_socket_refusal : found.enforced_refusal;
                ck_assert_msg(strlen(refusal) < ERROR_TEXT_SIZE - 1, "%s", refusal);
                ck_assert_ptr_nonnull(strstr(refusal, "; "));
                kubevirt_attestation_deinit(&found);
        }
}
END_TEST

START_TEST(nesting_as_deep_as_json_may_be_is_passed_over_or_refused)
{
        _cleanup_(text) struct text text = TEXT_NULL;
        struct kubevirt_attestation found = KUBEVIRT_ATTESTATION_NULL;

        text_add(&text, "{\"spec\":{\"configuration\":{\"later\":");
        for (unsigned i = 0; i < 60; ++i)
                text_add(&text, i % 2 ? "[" : "{\"spec\":");
        text_add(&text, "1");
        for (unsigned i = 60; i > 0; --i)
                text_add(&text, i % 2 ? "}" : "]");
        text_add(&text, "}}}");

        ck_assert_int_eq(parse(text.bytes, &found), 0);
        ck_assert_str_eq(found.qgs_socket, KUBEVIRT_QGS_SOCKET);
        kubevirt_attestation_deinit(&found);
}
END_TEST

START_TEST(values_are_copied_and_compared)
{
        struct kubevirt_attestation null = KUBEVIRT_ATTESTATION_NULL;
        struct kubevirt_attestation defaults = kubevirt_attestation_defaults();
        struct kubevirt_attestation copy = kubevirt_attestation_copy(&defaults);
        struct kubevirt_attestation copy_of_null = kubevirt_attestation_copy(&null);

        ck_assert(!defaults.is_enforced);
        ck_assert_str_eq(defaults.qgs_socket, KUBEVIRT_QGS_SOCKET);
        ck_assert_str_eq(KUBEVIRT_QGS_SOCKET, QGS_PATH_DEFAULT);
        ck_assert_ptr_ne(copy.qgs_socket, defaults.qgs_socket);
        ck_assert(kubevirt_attestation_equal(&copy, &defaults));
        ck_assert(kubevirt_attestation_equal(&null, &copy_of_null));
        ck_assert(!kubevirt_attestation_equal(&null, &defaults));
        ck_assert(!kubevirt_attestation_equal(&defaults, &null));
        copy.is_enforced = true;
        ck_assert(!kubevirt_attestation_equal(&copy, &defaults));
        copy.is_enforced = false;
        copy.qgs_socket[1] = 'x';
        ck_assert(!kubevirt_attestation_equal(&copy, &defaults));
        kubevirt_attestation_deinit(&copy);
        copy = kubevirt_attestation_copy(&defaults);
        copy.enforced_refusal = xstrdup("a");
        ck_assert(!kubevirt_attestation_equal(&copy, &defaults));
        kubevirt_attestation_deinit(&copy);
        copy = kubevirt_attestation_copy(&defaults);
        copy.qgs_socket_refusal = xstrdup("b");
        ck_assert(!kubevirt_attestation_equal(&copy, &defaults));
        kubevirt_attestation_deinit(&copy);
        kubevirt_attestation_deinit(&defaults);
        kubevirt_attestation_deinit(&defaults);
        ck_assert_ptr_null(defaults.qgs_socket);
}
END_TEST

SUITE("kubevirt", what_is_given_is_taken_and_the_rest_are_defaults,
      unknown_fields_and_other_cases_are_passed_over, a_wrong_type_is_named_at_every_level,
      a_bad_path_is_named_with_the_reason, a_path_of_107_bytes_is_taken_and_one_of_108_refused,
      the_path_goes_by_the_callers_policy_and_the_text_comes_from_it,
      the_default_path_is_checked_only_if_it_is_given,
      a_field_that_is_refused_does_not_take_the_other_along,
      a_refused_field_keeps_its_value_and_the_reason_follows_the_cr,
      a_long_value_is_cut_at_a_character_and_leaves_room_for_the_remedy,
      nesting_as_deep_as_json_may_be_is_passed_over_or_refused, values_are_copied_and_compared);
