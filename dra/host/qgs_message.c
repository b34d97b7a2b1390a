/* SPDX-License-Identifier: Apache-2.0 */
#include "host/qgs_message.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define MAJOR_VERSION 1
#define MINOR_VERSION 1 /* QEMU accepts no other one */

struct header {
        uint32_t major, type, size, error;
};

const unsigned char qgs_platform_info_request[QGS_PLATFORM_INFO_REQUEST_SIZE] = {
        0, 0, 0, 16, MAJOR_VERSION, 0, MINOR_VERSION, 0, QGS_GET_PLATFORM_INFO, 0, 0, 0, 16
};

static uint32_t read_le16(const unsigned char *bytes)
{
        return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8;
}

static uint32_t read_le32(const unsigned char *bytes)
{
        return read_le16(bytes) | read_le16(bytes + 2) << 16;
}

static uint32_t read_be32(const unsigned char *bytes)
{
        return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 |
               (uint32_t)bytes[3];
}

static struct header read_header(const unsigned char *message)
{
        return (struct header){ .major = read_le16(message),
                                .type = read_le32(message + 4),
                                .size = read_le32(message + 8),
                                .error = read_le32(message + 12) };
}

uint64_t qgs_message_size(const unsigned char *bytes, size_t n)
{
        return n < QGS_LENGTH_SIZE ? 0 : QGS_LENGTH_SIZE + (uint64_t)read_be32(bytes);
}

/* ---- requests ---- */

static int check_header(const struct header *header, uint32_t length,
                        enum qgs_message_error *ret_error)
{
        if (header->major != MAJOR_VERSION)
                *ret_error = QGS_ERROR_VERSION;
        else if (header->size != length)
                *ret_error = QGS_ERROR_SIZE;
        else if (header->type != QGS_GET_QUOTE)
                *ret_error = QGS_ERROR_TYPE;
        else if (header->error)
                *ret_error = QGS_ERROR_CODE;
        else
                return 0;
        return *ret_error == QGS_ERROR_TYPE ? -EPROTONOSUPPORT : -EBADMSG;
}

int qgs_message_read_quote_request(const unsigned char *bytes, size_t n,
                                   enum qgs_message_error *ret_error)
{
        const unsigned char *sizes = bytes + QGS_LENGTH_SIZE + QGS_HEADER_SIZE;
        struct header header;
        uint32_t length;
        int r;

        if (n < QGS_LENGTH_SIZE)
                return 1;
        length = read_be32(bytes);
        if (length < QGS_HEADER_SIZE || length > QGS_MESSAGE_MAX) {
                *ret_error = QGS_ERROR_SIZE;
                return -EBADMSG;
        }
        if (n < QGS_LENGTH_SIZE + QGS_HEADER_SIZE)
                return 1;
        header = read_header(bytes + QGS_LENGTH_SIZE);
        r = check_header(&header, length, ret_error);
        if (r < 0)
                return r;
        if (length != QGS_QUOTE_REQUEST_SIZE - QGS_LENGTH_SIZE) {
                *ret_error = QGS_ERROR_SIZE;
                return -EBADMSG;
        }
        if (n < QGS_REPORT_OFFSET)
                return 1;
        if (read_le32(sizes) != QGS_REPORT_SIZE || read_le32(sizes + 4) != 0) {
                *ret_error = QGS_ERROR_SIZE;
                return -EBADMSG;
        }
        return n < QGS_QUOTE_REQUEST_SIZE;
}

/* ---- replies ---- */

int qgs_message_read_quote_reply(const unsigned char *bytes, size_t n, size_t *ret_size,
                                 uint32_t *ret_error)
{
        struct header header;
        uint32_t length;

        if (n < QGS_LENGTH_SIZE)
                return 1;
        length = read_be32(bytes);
        if (length < QGS_ERROR_REPLY_SIZE - QGS_LENGTH_SIZE || length > QGS_MESSAGE_MAX)
                return -EBADMSG;
        if (n < QGS_LENGTH_SIZE + QGS_HEADER_SIZE)
                return 1;
        header = read_header(bytes + QGS_LENGTH_SIZE);
        if (header.major != MAJOR_VERSION || header.size != length || header.type != QGS_QUOTE)
                return -EBADMSG;
        if (n < QGS_LENGTH_SIZE + (size_t)length)
                return 1;
        *ret_size = QGS_LENGTH_SIZE + (size_t)length;
        *ret_error = header.error;
        return 0;
}

int qgs_message_read_platform_info(const unsigned char *bytes, size_t n, uint32_t *ret_error,
                                   char *ret_failure, size_t n_failure)
{
        struct header header;
        uint32_t length;

        if (n < QGS_LENGTH_SIZE)
                return 1;
        length = read_be32(bytes);
        if (length < QGS_HEADER_SIZE || length > QGS_PLATFORM_INFO_MAX - QGS_LENGTH_SIZE) {
                (void)snprintf(ret_failure, n_failure, "its answer claims to have %u bytes",
                               length);
                *ret_error = 0;
                return -EBADMSG;
        }
        if (n < QGS_LENGTH_SIZE + (size_t)length)
                return 1;
        header = read_header(bytes + QGS_LENGTH_SIZE);
        *ret_error = header.error;
        if (header.major != MAJOR_VERSION || header.size != length ||
            (!header.error && header.type != QGS_PLATFORM_INFO)) {
                (void)snprintf(ret_failure, n_failure, "its answer is not one of QGS");
                *ret_error = 0;
                return -EBADMSG;
        }
        /* The type may be 5 or 1: QGS answers a request that it cannot decode as if it had asked
         * for a quote. */
        if (header.error) {
                (void)snprintf(ret_failure, n_failure, "it answers with error 0x%x", header.error);
                return -EBADMSG;
        }
        return 0;
}

/* ---- our own reply ---- */

static void write_le32(unsigned char *bytes, uint32_t value)
{
        for (unsigned i = 0; i < 4; ++i)
                bytes[i] = (unsigned char)(value >> 8 * i);
}

void qgs_message_error_reply(enum qgs_message_error error,
                             unsigned char ret[static QGS_ERROR_REPLY_SIZE])
{
        unsigned char *message = ret + QGS_LENGTH_SIZE;

        memset(ret, 0, QGS_ERROR_REPLY_SIZE);
        ret[3] = QGS_ERROR_REPLY_SIZE - QGS_LENGTH_SIZE;
        message[0] = MAJOR_VERSION;
        message[2] = MINOR_VERSION;
        write_le32(message + 4, QGS_QUOTE);
        write_le32(message + 8, QGS_ERROR_REPLY_SIZE - QGS_LENGTH_SIZE);
        write_le32(message + 12, (uint32_t)error);
}
