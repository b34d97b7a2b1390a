/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Quote Generation Service's wire format: pure.
 *
 * Intel DCAP, QuoteGeneration/quote_wrapper/qgs_msg_lib: a big-endian length, then a message of
 * that many bytes in little-endian fields. The message repeats its size; QGS's own decoder insists
 * on that and on the major version. QEMU (target/i386/kvm/tdx-quote-generator.c) sends a TDREPORT
 * and no list of IDs.
 *
 * Readers take the first n bytes of what has arrived so far and need no state: 0 whole, 1
 * incomplete, or a negative errno that no further byte changes.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum qgs_message_type {
        QGS_GET_QUOTE,
        QGS_QUOTE,
        QGS_GET_COLLATERAL,
        QGS_COLLATERAL,
        QGS_GET_PLATFORM_INFO,
        QGS_PLATFORM_INFO
};

/* qgs_msg_error_t, those that are used here. */
enum qgs_message_error {
        QGS_ERROR_UNEXPECTED = 0x12001,
        QGS_ERROR_VERSION = 0x12004,
        QGS_ERROR_TYPE = 0x12005,
        QGS_ERROR_SIZE = 0x12006,
        QGS_ERROR_CODE = 0x12007 /* a request that has an error code */
};

#define QGS_LENGTH_SIZE 4
#define QGS_HEADER_SIZE 16 /* of the message: version, type, size, error code */
/* No message is longer; QGS 1.26 refuses longer ones itself (qgs_server.cpp). */
#define QGS_MESSAGE_MAX (1U << 20)

#define QGS_PLATFORM_INFO_REQUEST_SIZE 20
#define QGS_PLATFORM_INFO_MAX          4096 /* of a reply, 68 with Intel's own library */

#define QGS_REPORT_SIZE        1024 /* TDREPORT_STRUCT */
#define QGS_REPORT_DATA_OFFSET 128  /* in it: the guest's 64 bytes, in REPORTMACSTRUCT */
#define QGS_REPORT_DATA_SIZE   64
#define QGS_REPORT_OFFSET      (QGS_LENGTH_SIZE + QGS_HEADER_SIZE + 8) /* in a quote request */
#define QGS_QUOTE_REQUEST_SIZE (QGS_REPORT_OFFSET + QGS_REPORT_SIZE)   /* 1052 */
#define QGS_ERROR_REPLY_SIZE   28

extern const unsigned char qgs_platform_info_request[QGS_PLATFORM_INFO_REQUEST_SIZE];

/* As much of a request as QEMU sends for a quote. -EPROTONOSUPPORT: well-formed, and not for a
 * quote; -EBADMSG: malformed. *ret_error is then the code for the reply. */
int qgs_message_read_quote_request(const unsigned char *bytes, size_t n,
                                   enum qgs_message_error *ret_error);

/* A reply to a request for a quote. 0: *ret_size bytes in all, and *ret_error, 0 with a quote.
 * -EBADMSG: not such a reply. */
int qgs_message_read_quote_reply(const unsigned char *bytes, size_t n, size_t *ret_size,
                                 uint32_t *ret_error);

/* How many bytes a message has in all, its length included, as soon as the first four say so; 0:
 * not known yet. Nothing is checked. */
uint64_t qgs_message_size(const unsigned char *bytes, size_t n);

/* A reply to PLATFORM_INFO. 0: without an error; -EBADMSG: *ret_error is QGS's error code, or 0,
 * and the reason is in words. */
int qgs_message_read_platform_info(const unsigned char *bytes, size_t n, uint32_t *ret_error,
                                   char *ret_failure, size_t n_failure);

/* QGS's own reply if it cannot give a quote. */
void qgs_message_error_reply(enum qgs_message_error error,
                             unsigned char ret[static QGS_ERROR_REPLY_SIZE]);
