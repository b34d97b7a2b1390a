# SPDX-License-Identifier: Apache-2.0
"""The Quote Generation Service's wire format (Intel DCAP qgs_msg_lib): a big-endian length, then a
message of little-endian fields.
"""

import struct

HEADER = struct.Struct("<HHIII")
SIZES = struct.Struct("<II")
LENGTH = struct.Struct(">I")
GET_QUOTE, QUOTE, GET_COLLATERAL, COLLATERAL, GET_PLATFORM_INFO, PLATFORM_INFO = range(6)
REPORT_SIZE = 1024
MAX_MESSAGE = 1 << 20
UNEXPECTED, BAD_SIZE, BAD_CODE = 0x12001, 0x12006, 0x12007


def frame(kind, body, error=0, major=1, minor=1):
    size = HEADER.size + len(body)
    return LENGTH.pack(size) + HEADER.pack(major, minor, kind, size, error) + body


def quote_request(report, **header):
    return frame(GET_QUOTE, SIZES.pack(len(report), 0) + report, **header)


def quote_response(quote, error=0):
    return frame(QUOTE, SIZES.pack(0, len(quote)) + quote, error)


def collateral_response(error):
    # qgs_msg_get_collateral_resp_s: two versions and nine sizes, all zero beside an error.
    return frame(COLLATERAL, bytes(2 * 2 + 8 * 4), error)


def platform_info_request(**header):
    return frame(GET_PLATFORM_INFO, b"", **header)


def platform_info_response(qe_id, cpu_svn):
    # The four zero bytes at the end are Intel's: its structure is larger than its fields.
    body = struct.pack("<HHII", 3, 11, len(qe_id), len(cpu_svn)) + qe_id + cpu_svn + bytes(4)
    return frame(PLATFORM_INFO, body)


def platform_info_error(error):
    return frame(PLATFORM_INFO, bytes(12), error)
