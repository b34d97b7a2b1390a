/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes were made and read by Intel's own qgs_msg_lib, but for those that it never sends. */
#include "base/memory.h"
#include "host/qgs_message.h"
#include "unit/suite.h"

#include <errno.h>
#include <string.h>

/* ---- requests ---- */

/* QEMU's, up to the report. */
static const unsigned char request_head[QGS_REPORT_OFFSET] = { 0, 0, 4,    0x18, 1, 0, 1, 0, 0, 0,
                                                               0, 0, 0x18, 4,    0, 0, 0, 0, 0, 0,
                                                               0, 4, 0,    0,    0, 0, 0, 0 };

/* The answer to a request of which n bytes have come, head at its beginning. */
static int read_request(const unsigned char *head, size_t n, enum qgs_message_error *ret_error)
{
        /* Exactly as long as it may be read. */
        _cleanup_(free) unsigned char *bytes = xcalloc(1, n ? n : 1);

        memcpy(bytes, head, n < QGS_REPORT_OFFSET ? n : QGS_REPORT_OFFSET);
        return qgs_message_read_quote_request(bytes, n, ret_error);
}

START_TEST(a_request_as_qemu_sends_it_is_whole_with_its_last_byte)
{
        enum qgs_message_error error;

        for (size_t n = 0; n < QGS_QUOTE_REQUEST_SIZE; ++n)
                ck_assert_int_eq(read_request(request_head, n, &error), 1);
        ck_assert_int_eq(read_request(request_head, QGS_QUOTE_REQUEST_SIZE, &error), 0);
}
END_TEST

START_TEST(each_field_of_a_request_is_checked)
{
        static const struct {
                const char *what;
                size_t offset;
                unsigned char bytes[4];
                size_t n_told; /* with so many bytes the answer is known */
                int r;
                enum qgs_message_error error;
        } rows[] = {
                { "no message", 0, { 0, 0, 0, 0 }, 4, -EBADMSG, QGS_ERROR_SIZE },
                { "less than a header", 0, { 0, 0, 0, 15 }, 4, -EBADMSG, QGS_ERROR_SIZE },
                { "4 GiB", 0, { 0xff, 0xff, 0xff, 0xff }, 4, -EBADMSG, QGS_ERROR_SIZE },
                { "a TDREPORT", 0, { 0x81, 0, 0, 0 }, 4, -EBADMSG, QGS_ERROR_SIZE },
                { "1 MiB and a byte", 0, { 0, 0x10, 0, 1 }, 4, -EBADMSG, QGS_ERROR_SIZE },
                { "longer than its size", 0, { 0, 0, 4, 0x19 }, 20, -EBADMSG, QGS_ERROR_SIZE },
                { "major 0", 4, { 0, 0, 1, 0 }, 20, -EBADMSG, QGS_ERROR_VERSION },
                { "major 2", 4, { 2, 0, 1, 0 }, 20, -EBADMSG, QGS_ERROR_VERSION },
                { "major 257", 4, { 1, 1, 1, 0 }, 20, -EBADMSG, QGS_ERROR_VERSION },
                { "a quote", 8, { 1, 0, 0, 0 }, 20, -EPROTONOSUPPORT, QGS_ERROR_TYPE },
                { "collateral", 8, { 2, 0, 0, 0 }, 20, -EPROTONOSUPPORT, QGS_ERROR_TYPE },
                { "platform", 8, { 4, 0, 0, 0 }, 20, -EPROTONOSUPPORT, QGS_ERROR_TYPE },
                { "unheard of", 8, { 0, 1, 0, 0 }, 20, -EPROTONOSUPPORT, QGS_ERROR_TYPE },
                { "size", 12, { 0x17, 4, 0, 0 }, 20, -EBADMSG, QGS_ERROR_SIZE },
                { "an error", 16, { 1, 0, 0, 0 }, 20, -EBADMSG, QGS_ERROR_CODE },
                { "no report", 20, { 0, 0, 0, 0 }, 28, -EBADMSG, QGS_ERROR_SIZE },
                { "half a report", 20, { 0, 2, 0, 0 }, 28, -EBADMSG, QGS_ERROR_SIZE },
                { "IDs", 24, { 16, 0, 0, 0 }, 28, -EBADMSG, QGS_ERROR_SIZE },
        };

        for (size_t i = 0; i < array_size(rows); ++i) {
                unsigned char head[QGS_REPORT_OFFSET];

                memcpy(head, request_head, sizeof(head));
                memcpy(head + rows[i].offset, rows[i].bytes, 4);
                for (size_t n = 0; n <= QGS_QUOTE_REQUEST_SIZE; ++n) {
                        enum qgs_message_error error = 0;
                        int r = read_request(head, n, &error);

                        ck_assert_msg(r == (n < rows[i].n_told ? 1 : rows[i].r),
                                      "%s, %zu bytes: %d", rows[i].what, n, r);
                        ck_assert_msg(r == 1 || error == rows[i].error, "%s: 0x%x", rows[i].what,
                                      error);
                }
        }
}
END_TEST

/* QGS and its library take any; QEMU sends 1. */
START_TEST(a_minor_version_is_all_the_same)
{
        unsigned char head[QGS_REPORT_OFFSET];
        enum qgs_message_error error;

        memcpy(head, request_head, sizeof(head));
        head[6] = 9;

        ck_assert_int_eq(read_request(head, QGS_QUOTE_REQUEST_SIZE, &error), 0);
}
END_TEST

START_TEST(a_short_message_of_another_kind_is_refused_as_such)
{
        enum qgs_message_error error = 0;

        ck_assert_int_eq(qgs_message_read_quote_request(qgs_platform_info_request,
                                                        QGS_PLATFORM_INFO_REQUEST_SIZE, &error),
                         -EPROTONOSUPPORT);
        ck_assert_int_eq(error, QGS_ERROR_TYPE);
}
END_TEST

START_TEST(the_request_for_platform_info_is_the_one_of_intels_library)
{
        static const unsigned char golden[] = { 0, 0, 0,  0x10, 1, 0, 1, 0, 4, 0,
                                                0, 0, 16, 0,    0, 0, 0, 0, 0, 0 };

        ck_assert_mem_eq(qgs_platform_info_request, golden, sizeof(golden));
        ck_assert_uint_eq(qgs_message_size(golden, 4), sizeof(golden));
        ck_assert_uint_eq(qgs_message_size(golden, 3), 0);
}
END_TEST

/* ---- replies for a quote ---- */

START_TEST(a_quote_is_whole_with_its_last_byte)
{
        static const unsigned char head[] = {
                0,    0, 0x13, 0xa6, 1, 0, 1, 0, 1, 0, 0, 0,    0xa6,
                0x13, 0, 0,    0,    0, 0, 0, 0, 0, 0, 0, 0x8e, 0x13
        };
        _cleanup_(free) unsigned char *bytes = xcalloc(1, 6000);
        uint32_t error = 1;
        size_t size = 0;

        memcpy(bytes, head, sizeof(head));
        for (size_t n = 0; n < 5034; n += n < 64 ? 1 : 7)
                ck_assert_int_eq(qgs_message_read_quote_reply(bytes, n, &size, &error), 1);
        ck_assert_int_eq(qgs_message_read_quote_reply(bytes, 5034, &size, &error), 0);
        ck_assert_uint_eq(size, 5034);
        ck_assert_uint_eq(error, 0);
        ck_assert_int_eq(qgs_message_read_quote_reply(bytes, 6000, &size, &error), 0);
        ck_assert_uint_eq(size, 5034);
}
END_TEST

START_TEST(what_is_no_reply_for_a_quote_is_not_taken_for_one)
{
        static const struct {
                unsigned char bytes[28];
                int r;
        } rows[] = {
                { { 0, 0, 0, 24, 1, 0, 1, 0, 1, 0, 0, 0, 24, 0, 0, 0, 1, 0x20, 1 }, 0 },
                { { 0, 0, 0, 24, 2, 0, 1, 0, 1, 0, 0, 0, 24 }, -EBADMSG },
                { { 0, 0, 0, 24, 1, 0, 1, 0, 5, 0, 0, 0, 24 }, -EBADMSG },
                { { 0, 0, 0, 24, 1, 0, 1, 0, 1, 0, 0, 0, 25 }, -EBADMSG },
                { { 0, 0, 0, 23, 1, 0, 1, 0, 1, 0, 0, 0, 23 }, -EBADMSG },
                { { 0, 0, 0, 0 }, -EBADMSG },
                { { 0, 0x10, 0, 1 }, -EBADMSG },
                { { 0xff, 0xff, 0xff, 0xff }, -EBADMSG },
                { { 0, 0x10, 0, 0, 1, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0x10, 0 }, 1 },
        };

        for (size_t i = 0; i < array_size(rows); ++i) {
                uint32_t error = 0;
                size_t size = 0;
                int r = qgs_message_read_quote_reply(rows[i].bytes, 28, &size, &error);

                ck_assert_msg(r == rows[i].r, "row %zu: %d", i, r);
                ck_assert_uint_eq(error, i ? 0 : 0x12001);
        }
}
END_TEST

START_TEST(our_own_refusal_is_the_28_bytes_that_qgs_sends)
{
        static const unsigned char golden[28] = { 0, 0, 0,  0x18, 1, 0, 1, 0,    1,    0,
                                                  0, 0, 24, 0,    0, 0, 1, 0x20, 0x01, 0 };
        unsigned char reply[QGS_ERROR_REPLY_SIZE];

        memset(reply, 0xff, sizeof(reply));
        qgs_message_error_reply(QGS_ERROR_UNEXPECTED, reply);

        ck_assert_mem_eq(reply, golden, sizeof(golden));
}
END_TEST

/* ---- replies to PLATFORM_INFO ---- */

START_TEST(replies_to_platform_info_are_read_byte_by_byte)
{
        static const struct {
                unsigned char bytes[68];
                size_t n;
                int r;
                const char *failure;
        } rows[] = {
                { { 0, 0, 0, 64, 1, 0, 1, 0, 5, 0, 0, 0, 64 }, 68, 0, "" },
                { { 0, 0, 0, 64, 1, 0, 1, 0, 5, 0, 0, 0, 64 }, 67, 1, "" },
                { { 0, 0, 0 }, 3, 1, "" },
                { { 0 }, 0, 1, "" },
                /* Minor versions are all the same to it. */
                { { 0, 0, 0, 64, 1, 0, 2, 0, 5, 0, 0, 0, 64 }, 68, 0, "" },
                { { 0, 0, 0, 64, 2, 0, 1, 0, 5, 0, 0, 0, 64 }, 68, -EBADMSG, "not one of QGS" },
                { { 0, 0, 0, 64, 0, 0, 1, 0, 5, 0, 0, 0, 64 }, 68, -EBADMSG, "not one of QGS" },
                /* Its error for PLATFORM_INFO has 32 bytes, its error for what it did not
                 * understand 28 and type 1. */
                { { 0, 0, 0, 28, 1, 0, 1, 0, 5, 0, 0, 0, 28, 0, 0, 0, 1, 0x20, 1, 0 },
                  32,
                  -EBADMSG,
                  "error 0x12001" },
                { { 0, 0, 0, 24, 1, 0, 1, 0, 1, 0, 0, 0, 24, 0, 0, 0, 6, 0x20, 1, 0 },
                  28,
                  -EBADMSG,
                  "error 0x12006" },
                { { 0, 0, 0, 24, 1, 0, 1, 0, 1, 0, 0, 0, 24, 0, 0, 0, 7, 0x20, 1, 0 },
                  28,
                  -EBADMSG,
                  "error 0x12007" },
                /* A quote, collateral. */
                { { 0, 0, 0, 64, 1, 0, 1, 0, 1, 0, 0, 0, 64 }, 68, -EBADMSG, "not one of QGS" },
                { { 0, 0, 0, 64, 1, 0, 1, 0, 3, 0, 0, 0, 64 }, 68, -EBADMSG, "not one of QGS" },
                { { 0, 0, 0, 64, 1, 0, 1, 0, 5, 0, 0, 0, 63 }, 68, -EBADMSG, "not one of QGS" },
                { { 0, 0, 0, 15 }, 4, -EBADMSG, "15 bytes" },
                { { 0xff, 0xff, 0xff, 0xff }, 4, -EBADMSG, "4294967295 bytes" },
                { { 0x81, 0, 2, 0 }, 4, -EBADMSG, "2164261376 bytes" },
        };

        for (size_t i = 0; i < array_size(rows); ++i) {
                char failure[64] = "";
                uint32_t error = 0;
                int r = qgs_message_read_platform_info(rows[i].bytes, rows[i].n, &error, failure,
                                                       sizeof(failure));

                ck_assert_msg(r == rows[i].r, "row %zu: %d %s", i, r, failure);
                ck_assert_ptr_nonnull(strstr(failure, rows[i].failure));
        }
}
END_TEST

SUITE("qgs-message", a_request_as_qemu_sends_it_is_whole_with_its_last_byte,
      each_field_of_a_request_is_checked, a_minor_version_is_all_the_same,
      a_short_message_of_another_kind_is_refused_as_such,
      the_request_for_platform_info_is_the_one_of_intels_library,
      a_quote_is_whole_with_its_last_byte, what_is_no_reply_for_a_quote_is_not_taken_for_one,
      our_own_refusal_is_the_28_bytes_that_qgs_sends,
      replies_to_platform_info_are_read_byte_by_byte);
