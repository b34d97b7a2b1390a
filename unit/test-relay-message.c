/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "base/memory.h"
#include "host/relay_message.h"
#include "unit/suite.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define DIGEST "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static int parse(const char *line, struct relay_message *ret)
{
        struct error error = ERROR_NULL;
        int r = relay_message_parse(line, strlen(line), ret, &error);

        ck_assert_int_eq(r < 0, error.code < 0);
        return r;
}

/* Each line is what the other end prints for what it has read. */
START_TEST(a_line_of_each_kind_is_read_and_printed_alike)
{
        static const char *const lines[] = {
                "{\"configure\":{\"devices\":64,\"qgsSocket\":\"/run/tdx-qgs/qgs.socket\","
                "\"vmName\":\"qgs.socket\"}}",
                "{\"configured\":{\"devices\":0,\"qgsSocket\":\"/q\",\"vmName\":\"a b\"}}",
                "{\"ask\":{}}",
                "{\"refused\":{\"reason\":\"no room\"}}",
                "{\"quote\":{\"timeMs\":1796100000123,\"device\":\"tdx5\",\"path\":\"claim\","
                "\"outcome\":\"delivered\",\"error\":0,\"cause\":0,\"us\":41234,"
                "\"reportDataSha256\":\"" DIGEST "\"}}",
                "{\"quote\":{\"timeMs\":1796100000123,\"device\":\"tdx4095\",\"path\":\"plugin\","
                "\"outcome\":\"gave-up\",\"error\":0,\"cause\":-111,\"us\":25000000}}",
                "{\"quote\":{\"timeMs\":1,\"device\":\"tdx0\",\"path\":\"plugin\","
                "\"outcome\":\"qgs-error\",\"error\":73729,\"cause\":0,\"us\":1}}",
                "{\"snapshot\":{\"lost\":3,\"deliveredMs\":0,\"counts\":{\"delivered\":0,"
                "\"qgs-error\":1,\"gave-up\":2,\"malformed\":3,\"refused-type\":4,\"left\":5}}}",
                "{\"snapshot\":{\"device\":\"tdx5\",\"path\":\"claim\",\"deliveredMs\":12,"
                "\"counts\":{\"delivered\":9,\"qgs-error\":0,\"gave-up\":0,\"malformed\":0,"
                "\"refused-type\":0,\"left\":0}}}",
                "{\"qgs\":{\"result\":\"answered\",\"failure\":\"\"}}",
                "{\"qgs\":{\"result\":\"not-allowed\",\"failure\":\"Permission denied\"}}",
                "{\"qgs\":{\"result\":\"absent\",\"failure\":\"No such file or directory\"}}",
                "{\"succeed\":{}}",
                "{\"handover\":{\"listeners\":0}}",
                "{\"handover\":{\"listeners\":256,\"configuration\":{\"devices\":64,"
                "\"qgsSocket\":\"/q/q\",\"vmName\":\"q\"}}}",
                "{\"listener\":{\"device\":\"tdx5\",\"path\":\"claim\",\"name\":\"qgs.socket\"}}",
                "{\"serving\":{}}",
                "{\"remaining\":{\"requests\":4}}",
        };

        for (size_t i = 0; i < array_size(lines); ++i) {
                _cleanup_(free) char *printed = NULL, *wanted = xasprintf("%s\n", lines[i]);
                struct relay_message message;

                ck_assert_msg(parse(lines[i], &message) == 0, "%s", lines[i]);
                printed = relay_message_print(&message);
                ck_assert_str_eq(printed, wanted);
        }
}
END_TEST

START_TEST(what_a_line_says_is_found_in_the_message)
{
        struct relay_message message;

        ck_assert_int_eq(parse("{\"quote\":{\"timeMs\":1796100000123,\"device\":\"tdx5\","
                               "\"path\":\"plugin\",\"outcome\":\"gave-up\",\"error\":0,"
                               "\"cause\":-2,\"us\":7,\"reportDataSha256\":\"" DIGEST "\"}}",
                               &message),
                         0);

        ck_assert_int_eq(message.kind, RELAY_QUOTE);
        ck_assert_int_eq(message.quote.time_ms, 1796100000123);
        ck_assert_uint_eq(message.quote.td.device, 5);
        ck_assert_uint_eq(message.quote.td.path, RELAY_PLUGIN);
        ck_assert_int_eq(message.quote.outcome, RELAY_GAVE_UP);
        ck_assert_int_eq(message.quote.cause, -ENOENT);
        ck_assert(message.quote.has_digest);
        ck_assert_uint_eq(message.quote.digest[0], 0);
        ck_assert_uint_eq(message.quote.digest[15], 0xff);
}
END_TEST

START_TEST(what_another_version_adds_is_ignored)
{
        struct relay_message message;

        ck_assert_int_eq(parse("{\"dance\":{\"steps\":3}}", &message), RELAY_MESSAGE_UNKNOWN);
        ck_assert_int_eq(parse("{\"ask\":{\"politely\":true}}", &message), 0);
        ck_assert_int_eq(parse("{\"snapshot\":{\"lost\":0,\"deliveredMs\":0,"
                               "\"counts\":{\"delivered\":2,\"sold\":3}}}",
                               &message),
                         0);
        ck_assert_uint_eq(message.snapshot.counts.n[RELAY_DELIVERED], 2);
        ck_assert_uint_eq(message.snapshot.counts.n[RELAY_LEFT], 0);
}
END_TEST

START_TEST(a_line_that_is_wrong_is_refused)
{
        static const char *const lines[] = {
                "",
                "{",
                "[]",
                "{}",
                "7",
                "{\"ask\":{},\"serving\":{}}",
                "{\"ask\":7}",
                "{\"configure\":{}}",
                "{\"configure\":{\"devices\":-1,\"qgsSocket\":\"/q\",\"vmName\":\"q\"}}",
                "{\"configure\":{\"devices\":4097,\"qgsSocket\":\"/q\",\"vmName\":\"q\"}}",
                "{\"configure\":{\"devices\":1,\"qgsSocket\":\"q\",\"vmName\":\"q\"}}",
                "{\"configure\":{\"devices\":1,\"qgsSocket\":\"/q\",\"vmName\":\"../q\"}}",
                "{\"configure\":{\"devices\":1,\"qgsSocket\":\"/q\",\"vmName\":\"..\"}}",
                "{\"configure\":{\"devices\":1,\"qgsSocket\":\"/q\",\"vmName\":\"\"}}",
                "{\"listener\":{\"device\":\"tdx4096\",\"path\":\"claim\",\"name\":\"q\"}}",
                "{\"listener\":{\"device\":\"tdx05\",\"path\":\"claim\",\"name\":\"q\"}}",
                "{\"listener\":{\"device\":\"sev5\",\"path\":\"claim\",\"name\":\"q\"}}",
                "{\"listener\":{\"device\":\"tdx5\",\"path\":\"other\",\"name\":\"q\"}}",
                "{\"listener\":{\"device\":\"tdx5\",\"path\":\"claim\",\"name\":\".bind\"}}",
                "{\"qgs\":{\"result\":\"well\",\"failure\":\"\"}}",
                "{\"qgs\":{\"result\":\"answered\"}}",
                "{\"snapshot\":{\"lost\":0,\"deliveredMs\":0}}",
                "{\"snapshot\":{\"lost\":0,\"deliveredMs\":0,\"counts\":{\"left\":-1}}}",
                "{\"quote\":{\"timeMs\":1,\"device\":\"tdx0\",\"path\":\"claim\","
                "\"outcome\":\"delivered\",\"error\":0,\"cause\":0,\"us\":1,"
                "\"reportDataSha256\":\"xx\"}}",
                "{\"quote\":{\"timeMs\":1,\"device\":\"tdx0\",\"path\":\"claim\","
                "\"outcome\":\"gave-up\",\"error\":0,\"cause\":2,\"us\":1}}",
                "{\"remaining\":{\"requests\":1.5}}",
        };

        for (size_t i = 0; i < array_size(lines); ++i) {
                struct relay_message message = { .count = 77 };

                ck_assert_msg(parse(lines[i], &message) == -EBADMSG, "%s", lines[i]);
                ck_assert_uint_eq(message.count, 77);
        }
}
END_TEST

START_TEST(a_directory_is_named_after_its_td_and_path)
{
        const struct relay_td td = { .device = 4095, .path = RELAY_PLUGIN };
        static const char *const others[] = { "tdx5",        "claim-",        "claim-tdx",
                                              "claim-tdx05", "claim-tdx4096", "claim-tdx5x",
                                              "claimtdx5",   "plugins-tdx5",  "" };
        char name[RELAY_TD_NAME_SIZE];
        struct relay_td got;

        relay_td_print(&td, name);
        ck_assert_str_eq(name, "plugin-tdx4095");
        ck_assert_int_eq(relay_td_parse(name, &got), 0);
        ck_assert_uint_eq(got.device, 4095);
        ck_assert_uint_eq(got.path, RELAY_PLUGIN);
        for (size_t i = 0; i < array_size(others); ++i)
                ck_assert_msg(relay_td_parse(others[i], &got) == -EINVAL, "%s", others[i]);
}
END_TEST

SUITE("relay-message", a_line_of_each_kind_is_read_and_printed_alike,
      what_a_line_says_is_found_in_the_message, what_another_version_adds_is_ignored,
      a_line_that_is_wrong_is_refused, a_directory_is_named_after_its_td_and_path);
