/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/claim.h"

#include "base/error.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/text.h"
#include "unit/suite.h"

#include <errno.h>
#include <string.h>

#define METADATA "\"metadata\":{\"uid\":\"u\",\"namespace\":\"ns\",\"name\":\"n\"}"
#define CLAIM(results) \
        "{" METADATA ",\"status\":{\"allocation\":{\"devices\":{\"results\":" results "}}}}"

static int parse(const char *text, struct claim *ret, struct error *err)
{
        _cleanup_(json) struct json *object = NULL;

        ck_assert_int_eq(json_parse(text, strlen(text), &object, err), 0);
        return claim_parse(object, "tdx.kubevirt.io", ret, err);
}

START_TEST(results_of_our_driver_are_taken_in_order)
{
        struct claim claim = CLAIM_NULL;

        ck_assert_int_eq(
                parse(CLAIM("[{\"request\":\"td/"
                            "small\",\"driver\":\"tdx.kubevirt.io\",\"pool\":\"p\","
                            "\"device\":\"tdx5\",\"adminAccess\":null,\"later\":1},"
                            "{\"request\":\"gpu\",\"driver\":\"gpu.example.com\",\"pool\":\"p\","
                            "\"device\":\"gpu0\"},"
                            "{\"request\":\"watcher\",\"driver\":\"tdx.kubevirt.io\",\"pool\":"
                            "\"q\","
                            "\"device\":\"tdx1\",\"adminAccess\":true}]"),
                      &claim, NULL),
                0);

        ck_assert_str_eq(claim.uid, "u");
        ck_assert_str_eq(claim.namespace_, "ns");
        ck_assert_str_eq(claim.name, "n");
        ck_assert(claim.is_allocated);
        ck_assert_uint_eq(claim.n_results, 2);
        ck_assert_str_eq(claim.results[0].request, "td");
        ck_assert_str_eq(claim.results[0].pool, "p");
        ck_assert_str_eq(claim.results[0].device, "tdx5");
        ck_assert(!claim.results[0].is_admin_access);
        ck_assert_str_eq(claim.results[1].device, "tdx1");
        ck_assert(claim.results[1].is_admin_access);
        claim_deinit(&claim);
}
END_TEST

START_TEST(the_pods_it_is_reserved_for_are_listed_and_never_make_it_unusable)
{
        static const struct {
                const char *reserved_for;
                const char *uids; /* with a blank after each */
        } cases[] = {
                { "[{\"resource\":\"pods\",\"name\":\"a\",\"uid\":\"0-1\"},"
                  "{\"resource\":\"pods\",\"name\":\"b\",\"uid\":\"0-2\"}]",
                  "0-1 0-2 " },
                { "[{\"apiGroup\":\"batch\",\"resource\":\"jobs\",\"name\":\"a\",\"uid\":\"0-1\"}]",
                  "" },
                { "[{\"resource\":\"pods\",\"uid\":7},{\"resource\":\"pods\"},1,null,"
                  "{\"resource\":\"pods\",\"uid\":\"../"
                  "x\"},{\"resource\":\"pods\",\"uid\":\"0-3\"}]",
                  "0-3 " },
                { "[]", "" },
                { "null", "" },
                { "{\"uid\":\"0-1\"}", "" },
        };

        for (size_t i = 0; i < array_size(cases); ++i) {
                _cleanup_(free) char *text = xasprintf(
                        "{" METADATA ",\"status\":{\"reservedFor\":%s}}", cases[i].reserved_for);
                _cleanup_(text) struct text uids = TEXT_NULL;
                struct claim claim = CLAIM_NULL;

                ck_assert_int_eq(parse(text, &claim, NULL), 0);

                for (size_t j = 0; j < claim.n_pods; ++j)
                        text_addf(&uids, "%s ", claim.pod_uids[j]);
                ck_assert_str_eq(uids.n ? uids.bytes : "", cases[i].uids);
                claim_deinit(&claim);
        }
}
END_TEST

START_TEST(what_is_not_allocated_has_no_results)
{
        static const struct {
                const char *text;
                bool is_allocated;
        } table[] = {
                { "{" METADATA "}", false },
                { "{" METADATA ",\"status\":null}", false },
                { "{" METADATA ",\"status\":{}}", false },
                { "{" METADATA ",\"status\":{\"allocation\":null}}", false },
                { "{" METADATA ",\"status\":{\"allocation\":{}}}", true },
                { "{" METADATA ",\"status\":{\"allocation\":{\"devices\":{}}}}", true },
                { CLAIM("null"), true },
                { CLAIM("[]"), true },
        };

        for (size_t i = 0; i < array_size(table); ++i) {
                struct claim claim = CLAIM_NULL;

                ck_assert_int_eq(parse(table[i].text, &claim, NULL), 0);
                ck_assert_msg(claim.is_allocated == table[i].is_allocated, "%s", table[i].text);
                ck_assert_uint_eq(claim.n_results, 0);
                claim_deinit(&claim);
        }
}
END_TEST

#define RESULT "\"request\":\"r\",\"driver\":\"d\",\"pool\":\"p\",\"device\":\"x\""

START_TEST(what_is_wrong_is_named)
{
        static const struct {
                const char *text, *reason;
        } table[] = {
                { "[]", "a claim without metadata" },
                { "{}", "a claim without metadata" },
                { "{\"metadata\":{\"namespace\":\"ns\",\"name\":\"n\"}}",
                  "metadata.uid: not a string" },
                { "{\"metadata\":{\"uid\":\"\",\"namespace\":\"ns\",\"name\":\"n\"}}",
                  "metadata.uid: empty" },
                { "{\"metadata\":{\"uid\":\"u\",\"namespace\":1,\"name\":\"n\"}}",
                  "metadata.namespace: not a string" },
                { "{" METADATA ",\"status\":[]}", "status: not an object" },
                { "{" METADATA ",\"status\":{\"allocation\":true}}",
                  "status.allocation: not an object" },
                { "{" METADATA ",\"status\":{\"allocation\":{\"devices\":[]}}}",
                  "status.allocation.devices: not an object" },
                { CLAIM("{}"), "status.allocation.devices.results: not an array" },
                { CLAIM("[1]"), "status.allocation.devices.results[0]: not an object" },
                { CLAIM("[{" RESULT "},{\"request\":\"r\",\"driver\":\"d\",\"pool\":\"p\"}]"),
                  "status.allocation.devices.results[1].device: not a string" },
                { CLAIM("[{\"driver\":\"d\",\"pool\":\"p\",\"device\":\"x\"}]"),
                  "status.allocation.devices.results[0].request: not a string" },
                { CLAIM("[{" RESULT ",\"adminAccess\":\"yes\"}]"),
                  "status.allocation.devices.results[0].adminAccess: not a boolean" },
        };

        for (size_t i = 0; i < array_size(table); ++i) {
                struct claim claim = CLAIM_NULL;
                struct error error = ERROR_NULL;

                ck_assert_int_eq(parse(table[i].text, &claim, &error), -EBADMSG);
                ck_assert_str_eq(error.text, table[i].reason);
                ck_assert_ptr_null(claim.uid);
        }
}
END_TEST

START_TEST(more_results_than_the_api_allows_are_refused)
{
        for (unsigned n = CLAIM_RESULTS_MAX; n <= CLAIM_RESULTS_MAX + 1; ++n) {
                _cleanup_(text) struct text text = TEXT_NULL;
                struct claim claim = CLAIM_NULL;

                text_add(&text,
                         "{" METADATA ",\"status\":{\"allocation\":{\"devices\":{\"results\":[");
                for (unsigned i = 0; i < n; ++i)
                        text_addf(&text, "%s{" RESULT "}", i ? "," : "");
                text_add(&text, "]}}}}");

                ck_assert_int_eq(parse(text.bytes, &claim, NULL),
                                 n > CLAIM_RESULTS_MAX ? -EBADMSG : 0);
                claim_deinit(&claim);
        }
}
END_TEST

SUITE("claim", the_pods_it_is_reserved_for_are_listed_and_never_make_it_unusable,
      results_of_our_driver_are_taken_in_order, what_is_not_allocated_has_no_results,
      what_is_wrong_is_named, more_results_than_the_api_allows_are_refused);
