/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"
#include "claims/record.h"
#include "claims/records.h"

#include "base/error.h"
#include "base/memory.h"
#include "ledger.h"
#include "unit/suite.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

static struct ledger_claim *make_claim(const char *uid, size_t n, uint32_t first_slot)
{
        struct ledger_claim *claim = ledger_claim_new(uid, "default", "a-claim", n);

        claim->boot_id = xstrdup("b7ad2f1e-8c2e-4a9e-9f57-0d6a3c1f4e55");
        for (size_t i = 0; i < n; ++i)
                claim->devices[i] = (struct ledger_device){ .request = xstrdup("td"),
                                                            .pool = xstrdup("node-1.example"),
                                                            .device = xasprintf("tdx%zu", i),
                                                            .slot = first_slot + (uint32_t)i };
        return claim;
}

static struct ledger_claim *make_admin_claim(const char *uid)
{
        struct ledger_claim *claim = make_claim(uid, 2, 7);

        claim->devices[1].is_admin_access = true;
        claim->devices[1].slot = LEDGER_NO_SLOT;
        return claim;
}

static bool is_equal(const struct ledger_claim *a, const struct ledger_claim *b)
{
        bool is_same = strcmp(a->uid, b->uid) == 0 && strcmp(a->namespace_, b->namespace_) == 0 &&
                       strcmp(a->name, b->name) == 0 && strcmp(a->boot_id, b->boot_id) == 0 &&
                       a->is_uncertain == b->is_uncertain && a->n_devices == b->n_devices;

        for (size_t i = 0; is_same && i < a->n_devices; ++i) {
                const struct ledger_device *x = &a->devices[i], *y = &b->devices[i];

                is_same = strcmp(x->request, y->request) == 0 && strcmp(x->pool, y->pool) == 0 &&
                          strcmp(x->device, y->device) == 0 && x->slot == y->slot &&
                          x->is_admin_access == y->is_admin_access;
        }
        is_same = is_same && a->n_pods == b->n_pods;
        for (size_t i = 0; is_same && i < a->n_pods; ++i)
                is_same = strcmp(a->pod_uids[i], b->pod_uids[i]) == 0;
        return is_same;
}

START_TEST(a_record_is_these_bytes)
{
        static const char golden[] =
                "dra-driver-tdx claim 1 crc32c 23d1db48 254 bytes\n"
                "{\"uid\":\"0-1\",\"namespace\":\"default\",\"name\":\"a-claim\","
                "\"bootID\":\"b7ad2f1e-8c2e-4a9e-9f57-0d6a3c1f4e55\",\"devices\":["
                "{\"request\":\"td\",\"pool\":\"node-1.example\",\"device\":\"tdx0\",\"slot\":7},"
                "{\"request\":\"td\",\"pool\":\"node-1.example\",\"device\":\"tdx1\","
                "\"adminAccess\":true}]}";
        _cleanup_(ledger_claim) struct ledger_claim *claim = make_admin_claim("0-1");
        _cleanup_(free) char *bytes = NULL;
        size_t n = 0;

        bytes = claims_record_encode(claim, &n);

        /* The checksum is that of an independent implementation, in Python. */
        ck_assert_uint_eq(n, strlen(bytes));
        ck_assert_str_eq(bytes, golden);
}
END_TEST

START_TEST(what_was_encoded_is_decoded_equal)
{
        struct ledger_claim *claims[] = { make_claim("0-1", 0, 0),  make_claim("0-1", 1, 4095),
                                          make_claim("0-1", 32, 0), make_admin_claim("0-1"),
                                          make_claim("0-1", 0, 0),  make_claim("0-1", 1, 0) };

        claims[4]->is_uncertain = true;
        claims[4]->uncertain_tds = 1;
        claims[5]->pod_uids = xcalloc(2, sizeof(*claims[5]->pod_uids));
        claims[5]->n_pods = 2;
        claims[5]->pod_uids[0] = xstrdup("e40eaf51-ca4d-46df-82c1-36e38882a6f6");
        claims[5]->pod_uids[1] = xstrdup("0a1b2c3d4e5f60718293a4b5c6d7e8f9");
        for (size_t i = 0; i < array_size(claims); ++i) {
                _cleanup_(free) char *bytes = NULL;
                _cleanup_(ledger_claim) struct ledger_claim *decoded = NULL;
                struct error error = ERROR_NULL;
                size_t n = 0;

                bytes = claims_record_encode(claims[i], &n);
                ck_assert_msg(claims_record_decode(bytes, n, &decoded, &error) == 0, "%s",
                              error.text);
                ck_assert(is_equal(claims[i], decoded));
                ledger_claim_free(claims[i]);
        }
}
END_TEST

START_TEST(a_record_truncated_anywhere_or_with_more_behind_it_is_damaged)
{
        _cleanup_(ledger_claim) struct ledger_claim *claim = make_claim("0-1", 2, 3),
                                                    *decoded = NULL;
        _cleanup_(free) char *bytes = NULL;
        struct error error = ERROR_NULL;
        size_t n = 0;

        bytes = claims_record_encode(claim, &n);
        for (size_t i = 0; i < n; ++i) {
                /* A block of just that size, so that a sanitizer sees a read beyond it. */
                _cleanup_(free) char *cut = xmalloc(i);

                memcpy(cut, bytes, i);
                ck_assert_int_eq(claims_record_decode(cut, i, &decoded, &error), -EBADMSG);
        }
        ck_assert_int_eq(claims_record_decode(NULL, 0, &decoded, &error), -EBADMSG);
        ck_assert_int_eq(claims_record_decode(bytes, n + 1, &decoded, &error), -EBADMSG);
        ck_assert_ptr_null(decoded);
}
END_TEST

START_TEST(no_flipped_bit_goes_unnoticed)
{
        _cleanup_(ledger_claim) struct ledger_claim *claim = make_admin_claim("0-1");
        _cleanup_(free) char *bytes = NULL;
        size_t n = 0;

        bytes = claims_record_encode(claim, &n);
        for (size_t i = 0; i < 8 * n; ++i) {
                _cleanup_(ledger_claim) struct ledger_claim *decoded = NULL;
                struct error error = ERROR_NULL;
                int r;

                bytes[i / 8] = (char)(bytes[i / 8] ^ 1 << i % 8);
                r = claims_record_decode(bytes, n, &decoded, &error);
                ck_assert_msg(r == -EBADMSG || r == CLAIMS_RECORD_NEWER, "bit %zu of byte %zu",
                              i % 8, i / 8);
                ck_assert_int_lt(error.code, 0);
                ck_assert_ptr_null(decoded);
                bytes[i / 8] = (char)(bytes[i / 8] ^ 1 << i % 8);
        }
}
END_TEST

/* CRC-32C the slow way, by the polynomial, so that a wrong table shows. */
static uint32_t slow_crc32c(const char *bytes, size_t n)
{
        uint32_t crc = ~0U;

        for (size_t i = 0; i < n; ++i) {
                crc ^= (unsigned char)bytes[i];
                for (int bit = 0; bit < 8; ++bit)
                        crc = crc & 1 ? crc >> 1 ^ 0x82f63b78 : crc >> 1;
        }
        return ~crc;
}

static int decode_json(const char *json, struct ledger_claim **ret_claim, struct error *err)
{
        _cleanup_(free) char *record =
                xasprintf("dra-driver-tdx claim 1 crc32c %08x %zu bytes\n%s",
                          slow_crc32c(json, strlen(json)), strlen(json), json);

        return claims_record_decode(record, strlen(record), ret_claim, err);
}

#define HEAD   "{\"uid\":\"0-1\",\"namespace\":\"d\",\"name\":\"n\",\"bootID\":\"b\",\"devices\":["
#define DEVICE "{\"request\":\"r\",\"pool\":\"p\",\"device\":\"tdx0\""

START_TEST(json_that_is_no_claim_is_refused_though_its_checksum_is_right)
{
        static const char *const cases[] = {
                "",
                "null",
                "[]",
                "{}",
                "{\"uid\":\"0-1\"",
                "{\"namespace\":\"d\",\"name\":\"n\",\"bootID\":\"b\",\"devices\":[]}",
                "{\"uid\":\"../"
                "x\",\"namespace\":\"d\",\"name\":\"n\",\"bootID\":\"b\",\"devices\":[]}",
                "{\"uid\":7,\"namespace\":\"d\",\"name\":\"n\",\"bootID\":\"b\",\"devices\":[]}",
                "{\"uid\":\"0-1\",\"namespace\":\"d\",\"name\":\"n\",\"devices\":[]}",
                "{\"uid\":\"0-1\",\"namespace\":\"d\",\"name\":\"n\",\"bootID\":\"b\"}",
                "{\"uid\":\"0-1\",\"namespace\":\"d\",\"name\":\"n\",\"bootID\":\"b\",\"devices\":{"
                "}}",
                "{\"uid\":\"0-1\",\"namespace\":\"d\",\"name\":\"n\",\"bootID\":\"b\","
                "\"uncertainTDs\":true,\"devices\":[]}",
                HEAD "7]}",
                HEAD DEVICE "}]}",
                HEAD DEVICE ",\"slot\":-1}]}",
                HEAD DEVICE ",\"slot\":4096}]}",
                HEAD DEVICE ",\"slot\":1.5}]}",
                HEAD DEVICE ",\"slot\":\"1\"}]}",
                HEAD DEVICE ",\"slot\":4294967296}]}",
                HEAD DEVICE ",\"slot\":1,\"adminAccess\":\"true\"}]}",
                HEAD DEVICE ",\"slot\":1,\"slot\":1}]}",
                HEAD DEVICE ",\"slot\":1}," DEVICE ",\"slot\":1}]}",
                HEAD "{\"request\":\"r\",\"pool\":\"p\",\"slot\":1}]}",
                HEAD "]} ]",
        };

        for (size_t i = 0; i < array_size(cases); ++i) {
                struct ledger_claim *claim = NULL;
                struct error error = ERROR_NULL;

                ck_assert_msg(decode_json(cases[i], &claim, &error) == -EBADMSG, "%s", cases[i]);
                ck_assert_uint_gt(strlen(error.text), 0);
                ck_assert_ptr_null(claim);
        }
}
END_TEST

START_TEST(fields_of_a_later_version_are_passed_over)
{
        _cleanup_(ledger_claim) struct ledger_claim *claim = NULL;
        struct error error = ERROR_NULL;

        ck_assert_int_eq(decode_json(HEAD DEVICE ",\"slot\":5,\"later\":[1,{}]}],\"more\":null}",
                                     &claim, &error),
                         0);

        ck_assert_uint_eq(claim->devices[0].slot, 5);
}
END_TEST

START_TEST(the_same_request_may_have_several_devices)
{
        _cleanup_(ledger_claim) struct ledger_claim *claim = NULL;

        ck_assert_int_eq(
                decode_json(HEAD DEVICE ",\"slot\":5}," DEVICE ",\"slot\":6}]}", &claim, NULL), 0);

        ck_assert_uint_eq(claim->n_devices, 2);
}
END_TEST

START_TEST(more_devices_than_an_allocation_can_have_are_refused)
{
        for (size_t n = 32; n <= 33; ++n) {
                _cleanup_(ledger_claim) struct ledger_claim *claim = make_claim("0-1", n, 0),
                                                            *decoded = NULL;
                _cleanup_(free) char *bytes = NULL;
                size_t n_bytes = 0;

                bytes = claims_record_encode(claim, &n_bytes);
                ck_assert_int_eq(claims_record_decode(bytes, n_bytes, &decoded, NULL),
                                 n == 32 ? 0 : -EBADMSG);
        }
}
END_TEST

START_TEST(newer_formats_are_told_from_damage)
{
        static const struct {
                const char *bytes;
                int outcome;
        } cases[] = {
                { "dra-driver-tdx claim 2 whatever\nfollows", CLAIMS_RECORD_NEWER },
                { "dra-driver-tdx claim 99\n", CLAIMS_RECORD_NEWER },
                { "dra-driver-tdx claim 0 crc32c 00000000 0 bytes\n", -EBADMSG },
                { "dra-driver-tdx claim 02 \n", CLAIMS_RECORD_NEWER },
                { "dra-driver-tdx claim 01 crc32c 00000000 0 bytes\n", -EBADMSG },
                { "dra-driver-tdx claim x\n", -EBADMSG },
                { "dra-driver-tdx claim \n", -EBADMSG },
                { "dra-driver-tdx claim 2", -EBADMSG },
                { "dra-driver-tdx clai\n 2 ", -EBADMSG },
                { "something else\n", -EBADMSG },
                { "\n", -EBADMSG },
        };

        for (size_t i = 0; i < array_size(cases); ++i) {
                struct ledger_claim *claim = NULL;
                struct error error = ERROR_NULL;

                ck_assert_msg(claims_record_decode(cases[i].bytes, strlen(cases[i].bytes), &claim,
                                                   &error) == cases[i].outcome,
                              "%s", cases[i].bytes);
                ck_assert_uint_gt(strlen(error.text), 0);
        }
}
END_TEST

START_TEST(a_uid_is_fit_to_be_a_file_name)
{
        char uid[66];

        ck_assert(text_is_uid("b7ad2f1e-8c2e-4a9e-9f57-0d6a3c1f4e55"));
        ck_assert(text_is_uid("A"));
        ck_assert(!text_is_uid(""));
        ck_assert(!text_is_uid("."));
        ck_assert(!text_is_uid(".."));
        ck_assert(!text_is_uid("a/b"));
        ck_assert(!text_is_uid("a b"));
        ck_assert(!text_is_uid("a\n"));
        ck_assert(!text_is_uid("\xc3\xa4"));
        memset(uid, 'a', sizeof(uid));
        uid[65] = '\0';
        ck_assert(!text_is_uid(uid));
        uid[64] = '\0';
        ck_assert(text_is_uid(uid));
}
END_TEST

SUITE("checkpoint-record", a_record_is_these_bytes, what_was_encoded_is_decoded_equal,
      a_record_truncated_anywhere_or_with_more_behind_it_is_damaged, no_flipped_bit_goes_unnoticed,
      json_that_is_no_claim_is_refused_though_its_checksum_is_right,
      fields_of_a_later_version_are_passed_over, the_same_request_may_have_several_devices,
      more_devices_than_an_allocation_can_have_are_refused, newer_formats_are_told_from_damage,
      a_uid_is_fit_to_be_a_file_name);
