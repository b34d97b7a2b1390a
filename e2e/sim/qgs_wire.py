# SPDX-License-Identifier: Apache-2.0
"""The Quote Generation Service's wire format (Intel DCAP qgs_msg_lib): a big-endian length, then a
message of little-endian fields.
"""

import struct

HEADER = struct.Struct("<HHIII")
SIZES = struct.Struct("<II")
LENGTH = struct.Struct(">I")
GET_QUOTE, QUOTE, GET_PLATFORM_INFO, PLATFORM_INFO = 0, 1, 4, 5
REPORT_SIZE = 1024
MAX_MESSAGE = 1 << 20
UNEXPECTED, BAD_SIZE, BAD_CODE = 0x12001, 0x12006, 0x12007


def frame(kind, body, error=0):
    size = HEADER.size + len(body)
    return LENGTH.pack(size) + HEADER.pack(1, 1, kind, size, error) + body


def quote_request(report):
    return frame(GET_QUOTE, SIZES.pack(len(report), 0) + report)


def quote_response(quote, error=0):
    return frame(QUOTE, SIZES.pack(0, len(quote)) + quote, error)


def platform_info_response(qe_id, cpu_svn):
    # The four zero bytes at the end are Intel's: its structure is larger than its fields.
    body = struct.pack("<HHII", 3, 11, len(qe_id), len(cpu_svn)) + qe_id + cpu_svn + bytes(4)
    return frame(PLATFORM_INFO, body)
